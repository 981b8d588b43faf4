/** Instructions that change only the image's config: each expands its words, sets its field, writes its history line. */
import type {
  CommandInstruction,
  CommandLine,
  CopyInstruction,
  FromInstruction,
  HealthcheckInstruction,
  Instruction,
  KeyValueInstruction,
  OnbuildInstruction,
  RunInstruction,
  ShellInstruction,
  Word,
  WordsInstruction,
} from '../../grammar/ast.js'
import { didYouMean } from '../core/suggest.js'
import { addEnv } from './env.js'
import { expandSplit } from './expand.js'
import { parsePorts } from './expose.js'
import { goList, goQuoteList } from './go-text.js'
import { healthConfig } from './healthcheck.js'
import { healthcheckText } from './history.js'
import { placeIn, problem } from './problem.js'
import type { StageLowering } from './stage-lowering.js'
import type { Step } from './stages.js'
import { isSignal, signalNames } from './stop-signal.js'

/** Lowers an instruction that makes no layer. */
export function lowerConfig(lowering: StageLowering, step: Step, instruction: ConfigInstruction): void {
  switch (instruction.kind) {
    case 'env':
    case 'label':
    case 'arg':
      lowerPairs(lowering, step, instruction)
      break
    case 'cmd':
    case 'entrypoint':
      lowerCommand(lowering, instruction)
      break
    case 'healthcheck':
      lowerHealthcheck(lowering, instruction)
      break
    case 'shell':
      lowerShell(lowering, instruction)
      break
    case 'onbuild':
      lowerOnbuild(lowering, instruction)
      break
    default:
      lowerWords(lowering, step, instruction)
  }
}

type ConfigInstruction = Exclude<Instruction, FromInstruction | RunInstruction | CopyInstruction>

function lowerPairs(lowering: StageLowering, step: Step, instruction: KeyValueInstruction): void {
  if (instruction.kind === 'env') lowerEnv(lowering, step, instruction)
  else if (instruction.kind === 'label') lowerLabel(lowering, step, instruction)
  else lowerArg(lowering, step, instruction)
}

function lowerCommand(lowering: StageLowering, instruction: CommandInstruction): void {
  if (instruction.kind === 'cmd') lowerCmd(lowering, instruction)
  else lowerEntrypoint(lowering, instruction)
}

function lowerWords(lowering: StageLowering, step: Step, instruction: WordsInstruction): void {
  const { kind, words } = instruction
  const [word] = words
  if (kind === 'expose') lowerExpose(lowering, step, words)
  else if (kind === 'volume') lowerVolume(lowering, step, words)
  else if (word === undefined) throw new Error(`${kind} has no word`)
  else if (kind === 'user') lowerUser(lowering, step, word)
  else if (kind === 'stopsignal') lowerStopSignal(lowering, step, word)
  else if (kind === 'maintainer') lowerMaintainer(lowering, word)
  else throw new Error(`${kind} is not lowered here`)
}

/** ENV: all words see the environment from before the instruction (semantics.md 30). */
function lowerEnv(lowering: StageLowering, step: Step, instruction: KeyValueInstruction): void {
  const pairs = expandPairs(lowering, step, instruction)
  for (const [name, value] of pairs) {
    lowering.state.env.set(name, value)
    lowering.state.config.Env = addEnv(lowering.state.config.Env ?? [], name, value)
  }
  lowering.commitConfig(`ENV ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`)
}

/** LABEL. */
function lowerLabel(lowering: StageLowering, step: Step, instruction: KeyValueInstruction): void {
  const pairs = expandPairs(lowering, step, instruction)
  lowering.state.config.Labels = { ...lowering.state.config.Labels, ...Object.fromEntries(pairs) }
  lowering.commitConfig(`LABEL ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`)
}

function expandPairs(lowering: StageLowering, step: Step, { kind, pairs }: KeyValueInstruction): [string, string][] {
  return pairs.map(({ key, value }) => {
    const name = lowering.expand(step, key)
    if (name === '') {
      throw problem(placeIn(step, key.span), 'DOCKERFILE_BAD_ARGUMENT', `${kind.toUpperCase()} names can not be blank`)
    }
    return [name, value === undefined ? '' : lowering.expand(step, value)]
  })
}

/** Build arguments that speak to the builder and are no variables for commands. */
const notVariables = new Set(['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE'])

/** ARG: --build-arg, else the stage's own default, else the global value; one by one (semantics.md 30–34). */
function lowerArg(lowering: StageLowering, step: Step, instruction: KeyValueInstruction): void {
  const { state, resolved, options } = lowering
  const shown: string[] = []
  for (const { key, value: written } of instruction.pairs) {
    const name = lowering.expand(step, key)
    const given = Object.hasOwn(options.buildArgs, name) ? options.buildArgs[name] : undefined
    // A default that a build argument replaces is not looked at: it may be one that has to fail.
    const own = given === undefined && written !== undefined ? lowering.expand(step, written) : undefined
    const value = given ?? own ?? resolved.analysis.globals.get(name)
    if (value !== undefined && !notVariables.has(name)) state.env.set(name, value)
    state.args.push([name, value ?? ''])
    shown.push(value === undefined ? name : `${name}=${value}`)
  }
  lowering.commitConfig(`ARG ${shown.join(' ')}`)
}

