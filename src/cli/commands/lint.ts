/** `mille lint`. */
import { resolve } from 'node:path'
import { version } from '../../engine/version.js'
import { isStreamFile, writeOutputFile } from '../../io/fs.js'
import { defineCommand } from '../command.js'
import { readSource } from '../debug-file.js'
import { lintFormats } from '../lint-report.js'

/** The verb `lint`. */
export const command = defineCommand({
  name: 'lint',
  usage: '[OPTIONS] FILE...',
  summary: 'Check Dockerfiles for mistakes and bad habits',
  notes: [
    'Exit code 1 when there is a warning. Base images are not looked at; "mille build --check" does.',
    '"# check=skip=RULE" at the top of a file or right above an instruction switches a rule off; docs/lint.md has all rules.',
  ],
  flags: {
    fix: { type: 'boolean', help: 'Mend what can be mended without a human, in place' },
    format: { type: 'string', value: 'format', default: 'text', choices: lintFormats, help: 'How findings are printed' },
  },
  arguments: [1, Infinity],
  async run({ values, positionals }, shell) {
    const [{ fixSource, lintFile, lintSource }, { renderResults }] = await Promise.all([
      import('../../check.js'),
      import('../lint-report.js'),
    ])
    const results = []
    for (const path of positionals) {
      // What can be read once only, and not be written.
      const isAlone = path === '-' || isStreamFile(resolve(shell.cwd, path))
      const source = await readSource(path, shell)
      if (values.fix) {
        const { text, fixed } = await fixSource(source)
        if (isAlone) shell.print(text)
        else if (text !== source.text) writeOutputFile(resolve(shell.cwd, path), text)
        shell.note(`${path}: mended ${fixed.length} finding${fixed.length === 1 ? '' : 's'}`)
        if (isAlone) {
          results.push(await lintSource({ ...source, text }))
          continue
        }
      }
      results.push(isAlone ? await lintSource(source) : await lintFile(path))
    }
    const report = renderResults(results, values.format, shell.color && shell.stdout.isTTY === true, version())
    if (values.fix && positionals.includes('-')) shell.note(report)
    else shell.print(report)
    return results.some(({ findings, errors }) => findings.length + errors.length > 0) ? 1 : 0
  },
})
