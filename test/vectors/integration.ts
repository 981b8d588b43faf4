/**
 * Suite `integration`: the steps of BuildKit's integration tests with `bin/mille`, then their checks, see the README.md
 * beside the cases.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dockerfileVersion } from '../../src/engine/attest.js'
import { mille, milleOk, runProgram } from '../helpers/cli.js'
import { withRegistry } from '../helpers/registry-server.js'
import { within } from '../helpers/within.js'
import { type BuildBench, baseNamesIn, openBench, whyNoBench } from './bench.js'
import { withDifferences } from './differences.js'
import { milleErrors } from './error-text.js'
import { claim, type Outcome, passed, recordOf, type Suite, skip, textOf, type VectorCase } from './frame.js'
import { judgeAssertText } from './integration-asserts.js'
import { type BuildRequest, buildArguments, NotOurs, readBuildctl, readOptions } from './integration-build.js'
import { type CaseResults, judgeChecks } from './integration-checks.js'
import { openWorld, type World } from './integration-world.js'
import { applyTweak } from './tweaks.js'

const caseLimitMs = 120_000

/** Opens the suite with its bases; the registry starts with the first case that needs one. */
export async function openSuite(folder: string): Promise<Suite> {
  const problem = await whyNoBench()
  if (problem !== undefined) return { files: { 'cases.json': () => skip(problem) } }
  const bench = await openBench(baseNamesIn(readFileSync(`${folder}/cases.json`, 'utf8')))
  const registry = lazyRegistry(bench.directory())
  const settle = withDifferences('integration')
  return {
    jobs: 2,
    close: async () => {
      await registry.close()
      await bench.close()
    },
    files: {
      'cases.json': async (vector) => settle(vector.id, await within(caseLimitMs, judgeCase(vector, bench, registry.host))),
    },
  }
}

interface LazyRegistry {
  readonly host: () => Promise<string>
  readonly close: () => Promise<void>
}

function lazyRegistry(directory: string): LazyRegistry {
  const started: { host?: Promise<string>; end?: () => void; ended?: Promise<void> } = {}
  return {
    host: () => {
      started.host ??= new Promise((resolve, reject) => {
        started.ended = withRegistry(directory, (host) => {
          resolve(host)
          return new Promise((end) => {
            started.end = end
          })
        })
        started.ended.catch(reject)
      })
      return started.host
    },
    close: async () => {
      started.end?.()
      await started.ended
    },
  }
}

async function judgeCase(vector: VectorCase, shared: BuildBench, registry: () => Promise<string>): Promise<Outcome> {
  const steps = (Array.isArray(vector.steps) ? vector.steps : []).map(recordOf)
  const why = whySkipped(vector, steps)
  if (why !== undefined) return skip(why)
  const prunes = steps.some(({ op }) => op === 'prune')
  const bench = prunes ? await shared.separate() : shared
  const world = await openWorld(vector, bench.directory(), registry)
  try {
    const run = new CaseRun(vector, world, bench)
    for (const step of steps) {
      const outcome = await run.step(step)
      if (outcome.status !== 'passed') return outcome
      // A later build may write to the same place.
      const id = step.op === 'command' ? `cmd${String(step.id)}` : String(step.id)
      const own = checksOf(vector).filter(({ build }) => build !== undefined && String(build) === id)
      const checked = await judgeChecks(own, world, bench, run.results)
      if (checked.status !== 'passed') return checked
    }
    const last = checksOf(vector).filter(({ build }) => build === undefined)
    const checked = await judgeChecks(last, world, bench, run.results)
    return checked.status === 'passed' ? await judgeAttested(vector, steps, world) : checked
  } catch (error) {
    if (error instanceof NotOurs) return skip(error.message)
    throw error
  } finally {
    world.close()
  }
}

/** What a case that asks for attestations says of them. */
async function judgeAttested(
  vector: VectorCase,
  steps: readonly Readonly<Record<string, unknown>>[],
  world: World,
): Promise<Outcome> {
  if (!JSON.stringify(steps).includes('attest:')) return passed
  const asserts = Array.isArray(vector.otherAsserts) ? vector.otherAsserts.map(String) : []
  for (const text of asserts) {
    const wrong = await judgeAssertText(text, { resolve: (each) => world.resolve(each), dockerfileVersion })
    if (wrong !== undefined) return { status: 'failed', detail: wrong }
  }
  return passed
}

function checksOf(vector: VectorCase): readonly Readonly<Record<string, unknown>>[] {
  return (Array.isArray(vector.checks) ? vector.checks : []).map(recordOf)
}

