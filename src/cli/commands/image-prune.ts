/** `mille image prune`: removes images. Cached results stay. */
import { familiarReference } from '../../core/reference.js'
import { defineCommand } from '../command.js'
import { type PruneScope, pruneFlags, pruneScope, reclaimedText } from '../prune-store.js'
import { readReference } from '../stores.js'

/** The verb `image prune`. */
export const command = defineCommand({
  name: 'image prune',
  usage: '[OPTIONS]',
  summary: 'Remove images without a name, or all images',
  notes: ['Layers that cached results share stay: "mille prune" removes those.'],
  flags: pruneFlags(
    'Images with names too, but for those that a running mille uses',
    'Only what matches: until=24h (in the store for longer), id',
  ),
  arguments: [0, 0],
  async run({ values }, shell) {
    const scope: PruneScope = { matches: ({ type }) => type === 'image', shared: false, internal: false, namedImages: values.all }
    const report = await pruneScope(scope, values, shell)
    const lines = report.removed.flatMap(({ item: { content } }) =>
      content.kind !== 'image'
        ? []
        : [...content.names.map((name) => `untagged: ${familiarReference(readReference(name))}`), `deleted: ${content.image}`],
    )
    const title = values['dry-run'] ? 'Images that would be deleted:' : 'Deleted Images:'
    if (lines.length > 0) shell.print(`${[title, ...lines].join('\n')}\n\n`)
    shell.print(reclaimedText(report, values['dry-run']))
    return 0
  },
})
