/**
 * The frame of the conformance runner: reads a suite's JSON files, asks the suite to judge each case, counts.
 *
 * A suite is a folder of the vectors with a README.md that says what its cases mean. To wire one, write `<name>.ts` with an
 * exported `suite` and name it in runner.ts.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'

/** A case as it stands in the file; its fields are narrowed where they are used. */
export interface VectorCase {
  readonly id: string
  readonly [field: string]: unknown
}

/** What became of a case, or of one part of it. */
export type Outcome =
  | { readonly status: 'passed' }
  | { readonly status: 'failed'; readonly detail: string }
  | { readonly status: 'skipped'; readonly reason: string }
  /** Another result than the case's, on purpose: it stands in docs/differences.md. */
  | { readonly status: 'different' }

/** Judges one case: one outcome, or one for each part. Throwing is failing. */
export type Judge = (vector: VectorCase, folder: string) => Outcome | readonly Outcome[] | Promise<Outcome | readonly Outcome[]>

/** A wired suite: which files it has and how their cases are judged. */
export interface Suite {
  readonly files: Readonly<Record<string, Judge>>
  /** How many cases are judged at a time; 1 if absent. */
  readonly jobs?: number
  /** Releases what the judges share. */
  readonly close?: () => Promise<void>
}

/** The sum of a suite. */
export interface Tally {
  readonly passed: number
  readonly failures: readonly string[]
  /** How often each reason for skipping was given. */
  readonly skipped: ReadonlyMap<string, number>
}

/** The reason under which deliberate differences are counted. */
export const differentOnPurpose = 'different on purpose, see docs/differences.md'

/** Passed. */
export const passed: Outcome = { status: 'passed' }

/** Not judged, and why. */
export function skip(reason: string): Outcome {
  return { status: 'skipped', reason }
}

/** Passed if the two values are deeply equal. Fields that are undefined count as absent. */
export function same(actual: unknown, expected: unknown, what = 'result'): Outcome {
  const normal = (value: unknown): string =>
    inspect(value, { depth: null, sorted: true, maxStringLength: null, maxArrayLength: null })
  const [got, wanted] = [normal(dropUndefined(actual)), normal(dropUndefined(expected))]
  return got === wanted ? passed : { status: 'failed', detail: `${what} is\n      ${got}\n    expected\n      ${wanted}` }
}

function dropUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropUndefined)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) => (each === undefined ? [] : [[key, dropUndefined(each)]])),
  )
}

/** Failed unless `claim` is true. */
export function claim(isTrue: boolean, detail: string): Outcome {
  return isTrue ? passed : { status: 'failed', detail }
}

/** A text field of a case. */
export function textOf(vector: Readonly<Record<string, unknown>>, field: string): string {
  const value = vector[field]
  if (typeof value !== 'string') throw new Error(`the field ${field} is ${inspect(value)}, expected a text`)
  return value
}

/** An object field of a case. */
export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`expected an object, got ${inspect(value)}`)
  return Object.fromEntries(Object.entries(value))
}

/** Runs all files of a suite, `jobs` cases at a time; failures are in the order of the files. */
export async function runSuite(suite: Suite, folder: string): Promise<Tally> {
  const work = Object.entries(suite.files).flatMap(([file, judge]) =>
    readCases(join(folder, file)).map((vector) => ({ judge, vector })),
  )
  const results: (readonly Outcome[])[] = []
  const queue = work.entries()
  const worker = async (): Promise<void> => {
    for (const [i, { judge, vector }] of queue) results[i] = await judgeSafely(judge, vector, folder)
  }
  try {
    await Promise.all(Array.from({ length: suite.jobs ?? 1 }, worker))
  } finally {
    await suite.close?.()
  }
  return tallyOf(work.map(({ vector }, i) => ({ id: vector.id, outcomes: results[i] ?? [] })))
}

function tallyOf(judged: readonly { readonly id: string; readonly outcomes: readonly Outcome[] }[]): Tally {
  const failures: string[] = []
  const skipped = new Map<string, number>()
  let count = 0
  for (const { id, outcomes } of judged) {
    for (const outcome of outcomes) {
      if (outcome.status === 'passed') count++
      else if (outcome.status === 'failed') failures.push(`${id}: ${outcome.detail}`)
      else {
        const reason = outcome.status === 'skipped' ? outcome.reason : differentOnPurpose
        skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
      }
    }
  }
  return { passed: count, failures, skipped }
}

async function judgeSafely(judge: Judge, vector: VectorCase, folder: string): Promise<readonly Outcome[]> {
  try {
    const outcome = await judge(vector, folder)
    return 'status' in outcome ? [outcome] : outcome
  } catch (error) {
    return [{ status: 'failed', detail: `threw ${error instanceof Error ? (error.stack ?? error.message) : inspect(error)}` }]
  }
}

function readCases(path: string): readonly VectorCase[] {
  const { cases } = recordOf(JSON.parse(readFileSync(path, 'utf8')))
  if (!Array.isArray(cases)) throw new Error(`${path} has no list of cases`)
  return cases.map((each: unknown) => {
    const fields = recordOf(each)
    return { ...fields, id: textOf(fields, 'id') }
  })
}

/** How many cases the files of a folder have; a file without a list of cases has none. */
export function countCases(folder: string): number {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
  return files.reduce((sum, file) => {
    const { cases } = recordOf(JSON.parse(readFileSync(join(folder, file), 'utf8')))
    return sum + (Array.isArray(cases) ? cases.length : 0)
  }, 0)
}