function whySkipped({ id, contexts }: VectorCase, steps: readonly Readonly<Record<string, unknown>>[]): string | undefined {
  const text = JSON.stringify(steps)
  if (/nanoserver/i.test(text) || (/windows/i.test(text) && /\bRUN\b/.test(JSON.stringify(contexts)))) return 'needs Windows'
  if (text.includes('sb.CDISpecDir')) return "needs the device directory of BuildKit's test daemon"
  if (id === 'testExportedHistoryFlattenArgs') return 'the case lost the filter of the list that it looks at'
  if (JSON.stringify(contexts).includes('"path":"Dockerfile","content":""') && /Git/.test(id))
    return 'the case lost the text of its Dockerfiles'
  if (/"(?:Definition|FrontendInputs|frontendInputs)"|"ref": ?"@id"|"ref":"@id"/.test(text))
    return "needs BuildKit's own protocol"
  const subrequest = steps.some(({ op }) => op === 'gatewaySolve')
  if (steps.some(({ via }) => via === 'clientBuild') && !subrequest) return "needs BuildKit's own protocol"
  if (text.includes('/sys/fs/cgroup/') && !existsSync('/sys/fs/cgroup/cgroup.controllers')) return 'needs cgroups v2'
  return undefined
}

/** The steps of a case, in order. */
class CaseRun {
  readonly results: CaseResults = { builds: new Map(), answers: new Map() }
  readonly #vector: VectorCase
  readonly #world: World
  readonly #bench: BuildBench
  readonly #env: Record<string, string> = {}
  /** What a `clientBuild` gives to the `gatewaySolve` steps after it. */
  #client: Readonly<Record<string, unknown>> = {}

  constructor(vector: VectorCase, world: World, bench: BuildBench) {
    this.#vector = vector
    this.#world = world
    this.#bench = bench
  }

  async step(step: Readonly<Record<string, unknown>>): Promise<Outcome> {
    switch (step.op) {
      case 'build':
        return this.#build(step)
      case 'gatewaySolve':
        return this.#solve(step)
      case 'command':
        return this.#command(step)
      case 'shell':
        return this.#shell(step)
      case 'setup':
        return this.#setup(step)
      case 'httpServer':
        this.#world.setRoutes(step)
        return passed
      case 'httpRoute':
        this.#world.setRoute(String(step.url ?? step.server), String(step.path ?? step.route), recordOf(step.response ?? step))
        return passed
      case 'setenv':
        this.#env[String(step.name ?? step.key)] = this.#world.resolve(String(step.value))
        return passed
      case 'prune':
        await milleOk(this.#bench.options.root, ['prune', '--cache'])
        return passed
      case 'set':
        return passed
      default:
        throw new Error(`the step ${String(step.op)} is not known to the runner`)
    }
  }

  async #build(step: Readonly<Record<string, unknown>>): Promise<Outcome> {
    if (step.via === 'clientBuild') {
      this.#client = recordOf(step.opt)
      return passed
    }
    return this.#mille(String(step.id), readOptions(recordOf(step.opt), this.#world), step.expect)
  }

