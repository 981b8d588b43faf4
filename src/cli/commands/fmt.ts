/** `mille fmt`. */
import { resolve } from 'node:path'
import { UsageError } from '../../core/errors.js'
import { writeOutputFile } from '../../io/fs.js'
import { defineCommand } from '../command.js'
import { readSource } from '../debug-file.js'

/** The verb `fmt`. */
export const command = defineCommand({
  name: 'fmt',
  usage: '[OPTIONS] FILE...',
  summary: 'Print Dockerfiles in a canonical layout',
  notes: ['The meaning never changes: shell commands, quoted text and here-documents are left alone. Comments are kept.'],
  flags: {
    check: { type: 'boolean', help: 'Name the files that are laid out otherwise; exit code 1 when there is one' },
    write: { type: 'boolean', short: 'w', help: 'Write the result to the file' },
  },
  arguments: [1, Infinity],
  async run({ values, positionals }, shell) {
    if (values.check && values.write) throw new UsageError('USAGE_BAD_FLAG', '--check and --write cannot be given together')
    const { format } = await import('../../check.js')
    let different = 0
    for (const path of positionals) {
      const source = await readSource(path, shell)
      const text = await format(source)
      if (text !== source.text) different++
      if (values.check && text !== source.text) shell.print(`${path}\n`)
      if (values.write && path !== '-' && text !== source.text) writeOutputFile(resolve(shell.cwd, path), text)
      if (!values.check && (!values.write || path === '-')) shell.print(text)
    }
    return values.check && different > 0 ? 1 : 0
  },
})
