/**
 * The kinds of content that the suite `registry` pushes and pulls: images, indexes and artifacts, odd ones too. What each is
 * follows the name of its group; its bytes are the same in every run.
 */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import type { Digest } from '../../src/core/digest.js'
import type { ErrorCode } from '../../src/core/errors.js'
import type { Platform } from '../../src/core/platform.js'
import { tarOf } from '../registry/image.js'

/** How the digests of a content are made. */
export type Algorithm = 'sha256' | 'sha512'

/** A manifest or index to push, with what it needs. */
export interface ContentManifest {
  readonly descriptor: Descriptor
  readonly bytes: Buffer
  readonly tag: string | undefined
  /** Its config and layers. */
  readonly blobs: readonly Descriptor[]
  readonly subject: Descriptor | undefined
  /** What becomes of it as an image for linux/amd64: its layers, or the refusal. */
  readonly image: readonly Descriptor[] | ErrorCode
}

/** Everything of one kind, in the order in which it is pushed. */
export interface Content {
  readonly manifests: readonly ContentManifest[]
  readonly blobs: ReadonlyMap<string, Buffer>
  /** Named by a manifest, and nowhere to be had. */
  readonly absent: ReadonlySet<string>
}

const exampleType = 'application/vnd.example.mille.v1'
const emptyType = 'application/vnd.oci.empty.v1+json'
const amd64: Platform = { os: 'linux', architecture: 'amd64' }
const arm64: Platform = { os: 'linux', architecture: 'arm64' }

interface Extras {
  readonly tag?: string
  readonly subject?: Descriptor
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}

/** Collects one content; each method adds something and returns its descriptor. */
class Maker {
  readonly manifests: ContentManifest[] = []
  readonly blobs = new Map<string, Buffer>()
  readonly absent = new Set<string>()
  readonly host: string
  readonly #algorithm: Algorithm
  readonly #embeds: boolean
  #files = 0

  constructor(algorithm: Algorithm, embeds: boolean, host: string) {
    this.host = host
    this.#algorithm = algorithm
    this.#embeds = embeds
  }

  describe(bytes: Uint8Array, mediaType: string): Descriptor {
    const digest = `${this.#algorithm}:${createHash(this.#algorithm).update(bytes).digest('hex')}` as Digest
    const data = this.#embeds ? { data: Buffer.from(bytes).toString('base64') } : {}
    return { mediaType, digest, size: bytes.length, ...data }
  }

  blob(bytes: Buffer, mediaType: string): Descriptor {
    const descriptor = this.describe(bytes, mediaType)
    this.blobs.set(descriptor.digest, bytes)
    return descriptor
  }

  tar(): Buffer {
    this.#files += 1
    return tarOf(`file-${this.#files}`, Buffer.from(`the content of file ${this.#files}\n`))
  }

  config(platform: Platform, tars: readonly Buffer[], more: object = {}): Descriptor {
    const ids = tars.map((tar) => `sha256:${createHash('sha256').update(tar).digest('hex')}`)
    const document = { ...platform, config: {}, rootfs: { type: 'layers', diff_ids: ids }, ...more }
    return this.blob(Buffer.from(JSON.stringify(document)), mediaTypes.ociConfig)
  }

  image(platform = amd64, extras: Extras & { readonly layers?: number; readonly plain?: boolean } = {}): Descriptor {
    const { layers: count = 2, plain = false, ...more } = extras
    const tars = Array.from({ length: count }, () => this.tar())
    const layers = tars.map((tar) =>
      plain ? this.blob(tar, mediaTypes.ociLayer) : this.blob(gzipSync(tar, { level: 1 }), mediaTypes.ociLayerGzip),
    )
    return this.manifest(this.config(platform, tars), layers, layers, more)
  }

  artifact(extras: Extras = {}, content = Buffer.from(`artifact ${this.manifests.length}`), type = exampleType): Descriptor {
    const config = this.blob(Buffer.from('{}'), emptyType)
    return this.manifest(config, [this.blob(content, type)], 'IMAGE_BAD_MANIFEST', { artifactType: exampleType, ...extras })
  }

  manifest(
    config: Descriptor,
    layers: readonly Descriptor[],
    image: ContentManifest['image'],
    { tag, ...more }: Extras = {},
  ): Descriptor {
    const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers, ...more }
    return this.#add(document, { tag, blobs: [config, ...layers], subject: more.subject, image })
  }

  index(
    entries: readonly (Descriptor & { readonly platform?: Platform })[],
    image: ContentManifest['image'],
    { tag, ...more }: Extras = {},
  ): Descriptor {
    const document = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: entries, ...more }
    return this.#add(document, { tag, blobs: [], subject: more.subject, image })
  }

  /** An index of one manifest for each of two platforms. */
  platforms(extras: Extras, make: (platform: Platform) => Descriptor): Descriptor {
    const entries = [amd64, arm64].map((platform) => ({ ...make(platform), platform }))
    return this.index(entries, this.imageOf(entries[0]), extras)
  }

  imageOf(entry: Descriptor | undefined): ContentManifest['image'] {
    return this.manifests.find(({ descriptor }) => descriptor.digest === entry?.digest)?.image ?? 'IMAGE_NO_PLATFORM'
  }

  #add(document: { readonly mediaType: string }, rest: Omit<ContentManifest, 'descriptor' | 'bytes'>): Descriptor {
    const bytes = Buffer.from(JSON.stringify(document))
    const descriptor = this.describe(bytes, document.mediaType)
    this.manifests.push({ descriptor, bytes, ...rest })
    return descriptor
  }
}

