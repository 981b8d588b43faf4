/** `mille history ls`. */
import { listHistory } from '../build-records.js'
import { defineCommand } from '../command.js'

/** The verb `history ls`. */
export const command = defineCommand({
  name: 'history ls',
  usage: '[OPTIONS]',
  summary: 'List build records',
  flags: {
    filter: { type: 'list', value: 'filter', help: 'Only those with status=completed|failed|cancelled|killed|running or name=…' },
    format: { type: 'string', value: 'template', help: 'A Go template, "table TEMPLATE", or json' },
    'no-trunc': { type: 'boolean', help: 'Show ids in full' },
    quiet: { type: 'boolean', short: 'q', help: 'Print ids only' },
  },
  unsupported: ['builder', 'local', 'debug|D'],
  arguments: [0, 0],
  run: async ({ values }, shell) => listHistory(values, shell),
})
