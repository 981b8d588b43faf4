/** `mille rmi`: removes names, and images that have no name left. What only they needed goes with the next prune. */
import { BuildError } from '../../core/errors.js'
import { familiarReference } from '../../core/reference.js'
import { imagesOfTag } from '../../store/images.js'
import type { Store } from '../../store/types.js'
import { defineCommand } from '../command.js'
import type { Shell } from '../shell.js'
import { findImage, imagesOf, namesOf, openShellStore, readReference } from '../stores.js'

/** The verb `rmi`. */
export const command = defineCommand({
  name: 'rmi',
  usage: '[OPTIONS] IMAGE...',
  summary: 'Remove images',
  flags: {
    force: { type: 'boolean', short: 'f', help: 'Remove an image with all its names; a missing image is no failure' },
    'no-prune': { type: 'boolean', help: 'Accepted for docker: layers are removed by "mille prune" only' },
  },
  unsupported: ['platform'],
  arguments: [1, Infinity],
  async run({ values, positionals }, shell) {
    const { renderError } = await import('../../core/render.js')
    await using store = await openShellStore(shell)
    let failed = false
    for (const name of positionals) {
      try {
        removeImage(store, name, values.force, shell)
      } catch (error) {
        if (!(error instanceof BuildError)) throw error
        shell.stderr.write(renderError(error, { color: shell.color }))
        failed ||= !(values.force && error.code === 'IMAGE_NOT_FOUND')
      }
    }
    return failed ? 1 : 0
  },
})

function removeImage(store: Store, name: string, force: boolean, shell: Shell): void {
  const found = findImage(store, name)
  const { image, tag } = found
  const all = imagesOf(store, found)
  if (tag !== undefined) {
    store.images.removeTag(tag.reference)
    shell.print(`Untagged: ${familiarReference(readReference(tag.reference))}\n`)
  } else {
    const names = namesOf(store, image.id)
    if (names.length > 1 && !force) {
      throw new BuildError('STORE_IN_USE', `the image ${name} has ${names.length} names: ${names.join(', ')}`, {
        hint: 'remove it by its names, or all at once with --force',
      })
    }
    for (const other of store.images.tags()) {
      if (!imagesOfTag(other).includes(image.id)) continue
      store.images.removeTag(other.reference)
      shell.print(`Untagged: ${familiarReference(readReference(other.reference))}\n`)
    }
  }
  for (const { id } of all) {
    if (namesOf(store, id).length > 0) continue
    store.images.remove(id)
    shell.print(`Deleted: ${id}\n`)
  }
}