const makers: Readonly<Record<string, (maker: Maker) => void>> = {
  image: (maker) => void maker.image(amd64, { tag: 'image' }),
  'image-uncompressed': (maker) => void maker.image(amd64, { tag: 'plain', plain: true }),
  'image-large-manifest': (maker) => {
    const annotations = Object.fromEntries(Array.from({ length: 400 }, (_, n) => [`note-${n}`, 'x'.repeat(10_000)]))
    maker.image(amd64, { tag: 'large', annotations })
  },
  index: (maker) => void maker.platforms({ tag: 'index' }, (platform) => maker.image(platform)),
  'nested-index': (maker) => {
    const inner = [1, 2].map(() => maker.platforms({}, (platform) => maker.image(platform)))
    maker.index(inner, maker.imageOf(inner[0]), { tag: 'nested' })
  },
  'empty-index': (maker) => void maker.index([], 'IMAGE_NO_PLATFORM', { tag: 'empty' }),
  artifact: (maker) => void maker.artifact({ tag: 'artifact' }),
  'artifact-index': (maker) => void maker.platforms({ tag: 'artifacts', artifactType: exampleType }, () => maker.artifact()),
  'artifact-without-layers': (maker) => void maker.artifact({ tag: 'bare' }, Buffer.from('{}'), emptyType),
  'artifacts-with-subject': (maker) => {
    const subject = maker.image(amd64, { tag: 'image' })
    maker.image(amd64, { subject })
    maker.artifact({ tag: 'one', subject, annotations: { note: 'first' } })
    maker.artifact(
      { tag: 'two', subject, artifactType: `${exampleType}.other` },
      Buffer.from('other'),
      'application/octet-stream',
    )
  },
  'index-with-subject': (maker) => {
    const subject = maker.platforms({ tag: 'index' }, (platform) => maker.image(platform))
    maker.platforms({ tag: 'about', artifactType: exampleType, subject, annotations: { note: 'all' } }, () => maker.artifact())
  },
  'missing-subject': (maker) => {
    const subject = maker.describe(Buffer.from('nowhere'), mediaTypes.ociManifest)
    maker.artifact({ tag: 'early', subject, annotations: { note: 'early' } })
  },
  'data-field': (maker) => void maker.image(amd64, { tag: 'data' }),
  nondistributable: makeForeign,
  'custom-fields': (maker) =>
    void maker.platforms({ tag: 'custom', 'org.example': { deep: [1, null] } }, (platform) =>
      maker.image(platform, { extra: 'kept\u00e9' }),
    ),
  'no-layers': (maker) => void maker.image(amd64, { tag: 'no-layers', layers: 0 }),
  sparse: makeSparse,
  sha512: (maker) => void maker.platforms({}, (platform) => maker.image(platform)),
}

/** Where layers lie that may not be handed on, on the host of the registry itself. */
export const foreignPath = '/elsewhere/'

/** Two layers that may not be handed on, and one that may. */
function makeForeign(maker: Maker): void {
  const tars = [maker.tar(), maker.tar(), maker.tar()]
  const layers = tars.map((tar, n) => {
    if (n === 2) return maker.blob(gzipSync(tar, { level: 1 }), mediaTypes.ociLayerGzip)
    const zipped = n === 0
    const type = `application/vnd.oci.image.layer.nondistributable.v1.tar${zipped ? '+gzip' : ''}`
    const foreign = maker.blob(zipped ? gzipSync(tar, { level: 1 }) : tar, type)
    return { ...foreign, urls: ['ftp://layers.example/', `http://${maker.host}${foreignPath}${foreign.digest}`] }
  })
  maker.manifest(maker.config(amd64, tars), layers, layers, { tag: 'foreign' })
}

/** An image of which one layer is nowhere, and an index with an entry that is nowhere. */
function makeSparse(maker: Maker): void {
  maker.image(amd64, { tag: 'sparse-image' })
  const gone = maker.manifests[0]?.blobs.at(-1)
  if (gone === undefined) throw new Error('an image has layers')
  maker.blobs.delete(gone.digest)
  maker.absent.add(gone.digest)
  const here = { ...maker.image(), platform: amd64 }
  const nowhere = { ...maker.describe(Buffer.from('no such manifest'), mediaTypes.ociManifest), platform: arm64 }
  maker.index([here, nowhere], maker.imageOf(here), { tag: 'sparse-index' })
}

/**
 * The content that a group `manifest-…` is about; undefined when the name says nothing to us.
 *
 * @param host where layers lie that are in no registry
 */
export function contentOf(group: string, host = 'layers.example'): Content | undefined {
  const kind = group.replace(/^manifest-/, '')
  const make = makers[kind]
  if (make === undefined) return undefined
  const maker = new Maker(/sha512/.test(kind) ? 'sha512' : 'sha256', kind === 'data-field', host)
  make(maker)
  return maker
}
