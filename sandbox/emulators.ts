/**
 * Emulators that the kernel starts for programs of other processors (binfmt_misc), read from its own list of them.
 *
 * Spec: kernel, admin-guide/binfmt-misc.rst. An entry is a file with its state, interpreter, flags, offset, magic and mask.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** An emulator for a program. */
export interface Emulator {
  readonly interpreter: string
  /** Opened when it was registered (flag F): it need not be in the container. */
  readonly isFixed: boolean
}

const defaultDirectory = '/proc/sys/fs/binfmt_misc'

/** The emulator that the kernel would start for a program that begins with `head`; undefined: none. */
export function findEmulator(head: Buffer, directory: string = defaultDirectory): Emulator | undefined {
  if (!existsSync(directory)) return undefined
  for (const name of readdirSync(directory)) {
    if (name === 'register' || name === 'status') continue
    const emulator = readEntry(readFileSync(join(directory, name), 'utf8'), head)
    if (emulator !== undefined) return emulator
  }
  return undefined
}

function readEntry(text: string, head: Buffer): Emulator | undefined {
  const lines = text.split('\n')
  const field = (name: string): string | undefined => lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1)
  const flags = lines.find((line) => line.startsWith('flags:'))?.slice('flags:'.length) ?? ''
  const [interpreter, magicHex] = [field('interpreter'), field('magic')]
  if (lines[0] !== 'enabled' || interpreter === undefined || magicHex === undefined) return undefined
  const magic = Buffer.from(magicHex, 'hex')
  const mask = Buffer.from(field('mask') ?? 'ff'.repeat(magic.length), 'hex')
  const offset = Number(field('offset') ?? 0)
  const matches = magic.every((byte, i) => ((head[offset + i] ?? 0) & (mask[i] ?? 0xff)) === (byte & (mask[i] ?? 0xff)))
  return matches ? { interpreter, isFixed: flags.includes('F') } : undefined
}
