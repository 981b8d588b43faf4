/** `mille history rm`. */
import { UsageError } from '../../core/errors.js'
import { listBuilds, removeBuild } from '../../store/builds.js'
import { findBuild, historyFolder } from '../build-records.js'
import { defineCommand } from '../command.js'

/** The verb `history rm`. */
export const command = defineCommand({
  name: 'history rm',
  usage: '[OPTIONS] [BUILD...]',
  summary: 'Remove build records',
  notes: ['BUILD is an id, the start of one, or ^N for the N-th before the last. Images and cached results stay.'],
  flags: { all: { type: 'boolean', help: 'Remove all records' } },
  unsupported: ['builder', 'debug|D'],
  arguments: [0, Infinity],
  async run({ values, positionals }, shell) {
    if (values.all === positionals.length > 0) {
      throw new UsageError('USAGE_BAD_ARGUMENT', '"mille history rm" takes builds or --all', {
        hint: '"mille history ls" lists the builds',
      })
    }
    // All are looked up first: ^1 is another one once ^0 is gone.
    const doomed = values.all ? listBuilds(historyFolder(shell)) : positionals.map((text) => findBuild(text, shell).file)
    for (const file of doomed) {
      removeBuild(file)
      shell.print(`${file.id}\n`)
    }
    return 0
  },
})
