/** The deliberate differences: the tables of docs/differences.md, read so that list and runner cannot disagree. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../helpers/cli.js'
import type { Outcome } from './frame.js'

/** The ids of a suite's cases for which docs/differences.md has a row `| suite/id | reason |`. */
export function differencesOf(suite: string): ReadonlySet<string> {
  const text = readFileSync(join(projectRoot, 'docs/differences.md'), 'utf8')
  const rows = text.matchAll(/^\| `([a-z]+)\/([^`]+)` \|/gm)
  return new Set([...rows].flatMap(([, name, id]) => (name === suite && id !== undefined ? [id] : [])))
}

/** A listed case must differ: a row that is no longer true is an error too. */
export function withDifferences(suite: string): (id: string, outcome: Outcome) => Outcome {
  const listed = differencesOf(suite)
  return (id, outcome) => {
    if (!listed.has(id)) return outcome
    if (outcome.status === 'failed') return { status: 'different' }
    return { status: 'failed', detail: 'is listed in docs/differences.md, and yet does as the case says' }
  }
}
