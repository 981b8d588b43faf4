/**
 * What a Dockerfile offers to whoever builds it: `--call=outline` (the arguments, secrets, ssh agents and caches of one
 * target) and `--call=targets` (the stages). Pure; base images are not looked at. The field names are BuildKit's.
 */
import { posix } from 'node:path'
import type { Dockerfile, FromInstruction } from '../../grammar/ast.js'
import { descriptionOf } from '../../grammar/comments.js'
import { expandWord } from '../../grammar/words.js'
import { formatPlatform } from '../core/platform.js'
import { positionAt, type Span } from '../core/span.js'
import { namesUsed } from './dependencies.js'
import { BuildEnv } from './env.js'
import { findFlag, findFlags, flagWord } from './expand.js'
import { parseMount } from './mounts.js'
import { collectProblems } from './problem.js'
import type { Analysis, Stage, Step } from './stages.js'

/** A place in the Dockerfile; lines count from 1, characters from 0. */
export interface OutlineLocation {
  readonly sourceIndex: number
  readonly ranges: readonly { readonly start: OutlinePosition; readonly end: OutlinePosition }[]
}
interface OutlinePosition {
  readonly line: number
  readonly character?: number
}

/** A build argument of a target. */
export interface OutlineArg {
  readonly name: string
  readonly description?: string
  readonly value?: string
  readonly location: OutlineLocation
}

/** A secret or an ssh agent that a target takes. */
export interface OutlineSecret {
  readonly name: string
  readonly required?: true
  readonly location: OutlineLocation
}

/** A target with everything that can be given to it. `sources` are the Dockerfile in base64. */
export interface Outline {
  readonly name?: string
  readonly description?: string
  readonly args?: readonly OutlineArg[]
  readonly secrets?: readonly OutlineSecret[]
  readonly ssh?: readonly OutlineSecret[]
  readonly cache?: readonly { readonly ID: string; readonly location: OutlineLocation }[]
  readonly sources: readonly string[]
}

/** A stage as a target. */
export interface OutlineTarget {
  readonly name?: string
  readonly default?: true
  readonly description?: string
  readonly base?: string
  readonly platform?: string
  readonly location: OutlineLocation
}

/** All stages. */
export interface TargetList {
  readonly targets: readonly OutlineTarget[]
  readonly sources: readonly string[]
}

/** The outline of the target of an analysis without errors. */
export function outlineTarget(ast: Dockerfile, analysis: Analysis): Outline {
  const target = analysis.stages[analysis.target ?? -1]
  const from = fromsOf(ast)[target?.index ?? -1]
  const found = new OutlineWalk(analysis)
  readGlobalUses(ast, analysis, found)
  for (const index of analysis.reachable) {
    const stage = analysis.stages[index]
    if (stage !== undefined) found.readStage(stage)
  }
  const description = descriptionOf(from?.comment, from?.name?.text ?? '')
  const name = target?.name
  return {
    ...(name === undefined ? {} : { name }),
    ...(description === undefined ? {} : { description }),
    ...(found.args.size === 0 ? {} : { args: byLine(found.args) }),
    ...(found.secrets.size === 0 ? {} : { secrets: byLine(found.secrets) }),
    ...(found.ssh.size === 0 ? {} : { ssh: byLine(found.ssh) }),
    ...(found.caches.size === 0 ? {} : { cache: byLine(found.caches) }),
    sources: sourcesOf(ast),
  }
}

/** The stages of a file. */
export function listTargets(ast: Dockerfile, analysis: Analysis): TargetList {
  const froms = fromsOf(ast)
  const targets = analysis.stages.map((stage, index): OutlineTarget => {
    const from = froms[index]
    const description = descriptionOf(from?.comment, from?.name?.text ?? '')
    const hasPlatform = from !== undefined && findFlag(from, 'platform') !== undefined
    return {
      ...(stage.name === undefined ? {} : { name: stage.name }),
      ...(index === analysis.stages.length - 1 ? { default: true } : {}),
      ...(description === undefined ? {} : { description }),
      ...(from === undefined ? {} : { base: from.base.text }),
      ...(hasPlatform ? { platform: formatPlatform(stage.platform) } : {}),
      location: locationOf(ast.source.text, from?.span ?? stage.span),
    }
  })
  return { targets, sources: sourcesOf(ast) }
}

function fromsOf({ instructions }: Dockerfile): FromInstruction[] {
  return instructions.filter((each): each is FromInstruction => each.kind === 'from')
}

function sourcesOf({ source }: Dockerfile): string[] {
  return [Buffer.from(source.text).toString('base64')]
}

/** In the order of the file. */
function byLine<Item extends { readonly location: OutlineLocation }>(items: ReadonlyMap<string, Item>): Item[] {
  const lineOf = ({ location }: Item): number => location.ranges[0]?.start.line ?? 0
  return [...items.values()].sort((a, b) => lineOf(a) - lineOf(b))
}

