/**
 * What a name in FROM, `COPY --from` or `RUN --mount=from=` stands for (semantics.md 40–44, 54).
 *
 * A build context of that name comes first, then a stage, then an image. Stage names are compared without case
 * everywhere. Pure: used to find dependencies, and again when the instruction is planned.
 */

import { formatPlatform, type Platform } from '../core/platform.js'
import { isReference, parseReference } from '../core/reference.js'
import type { NamedContext } from './options.js'
import type { FileSource } from './stages.js'

/** What names can be looked up among. */
export interface SourceTable {
  /** Names of all stages of the file by index, in lower case. */
  readonly stageNames: readonly (string | undefined)[]
  readonly contexts: Readonly<Record<string, NamedContext>>
}

/** Why a name stands for nothing usable. */
export interface SourceMiss {
  readonly kind: 'miss'
  readonly reason: 'empty' | 'later' | 'self' | 'no-such-index' | 'bad-name'
  readonly message: string
  /** The stage meant, for `later` and `self`. */
  readonly index?: number
}

/** How a look-up is made: from which stage, for which platform, and whether numbers name stages. */
export interface SourceQuery {
  readonly from: number
  readonly platform: Platform
  readonly numbers: boolean
  /** FROM: a stage that comes later, or the stage itself, is not meant by its name. */
  readonly earlierOnly: boolean
}

/** Looks a name up. */
export function findSource(name: string, table: SourceTable, query: SourceQuery): FileSource | SourceMiss {
  if (name === '') return { kind: 'miss', reason: 'empty', message: 'the name is empty' }
  const context = findContext(name, table.contexts, query.platform)
  if (context !== undefined) return context
  if (query.numbers && /^\d+$/.test(name)) return stageByNumber(Number(name), table, query)
  const index = findStage(name, table.stageNames, query.from)
  if (index !== undefined && (index < query.from || !query.earlierOnly)) return checkOrder(index, name, query)
  if (name === 'scratch') return { kind: 'scratch' }
  return imageSource(name)
}

/** The stage of a name: the last one before `from`, else the first from there on. */
export function findStage(name: string, stageNames: readonly (string | undefined)[], from: number): number | undefined {
  const lower = name.toLowerCase()
  const before = stageNames.slice(0, from).lastIndexOf(lower)
  if (before >= 0) return before
  const after = stageNames.indexOf(lower, from)
  return after < 0 ? undefined : after
}

/** A named context for this platform: `name::os/arch`, then `name`; `:latest` may be left out. */
function findContext(name: string, contexts: Readonly<Record<string, NamedContext>>, platform: Platform): FileSource | undefined {
  if (name === 'scratch' || name === 'context') return undefined
  const short = name.replace(/:latest$/, '')
  const suffix = `::${formatPlatform(platform)}`
  for (const key of [`${name}${suffix}`, `${short}${suffix}`, name, short]) {
    const found = Object.hasOwn(contexts, key) ? contexts[key] : undefined
    if (found?.kind === 'context') return { kind: 'context', name: found.name }
    if (found?.kind === 'image') return found.reference === 'scratch' ? { kind: 'scratch' } : imageOf(found.reference)
  }
  return undefined
}

function stageByNumber(index: number, table: SourceTable, query: SourceQuery): FileSource | SourceMiss {
  if (index < table.stageNames.length) return checkOrder(index, String(index), query)
  const message = `there is no stage ${index}: the file has ${table.stageNames.length}, counted from 0`
  return { kind: 'miss', reason: 'no-such-index', message }
}

function checkOrder(index: number, name: string, query: SourceQuery): FileSource | SourceMiss {
  if (index < query.from) return { kind: 'stage', index }
  if (index === query.from) {
    return { kind: 'miss', reason: 'self', index, message: `circular dependency detected on stage: ${name}` }
  }
  return {
    kind: 'miss',
    reason: 'later',
    index,
    message: `cannot copy from stage "${name}": it needs to be defined before current stage`,
  }
}

function imageSource(name: string): FileSource | SourceMiss {
  const reference = parseReference(name)
  if (isReference(reference)) return imageOf(name)
  return { kind: 'miss', reason: 'bad-name', message: reference.problem }
}

function imageOf(reference: string): FileSource {
  return { kind: 'image', reference }
}
