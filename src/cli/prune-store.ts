/** What the `prune` commands share: the collection itself, and of the two for images and everything also flags and rules. */
import type { GcRule } from '../store/choose.js'
import type { CollectOptions, CollectReport } from '../store/gc.js'
import type { FlagTable } from './args.js'
import { humanSize } from './human.js'
import type { Shell } from './shell.js'
import { storeRoot } from './stores.js'
import { readUsageFilters } from './usage-filters.js'

/** Collects the store of this command line. */
export async function pruneStore(options: Omit<CollectOptions, 'signal'>, shell: Shell): Promise<CollectReport> {
  const [{ openStore }, { collectGarbage }] = await Promise.all([import('../store/store.js'), import('../store/gc.js')])
  await using store = await openStore(storeRoot(shell))
  const report = await collectGarbage(store, { ...options, signal: shell.signal })
  if (report.liveProcesses > 0) shell.note('another mille is running; what it uses was kept')
  shell.signal.throwIfAborted()
  return report
}

/** The flags that docker's prune commands have; `all` and `filter` are what `--help` says of these two. */
export function pruneFlags(all: string, filter: string) {
  return {
    all: { type: 'boolean', short: 'a', help: all },
    'dry-run': { type: 'boolean', help: 'Only say what would be removed' },
    filter: { type: 'list', value: 'filter', help: filter },
    force: { type: 'boolean', short: 'f', help: 'Accepted for docker: mille does not ask' },
  } as const satisfies FlagTable
}

/** What goes beside that which `--filter` and `--dry-run` say. */
export type PruneScope = Pick<GcRule, 'matches' | 'shared' | 'internal' | 'namedImages'>

/** Collects what a prune command with `pruneFlags` asks for. */
export function pruneScope(
  { matches, ...scope }: PruneScope,
  values: { readonly filter: readonly string[]; readonly 'dry-run': boolean },
  shell: Shell,
): Promise<CollectReport> {
  const filter = readUsageFilters(values.filter, shell.now())
  const rule: GcRule = {
    ...scope,
    matches: (item) => matches(item) && filter.matches(item),
    unusedSince: filter.unusedSince,
    reason: 'asked for',
  }
  return pruneStore({ rules: [rule], unreferenced: filter.isEmpty, dryRun: values['dry-run'] }, shell)
}

/** The last line of a prune command. */
export function reclaimedText({ bytes }: CollectReport, isDryRun: boolean): string {
  return `${isDryRun ? 'Reclaimable space' : 'Total reclaimed space'}: ${humanSize(bytes)}\n`
}