  /** A request that a gateway client sends: a build, or a question about the Dockerfile. */
  async #solve(step: Readonly<Record<string, unknown>>): Promise<Outcome> {
    const { FrontendOpt, Frontend } = recordOf(step.req)
    if (Frontend !== undefined && Frontend !== 'dockerfile.v0') throw new NotOurs("needs BuildKit's own protocol")
    const attrs = { ...recordOf(this.#client.frontendAttrs ?? {}), ...recordOf(FrontendOpt ?? {}) }
    const request = readOptions({ ...this.#client, frontendAttrs: attrs }, this.#world)
    const question = /^frontend\.(\w+)$/.exec(String(attrs.requestid ?? ''))?.[1]
    if (question === undefined) return this.#mille(String(step.id), request, step.expect)
    return this.#mille(String(step.id), request, step.expect, [`--call=${question},format=json`])
  }

  async #mille(id: string, request: BuildRequest, expect: unknown, more: readonly string[] = []): Promise<Outcome> {
    const denied = recordOf(this.#vector.variant ?? {}).allowedByDaemon === false
    const iidfile = `${this.#bench.directory()}/id`
    const args = ['build', ...more, '--iidfile', iidfile, ...buildArguments(request, this.#world, denied)]
    const secrets = request.secrets.map((name) => [`VECTOR_SECRET_${name}`, this.#world.secret(name)])
    const env = { ...this.#env, ...Object.fromEntries(secrets), MILLE_PROVENANCE_DIR: this.#environment() }
    const cwd = this.#world.directory
    const { code, stdout, stderr } = await mille(this.#bench.options.root, args, { cwd, env, timeoutMs: 120_000 })
    this.results.builds.set(id, { request, stderr, ...(existsSync(iidfile) ? { imageId: readText(iidfile) } : {}) })
    if (more.length > 0) this.results.answers.set(id, stdout)
    return judgeEnd(expect, code, stderr)
  }

  /** What the administrator of BuildKit's test daemon has said of the machine. */
  #environment(): string {
    const directory = this.#bench.directory()
    writeFileSync(`${directory}/test.json`, '{"foo": "bar", "numbers": [1.0, 2.0, 3.0]}')
    return directory
  }

  async #command(step: Readonly<Record<string, unknown>>): Promise<Outcome> {
    const words = (Array.isArray(step.args) ? step.args : []).map(String)
    const [program = '', ...rest] = words
    const id = `cmd${String(step.id)}`
    const cwd = typeof step.dir === 'string' ? this.#world.resolve(step.dir) : this.#world.directory
    if (program === 'buildctl') {
      const request = readBuildctl(rest.join(' ').split(' '))
      const mounts = Object.entries(request.mounts).map(([name, path]) => [name, path === '.' ? cwd : path])
      return this.#mille(id, { ...request, mounts: Object.fromEntries(mounts) }, step.expect)
    }
    const { code, stdout, stderr } = await runProgram(
      program,
      rest.map((word) => this.#world.resolve(word)),
      { cwd },
    )
    this.#world.set(`cmd#${String(step.id)}.out`, stdout)
    return claim(code === 0, `${words.join(' ')}: exit code ${code}\n${stderr}`)
  }

  async #shell(step: Readonly<Record<string, unknown>>): Promise<Outcome> {
    const cwd = this.#world.resolve(textOf(step, 'dir'))
    const env = { GIT_CONFIG_GLOBAL: '/dev/null', HOME: cwd }
    for (const command of Array.isArray(step.commands) ? step.commands : []) {
      // Not synchronously: git fetches from the case's own server, which is in this process.
      const { code, stderr } = await runProgram('sh', ['-c', this.#world.resolve(String(command))], {
        cwd,
        env,
        timeoutMs: 30_000,
      })
      if (code !== 0) return { status: 'failed', detail: `${String(command)}: exit code ${code}\n${stderr}` }
    }
    return passed
  }

  #setup(step: Readonly<Record<string, unknown>>): Outcome {
    const args = Array.isArray(step.args) ? step.args : []
    const unpacked = /path\.Join\("(@tmp\d+)", tar\(buffer\("(@buf\d+)"\)\)\[\*\]\.key\)/.exec(
      JSON.stringify(args[0]).replaceAll('\\"', '"'),
    )
    if (unpacked !== null) {
      const [, directory = '', tar = ''] = unpacked
      const { status, stderr } = spawnSync('tar', ['-xf', this.#world.resolve(tar), '-C', this.#world.resolve(directory)])
      return claim(status === 0, String(stderr))
    }
    const known = args.map((each) => (typeof each === 'string' ? each : this.#valueOf(each)))
    applyTweak(textOf(step, 'fn'), known, (text) => this.#world.resolve(text))
    return passed
  }

  /** A value that upstream makes at run time: an ssh key. */
  #valueOf(value: unknown): unknown {
    const symbol = typeof value === 'object' && value !== null ? recordOf(value).$sym : undefined
    if (typeof symbol !== 'string') return value
    if (!symbol.startsWith('pem.EncodeToMemory')) throw new NotOurs(`the value ${symbol} is only known inside BuildKit's test`)
    const path = `${this.#bench.directory()}/key`
    spawnSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', '', '-f', path])
    return readText(path)
  }
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

function judgeEnd(expect: unknown, code: number | null, stderr: string): Outcome {
  const tail = stderr.trimEnd().split('\n').slice(-12).join('\n      ')
  if (expect === 'unchecked') return passed
  if (expect === 'ok') return claim(code === 0, `the build fails:\n      ${tail}`)
  if (code === 0) return { status: 'failed', detail: 'there is no error' }
  if (code === 70 || code === null) return { status: 'failed', detail: `mille itself failed:\n      ${tail}` }
  if (expect === 'error') return passed
  const { errorContains, errorEquals, errorMatches } = recordOf(expect)
  const said = milleErrors(stderr)
  const missing = (Array.isArray(errorContains) ? errorContains : []).filter((text) => !said.includes(String(text)))
  if (missing.length > 0) return { status: 'failed', detail: `the error does not say ${JSON.stringify(missing)}:\n      ${tail}` }
  if (typeof errorEquals === 'string' && !said.split('\n').includes(errorEquals))
    return { status: 'failed', detail: `the error is not ${errorEquals}:\n      ${tail}` }
  if (typeof errorMatches === 'string' && !new RegExp(errorMatches).test(said))
    return { status: 'failed', detail: `the error does not match ${errorMatches}:\n      ${tail}` }
  return passed
}
