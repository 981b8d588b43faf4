/**
 * Rules about the instructions of stages. The environment is followed from instruction to instruction, since messages name
 * expanded paths and a variable counts as known from its ENV or ARG on.
 */
import type { CommandLine, FromInstruction, Instruction, KeyValueInstruction, Word } from '../../grammar/ast.js'
import type { ImageConfig } from '../core/image.js'
import { formatPlatform, type Platform, platformMatches } from '../core/platform.js'
import { parseKeyValue } from './env.js'
import { findFlag, flagWord } from './expand.js'
import { goQuote } from './go-text.js'
import type { LintInput } from './lint.js'
import { lintCopyIgnored } from './lint-copy.js'
import { lintEnv, lintSecretName } from './lint-env.js'
import { lintExpose } from './lint-expose.js'
import type { Findings } from './lint-findings.js'
import { lintOwn } from './lint-own.js'
import { expandChecked, StageKnowledge, type StepScope } from './lint-scope.js'
import { splitMountFields } from './mount-fields.js'
import type { Stage } from './stages.js'

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Runs the rules over the stages that are needed, or over all. */
export function lintStages(input: LintInput, froms: readonly FromInstruction[], findings: Findings): void {
  const finished = new Map<number, StageKnowledge>()
  for (const stage of input.stages) {
    // Bases come before what is built on them, so their knowledge is there.
    if (!input.allStages && !input.analysis.reachable.includes(stage.index)) continue
    const from = froms[stage.index]
    if (from !== undefined) lintBasePlatform(input, stage, from, findings)
    const known = startOf(input, stage, finished)
    finished.set(stage.index, known)
    lintRepeated(stage, findings)
    for (const step of stage.steps) lintStep({ input, stage, step, known, findings })
  }
}

function startOf({ baseConfig }: LintInput, stage: Stage, finished: ReadonlyMap<number, StageKnowledge>): StageKnowledge {
  if (stage.base.kind === 'stage') return (finished.get(stage.base.index) ?? new StageKnowledge()).child()
  const known = new StageKnowledge()
  const config = stage.base.kind === 'image' ? baseConfig(stage) : undefined
  known.isEnvKnown = stage.base.kind !== 'image' || config !== undefined
  known.isFromScratch = stage.base.kind === 'scratch'
  known.shellSet = (config?.config?.Shell?.length ?? 0) > 0
  known.env.set('PATH', defaultPath)
  for (const entry of config?.config?.Env ?? []) known.env.set(...parseKeyValue(entry))
  return known
}

/** An image for another platform than the one asked for. */
function lintBasePlatform({ baseConfig }: LintInput, stage: Stage, from: FromInstruction, findings: Findings): void {
  const config: ImageConfig | undefined = stage.base.kind === 'image' ? baseConfig(stage) : undefined
  if (config === undefined) return
  const { os, architecture, variant } = config
  const actual: Platform = variant === undefined || variant === '' ? { os, architecture } : { os, architecture, variant }
  if (platformMatches(actual, stage.platform)) return
  const detail = `Base image ${stage.baseName} was pulled with platform "${formatPlatform(actual)}", expected "${formatPlatform(stage.platform)}" for current build`
  findings.add('InvalidBaseImagePlatform', from, detail, { span: from.base.span })
}

const onlyLastCounts = ['cmd', 'entrypoint', 'healthcheck']

/** Only the last CMD, ENTRYPOINT and HEALTHCHECK of a stage count: the ones before it are reported. */
function lintRepeated({ steps }: Stage, findings: Findings): void {
  const last = new Map<string, Instruction>()
  for (const { instruction, trigger } of steps) {
    if (!onlyLastCounts.includes(instruction.kind) || trigger !== undefined) continue
    const before = last.get(instruction.kind)
    last.set(instruction.kind, instruction)
    if (before === undefined) continue
    const detail = `Multiple ${instruction.keyword} instructions should not be used in the same stage because only the last one will be used`
    findings.add('MultipleInstructionsDisallowed', before, detail, { span: before.keywordSpan })
  }
}

