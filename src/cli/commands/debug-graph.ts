/** `mille debug graph`: the plan of a Dockerfile. Base images are looked up as `build` does; nothing is run. */
import { platformOf } from '../../core/platform.js'
import { defineCommand } from '../command.js'
import { readAssignments } from '../csv.js'
import { parseAndReport, readSource } from '../debug-file.js'
import { engineOptions } from '../engine-options.js'

/** The verb `debug graph`. */
export const command = defineCommand({
  name: 'debug graph',
  usage: '[OPTIONS] FILE | -',
  summary: 'Show the build graph of a Dockerfile',
  flags: {
    'build-arg': { type: 'list', value: 'name[=value]', help: 'Set an ARG' },
    format: { type: 'string', value: 'format', default: 'text', choices: ['text', 'json', 'dot'], help: 'How it is printed' },
    target: { type: 'string', value: 'stage', help: 'The stage to build', defaultText: 'the last one' },
  },
  arguments: [1, 1],
  async run({ values, positionals }, shell) {
    const { parsed, failed } = await parseAndReport(await readSource(positionals[0] ?? '', shell), shell)
    if (failed) return 1
    const [{ analyze }, { resolve }, { lower }, { frontendOptions }, { withEngine }, { findImage }, { parse }, print] =
      await Promise.all([
        import('../../frontend/analyze.js'),
        import('../../frontend/resolve.js'),
        import('../../frontend/lower.js'),
        import('../../frontend/options.js'),
        import('../../engine/engine.js'),
        import('../../engine/images.js'),
        import('../../../grammar/parse.js'),
        import('../../graph/print.js'),
      ])
    const options = frontendOptions(platformOf(process.platform, process.arch), {
      target: values.target,
      buildArgs: readAssignments(values['build-arg'], shell.env, '--build-arg'),
    })
    const plan = await withEngine(engineOptions(shell, shell.emit), async (engine) => {
      const lookup = (name: string, platform: typeof options.buildPlatform) =>
        findImage(name, platform, 'missing', engine, engine.ctx)
      const resolved = await resolve(analyze(parsed.ast, options), { lookup, parse }, engine.ctx)
      return lower(resolved).plan
    })
    const { printGraph, printGraphDot, printGraphJson } = print
    shell.print({ text: printGraph, json: printGraphJson, dot: printGraphDot }[values.format as 'text' | 'json' | 'dot'](plan))
    return 0
  },
})
