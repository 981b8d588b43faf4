/** `mille history IMAGE`: how an image came to be, newest line first. Without an image: the build records. */
import { shortHex } from '../../core/digest.js'
import { listHistory } from '../build-records.js'
import { defineCommand } from '../command.js'
import { humanAge, humanSize } from '../human.js'
import { printRows, type Row } from '../listing.js'
import { findForPlatform, openShellStore, platformFlag, readConfig } from '../stores.js'

/** docker shows this much of a line unless `--no-trunc` is given. */
const shownLength = 45

/** The verb `history`. */
export const command = defineCommand({
  name: 'history',
  usage: '[OPTIONS] [IMAGE]',
  summary: 'Show the layers and history of an image',
  notes: [
    'Without an image it lists the build records, as "mille history ls" does. An image whose name is ls, inspect, logs, diff or rm is\nmeant by "mille image history NAME".',
  ],
  flags: {
    format: { type: 'string', value: 'template', help: 'A Go template, "table TEMPLATE", or json' },
    human: { type: 'boolean', short: 'H', default: 'true', help: 'Print sizes and times for people' },
    'no-trunc': { type: 'boolean', help: 'Show lines and ids in full' },
    platform: platformFlag,
    quiet: { type: 'boolean', short: 'q', help: 'Print ids only' },
  },
  arguments: [0, 1],
  async run({ values, positionals }, shell) {
    if (positionals[0] === undefined) return listHistory({ ...values, filter: [] }, shell)
    await using store = await openShellStore(shell)
    const image = findForPlatform(store, positionals[0] ?? '', values.platform)
    const config = await readConfig(store, image)
    let layer = 0
    const rows = (config.history ?? []).map((entry): Row => {
      const diffId = entry.empty_layer ? undefined : image.diffIds[layer++]
      const size = diffId === undefined ? 0 : (store.layers.find(diffId)?.size ?? 0)
      const by = (entry.created_by ?? '').replaceAll(/\s+/g, ' ')
      const time = entry.created === undefined ? undefined : Date.parse(entry.created)
      return {
        ID: '<missing>',
        CreatedSince: values.human ? humanAge(time, shell.now()) : timeText(time),
        CreatedAt: timeText(time),
        CreatedBy: values['no-trunc'] || by.length <= shownLength ? by : `${by.slice(0, shownLength - 1)}…`,
        Size: values.human ? humanSize(size) : String(size),
        Comment: entry.comment ?? '',
      }
    })
    const newestFirst = rows.reverse()
    const id = values['no-trunc'] ? image.id : shortHex(image.id)
    const named = newestFirst.map((row, i) => (i === 0 ? { ...row, ID: id } : row))
    if (values.quiet) {
      shell.print(named.map((row) => `${row.ID}\n`).join(''))
      return 0
    }
    const columns = [
      ['ID', 'IMAGE'],
      ['CreatedSince', values.human ? 'CREATED' : 'CREATED AT'],
      ['CreatedBy', 'CREATED BY'],
      ['Size', 'SIZE'],
      ['Comment', 'COMMENT'],
    ] as const
    printRows(named, { format: values.format, columns, headings: { CreatedAt: 'CREATED AT' } }, shell)
    return 0
  },
})

/** Whole seconds, as docker's. */
function timeText(ms: number | undefined): string {
  return ms === undefined || Number.isNaN(ms) ? 'N/A' : `${new Date(ms).toISOString().slice(0, 19)}Z`
}
