/**
 * Writes tar headers, byte for byte the same everywhere: a layer's identity is the hash of them.
 *
 * USTAR where an entry fits, a PAX header in front of it otherwise (POSIX.1-2017 pax, "ustar Interchange Format" and
 * "pax Extended Header"; xattrs as `SCHILY.xattr.*`). No names of owners, whole seconds, fixed fields everywhere else.
 */
import { BuildError } from '../core/errors.js'
import { comparePaths, encodePath } from '../core/path-bytes.js'
import type { LayerEntry, LayerEntryType } from './walk.js'
import { opaqueName, whiteoutPrefix } from './whiteout.js'

/** Tar archives are made of blocks of this many bytes. */
export const blockSize = 512

const typeFlags: Readonly<Record<LayerEntryType, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  whiteout: '0',
  opaque: '0',
}

/** Numbers above these have no octal form in their fields. */
const largestId = 0o7777777
const largestSize = 0o77777777777
const paxMode = 0o644

/** The header blocks of an entry: 512 bytes, or 512 and a PAX header before them. */
export function encodeHeader(entry: LayerEntry): Buffer {
  return plainHeader(entry) ?? anyHeader(entry)
}

const shortAscii = /^[\x01-\x7f]{0,100}$/

/** The header of most entries, whose fields all fit: a third of the work. */
function plainHeader(entry: LayerEntry): Buffer | undefined {
  const { target, xattrs, uid, gid, size, mtime } = entry
  if (target !== '' || xattrs.length > 0 || uid > largestId || gid > largestId) return undefined
  if (size > largestSize || mtime < 0 || mtime > largestSize) return undefined
  const name = tarName(entry)
  if (!shortAscii.test(name)) return undefined
  const header = Buffer.alloc(blockSize)
  header.write(name, 0, 'latin1')
  writeFields(header, entry, typeFlags[entry.type])
  writeChecksum(header)
  return header
}

function anyHeader(entry: LayerEntry): Buffer {
  const name = encodePath(tarName(entry))
  const target = encodePath(entry.target)
  const split = splitName(name)
  const records = paxRecords(entry, name, target, split === undefined)
  const header = Buffer.alloc(blockSize)
  writeFields(header, entry, typeFlags[entry.type])
  ;(split?.name ?? name.subarray(0, 100)).copy(header, 0)
  split?.prefix.copy(header, 345)
  target.copy(header, 157, 0, 100)
  writeChecksum(header)
  return records.length === 0 ? header : Buffer.concat([paxHeader(records), header])
}

/** The name of an entry in the tar: directories end in a slash, deletions have their prefix. */
function tarName(entry: LayerEntry): string {
  const { path, type } = entry
  if (type === 'directory') return path === '' ? './' : `${path}/`
  if (type === 'opaque') return path === '' ? opaqueName : `${path}/${opaqueName}`
  if (type !== 'whiteout') return path
  const slash = path.lastIndexOf('/') + 1
  return `${path.slice(0, slash)}${whiteoutPrefix}${path.slice(slash)}`
}

interface SplitName {
  readonly prefix: Buffer
  readonly name: Buffer
}

/** The two name fields of USTAR, or undefined for a name that they cannot hold. */
function splitName(name: Buffer): SplitName | undefined {
  if (!isAscii(name)) return undefined
  if (name.length <= 100) return { prefix: Buffer.alloc(0), name }
  if (name.length > 256) return undefined
  // The first slash that leaves at most 100 bytes; a slash at the very end belongs to the name.
  const slash = name.indexOf(0x2f, Math.max(1, name.length - 101))
  if (slash < 0 || slash > 155 || slash === name.length - 1) return undefined
  return { prefix: name.subarray(0, slash), name: name.subarray(slash + 1) }
}

function isAscii(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0
    if (byte > 0x7f || byte === 0) return false
  }
  return true
}

function paxRecords(entry: LayerEntry, name: Buffer, target: Buffer, longName: boolean): Buffer[] {
  const records: [string, Buffer][] = []
  if (longName) records.push(['path', name])
  if (target.length > 100 || !isAscii(target)) records.push(['linkpath', target])
  if (entry.size > largestSize) records.push(['size', Buffer.from(String(entry.size))])
  if (entry.uid > largestId) records.push(['uid', Buffer.from(String(entry.uid))])
  if (entry.gid > largestId) records.push(['gid', Buffer.from(String(entry.gid))])
  if (entry.mtime < 0 || entry.mtime > largestSize) records.push(['mtime', Buffer.from(String(entry.mtime))])
  for (const { name: key, value } of entry.xattrs) records.push([xattrKey(entry, key), value])
  if (records.length === 0) return []
  return records.sort(([a], [b]) => comparePaths(a, b)).map(([key, value]) => paxRecord(key, value))
}

function xattrKey(entry: LayerEntry, name: string): string {
  if (!name.includes('=')) return `SCHILY.xattr.${name}`
  throw new BuildError('LAYER_UNSUPPORTED', `the extended attribute "${name}" of "${entry.path}" has a "=" in its name`)
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(' '), encodePath(key), Buffer.from('='), value, Buffer.from('\n')])
  let length = rest.length + String(rest.length).length
  if (String(length).length + rest.length !== length) length = rest.length + String(length).length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

function paxHeader(records: readonly Buffer[]): Buffer {
  const body = Buffer.concat(records)
  const header = Buffer.alloc(blockSize)
  header.write('PaxHeaders/entry', 0, 'latin1')
  const plain = { mode: paxMode, uid: 0, gid: 0, mtime: 0, major: 0, minor: 0, size: body.length }
  writeFields(header, plain, 'x')
  writeChecksum(header)
  return Buffer.concat([header, body, Buffer.alloc(paddingOf(body.length))])
}

type NumericFields = Pick<LayerEntry, 'mode' | 'uid' | 'gid' | 'size' | 'mtime' | 'major' | 'minor'>

function writeFields(header: Buffer, fields: NumericFields, typeFlag: string): void {
  writeOctal(header, 100, 8, fields.mode)
  writeOctal(header, 108, 8, fields.uid)
  writeOctal(header, 116, 8, fields.gid)
  writeOctal(header, 124, 12, fields.size)
  writeOctal(header, 136, 12, fields.mtime)
  header[156] = typeFlag.charCodeAt(0)
  header.write('ustar\x0000', 257, 'latin1')
  writeOctal(header, 329, 8, fields.major)
  writeOctal(header, 337, 8, fields.minor)
}

/** Octal digits and a NUL; 0 for a number that does not fit and so stands in the PAX header. */
function writeOctal(header: Buffer, at: number, width: number, value: number): void {
  const fits = value >= 0 && value < 8 ** (width - 1)
  let rest = fits ? value : 0
  let i = at + width - 2
  // What fits in 31 bits needs no division of doubles.
  for (; i >= at && rest < 0x80000000; i--) {
    header[i] = 0x30 + (rest & 7)
    rest >>>= 3
  }
  for (; i >= at; i--) {
    header[i] = 0x30 + (rest % 8)
    rest = Math.floor(rest / 8)
  }
}

function writeChecksum(header: Buffer): void {
  let sum = 8 * 0x20
  // By index, the field still being zeros: an iterator takes several times as long.
  for (let i = 0; i < blockSize; i++) sum += header[i] ?? 0
  writeOctal(header, 148, 7, sum)
  header[155] = 0x20
}

/** How many zero bytes follow `size` bytes of content. */
export function paddingOf(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize
}