function lintStep(scope: StepScope): void {
  const { step, known } = scope
  const { instruction } = step
  // Triggers of a base image are someone else's: they change what is known, and nothing is said about them.
  if (step.trigger === undefined) lintOwn(scope)
  switch (instruction.kind) {
    case 'env':
      lintEnv(scope, instruction)
      for (const [name, value] of expandPairs(scope, instruction)) known.env.set(name, value ?? '')
      break
    case 'label':
      lintEnv(scope, instruction)
      expandPairs(scope, instruction)
      break
    case 'arg':
      lintArg(scope, instruction)
      break
    case 'cmd':
    case 'entrypoint':
      lintShellForm(scope, instruction.command)
      break
    case 'shell':
      known.shellSet = true
      break
    case 'workdir':
      lintWorkdir(scope, instruction.words)
      break
    case 'user':
    case 'volume':
    case 'stopsignal':
      for (const word of instruction.words) expandChecked(scope, word)
      break
    case 'expose':
      lintExpose(scope, instruction)
      break
    case 'copy':
    case 'add':
      lintCopy(scope)
      break
    case 'run':
      for (const flag of instruction.flags) if (flag.name === 'mount') lintMount(scope, flagWord(step.source, flag))
      break
    default:
  }
}

/** All pairs against the environment before the instruction. */
function expandPairs(scope: StepScope, { pairs }: KeyValueInstruction): [string, string | undefined][] {
  return pairs.map(({ key, value }) => [expandChecked(scope, key), value === undefined ? undefined : expandChecked(scope, value)])
}

function lintArg(scope: StepScope, instruction: KeyValueInstruction): void {
  const { known, input } = scope
  for (const { key } of instruction.pairs) lintSecretName(scope, instruction, key)
  for (const [name, written] of expandPairs(scope, instruction)) {
    const { options, globals } = input.analysis
    const given = Object.hasOwn(options.buildArgs, name) ? options.buildArgs[name] : undefined
    const value = given ?? written ?? globals.get(name)
    if (value !== undefined) known.env.set(name, value)
    known.args.add(name)
  }
}

function lintShellForm({ step, known, findings }: StepScope, command: CommandLine): void {
  if (command.form === 'exec' || known.shellSet || step.trigger !== undefined) return
  const { keyword } = step.instruction
  const detail = `JSON arguments recommended for ${keyword} to prevent unintended behavior related to OS signals`
  findings.add('JSONArgsRecommended', step.instruction, detail, { span: command.span, hint: `write ${keyword} ["…"]` })
}

/** Only the first WORKDIR of a stage and its bases in this file counts: mending it mends the ones after it. */
function lintWorkdir(scope: StepScope, words: readonly Word[]): void {
  const { known, step, findings } = scope
  const [word] = words
  if (word === undefined) return
  const path = expandChecked(scope, word)
  if (!known.workdirSet && !path.startsWith('/') && step.trigger === undefined) {
    const detail = `Relative workdir ${goQuote(path)} can have unexpected results if the base image changes`
    findings.add('WorkdirRelativePath', step.instruction, detail, { span: word.span, hint: 'write an absolute path' })
  }
  known.workdirSet = true
}

function lintCopy(scope: StepScope): void {
  const { instruction, source } = scope.step
  if (instruction.kind !== 'copy' && instruction.kind !== 'add') return
  for (const name of ['chown', 'chmod', 'checksum']) {
    const flag = findFlag(instruction, name)
    if (flag !== undefined) expandChecked(scope, flagWord(source, flag))
  }
  const sources = instruction.sources.map((word) => ({ word, path: expandChecked(scope, word) }))
  const destination = expandChecked(scope, instruction.destination)
  for (const { expand, content, contentSpan } of instruction.heredocs) {
    if (expand) expandChecked(scope, { text: content, span: contentSpan }, 'heredoc')
  }
  lintCopyIgnored(scope, sources)
  if (/^\/?(etc(\/(passwd|group)?)?\/?)?$/.test(destination)) scope.known.hasUsers = true
}

/** Mount options are expanded one by one; `from=` takes global arguments only and is checked with the graph. */
function lintMount(scope: StepScope, word: Word): void {
  for (const { key, value } of splitMountFields(word.text) ?? []) {
    if (key === 'from' || value === undefined) continue
    const at = word.text.indexOf(value)
    const exact = word.span.end - word.span.start === word.text.length
    const span = exact && at >= 0 ? { start: word.span.start + at, end: word.span.start + at + value.length } : word.span
    expandChecked(scope, { text: value, span })
  }
}
