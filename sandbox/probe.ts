/**
 * What this host can do for containers, as sentences for `mille doctor`. Looks and tries, changes nothing.
 */

import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { BuildError, systemCode } from '../src/core/errors.js'
import { readTextIfExists } from '../src/io/fs.js'
import { isUsersNamespace, ownCapabilities } from './capabilities.js'
import { cgroupVersion } from './cgroup.js'
import { enterPrivateMounts, mountOverlay, unmountOverlay } from './mounts.js'
import { NetworkPool } from './network.js'
import { findProgram, knownRuntimes, probeRuntime, type RuntimeChoice } from './runtime.js'
import { captureProcess } from './spawn.js'
import { openState } from './state.js'

/** One line of the diagnosis. */
export interface Diagnosis {
  readonly name: string
  readonly ok: boolean | 'warn'
  /** What was found, a sentence without a full stop. */
  readonly detail: string
  readonly hint?: string
}

/** Where to look and try. */
export interface DiagnoseOptions {
  readonly stateDirectory: string
  readonly searchPath: string
}

/** Everything that running containers depends on, in the order in which it matters. */
export async function diagnoseHost(options: DiagnoseOptions): Promise<readonly Diagnosis[]> {
  const isRoot = process.getuid?.() === 0 && !isUsersNamespace()
  const overlay = isRoot ? overlayDiagnosis() : undefined
  const tried = overlay
    ? [overlay, ...(overlay.ok === true ? await containerDiagnoses(options) : [])]
    : [{ name: 'root', ok: false, detail: 'not started as root; containers need it', hint: 'run mille as root (sudo)' } as const]
  return [
    {
      name: 'kernel',
      ok: kernelIsNew(),
      detail: `Linux ${release()}`,
      ...(kernelIsNew() ? {} : { hint: 'mille needs Linux 5.6 or newer' }),
    },
    ...tried,
    cgroupDiagnosis(),
    userNamespaceDiagnosis(),
    programDiagnosis('newuidmap', 'needed for rootless builds with more than one user', 'install the package uidmap', options),
    programDiagnosis('conmon', 'needed for detached containers', 'install the package conmon', options),
  ]
}

function kernelIsNew(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 5 || (major === 5 && minor >= 6)
}

