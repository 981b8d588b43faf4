/**
 * Keys of the cache (design.md, section 5): sha256 of the canonical form of what a step does and what it starts from.
 *
 * A *definition* key names the inputs by their own keys, a *content* key by what their files are. A *result* key finds
 * an earlier layer with the same files on the same files. Pure; everything that can change a result goes in here.
 */
import { type CanonicalValue, canonicalJson } from '../core/canonical.js'
import { type DiffID, type Digest, digestOf } from '../core/digest.js'
import type { Op, Vertex } from '../graph/op.js'
import type { CacheKey, KeyComponents, KeyParts } from './ports.js'

/** Raised when the meaning of keys changes: records of another version are then never found. */
const keyVersion = 1

/** Longer texts are kept as their digest in `components`. */
const longestComponent = 200

/** The key by definition: the op, and the keys of the inputs that `parts` does not cover. */
export function definitionKey(vertex: Vertex, inputs: readonly CacheKey[], parts: KeyParts | undefined): CacheKey {
  return makeKey(
    'definition',
    vertex,
    inputs.map((input) => input.digest),
    parts,
  )
}

/** The key by content: `contents` says of each input what its files are. */
export function contentKey(vertex: Vertex, contents: readonly Digest[], parts: KeyParts | undefined): CacheKey {
  return makeKey('content', vertex, contents, parts)
}

/** The key under which a layer is found by its files and the files below it. */
export function resultKey(base: Digest | undefined, contentId: Digest): Digest {
  return digestOf(canonicalJson({ version: keyVersion, by: 'result', base, contentId }))
}

/**
 * What the files of a stack of layers are: their content ids in order.
 *
 * A layer whose content id is unknown stands for itself by its DiffID, which is coarser and as safe.
 */
export function stackContent(diffIds: readonly DiffID[], contentIdOf: (diffId: DiffID) => Digest | undefined): Digest {
  return digestOf(canonicalJson(diffIds.map((diffId) => contentIdOf(diffId) ?? diffId)))
}

function makeKey(by: CacheKey['by'], vertex: Vertex, inputs: readonly Digest[], parts: KeyParts | undefined): CacheKey {
  const covered = new Set(parts?.coveredInputs)
  const kept = inputs.map((input, i) => (covered.has(i) ? null : input))
  const fields = parts?.fields ?? canonicalOp(vertex.op)
  return {
    digest: digestOf(canonicalJson({ version: keyVersion, by, op: fields, inputs: kept })),
    by,
    components: { ...opComponents(vertex.op), ...inputComponents(kept), ...parts?.components },
  }
}

/** Ops are plain data; an interface is just not assignable to an index signature. */
function canonicalOp(op: Op): CanonicalValue {
  return op as unknown as CanonicalValue
}

function inputComponents(inputs: readonly (Digest | null)[]): KeyComponents {
  return Object.fromEntries(inputs.flatMap((input, i) => (input === null ? [] : [[`input.${i}`, input]])))
}

/** Each field of the op by name; of the environment only the digest of each value, because a value may be a secret. */
function opComponents(op: Op): KeyComponents {
  const components: Record<string, string> = {}
  for (const [name, value] of Object.entries(op) as [string, CanonicalValue][]) {
    if (value === undefined) continue
    if (op.kind === 'exec' && name === 'env') {
      for (const pair of op.env) {
        const at = pair.indexOf('=')
        components[`env.${at < 0 ? pair : pair.slice(0, at)}`] = digestOf(pair.slice(at + 1))
      }
    } else components[name] = shortened(typeof value === 'string' ? value : canonicalJson(value))
  }
  return components
}

function shortened(text: string): string {
  return text.length > longestComponent ? digestOf(text) : text
}
