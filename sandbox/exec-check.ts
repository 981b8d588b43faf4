/**
 * Why the kernel refused to start a program, found out afterwards from the program itself.
 *
 * A runtime learns of a failed execve(2) when it has given up everything else and can only exit with 1, as any command could.
 * So when a command ends with that, its file is looked at: an interpreter that is missing or a file that is no program
 * cannot have run.
 */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'
import { fsPath } from '../src/core/path-bytes.js'
import { findEmulator } from './emulators.js'
import { resolveInside } from './stubs.js'

/** What is wrong with a program. `detail` is a sentence part. */
export interface ExecProblem {
  readonly kind: 'not-found' | 'not-executable'
  readonly detail: string
  /** What to do about it. */
  readonly hint?: string
}

/** Looks at the command `name` in the root filesystem mounted at `root`. Undefined: nothing speaks against that it ran. */
export function execProblem(root: string, name: string, env: readonly string[], cwd: string): ExecProblem | undefined {
  const file = findCommand(root, name, env, cwd)
  if (file === undefined) return undefined
  const head = readHead(file)
  if (head.length === 0) return undefined
  if (head.toString('latin1', 0, 2) === '#!') return scriptProblem(root, name, head)
  if (head.readUInt32BE(0) === elfMagic) return elfProblem(root, name, head)
  return { kind: 'not-executable', detail: `"${name}" is neither a program nor a script with a #! line` }
}

/** True when the command is an executable file against which nothing speaks; false too for one that a mount may bring. */
export function looksStartable(root: string, name: string, env: readonly string[], cwd: string): boolean {
  const file = findCommand(root, name, env, cwd)
  if (file === undefined || (statSync(fsPath(file)).mode & 0o111) === 0) return false
  return execProblem(root, name, env, cwd) === undefined
}

/** True for a path that leads to a directory. */
export function isDirectory(root: string, name: string, _env: readonly string[], cwd: string): boolean {
  if (!name.includes('/')) return false
  const path = fsPath(root + resolveInside(root, name.startsWith('/') ? name : `${cwd}/${name}`).path)
  return existsSync(path) && statSync(path).isDirectory()
}

const headBytes = 4096
const elfMagic = 0x7f45_4c46

function findCommand(root: string, name: string, env: readonly string[], cwd: string): string | undefined {
  const path = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? ''
  const candidates = name.includes('/')
    ? [name.startsWith('/') ? name : `${cwd}/${name}`]
    : path.split(':').map((part) => `${part}/${name}`)
  return candidates.map((candidate) => root + resolveInside(root, candidate).path).find(isFile)
}

function isFile(path: string): boolean {
  return existsSync(fsPath(path)) && statSync(fsPath(path)).isFile()
}

function readHead(file: string): Buffer {
  const fd = openSync(fsPath(file), 'r')
  try {
    const head = Buffer.alloc(headBytes)
    const length = readSync(fd, head, 0, headBytes, 0)
    return length < 4 ? Buffer.alloc(0) : head.subarray(0, length)
  } finally {
    closeSync(fd)
  }
}

function scriptProblem(root: string, name: string, head: Buffer): ExecProblem | undefined {
  const line = head.toString('utf8', 2).split('\n')[0] ?? ''
  const interpreter = line.trim().split(/[ \t]/)[0] ?? ''
  if (line.endsWith('\r')) {
    return { kind: 'not-found', detail: `the first line of "${name}" ends in a carriage return, so its interpreter is not found` }
  }
  if (isFile(root + resolveInside(root, interpreter).path)) return undefined
  return { kind: 'not-found', detail: `the interpreter "${interpreter}" of the script "${name}" is not in the container` }
}

/** ELF machine numbers that a processor (Node's name) runs, 32-bit ones included. */
const machines: Readonly<Record<string, readonly number[]>> = {
  x64: [62, 3],
  arm64: [183, 40],
  riscv64: [243],
  s390x: [22],
  ppc64: [21],
}
const machineNames: Readonly<Record<number, string>> = {
  3: '386',
  40: 'arm',
  62: 'amd64',
  183: 'arm64',
  243: 'riscv64',
  22: 's390x',
  21: 'ppc64le',
}

const interpreterHeader = 3

function elfProblem(root: string, name: string, head: Buffer): ExecProblem | undefined {
  const is64 = head[4] === 2
  const isLittle = head[5] === 1
  const isSound = head.length >= 64 && (is64 || head[4] === 1) && (isLittle || head[5] === 2)
  if (!isSound) return { kind: 'not-executable', detail: `"${name}" is a damaged program` }
  const machine = isLittle ? head.readUInt16LE(18) : head.readUInt16BE(18)
  const known = machines[process.arch]
  if (known !== undefined && !known.includes(machine)) {
    return foreignProblem(root, name, machineNames[machine], head)
  }
  if (!isLittle) return undefined
  const interpreter = elfInterpreter(head, is64)
  if (interpreter === undefined || isFile(root + resolveInside(root, interpreter).path)) return undefined
  return { kind: 'not-found', detail: `"${name}" is linked dynamically, and its loader "${interpreter}" is not in the container` }
}

/** The dynamic loader that a little-endian ELF file asks for (elf(5), PT_INTERP). */
function elfInterpreter(head: Buffer, is64: boolean): string | undefined {
  const tableAt = is64 ? Number(head.readBigUInt64LE(32)) : head.readUInt32LE(28)
  const entrySize = head.readUInt16LE(is64 ? 54 : 42)
  const count = head.readUInt16LE(is64 ? 56 : 44)
  for (let at = tableAt; at < tableAt + count * entrySize && at + entrySize <= head.length; at += entrySize) {
    if (entrySize < (is64 ? 56 : 32) || head.readUInt32LE(at) !== interpreterHeader) continue
    const offset = is64 ? Number(head.readBigUInt64LE(at + 8)) : head.readUInt32LE(at + 4)
    const end = head.indexOf(0, offset)
    return offset < head.length && end > offset ? head.toString('utf8', offset, end) : undefined
  }
  return undefined
}

/** A program for another processor, which runs only if the kernel knows an emulator and the emulator can be reached. */
function foreignProblem(root: string, name: string, processor: string | undefined, head: Buffer): ExecProblem | undefined {
  const emulator = findEmulator(head)
  const detail = `"${name}" is a program for ${processor ?? 'another processor'}`
  if (emulator === undefined) {
    const install = `"apt-get install qemu-user-static binfmt-support" or "docker run --privileged --rm tonistiigi/binfmt --install ${processor ?? 'all'}"`
    return {
      kind: 'not-executable',
      detail: `${detail}, and this machine has no emulator for it`,
      hint: `install one with ${install}, or run the step in a stage of FROM --platform=$BUILDPLATFORM`,
    }
  }
  if (emulator.isFixed || isFile(root + resolveInside(root, emulator.interpreter).path)) return undefined
  return {
    kind: 'not-executable',
    detail: `${detail}, and its emulator ${emulator.interpreter} is not in the container`,
    hint: 'register the emulator with the flag F (fix binary), as qemu-user-static of Debian does',
  }
}
