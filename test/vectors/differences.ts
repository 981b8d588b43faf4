/** The deliberate differences: the tables of docs/differences.md, read so that list and runner cannot disagree. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../helpers/cli.js'
import type { Outcome } from './frame.js'

/** A row `| suite/id | reason |`; its id may have a `*`. */
interface Row {
  readonly pattern: RegExp
  /** A row for one case: it must be true of it. */
  readonly exact: boolean
}

function rowsOf(suite: string): readonly Row[] {
  const text = readFileSync(join(projectRoot, 'docs/differences.md'), 'utf8')
  return [...text.matchAll(/^\| `([a-z]+)\/([^`]+)` \|/gm)].flatMap(([, name, id]) => {
    if (name !== suite || id === undefined) return []
    return [{ pattern: new RegExp(`^${id.split('*').map(escaped).join('.*')}$`), exact: !id.includes('*') }]
  })
}

function escaped(text: string): string {
  return text.replace(/[.+?^${}()|[\]\\]/g, '\\$&')
}

/** Counts the failure of a listed case apart; a row that is no longer true is an error too. */
export function withDifferences(suite: string): (id: string, outcome: Outcome) => Outcome {
  const rows = rowsOf(suite)
  return (id, outcome) => {
    const row = rows.find(({ pattern }) => pattern.test(id))
    if (row === undefined) return outcome
    if (outcome.status === 'failed') return { status: 'different' }
    if (!row.exact || outcome.status !== 'passed') return outcome
    return { status: 'failed', detail: 'is listed in docs/differences.md, and yet does as the case says' }
  }
}
