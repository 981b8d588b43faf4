/**
 * The options of `RUN --mount`: parsed, checked against the type, defaults filled in (semantics.md 87–93). Whatever is
 * not known, or has no meaning for the type, is an error that names it.
 */
import type { Flag, Word } from '../../grammar/ast.js'
import { didYouMean } from '../core/suggest.js'
import { partOf } from './dependencies.js'
import { type ExpandScope, expand, flagWord } from './expand.js'
import { splitMountFields } from './mount-fields.js'
import { placeIn, problem } from './problem.js'
import type { Step } from './stages.js'

/** The types of mounts. */
export type MountType = 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh'

/** One mount with its values expanded; undefined: not given. */
export interface MountOptions {
  readonly type: MountType
  /** The whole flag value, for messages and spans. */
  readonly word: Word
  /** The name in `from=`, as written. */
  readonly from: Word | undefined
  readonly source: string | undefined
  readonly target: string | undefined
  readonly id: string | undefined
  readonly env: string | undefined
  readonly readonly: boolean | undefined
  readonly required: boolean
  readonly sharing: 'shared' | 'private' | 'locked' | undefined
  readonly sizeBytes: number | undefined
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
}

type FieldName = Exclude<keyof MountOptions, 'word' | 'type'>

/** The options of each type beside `type` itself; others are errors. */
const allowed: Readonly<Record<MountType, readonly FieldName[]>> = {
  bind: ['target', 'source', 'from', 'readonly'],
  cache: ['target', 'id', 'source', 'from', 'readonly', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['target', 'sizeBytes', 'readonly'],
  secret: ['target', 'id', 'source', 'env', 'required', 'readonly', 'mode', 'uid', 'gid'],
  ssh: ['target', 'id', 'source', 'required', 'readonly', 'mode', 'uid', 'gid'],
}

const spellings: Readonly<Record<string, FieldName | 'type' | 'readwrite'>> = {
  ...{ type: 'type', from: 'from', source: 'source', src: 'source', target: 'target', dst: 'target', destination: 'target' },
  ...{ id: 'id', env: 'env', readonly: 'readonly', ro: 'readonly', readwrite: 'readwrite', rw: 'readwrite' },
  ...{ required: 'required', sharing: 'sharing', size: 'sizeBytes', mode: 'mode', uid: 'uid', gid: 'gid' },
}

const types: readonly string[] = Object.keys(allowed)
const sharings: readonly string[] = ['shared', 'private', 'locked']

/** Parses one `--mount` flag. Throws DockerfileError. */
export function parseMount(step: Step, flag: Flag, scope: ExpandScope): MountOptions {
  return new MountParser(step, flagWord(step.source, flag), scope).parse()
}

class MountParser {
  readonly #step: Step
  readonly #word: Word
  readonly #scope: ExpandScope
  readonly #values = new Map<string, string>()

  constructor(step: Step, word: Word, scope: ExpandScope) {
    this.#step = step
    this.#word = word
    this.#scope = scope
  }

  parse(): MountOptions {
    const fields = splitMountFields(this.#word.text)
    if (fields === undefined) throw this.#error(this.#word.text, 'a quote in the mount options is not closed')
    for (const { key, value } of fields) this.#read(key, value)
    const type = this.#type()
    for (const name of this.#values.keys()) {
      if (name === 'type' || allowed[type].includes(name as FieldName)) continue
      const known = allowed[type].map((field) => (field === 'sizeBytes' ? 'size' : field)).join(', ')
      throw this.#error(this.#written(name), `a ${type} mount has no option "${this.#written(name)}"`, `it knows ${known}`)
    }
    const options: MountOptions = {
      ...{ type, word: this.#word, from: this.#from(), source: this.#text('source'), target: this.#text('target') },
      ...{ id: this.#text('id'), env: this.#text('env'), readonly: this.#bool('readonly') },
      ...{ required: this.#bool('required') ?? false, sharing: this.#sharing(), sizeBytes: this.#size() },
      ...{ mode: this.#number('mode', 8), uid: this.#number('uid', 10), gid: this.#number('gid', 10) },
    }
    this.#check(options)
    return options
  }

  /** Notes one field under its one name. */
  #read(key: string, value: string | undefined): void {
    const name = Object.hasOwn(spellings, key) ? spellings[key] : undefined
    if (name === undefined) {
      const hint = didYouMean(key, Object.keys(spellings)) ?? `options are ${Object.keys(spellings).join(', ')}`
      throw this.#error(key, `unknown mount option "${key}"`, hint)
    }
    const isFlag = name === 'readonly' || name === 'readwrite' || name === 'required'
    if (value === undefined && !isFlag) throw this.#error(key, `the mount option "${key}" has no value`, `write ${key}=VALUE`)
    if (name !== 'readwrite') this.#values.set(name, value ?? 'true')
    else this.#values.set('readonly', this.#parseBool(key, value ?? 'true') ? 'false' : 'true')
  }

  #type(): MountType {
    const type = this.#text('type')?.toLowerCase() ?? 'bind'
    if (isMountType(type)) return type
    const hint = didYouMean(type, types) ?? `types are ${types.join(', ')}`
    throw this.#error(type, `unsupported mount type "${type}"`, hint)
  }

  /** `from` is expanded with global arguments, where it is looked up. */
  #from(): Word | undefined {
    const from = this.#values.get('from')
    return from === undefined || from === '' ? undefined : partOf(this.#word, from)
  }

  #text(name: FieldName | 'type'): string | undefined {
    const written = this.#values.get(name)
    if (written === undefined) return undefined
    const value = expand(this.#step, partOf(this.#word, written), this.#scope)
    return value === '' ? undefined : value
  }

  #bool(name: FieldName): boolean | undefined {
    const text = this.#text(name)
    return text === undefined ? undefined : this.#parseBool(this.#written(name), text)
  }

  #parseBool(name: string, text: string): boolean {
    if (/^(1|t|true)$/i.test(text)) return true
    if (/^(0|f|false)$/i.test(text)) return false
    throw this.#error(text, `the mount option "${name}" is "${text}", expected true or false`)
  }

  #number(name: 'mode' | 'uid' | 'gid', radix: 8 | 10): number | undefined {
    const text = this.#text(name)
    if (text === undefined) return undefined
    const valid = radix === 8 ? /^[0-7]{1,11}$/.test(text) : /^\d{1,10}$/.test(text)
    const value = Number.parseInt(text, radix)
    if (valid && value < (radix === 8 ? 0o10000 : 2 ** 32)) return value
    const expected = radix === 8 ? 'octal digits up to 07777' : 'a number'
    throw this.#error(text, `the mount option "${name}" is "${text}", expected ${expected}`)
  }

  #sharing(): MountOptions['sharing'] {
    const text = this.#text('sharing')?.toLowerCase()
    if (text === undefined || text === 'shared' || text === 'private' || text === 'locked') return text
    throw this.#error(
      text,
      `unsupported sharing value "${text}"`,
      didYouMean(text, sharings) ?? 'it is shared, private or locked',
    )
  }

  #size(): number | undefined {
    const text = this.#text('sizeBytes')
    if (text === undefined) return undefined
    const bytes = parseSize(text)
    if (bytes !== undefined) return bytes
    throw this.#error(text, `the mount option "size" is "${text}", expected a size like 64m`)
  }

  #check({ type, target, id, source, env, readonly }: MountOptions): void {
    if (readonly !== undefined && readonly !== (type !== 'tmpfs') && type !== 'bind' && type !== 'cache') {
      const always = type === 'tmpfs' ? 'writable' : 'read-only'
      throw this.#error(this.#written('readonly'), `a ${type} mount is always ${always}`)
    }
    if (type !== 'secret') return
    if (id !== undefined && source !== undefined) {
      throw this.#error(source, 'a secret mount takes id or source, not both', 'remove one of them')
    }
    if (id === undefined && source === undefined && target === undefined) {
      throw this.#error(this.#word.text, 'a secret mount needs an id', env === undefined ? 'add id=NAME' : `add id=${env}`)
    }
  }

  #written(name: string): string {
    const keys = Object.keys(spellings).filter((key) => spellings[key] === name)
    return keys.find((key) => new RegExp(`(^|,)\\s*${key}\\b`, 'i').test(this.#word.text)) ?? name
  }

  #error(part: string, message: string, hint?: string): Error {
    return problem(placeIn(this.#step, partOf(this.#word, part).span), 'DOCKERFILE_BAD_FLAG', message, hint)
  }
}

function isMountType(text: string): text is MountType {
  return types.includes(text)
}

/** `64m`, `1.5g`, `1024`, `2kb`: bytes, units are powers of 1024. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text)
  if (match === null) return undefined
  const power = ' kmgtp'.indexOf((match[2] || ' ').toLowerCase())
  return Math.trunc(Number(match[1]) * 1024 ** power)
}
