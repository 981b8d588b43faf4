/** `--filter` of `mille du` and `mille prune`: buildx's keys, with `=`, `!=` and `~=` (a regular expression). All must match. */
import { UsageError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'
import { itemTypes, type StoreItem } from '../store/items.js'
import { parseDuration } from './gc-settings.js'

/** What the filters ask for. */
export interface UsageFilter {
  readonly matches: (item: StoreItem) => boolean
  /** `until`: ms since 1970; only what was not used since. */
  readonly unusedSince: number | undefined
  /** Types that were named: such items are meant, even those that are only removed when asked for. */
  readonly types: ReadonlySet<string>
  readonly isEmpty: boolean
}

type Test = (item: StoreItem) => boolean

const flags: Readonly<Record<string, Test>> = {
  inuse: ({ held }) => held !== undefined,
  mutable: ({ mutable }) => mutable,
  immutable: ({ mutable }) => !mutable,
  shared: ({ shared }) => shared,
  private: ({ shared }) => !shared,
}
const texts = ['id', 'parents', 'description', 'type'] as const
const times = ['until', 'unused-for', 'before', 'after'] as const
const known = [...texts, ...Object.keys(flags), ...times]

/**
 * Reads filters.
 *
 * @throws UsageError for a filter that is not known or has a bad value
 */
export function readUsageFilters(filters: readonly string[], nowMs: number): UsageFilter {
  const tests: Test[] = []
  const types = new Set<string>()
  let unusedSince: number | undefined
  for (const filter of filters) {
    const [, key = '', operator = '=', value] = /^([a-z-]+)(?:(=|!=|~=)(.*))?$/s.exec(filter) ?? []
    const flag = Object.hasOwn(flags, key) ? flags[key] : undefined
    if (flag !== undefined) {
      const wanted = (value === undefined || readFlag(value, filter)) === (operator !== '!=')
      tests.push((item) => flag(item) === wanted)
    } else if (isOneOf(times, key)) {
      const time = readTime(value ?? '', filter, nowMs)
      if (key === 'after') tests.push((item) => (item.lastUsedAt ?? item.createdAt ?? 0) >= time)
      else unusedSince = Math.min(unusedSince ?? Number.POSITIVE_INFINITY, time)
    } else if (isOneOf(texts, key)) {
      tests.push(textTest(key, operator, value ?? '', filter))
      if (key === 'type' && operator === '=') types.add(value ?? '')
    } else throw unknown(filter, key)
  }
  return { matches: (item) => tests.every((test) => test(item)), unusedSince, types, isEmpty: filters.length === 0 }
}

function isOneOf<T extends string>(list: readonly T[], text: string): text is T {
  return list.some((each) => each === text)
}

function unknown(filter: string, key: string): UsageError {
  return new UsageError('USAGE_BAD_FLAG', `--filter "${filter}" is not known`, {
    hint: didYouMean(key, known) ?? `the keys are ${known.join(', ')}`,
  })
}

function readFlag(value: string, filter: string): boolean {
  if (/^(|1|t|true)$/i.test(value)) return true
  if (/^(0|f|false)$/i.test(value)) return false
  throw new UsageError('USAGE_BAD_FLAG', `--filter "${filter}" has the value "${value}", expected true or false`)
}

/**
 * A time: a span before now (`24h`) or a date.
 *
 * @returns ms since 1970
 * @throws UsageError
 */
export function readTime(value: string, filter: string, nowMs: number): number {
  const span = parseDuration(value)
  const time = span === undefined ? Date.parse(value) : nowMs - span
  if (!Number.isNaN(time)) return time
  throw new UsageError('USAGE_BAD_FLAG', `--filter "${filter}" has no time that is known`, {
    hint: 'write until=24h, or until=2026-01-31',
  })
}

/** An id may be shortened: `id=` finds it in the id, as buildx does. */
function textTest(key: (typeof texts)[number], operator: string, value: string, filter: string): Test {
  const read = (item: StoreItem): readonly string[] => (key === 'parents' ? item.parents : [item[key]])
  if (key === 'type' && operator !== '~=' && !itemTypes.some((type) => type === value)) {
    throw new UsageError('USAGE_BAD_FLAG', `--filter "${filter}" has no type that is known`, {
      hint: didYouMean(value, itemTypes) ?? `the types are ${itemTypes.join(', ')}`,
    })
  }
  if (operator === '~=' || key === 'id') {
    const pattern = readPattern(value, filter)
    return (item) => read(item).some((text) => pattern.test(text)) === (operator !== '!=')
  }
  return (item) => read(item).includes(value) === (operator !== '!=')
}

function readPattern(text: string, filter: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new UsageError('USAGE_BAD_FLAG', `--filter "${filter}" has no valid regular expression`, { cause: error })
  }
}
