/** The collection after a build's result is printed, and one line of what went. */
import { anyRan, collectAfterBuild } from '../engine/collect.js'
import type { BuildResult } from '../engine/options.js'
import type { GcSettings } from '../store/policy.js'
import type { Shell } from './shell.js'
import { storeRoot } from './stores.js'

/**
 * Collects if it is time, and says what went and why.
 *
 * @param settings undefined: collections are turned off
 * @param result undefined: the build failed
 */
export async function tidyAfterBuild(
  settings: GcSettings | undefined,
  result: BuildResult | undefined,
  isQuiet: boolean,
  shell: Shell,
): Promise<void> {
  if (settings === undefined) return
  const { now, signal, emit } = shell
  const report = await collectAfterBuild(settings, anyRan(result), { root: storeRoot(shell), now, signal, emit })
  if (report === undefined || isQuiet) return
  const { reportText } = await import('./collect-report.js')
  const text = reportText(report)
  if (text !== undefined) shell.note(text)
}
