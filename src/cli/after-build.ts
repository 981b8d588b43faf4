/**
 * The collection at the end of a build, after its result is printed: no daemon does it later.
 *
 * Whether it is time is known from one look at a file. Ctrl-C ends it, and the build has succeeded all the same.
 */
import { BuildError } from '../core/errors.js'
import { isCollectionDue } from '../store/gc-state.js'
import type { GcSettings } from '../store/policy.js'
import type { Shell } from './shell.js'
import { storeRoot } from './stores.js'

/** Deleting more than this takes is left to the next build. */
const budgetMs = 10_000

/**
 * Collects if it is time, and says in one line what went and why.
 *
 * @param settings undefined: collections are turned off
 * @param ran whether a step ran
 */
export async function collectAfterBuild(
  settings: GcSettings | undefined,
  ran: boolean,
  isQuiet: boolean,
  shell: Shell,
): Promise<void> {
  if (settings === undefined || shell.signal.aborted) return
  const root = storeRoot(shell)
  try {
    if (!isCollectionDue(root, ran, settings, shell.now())) return
    const { collectByPolicy, reportText } = await import('./collect-by-policy.js')
    const report = await collectByPolicy(root, settings, { signal: shell.signal, budgetMs, nowMs: shell.now() })
    const text = isQuiet ? undefined : reportText(report)
    if (text !== undefined) shell.note(text)
  } catch (error) {
    if (shell.signal.aborted) return
    if (!(error instanceof BuildError)) throw error
    // Another process does it, or has just done it.
    if (error.code === 'STORE_LOCKED') return
    shell.warn({ severity: 'warning', code: error.code, message: `the cache was not collected: ${error.message}` })
  }
}
