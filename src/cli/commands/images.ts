/** `mille images`: what is in the store. */
import { shortHex } from '../../core/digest.js'
import { UsageError } from '../../core/errors.js'
import { formatPlatform } from '../../core/platform.js'
import { familiarRepository } from '../../core/reference.js'
import { didYouMean } from '../../core/suggest.js'
import { imagesOfTag } from '../../store/images.js'
import type { Store, StoredImage, Tag } from '../../store/types.js'
import { defineCommand } from '../command.js'
import { humanAge, humanSize, humanTime } from '../human.js'
import { printRows, type Row } from '../listing.js'
import type { Shell } from '../shell.js'
import { findImage, imageSize, openShellStore, readConfig, readReference } from '../stores.js'

interface Listed {
  readonly image: StoredImage
  readonly tag: Tag | undefined
}

type Filter = (listed: Listed) => boolean | Promise<boolean>

/** The verb `images`. */
export const command = defineCommand({
  name: 'images',
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  summary: 'List images',
  flags: {
    all: { type: 'boolean', short: 'a', help: 'Accepted for docker: mille keeps no intermediate images' },
    digests: { type: 'boolean', help: 'Show the digests that registries know' },
    filter: {
      type: 'list',
      short: 'f',
      value: 'key=value',
      help: 'Only images that match: dangling=true|false, label=NAME[=VALUE], reference=PATTERN, before=IMAGE, since=IMAGE, until=24h',
    },
    format: { type: 'string', value: 'template', help: 'A Go template, "table TEMPLATE", or json' },
    'no-trunc': { type: 'boolean', help: 'Show ids in full' },
    quiet: { type: 'boolean', short: 'q', help: 'Print ids only' },
  },
  unsupported: ['tree'],
  arguments: [0, 1],
  async run({ values, positionals }, shell) {
    await using store = await openShellStore(shell)
    const filters = await Promise.all(values.filter.map((text) => readFilter(text, store, shell.now())))
    const [pattern] = positionals
    if (pattern !== undefined) filters.push(referenceFilter(pattern))
    const listed = await keep(listAll(store), filters)
    if (values.quiet) {
      const ids = [...new Set(listed.map(({ image }) => idOf(image, values['no-trunc'])))]
      shell.print(ids.map((id) => `${id}\n`).join(''))
      return 0
    }
    const rows = listed.map((item) => rowOf(item, store, values['no-trunc'], shell))
    const hasIndexes = listed.some(({ tag }) => tag !== undefined && imagesOfTag(tag).length > 1)
    const platforms = hasIndexes ? [['Platform', 'PLATFORM'] as const] : []
    const digests = values.digests ? [['Digest', 'DIGEST'] as const] : []
    const columns = [
      ['Repository', 'REPOSITORY'],
      ['Tag', 'TAG'],
      ...digests,
      ...platforms,
      ['ID', 'IMAGE ID'],
      ['CreatedSince', 'CREATED'],
      ['Size', 'SIZE'],
    ] as const
    printRows(rows, { format: values.format, columns, headings: { CreatedAt: 'CREATED AT' } }, shell)
    return 0
  },
})

/** Every name of every image, newest image first. */
function listAll(store: Store): Listed[] {
  const tags = store.images.tags()
  const images = [...store.images.list()].sort((a, b) => createdAt(b) - createdAt(a))
  return images.flatMap((image): Listed[] => {
    const own = tags.filter((tag) => imagesOfTag(tag).includes(image.id)).sort((a, b) => (a.reference < b.reference ? -1 : 1))
    return own.length === 0 ? [{ image, tag: undefined }] : own.map((tag) => ({ image, tag }))
  })
}

async function keep(listed: readonly Listed[], filters: readonly Filter[]): Promise<Listed[]> {
  const kept: Listed[] = []
  for (const item of listed) {
    const verdicts = await Promise.all(filters.map((filter) => filter(item)))
    if (verdicts.every(Boolean)) kept.push(item)
  }
  return kept
}

