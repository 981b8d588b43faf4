/** `mille debug ast`: what the parser made of a Dockerfile. */
import { defineCommand } from '../command.js'
import { parseAndReport, readSource } from '../debug-file.js'

/** The verb `debug ast`. */
export const command = defineCommand({
  name: 'debug ast',
  usage: '[OPTIONS] FILE | -',
  summary: 'Show the syntax tree of a Dockerfile',
  flags: {
    format: { type: 'string', value: 'format', default: 'text', choices: ['text', 'json'], help: 'How it is printed' },
  },
  arguments: [1, 1],
  async run({ values, positionals }, shell) {
    const { parsed, failed } = await parseAndReport(await readSource(positionals[0] ?? '', shell), shell)
    if (values.format === 'json') {
      const { source, ...rest } = parsed.ast
      shell.print(`${JSON.stringify({ source: source.name, ...rest }, undefined, 2)}\n`)
      return failed ? 1 : 0
    }
    const { printAst } = await import('../../../grammar/print.js')
    shell.print(printAst(parsed.ast))
    return failed ? 1 : 0
  },
})
