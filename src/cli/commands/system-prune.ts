/** `mille system prune`: images and cached results at once. */
import { defineCommand } from '../command.js'
import { humanSize } from '../human.js'
import { pruneStore } from '../prune-store.js'
import { readUsageFilters } from '../usage-filters.js'

/** The verb `system prune`. */
export const command = defineCommand({
  name: 'system prune',
  usage: '[OPTIONS]',
  summary: 'Remove images without a name and cached results',
  notes: ['What a running mille uses stays, and so do named volumes and build records.'],
  flags: {
    all: { type: 'boolean', short: 'a', help: 'All images and all that "mille prune --all" removes' },
    'dry-run': { type: 'boolean', help: 'Only say what would be removed' },
    filter: { type: 'list', value: 'filter', help: 'Only what matches: until=24h (not used since)' },
    force: { type: 'boolean', short: 'f', help: 'Accepted for docker: mille does not ask' },
  },
  unsupported: ['volumes'],
  arguments: [0, 0],
  async run({ values: { all, filter: texts, ...values } }, shell) {
    const filter = readUsageFilters(texts, shell.now())
    const report = await pruneStore(
      {
        rules: [
          {
            matches: (item) => item.type !== 'history' && filter.matches(item),
            ...{ shared: all, internal: all, namedImages: all },
            unusedSince: filter.unusedSince,
            reason: 'asked for',
          },
        ],
        unreferenced: filter.isEmpty,
        dryRun: values['dry-run'],
      },
      shell,
    )
    for (const [title, isOfIt] of [
      ['Images', true],
      ['build cache objects', false],
    ] as const) {
      const ids = report.removed.filter(({ item }) => (item.type === 'image') === isOfIt).map(({ item }) => item.id)
      if (ids.length > 0)
        shell.print(`${[`${values['dry-run'] ? 'Would be deleted:' : 'Deleted'} ${title}:`, ...ids].join('\n')}\n\n`)
    }
    shell.print(`${values['dry-run'] ? 'Reclaimable space' : 'Total reclaimed space'}: ${humanSize(report.bytes)}\n`)
    return 0
  },
})
