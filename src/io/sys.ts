/**
 * What `node:fs` lacks, straight from libc through koffi: flock, xattrs, mknod, mount, openat2 and the like.
 *
 * The only file that loads koffi, and only with the first call: importing this file costs nothing. All calls are
 * synchronous. A failed call throws an error shaped like Node's own (`code` ENOENT, `syscall`, `path`), so callers
 * handle both alike. Paths are strings as in `core/path-bytes.ts`. Linux on 64-bit little-endian machines only.
 */
import { closeSync, constants as fsConstants, openSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { systemCode } from '../core/errors.js'
import { decodePath, encodePath } from '../core/path-bytes.js'

type Call = (...args: readonly unknown[]) => number

interface Libc {
  readonly errno: () => number
  readonly flock: Call
  readonly lgetxattr: Call
  readonly llistxattr: Call
  readonly lsetxattr: Call
  readonly lremovexattr: Call
  readonly mknod: Call
  readonly utimensat: Call
  readonly mount: Call
  readonly umount2: Call
  readonly unshare: Call
  readonly setns: Call
  readonly syncfs: Call
  readonly openat2: Call
  readonly umask: Call
  readonly ioctl: Call
}

const openat2Number = 437

const libc = lazily((): Libc => {
  const koffi = loadKoffi()
  const library = koffi.load(null)
  // Declared with its first call: most commands need a lock and nothing else.
  const call = (prototype: string): Call => {
    const declared = lazily(() => library.func(prototype) as unknown as Call)
    return (...args) => declared()(...args)
  }
  const syscall = call('long syscall(long number, int dirfd, const uint8_t *path, const uint8_t *how, size_t size)')
  return {
    errno: () => koffi.errno(),
    flock: call('int flock(int fd, int operation)'),
    lgetxattr: call('long lgetxattr(const uint8_t *path, const char *name, _Out_ uint8_t *value, size_t size)'),
    llistxattr: call('long llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)'),
    lsetxattr: call('int lsetxattr(const uint8_t *path, const char *name, const uint8_t *value, size_t size, int flags)'),
    lremovexattr: call('int lremovexattr(const uint8_t *path, const char *name)'),
    mknod: call('int mknod(const uint8_t *path, uint32_t mode, uint64_t dev)'),
    utimensat: call('int utimensat(int dirfd, const uint8_t *path, const int64_t *times, int flags)'),
    mount: call('int mount(const char *source, const uint8_t *target, const char *type, unsigned long flags, const char *data)'),
    umount2: call('int umount2(const uint8_t *target, int flags)'),
    unshare: call('int unshare(int flags)'),
    setns: call('int setns(int fd, int kind)'),
    syncfs: call('int syncfs(int fd)'),
    openat2: (dirfd, path, how) => syscall(openat2Number, dirfd, path, how, 24),
    umask: call('uint32_t umask(uint32_t mask)'),
    ioctl: call('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *value)'),
  }
})

type Koffi = typeof import('koffi')

/**
 * koffi's own entry first finds out on which of twenty systems it is, which takes ten times as long as loading its library
 * for the common one; it is asked where that does not load (musl).
 */
function loadKoffi(): Koffi {
  const load = createRequire(import.meta.url)
  try {
    return load(`@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`) as Koffi
  } catch (error) {
    if (!['MODULE_NOT_FOUND', 'ERR_DLOPEN_FAILED'].includes(systemCode(error) ?? '')) throw error
    return load('koffi') as Koffi
  }
}

function lazily<T>(make: () => T): () => T {
  let value: T | undefined
  return () => {
    value ??= make()
    return value
  }
}

/** A NUL-terminated path for a C call. Throws for a name with a NUL in it: it would be cut short. */
function cPath(path: string): Buffer {
  const bytes = encodePath(path)
  if (bytes.includes(0)) throw Object.assign(new Error('path has a NUL byte'), { code: 'EINVAL' })
  return Buffer.concat([bytes, Buffer.of(0)])
}

function check(result: number, syscall: string, path?: string): number {
  if (result >= 0) return result
  throw systemError(libc().errno(), syscall, path)
}

function systemError(errno: number, syscall: string, path: string | undefined): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno)
  const error: NodeJS.ErrnoException = new Error(`${code}: ${syscall}${path === undefined ? '' : ` '${path}'`}`)
  return Object.assign(error, { code, errno: -errno, syscall }, path === undefined ? {} : { path })
}

