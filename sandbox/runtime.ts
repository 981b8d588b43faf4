/**
 * Which OCI runtime runs the containers: the one asked for, or the first of crun, runc, youki that really works here.
 *
 * Being installed is not the test: a runtime may refuse this host's cgroups or lack a privilege. So it runs a container, once;
 * the answer is remembered by the path, size and mtime of its file until the machine starts anew.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { readTextIfExists, writeFileAtomic } from '../src/io/fs.js'
import { unmount } from '../src/io/sys.js'
import { type OciConfig, type OciHost, ociConfig } from './drivers/oci.js'
import type { SandboxPlan } from './plan.js'
import { startProcess } from './spawn.js'
import { type OwnState, removeBundle } from './state.js'
import { runtimeFailure } from './status.js'
import { exitProgram } from './tiny-program.js'

/** A runtime that works, and what it needs to. */
export interface Runtime {
  /** `crun`, `runc`, … */
  readonly name: string
  readonly path: string
  /** `cgroups`: it makes a cgroup for each container. `hidden-unified`: so it does once the unified mount is out of its sight. */
  readonly mode: RuntimeMode
}

/** See `Runtime.mode`; `no-cgroups`: containers stay in mille's own cgroup, without limits and without device rules. */
export type RuntimeMode = 'cgroups' | 'hidden-unified' | 'no-cgroups'

/** What the choice depends on. */
export interface RuntimeChoice {
  /** A name or a path; undefined: the first that works. */
  readonly wanted: string | undefined
  /** Directories to look for programs in, as in PATH. */
  readonly searchPath: string
  readonly stateDirectory: string
  readonly state: OwnState
  readonly env: Readonly<Record<string, string>>
  readonly host: Omit<OciHost, 'rootPath' | 'mounts' | 'networkPath' | 'cgroupsPath'>
}

/** One runtime's probe. */
export interface RuntimeProbe {
  readonly name: string
  readonly path: string | undefined
  readonly runtime: Runtime | undefined
  /** Why it does not work, a sentence part. */
  readonly problem: string | undefined
}

/** Names that are tried, fastest first. */
export const knownRuntimes: readonly string[] = ['crun', 'runc', 'youki']

/**
 * Chooses the runtime.
 *
 * @throws SandboxError SANDBOX_NO_RUNTIME with the reason for each that was tried
 */
export async function chooseRuntime(choice: RuntimeChoice): Promise<Runtime> {
  const probes: RuntimeProbe[] = []
  for (const name of choice.wanted === undefined ? knownRuntimes : [choice.wanted]) {
    const probe = await probeRuntime(name, choice)
    if (probe.runtime !== undefined) return probe.runtime
    probes.push(probe)
  }
  const installed = probes.filter((probe) => probe.path !== undefined)
  if (installed.length === 0) {
    const names = probes.map((probe) => probe.name).join(', ')
    throw new SandboxError('SANDBOX_NO_RUNTIME', `no OCI runtime is installed (looked for ${names})`, {
      hint: 'install crun or runc from your distribution',
    })
  }
  const reasons = installed.map((probe) => `${probe.name}: ${probe.problem ?? 'unknown reason'}`).join('; ')
  throw new SandboxError('SANDBOX_NO_RUNTIME', `no OCI runtime works here (${reasons})`, { hint: 'see "mille doctor"' })
}

/** Looks for a runtime and, unless the answer is remembered, runs a container with it. */
export async function probeRuntime(name: string, choice: RuntimeChoice): Promise<RuntimeProbe> {
  const path = findProgram(name, choice.searchPath)
  const base = { name: name.slice(name.lastIndexOf('/') + 1), path }
  if (path === undefined) return { ...base, runtime: undefined, problem: 'it is not installed' }
  const memo = openMemo(choice.stateDirectory, path)
  const known = memo.read()
  if (known !== undefined) {
    if (known === 'hidden-unified') hideUnified()
    return { ...base, runtime: { name: base.name, path, mode: known }, problem: undefined }
  }
  let problem: string | undefined
  for (const mode of modesOf(base.name)) {
    const runtime: Runtime = { name: base.name, path, mode }
    if (mode === 'hidden-unified') hideUnified()
    const failure = await tryRuntime(runtime, choice)
    if (failure === undefined) {
      memo.write(mode)
      return { ...base, runtime, problem: undefined }
    }
    problem ??= failure
  }
  return { ...base, runtime: undefined, problem }
}

