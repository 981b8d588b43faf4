/**
 * The mounts that mille makes itself: overlays and in-memory directories, all in a private mount namespace.
 *
 * Directories are named to the kernel as `/proc/self/fd/N/<name>`: short enough for 127 layers in the one page that
 * mount(2) takes, with no current directory to change, and no character in a path that would need an escape.
 * Everything is synchronous and belongs on the main thread: it is that thread that is in the private namespace.
 */
import { closeSync, constants, openSync, readlinkSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { fsPath } from '../src/core/path-bytes.js'
import { joinNamespace, mount, mountFlags, namespaceFlags, unmount, unshare } from '../src/io/sys.js'

/** What an overlay is made of: committed directories, bottom first, and a writable pair or none (then it is read-only). */
export interface OverlayParts {
  readonly lowers: readonly string[]
  readonly upper?: string
  readonly work?: string
}

/**
 * Puts the calling thread into a mount namespace of its own, unless whoever started mille did that already.
 *
 * `bin/mille` starts Node in one. A program that uses mille as a library gets here without: then only its main thread
 * moves, together with the processes that it starts from then on. (Its current directory is from then on its own too:
 * the kernel keeps both in one structure.) Mounts of the host still come in, nothing goes out, and all ends with the process.
 */
export function enterPrivateMounts(): void {
  if (isPrivate()) return
  unshare(namespaceFlags.mount)
  mount('none', '/', '', mountFlags.recursive | mountFlags.slave, '')
}

function isPrivate(): boolean {
  const parent = namespaceOf(String(process.ppid))
  return parent !== undefined && namespaceOf('thread-self') !== parent
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`)
  } catch (error) {
    // No parent in this pid namespace, or one that we may not look at: no statement.
    if (['ENOENT', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return undefined
    throw error
  }
}

/**
 * Mounts an overlay at `target`.
 *
 * Redirects, metadata-only copies and the index are off: the upper directory becomes a layer of its own, in other stacks
 * and in tars, where those would mean nothing. `volatile` (Linux 5.10) leaves out the sync on unmount.
 *
 * @throws SandboxError SANDBOX_MOUNT_FAILED
 */
export function mountOverlay(parts: OverlayParts, target: string): void {
  const directories = new DirectoryNames()
  try {
    const lowers = directories.namesOf(topmostOnly(parts.lowers)).reverse()
    const options = [`lowerdir=${lowers.join(':')}`, 'redirect_dir=off', 'metacopy=off', 'index=off', 'xino=off']
    if (parts.upper === undefined || parts.work === undefined) {
      mount('overlay', target, 'overlay', mountFlags.readonly, options.join(','))
      return
    }
    options.push(`upperdir=${directories.nameOf(parts.upper)}`, `workdir=${directories.nameOf(parts.work)}`)
    mountPreferring('volatile', target, options)
  } catch (error) {
    throw overlayError(error, parts)
  } finally {
    directories.close()
  }
}

/**
 * A directory that is in the stack twice counts where it is topmost: what it says there hides all that it says below. The
 * kernel refuses it twice (ELOOP).
 */
function topmostOnly(lowers: readonly string[]): string[] {
  return lowers.filter((lower, index) => lowers.lastIndexOf(lower) === index)
}

function mountPreferring(extra: string, target: string, options: readonly string[]): void {
  try {
    mount('overlay', target, 'overlay', 0, [...options, extra].join(','))
  } catch (error) {
    if (systemCode(error) !== 'EINVAL') throw error
    mount('overlay', target, 'overlay', 0, options.join(','))
  }
}

function overlayError(error: unknown, parts: OverlayParts): unknown {
  const code = systemCode(error)
  if (code === undefined) return error
  if (code === 'E2BIG') {
    const message = `${parts.lowers.length} layers do not fit into one overlay mount`
    return new SandboxError('SANDBOX_MOUNT_FAILED', message, { cause: error, hint: 'an image can have 127 layers' })
  }
  const hints: Readonly<Record<string, string>> = {
    EPERM: 'mounting needs root or a user namespace; see "mille doctor"',
    EINVAL: 'the store may lie on a filesystem that cannot be an upper directory (an overlay, NFS); set MILLE_ROOT to another',
    ENODEV: 'load the kernel module "overlay"',
    ENOENT: 'a layer directory is missing; run the build again',
  }
  const message = `the layers cannot be mounted over one another: ${code} from mount(2)`
  return new SandboxError('SANDBOX_MOUNT_FAILED', message, { cause: error, hint: hints[code] })
}

/** Bytes of the page that the other options leave. */
const roomForLowers = 3_800

/** Gives directories short names by way of open descriptors; directories with one parent share one descriptor. */
class DirectoryNames {
  readonly #descriptors = new Map<string, number>()

  /** Names by parent; when those would not fit into the page, a descriptor for each. */
  namesOf(paths: readonly string[]): string[] {
    const names = paths.map((path) => this.nameOf(path))
    return names.join(':').length < roomForLowers ? names : paths.map((path) => this.#open(path))
  }

  nameOf(path: string): string {
    const name = basename(path)
    return /^[A-Za-z0-9_.-]+$/.test(name) ? `${this.#open(dirname(path))}/${name}` : this.#open(path)
  }

  close(): void {
    for (const fd of this.#descriptors.values()) closeSync(fd)
    this.#descriptors.clear()
  }

  #open(path: string): string {
    let fd = this.#descriptors.get(path)
    if (fd === undefined) {
      fd = openSync(fsPath(path), constants.O_RDONLY | constants.O_DIRECTORY)
      this.#descriptors.set(path, fd)
    }
    return `/proc/self/fd/${fd}`
  }
}

/**
 * Unmounts an overlay and empties its work directory, so that the pair could be mounted again: `volatile` leaves a mark
 * there that forbids it.
 */
export function unmountOverlay(target: string, work: string | undefined): void {
  unmountNow(target)
  if (work === undefined) return
  rmSync(join(work, 'work'), { recursive: true, force: true })
}

/** Unmounts; a mount that is still in use vanishes from sight and ends with its last user. */
export function unmountNow(target: string): void {
  try {
    unmount(target, { detach: false })
  } catch (error) {
    if (systemCode(error) !== 'EBUSY') throw error
    unmount(target, { detach: true })
  }
}

/** Mounts an empty directory that exists in memory only, for root alone. */
export function mountMemory(target: string): void {
  mount('tmpfs', target, 'tmpfs', mountFlags.nosuid | mountFlags.nodev, 'mode=0700,size=64m')
}

/** Does `work` with the main thread in a new network namespace and returns to the old one. */
export function inNewNetwork<T>(work: () => T): T {
  const own = openSync('/proc/thread-self/ns/net', constants.O_RDONLY)
  try {
    unshare(namespaceFlags.network)
    try {
      return work()
    } finally {
      joinNamespace(own, namespaceFlags.network)
    }
  } finally {
    closeSync(own)
  }
}