const lockShared = 1
const lockExclusive = 2
const lockNonBlocking = 4
const lockRelease = 8

/** How an attempt to take a lock ended. `unsupported`: the filesystem has no locks. */
export type LockOutcome = 'taken' | 'held' | 'unsupported'

/** Takes a flock on an open file without waiting, and says how that ended. */
export function attemptLock(fd: number, mode: 'shared' | 'exclusive'): LockOutcome {
  const operation = (mode === 'shared' ? lockShared : lockExclusive) | lockNonBlocking
  for (;;) {
    if (libc().flock(fd, operation) === 0) return 'taken'
    const errno = libc().errno()
    const { EWOULDBLOCK, EINTR, ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP } = constants.errno
    if (errno === EWOULDBLOCK) return 'held'
    if ([ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP].includes(errno)) return 'unsupported'
    if (errno !== EINTR) throw systemError(errno, 'flock', undefined)
  }
}

/**
 * Takes a flock on an open file without waiting. False when another open file description holds it; true also where the
 * filesystem has no locks (some network ones): whoever works there alone can work.
 */
export function tryLock(fd: number, mode: 'shared' | 'exclusive'): boolean {
  return attemptLock(fd, mode) !== 'held'
}

/** Gives a flock back; closing the file does the same. */
export function releaseLock(fd: number): void {
  check(libc().flock(fd, lockRelease), 'flock')
}

/** Names of the extended attributes of `path` itself (links are not followed), in the kernel's order. */
export function listXattrs(path: string): string[] {
  const target = cPath(path)
  for (;;) {
    const needed = libc().llistxattr(target, null, 0)
    if (needed < 0 && libc().errno() === constants.errno.ENOTSUP) return []
    check(needed, 'llistxattr', path)
    if (needed === 0) return []
    const list = Buffer.alloc(needed + 64)
    const length = libc().llistxattr(target, list, list.length)
    if (length < 0 && libc().errno() === constants.errno.ERANGE) continue
    check(length, 'llistxattr', path)
    return decodePath(list.subarray(0, length))
      .split('\0')
      .filter((name) => name !== '')
  }
}

/** The value of one extended attribute of `path` itself, or undefined when it has none of that name. */
export function getXattr(path: string, name: string): Buffer | undefined {
  const target = cPath(path)
  for (let size = 256; ; size *= 4) {
    const value = Buffer.alloc(size)
    const length = libc().lgetxattr(target, name, value, size)
    if (length >= 0) return value.subarray(0, length)
    const errno = libc().errno()
    if (errno === constants.errno.ENODATA || errno === constants.errno.ENOTSUP) return undefined
    if (errno !== constants.errno.ERANGE || size > 1 << 20) throw systemError(errno, 'lgetxattr', path)
  }
}

/** Sets an extended attribute of `path` itself. */
export function setXattr(path: string, name: string, value: Uint8Array): void {
  check(libc().lsetxattr(cPath(path), name, value, value.length, 0), 'lsetxattr', path)
}

/** Removes an extended attribute of `path` itself. */
export function removeXattr(path: string, name: string): void {
  check(libc().lremovexattr(cPath(path), name), 'lremovexattr', path)
}

/** File type bits for `makeNode` (inode(7)). */
export const nodeTypes = { character: 0o020000, block: 0o060000, fifo: 0o010000, socket: 0o140000 } as const

