/** `mille image prune`: removes images. Cached results stay. */
import { familiarReference } from '../../core/reference.js'
import { defineCommand } from '../command.js'
import { humanSize } from '../human.js'
import { pruneStore } from '../prune-store.js'
import { readReference } from '../stores.js'
import { readUsageFilters } from '../usage-filters.js'

/** The verb `image prune`. */
export const command = defineCommand({
  name: 'image prune',
  usage: '[OPTIONS]',
  summary: 'Remove images without a name, or all images',
  notes: ['Layers that cached results share stay: "mille prune" removes those.'],
  flags: {
    all: { type: 'boolean', short: 'a', help: 'Images with names too, but for those that a running mille uses' },
    'dry-run': { type: 'boolean', help: 'Only say what would be removed' },
    filter: { type: 'list', value: 'filter', help: 'Only what matches: until=24h (in the store for longer), id' },
    force: { type: 'boolean', short: 'f', help: 'Accepted for docker: mille does not ask' },
  },
  arguments: [0, 0],
  async run({ values }, shell) {
    const filter = readUsageFilters(values.filter, shell.now())
    const report = await pruneStore(
      {
        rules: [
          {
            matches: (item) => item.type === 'image' && filter.matches(item),
            ...{ shared: false, internal: false, namedImages: values.all },
            unusedSince: filter.unusedSince,
            reason: 'asked for',
          },
        ],
        unreferenced: filter.isEmpty,
        dryRun: values['dry-run'],
      },
      shell,
    )
    const lines = report.removed.flatMap(({ item: { content } }) =>
      content.kind !== 'image'
        ? []
        : [...content.names.map((name) => `untagged: ${familiarReference(readReference(name))}`), `deleted: ${content.image}`],
    )
    const title = values['dry-run'] ? 'Images that would be deleted:' : 'Deleted Images:'
    if (lines.length > 0) shell.print(`${[title, ...lines].join('\n')}\n\n`)
    shell.print(`${values['dry-run'] ? 'Reclaimable space' : 'Total reclaimed space'}: ${humanSize(report.bytes)}\n`)
    return 0
  },
})
