/** `mille import`: a tar of a root filesystem becomes an image. */
import { resolve } from 'node:path'
import { DockerfileError, UsageError } from '../../core/errors.js'
import type { ContainerConfig } from '../../core/image.js'
import { parsePlatform, platformOf } from '../../core/platform.js'
import { defineCommand } from '../command.js'
import { engineOptions } from '../engine-options.js'
import type { Shell } from '../shell.js'

/** The verb `import`. */
export const command = defineCommand({
  name: 'import',
  usage: '[OPTIONS] FILE | - [REPOSITORY[:TAG]]',
  summary: 'Make an image of a root filesystem tar',
  flags: {
    change: {
      type: 'list',
      short: 'c',
      value: 'instruction',
      help: 'Apply an instruction of a Dockerfile to the config: CMD, ENV, USER, …',
    },
    message: { type: 'string', short: 'm', value: 'text', help: 'The comment in the history' },
    platform: { type: 'string', value: 'os/arch', help: 'What the files are for', defaultText: "this machine's" },
  },
  arguments: [1, 2],
  async run({ values, positionals }, shell) {
    const [file = '', reference] = positionals
    if (/^https?:\/\//.test(file)) {
      throw new UsageError('USAGE_BAD_ARGUMENT', `${file}: importing from the network is not supported yet`, {
        hint: 'download it first',
      })
    }
    const host = platformOf(process.platform, process.arch)
    const platform = values.platform === undefined ? host : parsePlatform(values.platform, host)
    if (platform === undefined) throw new UsageError('USAGE_BAD_FLAG', `--platform "${values.platform}" is no platform`)
    const config = values.change.length === 0 ? undefined : await configOf(values.change, shell)
    const { importImage } = await import('../../engine/import.js')
    const id = await importImage({
      ...engineOptions(shell, shell.emit),
      source: file === '-' ? shell.stdin : resolve(shell.cwd, file),
      reference,
      config,
      message: values.message,
      platform,
    })
    shell.print(`${id}\n`)
    return 0
  },
})

/** The config that instructions give to an empty image. */
async function configOf(changes: readonly string[], shell: Shell): Promise<ContainerConfig | undefined> {
  const [{ parse }, { analyze }, { resolve: resolveStages }, { lower }, { frontendOptions }] = await Promise.all([
    import('../../../grammar/parse.js'),
    import('../../frontend/analyze.js'),
    import('../../frontend/resolve.js'),
    import('../../frontend/lower.js'),
    import('../../frontend/options.js'),
  ])
  const parsed = parse({ name: '--change', text: ['FROM scratch', ...changes].join('\n') })
  const options = frontendOptions(platformOf(process.platform, process.arch))
  const lookup = async (): Promise<never> => {
    throw new UsageError('USAGE_BAD_FLAG', '--change cannot name an image')
  }
  const ctx = { signal: shell.signal, emit: shell.emit }
  const [first, ...more] = parsed.diagnostics.filter(({ severity }) => severity === 'error')
  if (first !== undefined) throw new DockerfileError([first, ...more])
  const { plan } = lower(await resolveStages(analyze(parsed.ast, options), { lookup, parse }, ctx))
  if (plan.vertices.length === 0) return plan.image.config.config
  throw new UsageError('USAGE_BAD_FLAG', '--change takes instructions that change the config only, not files', {
    hint: 'build FROM the imported image for RUN, COPY, ADD and WORKDIR',
  })
}
