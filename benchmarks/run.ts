/**
 * Times mille beside the peers that are installed and prints a table of medians, in seconds.
 *
 * usage: npm run bench -- [--runs N] [--peers NAME,…] [--peer-root DIR] [--json FILE] [QUESTION …]
 *
 * Everything lies in one temporary directory: stores, inputs, a registry for the base images.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheQuestions } from './cache-questions.js'
import { type Answer, type AskOptions, ask, askOwn, shell } from './harness.js'
import { parseWanted, usageText, type Wanted } from './options.js'
import { openPeerRoot, ownRoot, type PeerRoot } from './peer-root.js'
import { buildQuestions, type Questions, type Setting } from './questions.js'
import { formatFailures, formatMachine, formatTable, jsonReport } from './report.js'
import { type Docker, type DockerStore, startDocker, startRegistry } from './servers.js'
import { buildahTool, dockerTool, milleTool, type Tool } from './tools.js'

/** Somebody stopped the benchmark. */
class Interrupted extends Error {}

const root = fileURLToPath(new URL('../..', import.meta.url))
const mille = join(root, 'bin/mille')

function allQuestions(setting: Setting): Questions {
  return new Map([...cacheQuestions(setting), ...buildQuestions(setting)])
}

/** The tools that are here. Who is not is named on stderr, with the reason. */
function availableTools(
  { peers }: Wanted,
  scratch: string,
  peerRoot: PeerRoot,
  daemons: ReadonlyMap<DockerStore, Docker | undefined>,
): Tool[] {
  const tools = [milleTool(mille, scratch)]
  const leftOut = (name: string, reason: string): unknown => process.stderr.write(`${name} is left out: ${reason}\n`)
  if (peers.includes('buildah')) {
    const buildah = buildahTool(peerRoot, scratch)
    if (buildah === undefined) leftOut('buildah', 'it is not installed')
    else tools.push(buildah)
  }
  for (const [store, docker] of daemons) {
    if (docker === undefined) continue
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

/** Asks one question after the other; `onAnswer` has what there is so far. */
async function askAll(
  wanted: Wanted,
  setting: Setting,
  tools: readonly Tool[],
  options: AskOptions,
  onAnswer: (answer: Answer) => void,
): Promise<void> {
  const questions = allQuestions(setting)
  for (const name of wanted.questions) {
    for (const question of questions.get(name)?.() ?? []) {
      onAnswer(await ('measure' in question ? askOwn(question, options) : ask(question, tools, options)))
    }
    rmSync(join(setting.scratch, 'inputs'), { recursive: true, force: true })
  }
}

async function main(wanted: Wanted, scratch: string, signal: AbortSignal): Promise<boolean> {
  const startedAt = new Date()
  const logFile = join(scratch, 'log')
  await using registry = await startRegistry(scratch)
  await using peerRoot = wanted.peerRoot === undefined ? ownRoot : await openPeerRoot(wanted.peerRoot, scratch)
  const { enter } = peerRoot
  await using overlay2 = wanted.peers.includes('docker') ? await startDocker(scratch, enter, 'overlay2') : undefined
  await using other = wanted.peers.includes('docker-containerd') ? await startDocker(scratch, enter, 'containerd') : undefined
  const daemons = new Map<DockerStore, Docker | undefined>([
    ['overlay2', overlay2],
    ['containerd', other],
  ])
  const tools = availableTools(wanted, scratch, peerRoot, daemons)
  const setting = { scratch, prefix: `${registry.host}/base` }
  pushBases(setting.prefix, scratch, logFile)
  const answers: Answer[] = []
  const options: AskOptions = { logFile, signal, ...(wanted.rounds === undefined ? {} : { rounds: wanted.rounds }) }
  try {
    await askAll(wanted, setting, tools, options, (answer) => answers.push(answer))
  } finally {
    process.stdout.write(`${formatMachine(tools)}\n${formatTable(answers, tools)}\n`)
    process.stderr.write(formatFailures(answers))
    if (wanted.json !== undefined) writeFileSync(wanted.json, jsonReport(answers, tools, startedAt))
  }
  return answers.every(({ failed }) => !failed.has('mille'))
}

/** Undefined when the command line was not understood: then that has been said. */
function readCommandLine(): Wanted | undefined {
  const names = [...allQuestions({ scratch: '', prefix: '' }).keys()]
  try {
    return parseWanted(process.argv.slice(2), names)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n${usageText(names)}`)
    return undefined
  }
}

const wanted = readCommandLine()
if (wanted === undefined) process.exit(2)
const scratch = mkdtempSync(join(tmpdir(), 'mille-bench-'))
const controller = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => controller.abort(new Interrupted(`stopped by ${name}`)))
try {
  if (!(await main(wanted, scratch, controller.signal))) process.exitCode = 1
} catch (error) {
  if (!(error instanceof Interrupted)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 130
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
