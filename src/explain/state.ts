/**
 * What a step depended on when it had a result: what `explain` compares. Made of the components of its keys.
 *
 * Values of variables are kept in clear only where their names do not sound like secrets and where they are short; of all
 * others, and of everything long, there is a digest.
 */
import type { Digest } from '../core/digest.js'
import { soundsSecret } from '../frontend/lint-env.js'
import type { BuildPlan, Vertex, VertexId } from '../graph/op.js'
import type { CacheKey, FoundStep } from '../solver/ports.js'

/** An input of a step. Inputs that differ by definition and have the same content are the same. */
export interface InputState {
  readonly definition: string
  /** What its files are; absent while it was not needed. */
  readonly content?: string
  /** The name of the vertex that made it. */
  readonly name: string
  /** The manifest or config that the base was pinned to, for images. */
  readonly image?: { readonly reference: string; readonly digest: string }
}

/** One state of a step in which it had a result. */
export interface StepState {
  /** ms since 1970. */
  readonly at: number
  /** As written. */
  readonly text: string
  /** With the variables expanded: `COPY app-1.2 /app`. */
  readonly shown: string
  readonly definition: Digest
  readonly content?: Digest
  /** Components of the key but for the inputs. */
  readonly parts: Readonly<Record<string, string>>
  /** Values of environment variables that may be shown. */
  readonly values: Readonly<Record<string, string>>
  /** By the number of the input. */
  readonly inputs: Readonly<Record<string, InputState>>
}

/** Where a step is and how it is written: what it is known by from build to build. */
export interface StepPlace {
  /** `build`, `stage-1`; empty for the only stage. */
  readonly stage: string
  /** Counted from 1 within its stage; 0 for what has no number. */
  readonly position: number
  /** As written in the Dockerfile, on one line. */
  readonly text: string
  /** Its first word: RUN, COPY. */
  readonly keyword: string
}

const longestValue = 120

/** The place of a vertex. A trigger of a base image is not written in this file: it is known by its name. */
export function placeOf({ name, span }: Vertex, plan: BuildPlan): StepPlace {
  const { stage, position, shown } = readName(name)
  const keyword = (shown.split(/\s/, 1)[0] ?? '').toUpperCase()
  const written = span === undefined ? '' : oneLine(plan.source.text.slice(span.start, span.end))
  const text = (written.split(' ', 1)[0] ?? '').toUpperCase() === keyword ? written : shown
  return { stage, position, text, keyword }
}

/** Takes `[build 2/5] RUN npm ci` apart. */
export function readName(name: string): { readonly stage: string; readonly position: number; readonly shown: string } {
  // Numbers are aligned: `[build  2/12]`.
  const match = /^\[(?:(\S+(?: \S+)*) )? *(\d+)\/\d+\] (.*)$/s.exec(name)
  if (match === null) return { stage: '', position: 0, shown: oneLine(name) }
  return { stage: match[1] ?? '', position: Number(match[2]), shown: oneLine(match[3] ?? '') }
}

function oneLine(text: string): string {
  return text
    .replaceAll(/\\\r?\n/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** Which number an input has says nothing that the inputs do not say themselves. */
const unnamedParts = ['kind', 'base']
const inputNumber = /"input":\d+,?/g

/** What `step` depends on now. */
export function stateOf(step: FoundStep & { readonly content?: CacheKey }, plan: BuildPlan, atMs: number): StepState {
  const { vertex, key, content } = step
  const parts: Record<string, string> = {}
  const inputs: Record<string, InputState> = {}
  for (const [name, value] of Object.entries(key.components)) {
    if (unnamedParts.includes(name)) continue
    const index = /^input\.(\d+)$/.exec(name)?.[1]
    if (index === undefined) parts[name] = value.replaceAll(inputNumber, '')
    else inputs[index] = inputState(vertex.inputs[Number(index)], value, content?.components[name], plan)
  }
  return {
    at: atMs,
    text: placeOf(vertex, plan).text,
    shown: readName(vertex.name).shown,
    definition: key.digest,
    ...(content === undefined ? {} : { content: content.digest }),
    parts,
    values: shownValues(vertex),
    inputs,
  }
}

function inputState(id: VertexId | undefined, definition: string, content: string | undefined, plan: BuildPlan): InputState {
  const vertex = plan.vertices.find((other) => other.id === id)
  const state = { definition, name: vertex?.name ?? '', ...(content === undefined ? {} : { content }) }
  if (vertex?.op.kind !== 'image') return state
  const { reference, manifest, config } = vertex.op
  return { ...state, image: { reference, digest: manifest ?? config } }
}

function shownValues({ op }: Vertex): Record<string, string> {
  if (op.kind !== 'exec') return {}
  const pairs = op.env.map((pair): [string, string] => {
    const at = pair.indexOf('=')
    return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
  })
  return Object.fromEntries(pairs.filter(([name, value]) => value.length <= longestValue && !soundsSecret(name)))
}