function createdAt(image: StoredImage): number {
  const time = image.created === undefined ? Number.NaN : Date.parse(image.created)
  return Number.isNaN(time) ? image.storedAt : time
}

function idOf(image: StoredImage, whole: boolean): string {
  return whole ? image.id : shortHex(image.id)
}

function rowOf({ image, tag }: Listed, store: Store, whole: boolean, shell: Shell): Row {
  const reference = tag === undefined ? undefined : readReference(tag.reference)
  const created = image.created === undefined ? undefined : Date.parse(image.created)
  return {
    Repository: reference === undefined ? '<none>' : familiarRepository(reference),
    Tag: reference?.tag ?? '<none>',
    Digest: tag?.remoteDigest ?? '<none>',
    Platform: formatPlatform(image.platform),
    ID: idOf(image, whole),
    CreatedSince: humanAge(created, shell.now()),
    CreatedAt: created === undefined || Number.isNaN(created) ? 'N/A' : humanTime(created),
    Size: humanSize(imageSize(store, image)),
    Containers: 'N/A',
    SharedSize: 'N/A',
    UniqueSize: 'N/A',
    VirtualSize: humanSize(imageSize(store, image)),
  }
}

const filterNames = ['dangling', 'label', 'reference', 'before', 'since', 'until'] as const

async function readFilter(text: string, store: Store, nowMs: number): Promise<Filter> {
  const at = text.indexOf('=')
  const name = at < 0 ? text : text.slice(0, at)
  const value = at < 0 ? '' : text.slice(at + 1)
  switch (name) {
    case 'dangling':
      return danglingFilter(value, text)
    case 'before':
    case 'since': {
      const limit = createdAt(findImage(store, value).image)
      return ({ image }) => (name === 'before' ? createdAt(image) < limit : createdAt(image) > limit)
    }
    case 'until': {
      const limit = (await import('../usage-filters.js')).readTime(value, text, nowMs)
      return ({ image }) => createdAt(image) < limit
    }
    case 'reference':
      return referenceFilter(value)
    case 'label':
      return async ({ image }) => hasLabel((await readConfig(store, image)).config?.Labels ?? {}, value)
    default:
      throw new UsageError('USAGE_BAD_FLAG', `--filter ${text} is not known, expected one of ${filterNames.join(', ')}`, {
        hint: didYouMean(name, filterNames),
      })
  }
}

function danglingFilter(value: string, text: string): Filter {
  if (/^(1|t|true)$/i.test(value)) return ({ tag }) => tag === undefined
  if (/^(0|f|false)$/i.test(value)) return ({ tag }) => tag !== undefined
  throw new UsageError('USAGE_BAD_FLAG', `--filter ${text} has the value "${value}", expected true or false`)
}

function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=')
  return at < 0 ? Object.hasOwn(labels, wanted) : labels[wanted.slice(0, at)] === wanted.slice(at + 1)
}

/** `debian`, `debian:12`, `team/*`: a repository with or without a tag, with `*` and `?`. */
function referenceFilter(pattern: string): Filter {
  const colon = pattern.lastIndexOf(':')
  const hasTag = colon > pattern.lastIndexOf('/')
  // Wildcards are for names as they are shown; "docker.io/library/debian" means one image all the same.
  const wholeName = hasTag ? pattern.slice(0, colon) : pattern
  const repository = globPattern(wholeName)
  const tagPattern = globPattern(hasTag ? pattern.slice(colon + 1) : '*')
  return ({ tag }) => {
    if (tag === undefined) return false
    const reference = readReference(tag.reference)
    const familiar = familiarRepository(reference)
    const isNamed = repository.test(familiar) || wholeName === `${reference.registry}/${reference.repository}`
    return isNamed && tagPattern.test(reference.tag ?? '')
  }
}

function globPattern(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '[^/]*')
    .replaceAll('?', '[^/]')
  return new RegExp(`^${source}$`)
}
