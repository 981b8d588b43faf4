/**
 * Which OCI runtime runs the containers: the one asked for, or the first of crun, runc, youki that really works here.
 *
 * Being installed is not the test: a runtime may refuse this host's cgroups or lack a privilege. So it runs a container, once;
 * the answer is remembered by the path, size and mtime of its file until the machine starts anew.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { readBytesIfExists, readTextIfExists, writeFileAtomic } from '../src/io/fs.js'
import { unmount } from '../src/io/sys.js'
import { type OciHost, ociConfig } from './drivers/oci.js'
import { seccompProfile } from './drivers/seccomp.js'
import type { SandboxPlan } from './plan.js'
import { captureProcess, startProcess } from './spawn.js'
import { type OwnState, rememberRuntime, removeBundle } from './state.js'
import { runtimeFailure } from './status.js'
import { exitProgram } from './tiny-program.js'

/** A runtime that works, and what it needs to. */
export interface Runtime {
  /** `crun`, `runc`, … */
  readonly name: string
  readonly path: string
  /** `cgroups`: it makes a cgroup for each container. `hidden-unified`: so it does once the unified mount is out of its sight. */
  readonly mode: RuntimeMode
  /** See `OciHost.seccompProgram`. */
  readonly seccompProgram?: string
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
    const names = choice.wanted ?? probes.map((probe) => probe.name).join(', ')
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
  const memo = openMemo(choice, path)
  const known = memo.read()
  if (known !== undefined) {
    if (known.mode === 'hidden-unified') hideUnified()
    return { ...base, runtime: { name: base.name, path, ...known }, problem: undefined }
  }
  let problem: string | undefined
  for (const mode of modesOf(base.name)) {
    const runtime: Runtime = { name: base.name, path, mode }
    if (mode === 'hidden-unified') hideUnified()
    const answer = await tryRuntime(runtime, choice)
    if (answer.problem === undefined) {
      memo.write({ mode, ...answer.extra })
      return { ...base, runtime: { ...runtime, ...answer.extra }, problem: undefined }
    }
    problem ??= answer.problem
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

/** The argv that makes (`create`) or makes, starts and awaits (`run`) the container of a bundle directory with a `config.json`. */
export function runtimeArguments(
  verb: 'run' | 'create',
  runtime: Runtime,
  state: OwnState,
  bundle: string,
  id: string,
): string[] {
  return [
    runtime.path,
    ...['--root', state.runtimeRoot, '--log', join(bundle, 'log'), '--log-format', 'json'],
    ...(runtime.name === 'crun' ? ['--cgroup-manager', runtime.mode === 'no-cgroups' ? 'disabled' : 'cgroupfs'] : []),
    ...[verb, '--bundle', bundle, '--pid-file', join(bundle, 'pid'), id],
  ]
}

/** Where a container's cgroup is, or undefined when the runtime makes none. */
export function cgroupsPathOf(runtime: Runtime, id: string, parent = ''): string | undefined {
  return runtime.mode === 'no-cgroups' ? undefined : posix.join('/', parent, `mille-${id}`)
}

interface Answer {
  /** Why it does not work; undefined: it does. */
  readonly problem: string | undefined
  readonly extra: { readonly seccompProgram?: string }
}

/** Runs the smallest program there is in a container like any other. */
async function tryRuntime(runtime: Runtime, choice: RuntimeChoice): Promise<Answer> {
  const id = `${choice.state.name}-probe-${runtime.name}-${runtime.mode}`
  const bundle = join(choice.state.bundles, id)
  const rootPath = join(bundle, 'files')
  const program = exitProgram(choice.host.architecture)
  if (program === undefined) return { problem: undefined, extra: {} }
  mkdirSync(rootPath, { recursive: true, mode: 0o755 })
  rememberRuntime(choice.state, runtime.path)
  try {
    writeFileSync(join(rootPath, 'true'), program, { mode: 0o755 })
    const cgroupsPath = cgroupsPathOf(runtime, id)
    const host = { ...choice.host, rootPath, mounts: [], ...(cgroupsPath === undefined ? {} : { cgroupsPath }) }
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(ociConfig(probePlan, host)))
    const { code, signal } = await captureProcess(runtimeArguments('run', runtime, choice.state, bundle, id), choice.env)
    if (code === 0) return { problem: undefined, extra: await compiledSeccomp(runtime, choice, bundle, id) }
    const logged = runtimeFailure(readTextIfExists(join(bundle, 'log')) ?? '')
    return { problem: logged ?? `it ended with ${code ?? signal}`, extra: {} }
  } finally {
    removeBundle(bundle)
  }
}

/** crun leaves the compiled profile in its record of a container; it takes it back ready-made (crun(1), annotations). */
async function compiledSeccomp(runtime: Runtime, choice: RuntimeChoice, bundle: string, id: string): Promise<Answer['extra']> {
  if (runtime.name !== 'crun') return {}
  // No pipes: the container that waits to be started would hold them open.
  const none = { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore', ownSession: true, env: choice.env } as const
  const created = await startProcess(runtimeArguments('create', runtime, choice.state, bundle, id), none).ended
  if (created.code !== 0) return {}
  const program = readBytesIfExists(join(choice.state.runtimeRoot, id, 'seccomp.bpf'))
  await captureProcess([runtime.path, '--root', choice.state.runtimeRoot, 'delete', '--force', id], choice.env)
  return program === undefined || program.length === 0 ? {} : { seccompProgram: program.toString('base64') }
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

interface Known {
  readonly mode: RuntimeMode
  readonly seccompProgram?: string
}

interface Memo {
  read(): Known | undefined
  write(known: Known): void
}

/** The remembered answer for the program at `path`. It is void when the file or the profile changed or the machine was started anew. */
function openMemo(choice: RuntimeChoice, path: string): Memo {
  const { size, mtimeMs } = statSync(path)
  const profile = createHash('sha256')
    .update(JSON.stringify(seccompProfile(choice.host.architecture)))
    .digest('hex')
  const key = [path, size, mtimeMs, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), profile].join(' ')
  const file = join(choice.stateDirectory, `runtime-${path.replaceAll('/', '_')}`)
  return {
    read: () => {
      const [known, mode, program] = readTextIfExists(file)?.split('\n') ?? []
      if (known !== key) return undefined
      if (mode !== 'cgroups' && mode !== 'hidden-unified' && mode !== 'no-cgroups') return undefined
      return program === undefined || program === '' ? { mode } : { mode, seccompProgram: program }
    },
    write: ({ mode, seccompProgram = '' }) => writeFileAtomic(file, `${key}\n${mode}\n${seccompProgram}\n`, { mode: 0o600 }),
  }
}
