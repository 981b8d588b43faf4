/**
 * Times mille beside the peers that are installed and prints a table of medians, in seconds.
 *
 * usage: npm run bench -- [--runs N] [--peers NAME,…] [--peer-root DIR] [--json FILE] [QUESTION …]
 *
 * Everything lies in one temporary directory: stores, inputs, a registry for the base images.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cacheQuestions } from './cache-questions.js'
import { type Answer, type AskOptions, ask, askOwn, shell } from './harness.js'
import { openPeerRoot, ownRoot, type PeerRoot } from './peer-root.js'
import { buildQuestions, type Questions } from './questions.js'
import { formatFailures, formatMachine, formatTable, jsonReport } from './report.js'
import { type Docker, type DockerStore, startDocker, startRegistry } from './servers.js'
import { buildahTool, dockerTool, milleTool, type Tool } from './tools.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const mille = join(root, 'bin/mille')
const peerNames = ['buildah', 'docker', 'docker-containerd']

/** What the command line asks for. */
interface Wanted {
  readonly questions: readonly string[]
  readonly peers: readonly string[]
  readonly rounds: number | undefined
  readonly peerRoot: string | undefined
  readonly json: string | undefined
}

function parseWanted(argv: readonly string[]): Wanted {
  const text = { type: 'string' } as const
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { runs: text, peers: text, 'peer-root': text, json: text },
  })
  const rounds = values.runs === undefined ? undefined : Number(values.runs)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) throw new Error(`--runs is no number: ${values.runs}`)
  const peers = values.peers === undefined ? ['buildah', 'docker'] : values.peers.split(',').filter((name) => name !== '')
  const unknown = peers.find((name) => !peerNames.includes(name))
  if (unknown !== undefined) throw new Error(`there is no peer "${unknown}": ${peerNames.join(', ')}`)
  return { questions: positionals, peers, rounds, peerRoot: values['peer-root'], json: values.json }
}

/** `noop` is `noop-20`, `noop-2000` and `noop-50000`. */
function select(questions: Questions, wanted: readonly string[]): readonly string[] {
  const names = [...questions.keys()]
  const matches = (name: string, want: string): boolean => name === want || name.startsWith(`${want}-`)
  const unknown = wanted.find((want) => !names.some((name) => matches(name, want)))
  if (unknown !== undefined) throw new Error(`there is no question "${unknown}": ${names.join(', ')}`)
  return wanted.length === 0 ? names : names.filter((name) => wanted.some((want) => matches(name, want)))
}

/** The tools that are here. Who is not is named on stderr, with the reason. */
function availableTools(wanted: Wanted, scratch: string, peerRoot: PeerRoot, daemons: ReadonlyMap<DockerStore, Docker>): Tool[] {
  const tools = [milleTool(mille, scratch)]
  const leftOut = (name: string, reason: string): unknown => process.stderr.write(`${name} is left out: ${reason}\n`)
  if (wanted.peers.includes('buildah')) {
    const buildah = buildahTool(peerRoot, scratch)
    if (buildah === undefined) leftOut('buildah', 'it is not installed')
    else tools.push(buildah)
  }
  for (const [store, docker] of daemons) {
    if ('missing' in docker) leftOut(`docker with ${store}`, docker.missing)
    else tools.push(dockerTool(peerRoot.enter, docker.host, store))
  }
  return tools
}

/** Pushes the base images to the benchmark's registry. */
function pushBases(prefix: string, scratch: string, log: string): void {
  for (const name of ['busybox', 'debian']) {
    const tar = join(root, '.cache/bases', `${name}.tar`)
    shell(`${root}/fixtures/bases/make ${name} ${tar}`, log)
    shell(`MILLE_ROOT=${scratch}/import ${mille} import ${tar} ${prefix}/${name}`, log)
    shell(`MILLE_ROOT=${scratch}/import ${mille} push ${prefix}/${name}`, log)
  }
}

async function main(wanted: Wanted, scratch: string, signal: AbortSignal): Promise<boolean> {
  const startedAt = new Date()
  const logFile = join(scratch, 'log')
  const names = select(
    new Map([...cacheQuestions({ scratch, prefix: '' }), ...buildQuestions({ scratch, prefix: '' })]),
    wanted.questions,
  )
  await using registry = await startRegistry(scratch)
  await using peerRoot = wanted.peerRoot === undefined ? ownRoot : await openPeerRoot(wanted.peerRoot, scratch)
  const daemon = (name: string, store: DockerStore): Promise<Docker> | undefined =>
    wanted.peers.includes(name) ? startDocker(scratch, peerRoot.enter, store) : undefined
  await using overlay2 = await daemon('docker', 'overlay2')
  await using containerd = await daemon('docker-containerd', 'containerd')
  const daemons = new Map<DockerStore, Docker>([
    ...(overlay2 === undefined ? [] : [['overlay2', overlay2] as const]),
    ...(containerd === undefined ? [] : [['containerd', containerd] as const]),
  ])
  const tools = availableTools(wanted, scratch, peerRoot, daemons)
  const setting = { scratch, prefix: `${registry.host}/base` }
  pushBases(setting.prefix, scratch, logFile)
  const questions = new Map([...cacheQuestions(setting), ...buildQuestions(setting)])
  const options: AskOptions = { logFile, signal, ...(wanted.rounds === undefined ? {} : { rounds: wanted.rounds }) }
  const answers: Answer[] = []
  for (const name of names) {
    for (const question of questions.get(name)?.() ?? []) {
      answers.push(await ('measure' in question ? askOwn(question, options) : ask(question, tools, options)))
    }
    rmSync(join(scratch, 'inputs'), { recursive: true, force: true })
  }
  process.stdout.write(`${formatMachine(tools)}\n${formatTable(answers, tools)}\n`)
  process.stderr.write(formatFailures(answers))
  if (wanted.json !== undefined) writeFileSync(wanted.json, jsonReport(answers, tools, startedAt))
  return answers.every(({ failed }) => !failed.has('mille'))
}

const wanted = parseWanted(process.argv.slice(2))
const scratch = mkdtempSync(join(tmpdir(), 'mille-bench-'))
const controller = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort(new Error(name)))
try {
  mkdirSync(join(scratch, 'mille'), { recursive: true })
  if (!(await main(wanted, scratch, controller.signal))) process.exitCode = 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
