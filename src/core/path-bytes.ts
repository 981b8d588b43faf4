/**
 * File names as strings, whatever their bytes.
 *
 * Linux names are bytes; most are UTF-8. Inside mille a name is a string in which each byte that is not part of valid
 * UTF-8 stands as one lone surrogate U+DC80–U+DCFF (the scheme of PEP 383). Valid names are unchanged, so nearly all
 * code can ignore this; only what hands names to the system, hashes or sorts them goes through the functions here.
 */

const replacement = '\uFFFD'
const escapedByte = /[\uDC80-\uDCFF]/

/** The string form of a name given as bytes. */
export function decodePath(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  return text.includes(replacement) ? decodeMixed(bytes) : text
}

/** The bytes of a name. */
export function encodePath(path: string): Buffer {
  if (!escapedByte.test(path)) return Buffer.from(path, 'utf8')
  const parts: Buffer[] = []
  let start = 0
  for (let i = 0; i < path.length; i++) {
    const unit = path.charCodeAt(i)
    if (unit >= 0xd800 && unit <= 0xdbff) {
      i++
      continue
    }
    if (unit < 0xdc80 || unit > 0xdcff) continue
    parts.push(Buffer.from(path.slice(start, i), 'utf8'), Buffer.of(unit - 0xdc00))
    start = i + 1
  }
  parts.push(Buffer.from(path.slice(start), 'utf8'))
  return Buffer.concat(parts)
}

/** What to hand to `node:fs`: the string itself where that is exact, bytes otherwise. */
export function fsPath(path: string): string | Buffer {
  return escapedByte.test(path) ? encodePath(path) : path
}

/** True when a directory listing read as UTF-8 lost information and must be read again as bytes. */
export function isLossy(name: string): boolean {
  return name.includes(replacement)
}

/** Orders names by their bytes. */
export function comparePaths(a: string, b: string): number {
  if (a === b) return 0
  if (isAscii(a) && isAscii(b)) return a < b ? -1 : 1
  return Buffer.compare(encodePath(a), encodePath(b))
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}

function decodeMixed(bytes: Uint8Array): string {
  let out = ''
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes, i)
    if (length === 0) {
      out += String.fromCharCode(0xdc00 + (bytes[i] ?? 0))
      i++
    } else {
      out += Buffer.from(bytes.buffer, bytes.byteOffset + i, length).toString('utf8')
      i += length
    }
  }
  return out
}

/** The length of the valid UTF-8 sequence at `at`, or 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0
  if (first < 0x80) return 1
  const length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0
  if (length === 0 || first >= 0xf5 || at + length > bytes.length) return 0
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('utf8')
  return text.includes(replacement) && !isEncodedReplacement(bytes, at) ? 0 : length
}

function isEncodedReplacement(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd
}