function overlayDiagnosis(): Diagnosis {
  const directory = mkdtempSync(join(tmpdir(), 'mille-probe-'))
  try {
    enterPrivateMounts()
    const [lower, upper, work, root] = ['lower', 'upper', 'work', 'root'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
      string,
    ]
    for (const path of [lower, upper, work, root]) mkdirSync(path)
    mountOverlay({ lowers: [lower], upper, work }, root)
    unmountOverlay(root, work)
    return { name: 'overlayfs', ok: true, detail: `layers can be mounted (tried in ${tmpdir()})` }
  } catch (error) {
    if (error instanceof BuildError) return failed('overlayfs', error)
    const code = systemCode(error)
    if (code === undefined) throw error
    return { name: 'overlayfs', ok: false, detail: `a private mount namespace cannot be made: ${code}`, hint: mountHint }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const mountHint = 'in a container, it must be started with the right to mount (--privileged, or CAP_SYS_ADMIN)'

function failed(name: string, error: BuildError): Diagnosis {
  return { name, ok: false, detail: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
}

/** Each runtime and the private network, tried for real. */
async function containerDiagnoses({ stateDirectory, searchPath }: DiagnoseOptions): Promise<Diagnosis[]> {
  const state = openState(stateDirectory)
  const env = { PATH: searchPath }
  try {
    const host = {
      cgroupVersion: cgroupVersion(),
      capabilities: ownCapabilities(),
      architecture: process.arch,
      kernelRelease: release(),
    }
    const choice: RuntimeChoice = { wanted: undefined, searchPath, stateDirectory, state, env, host }
    const runtimes: Diagnosis[] = []
    for (const name of knownRuntimes) runtimes.push(await runtimeDiagnosis(name, choice))
    if (!runtimes.some(({ ok }) => ok === true)) {
      runtimes.push({
        name: 'runtime',
        ok: false,
        detail: 'no OCI runtime works here',
        hint: 'install crun or runc from your distribution',
      })
    }
    return [...runtimes, await networkDiagnosis(state.bundles, searchPath, env)]
  } finally {
    state.close()
  }
}

async function runtimeDiagnosis(name: string, choice: RuntimeChoice): Promise<Diagnosis> {
  const { path, runtime, problem } = await probeRuntime(name, choice)
  if (path === undefined) return { name, ok: 'warn', detail: 'not installed' }
  if (runtime === undefined)
    return { name, ok: 'warn', detail: `installed as ${path} but does not work: ${problem ?? 'unknown reason'}` }
  const { stdout } = await captureProcess([path, '--version'], choice.env)
  const version = /version\s+(\S+)/.exec(stdout)?.[1]
  const notes = {
    cgroups: '',
    'hidden-unified': ', with the version 2 cgroups of this hybrid host hidden',
    'no-cgroups': ', without cgroups: limits have no effect',
  }
  return {
    name,
    ok: runtime.mode === 'no-cgroups' ? 'warn' : true,
    detail: `${path}${version === undefined ? '' : ` ${version}`} runs containers${notes[runtime.mode]}`,
  }
}

async function networkDiagnosis(
  directory: string,
  searchPath: string,
  env: Readonly<Record<string, string>>,
): Promise<Diagnosis> {
  let problem: Pick<Diagnosis, 'detail' | 'hint'> | undefined
  await using pool = new NetworkPool({
    directory,
    noteDirectory: directory,
    searchPath,
    env,
    watch: () => undefined,
    forget: () => undefined,
    warn: (message, hint) => {
      problem = { detail: message, ...(hint === undefined ? {} : { hint }) }
    },
  })
  const network = await pool.acquire('default', { reachHost: false })
  await network.release({ reusable: false })
  if (problem !== undefined) return { name: 'pasta', ok: 'warn', ...problem }
  return { name: 'pasta', ok: true, detail: 'private networks work' }
}

function cgroupDiagnosis(): Diagnosis {
  const version = cgroupVersion()
  try {
    accessSync('/sys/fs/cgroup', constants.W_OK)
    return { name: 'cgroups', ok: true, detail: `version ${version}; limits can be set` }
  } catch (error) {
    if (!['EACCES', 'EROFS', 'ENOENT'].includes(systemCode(error) ?? '')) throw error
    return { name: 'cgroups', ok: 'warn', detail: `version ${version}, not writable: limits have no effect` }
  }
}

/** Switches that distributions have to forbid user namespaces; a missing file forbids nothing. */
function userNamespaceDiagnosis(): Diagnosis {
  const value = (name: string): string | undefined => readTextIfExists(`/proc/sys/${name}`)?.trim()
  const name = 'user namespaces'
  if (value('user/max_user_namespaces') === '0') {
    return {
      name,
      ok: 'warn',
      detail: 'forbidden by user.max_user_namespaces = 0',
      hint: 'sysctl user.max_user_namespaces=15000',
    }
  }
  if (value('kernel/unprivileged_userns_clone') === '0') {
    return {
      name,
      ok: 'warn',
      detail: 'forbidden to users by kernel.unprivileged_userns_clone = 0',
      hint: 'sysctl kernel.unprivileged_userns_clone=1',
    }
  }
  if (value('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return {
      name,
      ok: 'warn',
      detail: 'restricted to users by AppArmor',
      hint: 'sysctl kernel.apparmor_restrict_unprivileged_userns=0',
    }
  }
  const ranges = rangesOf('/etc/subuid')
  return { name, ok: true, detail: `allowed; ${ranges === 0 ? 'no subordinate ids' : `${ranges} users have subordinate ids`}` }
}

function rangesOf(file: string): number {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.split(':').length === 3).length
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0
    throw error
  }
}

function programDiagnosis(name: string, purpose: string, hint: string, { searchPath }: DiagnoseOptions): Diagnosis {
  const path = findProgram(name, searchPath)
  return path === undefined ? { name, ok: 'warn', detail: `not installed; ${purpose}`, hint } : { name, ok: true, detail: path }
}
