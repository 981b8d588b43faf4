/** `mille save`. */
import { resolve } from 'node:path'
import { UsageError } from '../../core/errors.js'
import { defineCommand } from '../command.js'
import { readPlatform } from '../stores.js'
import { withTransfer } from '../transfer.js'

/** podman's names for the formats, and short ones. */
const formats = {
  'docker-archive': { format: 'docker', tar: true },
  docker: { format: 'docker', tar: true },
  'oci-archive': { format: 'oci', tar: true },
  oci: { format: 'oci', tar: true },
  'oci-dir': { format: 'oci', tar: false },
} as const

/** The verb `save`. */
export const command = defineCommand({
  name: 'save',
  usage: '[OPTIONS] IMAGE...',
  summary: 'Write images to a tar archive',
  flags: {
    format: {
      type: 'string',
      value: 'format',
      default: 'docker-archive',
      choices: Object.keys(formats),
      help: 'What is written',
    },
    output: { type: 'string', short: 'o', value: 'path', help: 'Where it is written', defaultText: 'stdout' },
    platform: {
      type: 'string',
      value: 'os/arch',
      help: 'Write only the images for this platform',
      defaultText: 'all of an index',
    },
    quiet: { type: 'boolean', short: 'q', help: 'Show no progress' },
  },
  arguments: [1, Infinity],
  async run({ values, positionals }, shell) {
    const { format, tar } = formats[values.format as keyof typeof formats]
    const { output } = values
    if (output === undefined && !tar) throw new UsageError('USAGE_BAD_FLAG', 'a directory needs --output PATH')
    if (output === undefined && shell.stdout.isTTY) {
      throw new UsageError('USAGE_BAD_FLAG', 'the output is an archive and stdout is a terminal', {
        hint: 'give --output FILE, or redirect stdout',
      })
    }
    const dest = output === undefined ? { stream: shell.stdoutStream } : resolve(shell.cwd, output)
    const platform = values.platform === undefined ? undefined : readPlatform(values.platform)
    const { saveImages } = await import('../../engine/save.js')
    const operation = { id: 'save', title: 'Saving', name: `save ${positionals.join(' ')}`, quiet: values.quiet } as const
    await withTransfer(operation, shell, (options) =>
      saveImages({ ...options, images: positionals, platform, format, tar, dest }),
    )
    return 0
  },
})