/** A span as BuildKit's messages have it. */
export function locationOf(text: string, { start, end }: Span): OutlineLocation {
  const [first, last] = [positionAt(text, start), positionAt(text, end)]
  const position = ({ line, column }: { line: number; column: number }): OutlinePosition =>
    column === 1 ? { line } : { line, character: column - 1 }
  return { sourceIndex: 0, ranges: [{ start: position(first), end: position(last) }] }
}

/** Global arguments that name the bases and sources of needed stages, and those that these use in turn. */
function readGlobalUses(ast: Dockerfile, analysis: Analysis, into: OutlineWalk): void {
  const froms = fromsOf(ast)
  const used = new Set<string>()
  const note = (text: string): void => {
    const expanded = expandWord(text, { get: (name) => analysis.globals.get(name) }, { escape: analysis.escape })
    if (expanded.problem === undefined) for (const name of [...expanded.used, ...expanded.unset]) used.add(name)
  }
  for (const index of analysis.reachable) {
    const from = froms[index]
    if (from === undefined) continue
    note(from.base.text)
    const platform = findFlag(from, 'platform')
    if (platform !== undefined) note(flagWord(ast.source, platform).text)
    for (const step of analysis.stages[index]?.steps ?? []) for (const { word } of namesUsed(step)) note(word.text)
  }
  const first = froms[0]?.span.start ?? 0
  const globals = ast.instructions.filter(({ kind, span }) => kind === 'arg' && span.start < first)
  // Backwards: what a default uses stands before it.
  for (const instruction of globals.toReversed()) {
    if (instruction.kind !== 'arg') continue
    for (const { key, value } of instruction.pairs.toReversed()) {
      if (!used.has(key.text)) continue
      if (value !== undefined) note(value.text)
      into.addArg(key.text, analysis.globals.get(key.text), instruction.comment, instruction.span)
    }
  }
}

/** Follows the environment through stages and notes what is asked for. */
class OutlineWalk {
  readonly args = new Map<string, OutlineArg>()
  readonly secrets = new Map<string, OutlineSecret>()
  readonly ssh = new Map<string, OutlineSecret>()
  readonly caches = new Map<string, { readonly ID: string; readonly location: OutlineLocation }>()
  readonly #analysis: Analysis
  readonly #envs = new Map<number, BuildEnv>()

  constructor(analysis: Analysis) {
    this.#analysis = analysis
  }

  readStage(stage: Stage): void {
    const parent = stage.base.kind === 'stage' ? this.#envs.get(stage.base.index) : undefined
    const env = parent?.copy() ?? new BuildEnv()
    this.#envs.set(stage.index, env)
    for (const step of stage.steps) this.#readStep(step, env)
  }

  addArg(name: string, value: string | undefined, comment: string | undefined, span: Span): void {
    const description = descriptionOf(comment, name)
    this.args.set(name, {
      name,
      ...(description === undefined ? {} : { description }),
      ...(value === undefined || value === '' ? {} : { value }),
      location: this.#locate(span),
    })
  }

  #readStep(step: Step, env: BuildEnv): void {
    const { instruction } = step
    const expand = (text: string): string => {
      const expanded = expandWord(text, env, { escape: this.#analysis.escape })
      return expanded.problem === undefined ? expanded.value : text
    }
    if (instruction.kind === 'env') {
      const pairs = instruction.pairs.map(({ key, value }) => [expand(key.text), expand(value?.text ?? '')] as const)
      for (const [name, value] of pairs) env.set(name, value)
    }
    if (instruction.kind === 'arg') {
      const { options, globals } = this.#analysis
      for (const { key, value } of instruction.pairs) {
        const name = expand(key.text)
        const given = Object.hasOwn(options.buildArgs, name) ? options.buildArgs[name] : undefined
        const result = given ?? (value === undefined ? globals.get(name) : expand(value.text))
        if (result !== undefined) env.set(name, result)
        this.addArg(name, result, instruction.comment, instruction.span)
      }
    }
    if (instruction.kind === 'run') this.#readMounts(step, env)
  }

  #readMounts(step: Step, env: BuildEnv): void {
    const scope = { env, escape: this.#analysis.escape }
    for (const flag of findFlags(step.instruction, 'mount')) {
      const mount = collectProblems([], () => parseMount(step, flag, scope))
      if (mount === undefined) continue
      const { type, id, target, source, required } = mount
      const location = this.#locate(step.instruction.span)
      const need = { location, ...(required ? { required: true as const } : {}) }
      if (type === 'secret') note(this.secrets, id ?? source ?? posix.basename(target ?? ''), need)
      if (type === 'ssh') note(this.ssh, id ?? 'default', need)
      const cache = id ?? target
      if (type === 'cache' && cache !== undefined && !this.caches.has(cache)) this.caches.set(cache, { ID: cache, location })
    }
  }

  #locate(span: Span): OutlineLocation {
    return locationOf(this.#analysis.source.text, span)
  }
}

/** One that any step requires is required; the first use is where it is. */
function note(into: Map<string, OutlineSecret>, name: string, found: Omit<OutlineSecret, 'name'>): void {
  const known = into.get(name)
  if (known === undefined) into.set(name, { name, ...found })
  else if (found.required) into.set(name, { ...known, required: true })
}
