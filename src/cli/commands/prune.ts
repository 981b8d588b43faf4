/** `mille prune`: removes cached results and what nothing needs. `builder prune` and `buildx prune` are it, too. */
import { defineCommand } from '../command.js'
import { pruneStore } from '../prune-store.js'
import { readUsageFilters } from '../usage-filters.js'
import { printItems, totalsText } from '../usage-table.js'

/** The verb `prune`. */
export const command = defineCommand({
  name: 'prune',
  usage: '[OPTIONS]',
  summary: 'Remove cached results and what nothing needs',
  notes: [
    'Without flags: all cached results that no image with a name shares, caches of RUN --mount=type=cache, git repositories, images without\na name. Images with names stay ("mille image prune --all" removes them), and so does what a running mille uses.',
    'With a limit the longest unused go, and only as much as it takes. Build records stay but for --filter type=history.',
  ],
  flags: {
    all: {
      type: 'boolean',
      short: 'a',
      help: 'Also cached results that images with names share (their steps run again), memos and logs',
    },
    cache: { type: 'boolean', help: 'The older name of --all' },
    'dry-run': { type: 'boolean', help: 'Only say what would be removed' },
    filter: {
      type: 'list',
      value: 'filter',
      help: 'Only what matches: until=24h (not used since), id, parents, description, type (=, != or ~=), mutable, immutable, shared, private',
    },
    force: { type: 'boolean', short: 'f', help: 'Accepted for docker: mille does not ask' },
    format: { type: 'string', value: 'template', help: 'A Go template, "table TEMPLATE", json, or pretty' },
    'keep-storage': { type: 'bytes', value: 'size', help: 'The older name of --reserved-space' },
    'max-used-space': { type: 'bytes', value: 'size', help: 'The most that the cache may use' },
    'min-free-space': { type: 'bytes', value: 'size', help: 'What of the disk shall be free' },
    'reserved-space': { type: 'bytes', value: 'size', help: 'What the cache may use however full the disk is' },
    verbose: { type: 'boolean', help: 'The same as --format=pretty' },
  },
  unsupported: ['builder', 'timeout', 'debug|D'],
  arguments: [0, 0],
  async run({ values }, shell) {
    const filter = readUsageFilters(values.filter, shell.now())
    const all = values.all || values.cache
    const limits = {
      maxUsed: values['max-used-space'] ?? 0,
      minFree: values['min-free-space'] ?? 0,
      reserved: values['reserved-space'] ?? values['keep-storage'] ?? 0,
    }
    const { matches, unusedSince, types } = filter
    const report = await pruneStore(
      {
        rules: [
          {
            matches: (item) => (item.type !== 'history' || types.has('history')) && matches(item),
            shared: all,
            internal: all || types.has('internal'),
            namedImages: false,
            unusedSince,
            limits,
            reason: unusedSince === undefined ? 'asked for' : 'not used since then',
          },
        ],
        unreferenced: filter.isEmpty,
        dryRun: values['dry-run'],
      },
      shell,
    )
    printItems(report.removed, values.verbose ? 'pretty' : values.format, shell)
    if (values.format === undefined || values.verbose) {
      shell.print(totalsText([[values['dry-run'] ? 'Would be removed' : 'Total', report.bytes]]))
    }
    return 0
  },
})
