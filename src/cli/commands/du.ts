/** `mille du`: what the store holds and what of it could go. */
import { defineCommand } from '../command.js'
import { storeRoot } from '../stores.js'
import { readUsageFilters } from '../usage-filters.js'
import { printItems, totalsText } from '../usage-table.js'

/** The verb `du`. */
export const command = defineCommand({
  name: 'du',
  usage: '[OPTIONS]',
  summary: 'Show what takes the space of the store',
  notes: [
    'RECLAIMABLE is what "mille prune --all" removes: no image with a name and no running mille needs it. An asterisk at an ID: it can\nchange; at a SIZE: several images, or an image and the cache, need it. Sizes are those of the disk, as "du" has them.',
  ],
  flags: {
    filter: {
      type: 'list',
      value: 'filter',
      help: 'Only what matches: id, parents, description, type (=, != or ~=), inuse, mutable, immutable, shared, private, until=24h',
    },
    format: { type: 'string', value: 'template', help: 'A Go template, "table TEMPLATE", json, or pretty' },
    verbose: { type: 'boolean', help: 'The same as --format=pretty' },
  },
  unsupported: ['builder', 'timeout', 'debug|D'],
  arguments: [0, 0],
  async run({ values }, shell) {
    const filter = readUsageFilters(values.filter, shell.now())
    const [{ openStore }, { takeInventory }] = await Promise.all([
      import('../../store/store.js'),
      import('../../store/inventory.js'),
    ])
    await using store = await openStore(storeRoot(shell))
    const { items } = await takeInventory(store.session, { signal: shell.signal, whole: true })
    const { matches, unusedSince = Number.POSITIVE_INFINITY } = filter
    const shown = items
      .filter((item) => matches(item) && (item.lastUsedAt ?? 0) < unusedSince)
      .sort((a, b) => b.size - a.size)
      .map((item) => ({ item, size: item.size }))
    const format = values.verbose ? 'pretty' : values.format
    printItems(shown, format, shell)
    if (format !== undefined && format !== 'pretty' && format !== 'table') return 0
    const sum = (keep: (each: (typeof shown)[number]) => boolean): number =>
      shown.filter(keep).reduce((total, { size }) => total + size, 0)
    const shared = sum(({ item }) => item.shared)
    const total = sum(() => true)
    shell.print(
      totalsText([
        ...(shared > 0 ? [['Shared', shared] as const, ['Private', total - shared] as const] : []),
        ['Reclaimable', sum(({ item }) => item.held === undefined)],
        ['Total', total],
      ]),
    )
    return 0
  },
})