/** Makes a device, fifo or socket node. `mode` are the permission bits, less the umask; `rdev` as in `deviceNumber`. */
export function makeNode(path: string, type: keyof typeof nodeTypes, mode: number, rdev: number): void {
  check(libc().mknod(cPath(path), nodeTypes[type] | mode, rdev), 'mknod', path)
}

/** A Linux device number from its parts (gnu_dev_makedev). */
export function deviceNumber(major: number, minor: number): number {
  const low = (minor & 0xff) | ((major & 0xfff) << 8)
  return low + (minor >>> 8) * 2 ** 20 + Math.floor(major / 4096) * 2 ** 44
}

/** The parts of a device number as `stat` gives it. */
export function deviceParts(rdev: number): { readonly major: number; readonly minor: number } {
  const value = BigInt(rdev)
  const major = Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn & 0xffffffffn))
  const minor = Number((value & 0xffn) | ((value >> 12n) & ~0xffn & 0xffffffffn))
  return { major, minor }
}

const atFdCwd = -100
const symlinkNoFollow = 0x100

/** Sets access and modification time of `path` itself, to the nanosecond. */
export function setTimes(path: string, accessNs: bigint, modifiedNs: bigint): void {
  const times = new BigInt64Array(4)
  times.set([...splitTime(accessNs), ...splitTime(modifiedNs)])
  check(libc().utimensat(atFdCwd, cPath(path), times, symlinkNoFollow), 'utimensat', path)
}

function splitTime(ns: bigint): [bigint, bigint] {
  const billion = 1_000_000_000n
  const rest = ((ns % billion) + billion) % billion
  return [(ns - rest) / billion, rest]
}

/** Flags of mount(2) that mille uses. */
export const mountFlags = {
  readonly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  remount: 32,
  bind: 4096,
  recursive: 16384,
  private: 1 << 18,
  slave: 1 << 19,
} as const

/** mount(2). `data` is the option text of the filesystem, at most 4095 bytes (a page). */
export function mount(source: string, target: string, type: string, flags: number, data: string): void {
  if (Buffer.byteLength(data) > 4095) throw Object.assign(new Error('mount options exceed 4095 bytes'), { code: 'E2BIG' })
  check(libc().mount(source, cPath(target), type, flags, data), 'mount', target)
}

/** umount2(2). `detach` takes the mount out of sight at once and lets it end when its last user is gone (MNT_DETACH). */
export function unmount(target: string, options: { readonly detach: boolean }): void {
  check(libc().umount2(cPath(target), options.detach ? 2 : 0), 'umount2', target)
}

/** Flags of unshare(2) that mille uses. */
export const namespaceFlags = { mount: 0x0002_0000, network: 0x4000_0000 } as const

/**
 * unshare(2) for the calling thread alone. In Node that is the main thread or one worker: the thread pool that serves
 * asynchronous file calls stays outside.
 */
export function unshare(flags: number): void {
  check(libc().unshare(flags), 'unshare')
}

/** setns(2): moves the calling thread alone into the namespace that `fd` stands for. `kind` is one of `namespaceFlags`. */
export function joinNamespace(fd: number, kind: number): void {
  check(libc().setns(fd, kind), 'setns')
}

/** Writes what the filesystem of an open file has in memory to its disk. */
export function syncFilesystem(fd: number): void {
  check(libc().syncfs(fd), 'syncfs')
}

/** Sets the mask of permission bits that new files do not get, for the whole process, and returns the old one. */
export function setUmask(mask: number): number {
  return libc().umask(mask)
}

const resolveInRoot = 0x10

/**
 * Opens `path` with the directory `rootFd` as its root: `..` and absolute links stay inside, whoever moves them meanwhile
 * (openat2(2), RESOLVE_IN_ROOT).
 *
 * @param flags as `open(2)`: `fs.constants.O_*`; O_CLOEXEC is added
 * @returns a file descriptor that the caller closes
 */