/** The path of a program: `name` itself when it has a slash, else the first match in `searchPath`. */
export function findProgram(name: string, searchPath: string): string | undefined {
  if (name.includes('/')) return existsSync(name) ? name : undefined
  return searchPath
    .split(':')
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path))
}

const unifiedPath = '/sys/fs/cgroup/unified'

function modesOf(name: string): readonly RuntimeMode[] {
  const isHybrid = existsSync(join(unifiedPath, 'cgroup.procs'))
  const hidden: readonly RuntimeMode[] = isHybrid ? ['hidden-unified'] : []
  return name === 'crun' ? ['cgroups', ...hidden, 'no-cgroups'] : ['cgroups']
}

/** Takes cgroup version 2 of a host that has both out of the sight of this process: crun refuses such hosts. */
function hideUnified(): void {
  try {
    unmount(unifiedPath, { detach: true })
  } catch (error) {
    // EINVAL, ENOENT: it is gone already.
    if (systemCode(error) !== 'EINVAL' && systemCode(error) !== 'ENOENT') throw error
  }
}

/** The argv of `runtime run` for a container whose bundle directory holds `config.json`. */
export function runArguments(runtime: Runtime, state: OwnState, bundle: string, id: string): readonly string[] {
  return [
    runtime.path,
    '--root',
    state.runtimeRoot,
    '--log',
    join(bundle, 'log'),
    '--log-format',
    'json',
    ...(runtime.name === 'crun' ? ['--cgroup-manager', runtime.mode === 'no-cgroups' ? 'disabled' : 'cgroupfs'] : []),
    'run',
    '--bundle',
    bundle,
    '--pid-file',
    join(bundle, 'pid'),
    id,
  ]
}

/** Where a container's cgroup is, or undefined when the runtime makes none. */
export function cgroupsPathOf(runtime: Runtime, id: string): string | undefined {
  return runtime.mode === 'no-cgroups' ? undefined : `/mille/${id}`
}

/** Runs the smallest program there is in a container like any other. Returns why that did not work. */
async function tryRuntime(runtime: Runtime, choice: RuntimeChoice): Promise<string | undefined> {
  const id = `${choice.state.name}-probe-${runtime.name}-${runtime.mode}`
  const bundle = join(choice.state.directory, id)
  const rootPath = join(bundle, 'files')
  mkdirSync(rootPath, { recursive: true, mode: 0o755 })
  try {
    const program = exitProgram(choice.host.architecture)
    if (program === undefined) return undefined
    writeFileSync(join(rootPath, 'true'), program, { mode: 0o755 })
    const cgroupsPath = cgroupsPathOf(runtime, id)
    const host = { ...choice.host, rootPath, mounts: [], ...(cgroupsPath === undefined ? {} : { cgroupsPath }) }
    const config: OciConfig = ociConfig(probePlan, host)
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
    const child = startProcess(runArguments(runtime, choice.state, bundle, id), {
      env: choice.env,
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'ignore',
      ownSession: true,
    })
    const { code, signal } = await child.ended
    if (code === 0) return undefined
    return runtimeFailure(readTextIfExists(join(bundle, 'log')) ?? '') ?? `it ended with ${code ?? signal}`
  } finally {
    removeBundle(bundle)
  }
}

const probePlan: SandboxPlan = {
  argv: ['/true'],
  env: [],
  cwd: '/',
  user: { uid: 0, gid: 0, additionalGids: [] },
  hostname: 'probe',
  rootfs: { hostLowers: [], hostUpper: '', hostWork: '' },
  mounts: [],
  network: 'host',
  extraHosts: [],
  security: 'sandbox',
  readonlyRootfs: false,
  terminal: false,
  limits: {},
}

interface Memo {
  read(): RuntimeMode | undefined
  write(mode: RuntimeMode): void
}

/** The remembered answer for the program at `path`. It is void when the file changed or the machine was started anew. */
function openMemo(stateDirectory: string, path: string): Memo {
  const { size, mtimeMs } = statSync(path)
  const key = [path, size, mtimeMs, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()].join(' ')
  const file = join(stateDirectory, `runtime-${path.replaceAll('/', '_')}`)
  return {
    read: () => {
      const [known, mode] = readTextIfExists(file)?.split('\n') ?? []
      if (known !== key) return undefined
      return mode === 'cgroups' || mode === 'hidden-unified' || mode === 'no-cgroups' ? mode : undefined
    },
    write: (mode) => writeFileAtomic(file, `${key}\n${mode}\n`),
  }
}