/** The command as argv: the shell form gets the SHELL that is in force here. */
export function argvOf(lowering: StageLowering, command: CommandLine): readonly string[] {
  return command.form === 'exec' ? command.argv : [...shellOf(lowering), command.text]
}

/** SHELL, or the platform's default. */
export function shellOf(lowering: StageLowering): readonly string[] {
  const { Shell } = lowering.state.config
  if (Shell !== undefined && Shell.length > 0) return Shell
  return lowering.stage.platform.os === 'windows' ? ['cmd', '/S', '/C'] : ['/bin/sh', '-c']
}

/** CMD. */
function lowerCmd(lowering: StageLowering, { command }: CommandInstruction): void {
  const argv = argvOf(lowering, command)
  const { state } = lowering
  state.config.Cmd = argv
  // Docker's mark that quoting is done; it is in every image that docker builds with a CMD.
  state.config.ArgsEscaped = true
  state.cmdSet = true
  lowering.commitConfig(`CMD ${goQuoteList(argv)}`)
}

/** ENTRYPOINT: an inherited CMD was meant for another program and goes (semantics.md 50). */
function lowerEntrypoint(lowering: StageLowering, { command }: CommandInstruction): void {
  const argv = argvOf(lowering, command)
  const { state } = lowering
  state.config.Entrypoint = argv
  if (!state.cmdSet) delete state.config.Cmd
  lowering.commitConfig(`ENTRYPOINT ${goQuoteList(argv)}`)
}

/** SHELL. */
function lowerShell(lowering: StageLowering, { argv }: ShellInstruction): void {
  lowering.state.config.Shell = argv
  lowering.commitConfig(`SHELL ${goList(argv)}`)
}

/** USER: stored as written; whether it exists shows when something runs (semantics.md 56). */
function lowerUser(lowering: StageLowering, step: Step, word: Word): void {
  const user = lowering.expand(step, word)
  lowering.state.config.User = user
  lowering.commitConfig(`USER ${user}`)
}

/** VOLUME: config only; what later steps write below it is kept (semantics.md 58). */
function lowerVolume(lowering: StageLowering, step: Step, words: readonly Word[]): void {
  const volumes = words.map((word) => {
    const volume = lowering.expand(step, word)
    if (volume !== '') return volume
    throw problem(placeIn(step, word.span), 'DOCKERFILE_BAD_ARGUMENT', 'a VOLUME can not be an empty string')
  })
  lowering.state.config.Volumes = { ...lowering.state.config.Volumes, ...emptyRecords(volumes) }
  lowering.commitConfig(`VOLUME ${goList(volumes)}`)
}

/** EXPOSE: words are sorted as written, then expanded, and may become several (semantics.md 29, 57). */
function lowerExpose(lowering: StageLowering, step: Step, words: readonly Word[]): void {
  const exposed: string[] = []
  const sorted = [...words].sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
  for (const word of sorted) {
    const specs = expandSplit(step, word, lowering.scope(step))
    const ports = parsePorts(specs)
    const place = placeIn(step, word.span)
    if ('problem' in ports)
      throw problem(place, 'DOCKERFILE_BAD_ARGUMENT', ports.problem, 'write a port like 80, 53/udp or 8000-8005')
    exposed.push(...ports)
  }
  lowering.state.config.ExposedPorts = { ...lowering.state.config.ExposedPorts, ...emptyRecords(exposed) }
  lowering.commitConfig(`EXPOSE ${goList(exposed)}`)
}

function emptyRecords(names: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(names.map((name) => [name, {}]))
}

/** STOPSIGNAL: checked, kept as written. */
function lowerStopSignal(lowering: StageLowering, step: Step, word: Word): void {
  const signal = lowering.expand(step, word)
  if (!isSignal(signal)) {
    const hint = didYouMean(signal, signalNames()) ?? 'write a name like SIGTERM or a number'
    throw problem(placeIn(step, word.span), 'DOCKERFILE_BAD_ARGUMENT', `"${signal}" is no signal`, hint)
  }
  lowering.state.config.StopSignal = signal
  lowering.commitConfig(`STOPSIGNAL ${signal}`)
}

/** MAINTAINER: the image's author. */
function lowerMaintainer(lowering: StageLowering, word: Word): void {
  lowering.state.author = word.text
  lowering.commitConfig(`MAINTAINER ${word.text}`)
}

/** HEALTHCHECK. */
function lowerHealthcheck(lowering: StageLowering, instruction: HealthcheckInstruction): void {
  const health = healthConfig(instruction)
  lowering.state.config.Healthcheck = health
  lowering.commitConfig(healthcheckText(health))
}

/** ONBUILD: kept for the images and stages built on this one; no history line (semantics.md 108). */
function lowerOnbuild(lowering: StageLowering, { text }: OnbuildInstruction): void {
  lowering.state.config.OnBuild = [...(lowering.state.config.OnBuild ?? []), text]
}
