/**
 * The collection when a build has ended: no daemon does it later.
 *
 * Whether it is time is known from one look at a file; what collects is loaded only then. Ctrl-C ends it, and the build has succeeded all the same.
 */
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import type { CollectReport } from '../store/gc.js'
import { isCollectionDue } from '../store/gc-state.js'
import { defaultRules, diskSpace, type GcSettings } from '../store/policy.js'
import { openStore } from '../store/store.js'
import type { BuildResult } from './options.js'

/** Deleting more than this takes is left to the next build. */
const budgetMs = 10_000

/** Where a collection takes place, and who is told when it cannot. */
export interface CollectWork extends Context {
  readonly root: string
  readonly now: () => number
}

/**
 * Collects by the default policy if it is time. What goes wrong is a warning: the build has its result.
 *
 * @param ran whether a step ran
 * @returns what went; undefined when it is not time, or another process does it
 */
export async function collectAfterBuild(
  settings: GcSettings,
  ran: boolean,
  { root, now, signal, emit }: CollectWork,
): Promise<CollectReport | undefined> {
  if (signal.aborted) return undefined
  try {
    if (!isCollectionDue(root, ran, settings, now())) return undefined
    const { collectGarbage } = await import('../store/gc.js')
    await using store = await openStore(root)
    const rules = defaultRules(settings, diskSpace(root), now())
    return await collectGarbage(store, { rules, unreferenced: true, dryRun: false, signal, budgetMs })
  } catch (error) {
    if (signal.aborted) return undefined
    if (!(error instanceof BuildError)) throw error
    if (error.code === 'STORE_LOCKED') return undefined
    const message = `the cache was not collected: ${error.message}`
    emit({ type: 'warning', diagnostic: { severity: 'warning', code: error.code, message } })
    return undefined
  }
}

/** True when a step ran, or was about to when the build failed: then the store has grown. */
export function anyRan(result: BuildResult | undefined): boolean {
  return result?.steps.some(({ cached }) => !cached) ?? true
}

/** Builds, and collects whether or not that succeeded: a build may fail because the disk is full. */
export async function buildAndCollect(
  build: () => Promise<BuildResult>,
  settings: GcSettings,
  work: CollectWork,
): Promise<BuildResult> {
  let result: BuildResult
  try {
    result = await build()
  } catch (error) {
    await collectAfterBuild(settings, true, work)
    throw error
  }
  const report = await collectAfterBuild(settings, anyRan(result), work)
  return report === undefined ? result : { ...result, collected: { count: report.removed.length, bytes: report.bytes } }
}
