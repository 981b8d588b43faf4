/** `mille tag`. */
import { UsageError } from '../../core/errors.js'
import { formatReference } from '../../core/reference.js'
import { defineCommand } from '../command.js'
import { findImage, imagesOf, openShellStore, readReference } from '../stores.js'

/** The verb `tag`. */
export const command = defineCommand({
  name: 'tag',
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  summary: 'Give an image another name',
  flags: {},
  arguments: [2, 2],
  async run({ positionals }, shell) {
    const [source = '', target = ''] = positionals
    const reference = readReference(target)
    if (reference.digest !== undefined) {
      throw new UsageError('USAGE_BAD_ARGUMENT', `the new name "${target}" has a digest; a name is given with a tag`)
    }
    await using store = await openShellStore(shell)
    const found = findImage(store, source)
    const images = imagesOf(store, found).map(({ id }) => id)
    const all = images.length > 1 ? { images } : {}
    store.images.setTag({ reference: formatReference(reference), image: found.image.id, ...all })
    return 0
  },
})
