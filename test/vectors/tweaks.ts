/** File operations that the cases name by the Go functions that upstream's tests call. */
import { chmodSync, linkSync, lutimesSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { type RawEntry, rawTar } from '../helpers/raw-tar.js'
import { recordOf, textOf } from './frame.js'

/** Resolves a path or text of the case: placeholders become real places. */
export type Resolve = (text: string) => string

/** Applies the operations in order. A tar is written when its last header is known. */
export function applyTweaks(steps: readonly unknown[], resolve: Resolve): void {
  const tars = new Map<string, Readonly<Record<string, unknown>>[]>()
  for (const step of steps.map(recordOf)) {
    const name = textOf(step, 'fn')
    const args = Array.isArray(step.args) ? step.args : []
    if (name.startsWith('tar.NewWriter')) noteHeader(tars, name, args, resolve)
    else applyTweak(name, args, resolve)
  }
  for (const [path, headers] of tars) writeFileSync(path, rawTar(headers.map(entryOf)))
}

type Operation = (path: string, args: readonly unknown[], resolve: Resolve) => void

const operations: Readonly<Record<string, Operation>> = {
  'os.Mkdir': (path, [, mode]) => {
    mkdirSync(path)
    chmodSync(path, modeOf(mode))
  },
  'os.MkdirAll': (path, [, mode]) => {
    mkdirSync(path, { recursive: true })
    chmodSync(path, modeOf(mode))
  },
  'os.WriteFile': (path, [, content, mode], resolve) => {
    writeFileSync(path, contentOf(content, resolve))
    chmodSync(path, modeOf(mode))
  },
  'os.Create': (path) => writeFileSync(path, ''),
  'os.Chmod': (path, [, mode]) => chmodSync(path, modeOf(mode)),
  'os.Chtimes': (path, [, access, modification]) => lutimesSync(path, timeOf(access), timeOf(modification)),
  'os.Symlink': (_, [target, place], resolve) => symlinkSync(String(target), resolve(String(place))),
  'os.Link': (path, [, place], resolve) => linkSync(path, resolve(String(place))),
  'os.Rename': (path, [, place], resolve) => renameSync(path, resolve(String(place))),
  'os.Remove': (path) => rmSync(path),
  'os.RemoveAll': (path) => rmSync(path, { recursive: true, force: true }),
}

/** Applies one operation of `os`. */
export function applyTweak(name: string, args: readonly unknown[], resolve: Resolve): void {
  const operation = operations[name]
  if (operation === undefined) throw new Error(`the operation ${name} is not known to the runner`)
  operation(resolve(String(args[0])), args, resolve)
}

/** A mode: a number, an octal text as `0o640`, or Go's `os.FileMode(448)`. */
export function modeOf(value: unknown): number {
  if (typeof value === 'number') return value
  if (typeof value === 'string') return Number.parseInt(value.replace(/^0o/, ''), 8)
  const symbol = /^os\.FileMode\((\d+)\)$/.exec(textOf(recordOf(value), '$sym'))?.[1]
  if (symbol === undefined) throw new Error(`${JSON.stringify(value)} is not a mode`)
  return Number(symbol)
}

/** The bytes of a file: a text, `{"$b64"}`; nothing stands for an empty file. */
export function contentOf(value: unknown, resolve: Resolve): string | Buffer {
  if (value === null || value === undefined) return ''
  if (typeof value === 'string') return resolve(value)
  return Buffer.from(textOf(recordOf(value), '$b64'), 'base64')
}

function timeOf(value: unknown): number {
  return typeof value === 'number' ? value : Number(recordOf(value).$unixTime)
}

function noteHeader(
  tars: Map<string, Readonly<Record<string, unknown>>[]>,
  name: string,
  args: readonly unknown[],
  resolve: Resolve,
): void {
  const path = resolve(/path: "([^"]*)"/.exec(String(args[0]))?.[1] ?? '')
  const headers = tars.get(path) ?? []
  tars.set(path, headers)
  if (name === 'tar.NewWriter.WriteHeader') headers.push(recordOf(args[1]))
}

/** The content of an entry was not captured, only its size. */
function entryOf(header: Readonly<Record<string, unknown>>): RawEntry {
  return {
    name: textOf(header, 'Name'),
    mode: Number(header.Mode ?? 0o644),
    uid: Number(header.Uid ?? 0),
    gid: Number(header.Gid ?? 0),
    content: 'x'.repeat(Number(header.Size ?? 0)),
  }
}