export function openInRoot(rootFd: number, path: string, flags: number, mode = 0): number {
  const how = new BigUint64Array([BigInt(flags | closeOnExec), BigInt(mode), BigInt(resolveInRoot)])
  return check(libc().openat2(rootFd, cPath(path), new Uint8Array(how.buffer)), 'openat2', path)
}

const closeOnExec = 0o2000000

const getInodeFlags = 0x8008_6601
const setInodeFlags = 0x4008_6602
const topDirectoryFlag = 0x0002_0000

/**
 * Asks ext4 to place the directories made in `directory` far from one another (chattr +T). Other filesystems do as they like.
 *
 * New files go near their directory. Where many files were deleted within the last minutes ext4 searches the inode bitmap
 * anew for each file it makes: measured 0.3–0.9 ms of kernel time for each, against 0.03 ms elsewhere on the disk.
 */
export function spreadDirectories(directory: string): void {
  const fd = openSync(directory, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY)
  try {
    const flags = Buffer.alloc(8)
    const known = libc().ioctl(fd, getInodeFlags, flags) >= 0
    flags.writeUInt32LE((flags.readUInt32LE() | topDirectoryFlag) >>> 0)
    if (!known || libc().ioctl(fd, setInodeFlags, flags) < 0) ignoreUnsupported('ioctl(FS_IOC_SETFLAGS)', directory)
  } finally {
    closeSync(fd)
  }
}

function ignoreUnsupported(syscall: string, path: string): void {
  const errno = libc().errno()
  const { ENOTTY, EOPNOTSUPP, ENOTSUP, EPERM, EINVAL } = constants.errno
  if (![ENOTTY, EOPNOTSUPP, ENOTSUP, EPERM, EINVAL].includes(errno)) throw systemError(errno, syscall, path)
}

/** A pseudo-terminal of this machine; the caller closes both. */
export interface PseudoTerminal {
  readonly controllerFd: number
  readonly terminalFd: number
}

/** Makes a pseudo-terminal that is nobody's controlling terminal. */
export function openPseudoTerminal(): PseudoTerminal {
  const flags = fsConstants.O_RDWR | fsConstants.O_NOCTTY
  const controllerFd = openSync('/dev/ptmx', flags)
  try {
    const number = Buffer.alloc(4)
    check(libc().ioctl(controllerFd, unlockTerminal, Buffer.alloc(4)), 'ioctl(TIOCSPTLCK)')
    check(libc().ioctl(controllerFd, terminalNumber, number), 'ioctl(TIOCGPTN)')
    return { controllerFd, terminalFd: openSync(`/dev/pts/${number.readUInt32LE()}`, flags) }
  } catch (error) {
    closeSync(controllerFd)
    throw error
  }
}

const unlockTerminal = 0x4004_5431
const terminalNumber = 0x8004_5430
const getWindowSize = 0x5413
const putWindowSize = 0x5414

/** The size of a terminal in characters. */
export interface WindowSize {
  readonly rows: number
  readonly columns: number
}

/** The size of the terminal that is open as `fd`; undefined when that is no terminal, or one that does not know. */
export function windowSize(fd: number): WindowSize | undefined {
  const size = Buffer.alloc(8)
  if (libc().ioctl(fd, getWindowSize, size) < 0) return undefined
  const [rows, columns] = [size.readUInt16LE(0), size.readUInt16LE(2)]
  return rows === 0 || columns === 0 ? undefined : { rows, columns }
}

/** Sets the size of the terminal that is open as `fd`; its processes get SIGWINCH when it is another one. */
export function setWindowSize(fd: number, { rows, columns }: WindowSize): void {
  const size = Buffer.alloc(8)
  size.writeUInt16LE(rows, 0)
  size.writeUInt16LE(columns, 2)
  check(libc().ioctl(fd, putWindowSize, size), 'ioctl(TIOCSWINSZ)')
}
