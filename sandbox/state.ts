/**
 * The state directory: one subdirectory for each mille process that runs containers, and what dead ones left there.
 *
 * `<state>/run-<name>/` holds `lock` (flocked as long as its process lives), `runtime/` (the OCI runtime's own records), `helpers/` (a
 * file for each helper process, named by its number) and `private/`, a tmpfs that only this process's mount namespace sees, with a directory for each container. A directory whose
 * lock is free belongs to a process that died: whoever finds it ends its containers and removes it.
 */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { randomName, readTextIfExists } from '../src/io/fs.js'
import { attemptLock, tryLock } from '../src/io/sys.js'
import { mountMemory, unmountNow } from './mounts.js'
import { captureProcess } from './spawn.js'

/** The directory of this process. */
export interface OwnState {
  /** Also the prefix of the names of this process's containers. */
  readonly name: string
  readonly directory: string
  /** In memory, for the directories of the containers, secrets included. Gone with this process. */
  readonly bundles: string
  /** The OCI runtime's `--root`. */
  readonly runtimeRoot: string
  /** Has a file for each helper process, named by its number. */
  readonly helpers: string
  /** Removes the directory; the containers have ended before. */
  close(): void
}

const finished = 'run-'
const halfMade = 'new-'

/**
 * Makes this process's directory. The process is in its private mount namespace by then.
 *
 * It is locked before it gets its final name: no other process can take it for one that was left behind.
 *
 * @throws SandboxError SANDBOX_SETUP_FAILED
 */
export function openState(stateDirectory: string): OwnState {
  const name = randomName(8)
  const temporary = join(stateDirectory, `${halfMade}${name}`)
  const directory = join(stateDirectory, `${finished}${name}`)
  try {
    for (const part of ['runtime', 'helpers', 'private']) mkdirSync(join(temporary, part), { recursive: true, mode: 0o700 })
    const lock = openSync(join(temporary, 'lock'), 'wx', 0o600)
    if (!tryLock(lock, 'exclusive')) throw new Error(`the new lock in ${temporary} is taken`)
    renameSync(temporary, directory)
    mountMemory(join(directory, 'private'))
    return {
      name,
      directory,
      bundles: join(directory, 'private'),
      runtimeRoot: join(directory, 'runtime'),
      helpers: join(directory, 'helpers'),
      close: () => {
        unmountNow(join(directory, 'private'))
        rmSync(directory, { recursive: true })
        closeSync(lock)
      },
    }
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    throw new SandboxError('SANDBOX_SETUP_FAILED', `the state directory ${stateDirectory} cannot be written: ${code}`, {
      cause: error,
    })
  }
}

/** Notes which runtime made the containers of this process, for whoever may have to remove them. */
export function rememberRuntime(state: OwnState, runtimePath: string): void {
  writeFileSync(join(state.directory, 'runtime-path'), runtimePath)
}

/** Ends the containers of processes that died and removes their directories. A directory in use is left alone. */
export async function removeLeftovers(stateDirectory: string, env: Readonly<Record<string, string>>): Promise<void> {
  for (const entry of readdirSync(stateDirectory)) {
    const directory = join(stateDirectory, entry)
    if (entry.startsWith(finished)) await removeIfDead(directory, env)
    else if (entry.startsWith(halfMade) && isOld(directory)) rmSync(directory, { recursive: true, force: true })
  }
}

async function removeIfDead(directory: string, env: Readonly<Record<string, string>>): Promise<void> {
  const lock = openIfExists(join(directory, 'lock'))
  if (lock === undefined) return
  try {
    // Where nothing can be locked nobody knows who lives.
    if (attemptLock(lock, 'exclusive') !== 'taken') return
    await deleteContainers(directory, env)
    endHelpers(directory)
    rmSync(directory, { recursive: true, force: true })
  } finally {
    closeSync(lock)
  }
}

async function deleteContainers(directory: string, env: Readonly<Record<string, string>>): Promise<void> {
  const runtime = readTextIfExists(join(directory, 'runtime-path'))
  if (runtime === undefined) return
  const root = join(directory, 'runtime')
  for (const id of namesIn(root)) {
    if (id.startsWith('.')) continue
    // What it answers does not matter: it may have ended by itself meanwhile.
    await captureProcess([runtime, '--root', root, 'delete', '--force', id], env)
  }
}

/** The command line of a helper names the state directory; a number that is another process's by now is left alone. */
function endHelpers(directory: string): void {
  for (const name of namesIn(join(directory, 'helpers'))) {
    const command = /^[1-9]\d*$/.test(name) ? commandOf(name) : ''
    if (command.includes(`${directory}/`)) process.kill(Number(name), 'SIGKILL')
  }
}

function commandOf(pid: string): string {
  try {
    return readTextIfExists(`/proc/${pid}/cmdline`) ?? ''
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return ''
    throw error
  }
}

const minuteMs = 60_000

function isOld(path: string): boolean {
  try {
    return Date.now() - statSync(path).mtimeMs > minuteMs
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

function openIfExists(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

/** Names in a container's directory that something may be mounted on. */
export const mountPointNames = { root: 'root', views: 'view-' } as const

/**
 * Removes the directory of one container. What may be a mount point is removed as an empty directory only: should
 * something still be mounted there, nothing of it is deleted.
 */
export function removeBundle(bundle: string): void {
  for (const name of namesIn(bundle)) {
    if (name === mountPointNames.root || name.startsWith(mountPointNames.views)) rmdirSync(join(bundle, name))
  }
  rmSync(bundle, { recursive: true, force: true })
}
