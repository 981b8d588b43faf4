/**
 * Reads the fields of tar headers: USTAR, old GNU and pax. Bytes in, values out; nothing here touches a file.
 *
 * Our own rather than a library's, because names and xattr values are bytes: the libraries at hand decode pax values as
 * UTF-8 and lose what is not (docs/dependencies.md).
 */
import { BuildError } from '../core/errors.js'
import { decodePath } from '../core/path-bytes.js'

/** Bytes by key of a pax header. */
export type PaxRecords = ReadonlyMap<string, Buffer>

/** The fields of one 512-byte header. */
export interface RawHeader {
  readonly name: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  /** The type flag; `0` for the NUL of old archives. */
  readonly flag: string
  readonly target: Buffer
  readonly major: number
  readonly minor: number
}

/** Reads a header block. Undefined for a block of zeros: the end of the archive. Throws LAYER_BAD_TAR. */
export function parseHeader(block: Buffer): RawHeader | undefined {
  if (!isSumRight(block)) {
    if (block.every((byte) => byte === 0)) return undefined
    throw new BuildError('LAYER_BAD_TAR', 'not a tar archive, or a damaged one: the checksum of a header is wrong', {
      hint: 'check that the file is a tar archive and is whole',
    })
  }
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0'
  const name = text(block, 0, 100)
  const prefix = isUstar ? text(block, 345, 155) : Buffer.alloc(0)
  const flag = block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0)
  const hasDevice = flag === '3' || flag === '4'
  return {
    name: prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name,
    mode: number(block, 100, 8) & 0o7777,
    uid: number(block, 108, 8),
    gid: number(block, 116, 8),
    size: number(block, 124, 12),
    mtime: number(block, 136, 12),
    flag,
    target: text(block, 157, 100),
    major: hasDevice ? number(block, 329, 8) : 0,
    minor: hasDevice ? number(block, 337, 8) : 0,
  }
}

/** The checksum counts its own field as blanks. Some old writers summed signed bytes. */
function isSumRight(block: Buffer): boolean {
  let sum = 8 * 0x20
  let high = 0
  for (let i = 0; i < 512; i++) {
    if (i === 148) i = 156
    const byte = block[i] ?? 0
    sum += byte
    if (byte > 0x7f) high++
  }
  const stated = octal(block, 148, 8)
  return stated === sum || stated === sum - 256 * high
}

/** Bytes up to the first NUL. */
function text(block: Buffer, at: number, length: number): Buffer {
  const field = block.subarray(at, at + length)
  const end = field.indexOf(0)
  return Buffer.from(end < 0 ? field : field.subarray(0, end))
}

/** A number field: octal digits, or base 256 when the first bit is set (GNU, star). */
export function number(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0
  if ((first & 0x80) === 0) {
    const value = octal(block, at, length)
    if (value === undefined) throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a number that is not octal')
    return value
  }
  const isNegative = (first & 0x40) !== 0
  let value = BigInt(isNegative ? first | ~0xff : first & 0x3f)
  for (let i = 1; i < length; i++) value = value * 256n + BigInt(block[at + i] ?? 0)
  return safeNumber(value)
}

/** Octal digits with blanks and NULs around them; 0 for an empty field; undefined for anything else. */
function octal(block: Buffer, at: number, length: number): number | undefined {
  let value = 0
  let i = at
  const end = at + length
  while (i < end && block[i] === 0x20) i++
  for (; i < end; i++) {
    const byte = block[i] ?? 0
    if (byte === 0 || byte === 0x20) break
    if (byte < 0x30 || byte > 0x37) return undefined
    value = value * 8 + byte - 0x30
  }
  return value
}

function safeNumber(value: bigint): number {
  const result = Number(value)
  if (Number.isSafeInteger(result)) return result
  throw new BuildError('LAYER_BAD_TAR', `the tar archive has a number out of range: ${value}`)
}

/** Reads the body of a pax header: `<length> <key>=<value>\n` repeated. Throws LAYER_BAD_TAR. */
export function parsePax(body: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>()
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const blank = body.indexOf(0x20, at)
    const length = Number(body.toString('latin1', at, blank < 0 ? at : blank))
    const end = at + length
    const equals = body.indexOf(0x3d, blank)
    const isWhole = blank > at && Number.isSafeInteger(length) && end <= body.length && body[end - 1] === 0x0a
    if (!isWhole || equals < 0 || equals >= end) throw new BuildError('LAYER_BAD_TAR', 'the tar archive has a damaged pax header')
    records.set(decodePath(body.subarray(blank + 1, equals)), Buffer.from(body.subarray(equals + 1, end - 1)))
    at = end
  }
  return records
}

/** A decimal number of a pax header without its fraction, rounded down; `fallback` when there is none of that name. */
export function paxNumber(records: PaxRecords, key: string, fallback: number): number {
  const value = records.get(key)?.toString('latin1')
  if (value === undefined || value === '') return fallback
  const result = /^-?\d+(\.\d*)?$/.test(value) ? Math.floor(Number(value)) : Number.NaN
  if (Number.isSafeInteger(result)) return result
  throw new BuildError('LAYER_BAD_TAR', `the tar archive has the ${key} "${value.slice(0, 40)}", which is not a number`)
}
