/** `mille push`. */

import { UsageError } from '../../core/errors.js'
import { familiarRepository, formatReference } from '../../core/reference.js'
import { defineCommand } from '../command.js'
import type { Shell } from '../shell.js'
import { openShellStore, readPlatform, readReference } from '../stores.js'
import { withTransfer } from '../transfer.js'

/** The verb `push`. */
export const command = defineCommand({
  name: 'push',
  usage: '[OPTIONS] NAME[:TAG]',
  summary: 'Send an image to a registry',
  flags: {
    'all-tags': { type: 'boolean', short: 'a', help: 'Send all images of the repository' },
    platform: { type: 'string', value: 'os/arch', help: 'Send only the image for this platform', defaultText: 'all of an index' },
    quiet: { type: 'boolean', short: 'q', help: 'Show no progress; print the name only' },
  },
  unsupported: ['disable-content-trust'],
  arguments: [1, 1],
  async run({ values, positionals }, shell) {
    const [name = ''] = positionals
    const references = values['all-tags'] ? await allTags(name, shell) : [formatReference(readReference(name))]
    const platform = values.platform === undefined ? undefined : readPlatform(values.platform)
    const { pushImages } = await import('../../engine/transfer.js')
    const operation = { id: 'push', title: 'Pushing', name: `push ${name}`, quiet: values.quiet } as const
    const pushed = await withTransfer(operation, shell, (options) => pushImages({ ...options, references, platform }))
    for (const [i, reference] of references.entries()) {
      const descriptor = pushed[i]
      const tag = readReference(reference).tag ?? 'latest'
      if (values.quiet) shell.print(`${reference}\n`)
      else if (descriptor !== undefined) shell.print(`${tag}: digest: ${descriptor.digest} size: ${descriptor.size}\n`)
    }
    return 0
  },
})

/** The names in full of every image of a repository. */
async function allTags(name: string, shell: Shell): Promise<string[]> {
  const wanted = readReference(name)
  if (name !== familiarRepository(wanted) && name !== `${wanted.registry}/${wanted.repository}`) {
    throw new UsageError('USAGE_BAD_ARGUMENT', `"${name}" has a tag, and --all-tags sends all tags of a repository`)
  }
  await using store = await openShellStore(shell)
  const names = store.images
    .tags()
    .map((tag) => readReference(tag.reference))
    .filter(({ registry, repository }) => registry === wanted.registry && repository === wanted.repository)
    .map(formatReference)
  if (names.length > 0) return names.sort()
  throw new UsageError('USAGE_BAD_ARGUMENT', `the store has no image of the repository "${name}"`)
}
