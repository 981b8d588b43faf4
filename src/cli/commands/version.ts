/** `mille version`. */
import { formatPlatform, platformOf } from '../../core/platform.js'
import { version } from '../../engine/version.js'
import { defineCommand } from '../command.js'
import { renderTemplate } from '../template.js'

/** The verb `version`. */
export const command = defineCommand({
  name: 'version',
  usage: '[OPTIONS]',
  summary: 'Show versions',
  flags: {
    format: { type: 'string', short: 'f', value: 'template', help: 'A Go template, or json' },
  },
  arguments: [0, 0],
  async run({ values }, shell) {
    const platform = platformOf(process.platform, process.arch)
    const client = { Version: version(), Os: platform.os, Arch: platform.architecture, NodeVersion: process.versions.node }
    if (values.format !== undefined) {
      shell.print(
        `${renderTemplate(values.format === 'json' ? '{{json .}}' : values.format, { Client: client, Server: client })}\n`,
      )
      return 0
    }
    shell.print(`mille version ${client.Version}\n Node.js:  ${client.NodeVersion}\n OS/Arch:  ${formatPlatform(platform)}\n`)
    return 0
  },
})
