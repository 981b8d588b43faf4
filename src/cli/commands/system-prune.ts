/** `mille system prune`: images and cached results at once. */
import { defineCommand } from '../command.js'
import { type PruneScope, pruneFlags, pruneScope, reclaimedText } from '../prune-store.js'

/** The verb `system prune`. */
export const command = defineCommand({
  name: 'system prune',
  usage: '[OPTIONS]',
  summary: 'Remove images without a name and cached results',
  notes: ['What a running mille uses stays, and so do named volumes and build records.'],
  flags: pruneFlags('All images and all that "mille prune --all" removes', 'Only what matches: until=24h (not used since)'),
  unsupported: ['volumes'],
  arguments: [0, 0],
  async run({ values }, shell) {
    const { all } = values
    const scope: PruneScope = { matches: ({ type }) => type !== 'history', shared: all, internal: all, namedImages: all }
    const report = await pruneScope(scope, values, shell)
    for (const [title, isOfIt] of [
      ['Images', true],
      ['build cache objects', false],
    ] as const) {
      const ids = report.removed.filter(({ item }) => (item.type === 'image') === isOfIt).map(({ item }) => item.id)
      if (ids.length > 0)
        shell.print(`${[`${values['dry-run'] ? 'Would be deleted:' : 'Deleted'} ${title}:`, ...ids].join('\n')}\n\n`)
    }
    shell.print(reclaimedText(report, values['dry-run']))
    return 0
  },
})
