/** What the `prune` commands share: the collection itself. */
import type { CollectOptions, CollectReport } from '../store/gc.js'
import type { Shell } from './shell.js'
import { storeRoot } from './stores.js'

/** Collects the store of this command line. */
export async function pruneStore(options: Omit<CollectOptions, 'signal'>, shell: Shell): Promise<CollectReport> {
  const [{ openStore }, { collectGarbage }] = await Promise.all([import('../store/store.js'), import('../store/gc.js')])
  await using store = await openStore(storeRoot(shell))
  const report = await collectGarbage(store, { ...options, signal: shell.signal })
  if (report.liveProcesses > 0) shell.note('another mille is running; what it uses was kept')
  shell.signal.throwIfAborted()
  return report
}
