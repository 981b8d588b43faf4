/** `mille load`. */
import { resolve } from 'node:path'
import { UsageError } from '../../core/errors.js'
import { familiarReference } from '../../core/reference.js'
import { defineCommand } from '../command.js'
import { readReference } from '../stores.js'
import { withTransfer } from '../transfer.js'

/** The verb `load`. */
export const command = defineCommand({
  name: 'load',
  usage: '[OPTIONS]',
  summary: 'Read images from a tar archive',
  notes: ['Docker archives, OCI archives and OCI layouts (a directory) are told apart by what is in them.'],
  flags: {
    input: { type: 'string', short: 'i', value: 'path', help: 'What is read', defaultText: 'stdin' },
    quiet: { type: 'boolean', short: 'q', help: 'Show no progress' },
  },
  unsupported: ['platform'],
  arguments: [0, 0],
  async run({ values }, shell) {
    const { input } = values
    if (input === undefined && shell.stdin.isTTY) {
      throw new UsageError('USAGE_BAD_FLAG', 'the archive is read from stdin, and stdin is a terminal', {
        hint: 'give --input FILE',
      })
    }
    const source = input === undefined || input === '-' ? shell.stdin : resolve(shell.cwd, input)
    const { loadImages } = await import('../../engine/load.js')
    const operation = { id: 'load', title: 'Loading', name: `load ${input ?? '-'}`, quiet: values.quiet } as const
    const loaded = await withTransfer(operation, shell, (options) => loadImages({ ...options, source }))
    for (const name of new Set(loaded.flatMap(({ names }) => names))) {
      shell.print(`Loaded image: ${familiarReference(readReference(name))}\n`)
    }
    for (const { imageId, names } of loaded) if (names.length === 0) shell.print(`Loaded image ID: ${imageId}\n`)
    return 0
  },
})
