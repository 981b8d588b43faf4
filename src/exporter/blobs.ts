/**
 * The blobs of an image's layers: those that are known are used, the others are made of the layers' files.
 *
 * A blob that was made is remembered in the layer's record, with its level and compressor, so that the next export or push
 * only copies. A pulled layer keeps its blob, whatever its compression, unless `force` is set.
 */
import type { Context } from '../core/context.js'
import { type Compression, type Descriptor, layerCompression, mediaTypes } from '../core/descriptor.js'
import { type DiffID, shortHex } from '../core/digest.js'
import { StoreError } from '../core/errors.js'
import type { WorkerPool } from '../io/pool.js'
import type { CompressedLayer, CompressLayerTask } from '../layer/compress-task.js'
import { compressorName, defaultLevel } from '../layer/compression.js'
import { layerFiles } from '../store/layer-files.js'
import type { LayerRecord, Store } from '../store/types.js'

/** Which blobs are wanted. */
export interface BlobChoice {
  readonly compression: Compression
  /** Undefined: mille's own, and a blob of any level will do. */
  readonly level?: number | undefined
  /** Only this compression will do. */
  readonly force: boolean
}

/** What making blobs needs. */
export interface BlobPorts {
  readonly store: Store
  readonly pool: WorkerPool
  /** Makes the files of layers be here. */
  readonly unpack: (diffIds: readonly DiffID[], progressId: string, ctx: Context) => Promise<void>
  readonly now: () => number
  /** For a push, where the bytes only pass through: the blob that the images built on name for a layer. */
  readonly vouchedBlob?: (diffId: DiffID) => Promise<Descriptor | undefined>
  /** Blobs that are being made: who wants the same one waits for it. */
  readonly making: Map<string, Promise<Descriptor>>
  /** Takes a small blob that was made, to put it into the store when there is time. Absent: it is put there at once. */
  readonly keepLater?: (made: MadeBlob) => void
}

/** A blob that was made of a small layer, and is in memory only. */
export interface MadeBlob {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
  /** To be saved when the bytes are in the store. */
  readonly record: LayerRecord
}

/** A blob for one layer. Its bytes are here, or (for a layer that was never needed here) at one of the layer's sources. */
export async function provideBlob(
  diffId: DiffID,
  choice: BlobChoice,
  ports: BlobPorts,
  progressId: string,
  ctx: Context,
): Promise<Descriptor> {
  const record = recordOf(diffId, ports)
  const known = knownBlob(record, choice, ports) ?? (await vouchedBlob(record, choice, ports))
  if (known !== undefined) return known
  const name = `${diffId} ${choice.compression} ${choice.level} ${choice.force}`
  const running = ports.making.get(name)
  if (running !== undefined) return running
  const made = makeBlob(diffId, choice, ports, progressId, ctx).finally(() => ports.making.delete(name))
  ports.making.set(name, made)
  return made
}

function recordOf(diffId: DiffID, { store }: BlobPorts): LayerRecord {
  const record = store.layers.find(diffId)
  if (record !== undefined) return record
  throw new StoreError('STORE_SNAPSHOT_MISSING', `layer ${diffId} is not in the store any more`, {
    hint: 'build or pull the image again',
  })
}

/**
 * The compression that was asked for before others, what is here before what would have to be fetched.
 *
 * A blob that was made here counts only where it is what would be made now: what earlier exports asked for must not change
 * the digest of this one.
 */
function knownBlob(record: LayerRecord, choice: BlobChoice, { store }: BlobPorts): Descriptor | undefined {
  const usable = record.blobs.filter(
    (blob) => store.blobs.has(blob.digest) || (record.sources.length > 0 && record.snapshot === undefined),
  )
  const isWanted = (blob: Descriptor): boolean =>
    layerCompression(blob.mediaType) === choice.compression && hasLevel(blob, choice)
  const wanted = usable.filter(isWanted)
  const foreign = usable.filter(({ annotations }) => annotations?.[levelAnnotation] === undefined)
  const candidates = choice.force ? wanted : [...wanted, ...foreign]
  return candidates.find((blob) => store.blobs.has(blob.digest)) ?? candidates[0]
}

/** In the store's record of a blob that was made here: the level, and the compressor with its version. */
const levelAnnotation = 'mille.compression-level'
const compressorAnnotation = 'mille.compressor'

/** Of a blob from elsewhere the level is not known: it will do where none is asked for. */
function hasLevel({ annotations }: Descriptor, { compression, level }: BlobChoice): boolean {
  const made = annotations?.[levelAnnotation]
  return made === undefined ? level === undefined : made === String(level ?? defaultLevel(compression))
}

/** A layer whose files were needed here has verified blobs, or makes one. */
async function vouchedBlob(record: LayerRecord, choice: BlobChoice, ports: BlobPorts): Promise<Descriptor | undefined> {
  if (record.claims === undefined) return undefined
  const blob = await ports.vouchedBlob?.(record.diffId)
  if (blob === undefined || !record.claims.some((claim) => claim.blob.digest === blob.digest)) return undefined
  return choice.force && layerCompression(blob.mediaType) !== choice.compression ? undefined : blob
}

async function makeBlob(
  diffId: DiffID,
  choice: BlobChoice,
  ports: BlobPorts,
  progressId: string,
  ctx: Context,
): Promise<Descriptor> {
  const { store } = ports
  const { compression } = choice
  const level = choice.level ?? defaultLevel(compression)
  const files = await bringFiles(diffId, ports, progressId, ctx)
  const verified = knownBlob(recordOf(diffId, ports), choice, ports)
  if (verified !== undefined) return verified
  const item = `compress ${shortHex(diffId)}`
  const report = (current: number, done: boolean): void =>
    ctx.emit({ type: 'progress', id: progressId, item, current, done, atMs: ports.now() })
  report(0, false)
  const isSmall = recordOf(diffId, ports).size <= smallBytes
  const make = isSmall ? makeSmall : makeLarge
  const { size, digest, bytes } = await make({ ...files, compression, level, diffId }, ports, ctx)
  const descriptor: Descriptor = { mediaType: layerMediaTypes[compression], digest, size }
  const annotations = { [levelAnnotation]: String(level), [compressorAnnotation]: compressorName(compression) }
  const { snapshot: _, ...known } = recordOf(diffId, ports)
  const record = { ...known, blobs: [{ ...descriptor, annotations }] }
  if (bytes !== undefined && ports.keepLater !== undefined) ports.keepLater({ descriptor, bytes, record })
  else {
    if (bytes !== undefined) store.blobs.writeBytes(bytes)
    store.layers.save(record)
  }
  report(size, true)
  return descriptor
}

/** Up to this size a layer is compressed before a thread would have started. */
const smallBytes = 1 << 20

interface Made extends Pick<CompressedLayer, 'digest' | 'size'> {
  /** Of a small one, which is not in the store yet. */
  readonly bytes?: Uint8Array
}

type BlobTask = Omit<CompressLayerTask, 'output'>

async function makeLarge(task: BlobTask, { store, pool }: BlobPorts, { signal }: Context): Promise<Made> {
  const output = store.blobs.temporaryPath()
  const { digest, size } = await pool.run<CompressedLayer>('compressLayerTask', { ...task, output }, signal)
  store.blobs.adopt(output, digest)
  return { digest, size }
}

async function makeSmall(task: BlobTask): Promise<Made> {
  // What was sent a moment ago leaves before this takes the thread.
  await new Promise((resolve) => setImmediate(resolve))
  const { compressSmallLayer } = await import('../layer/compress-task.js')
  return compressSmallLayer(task)
}

/** What a layer is packed from: its own files, or with an epoch those of the layer that it is a rewrite of. */
async function bringFiles(
  diffId: DiffID,
  ports: BlobPorts,
  progressId: string,
  ctx: Context,
): Promise<Pick<CompressLayerTask, 'upper' | 'epoch'>> {
  const { snapshot, rewriteOf } = recordOf(diffId, ports)
  const source = snapshot === undefined && rewriteOf !== undefined ? rewriteOf : { diffId }
  await ports.unpack([source.diffId], progressId, ctx)
  const upper = layerFiles(ports.store, recordOf(source.diffId, ports))
  if (upper === undefined) throw new Error(`layer ${source.diffId} was unpacked and has no files`)
  return { upper, ...('epoch' in source ? { epoch: source.epoch } : {}) }
}

const layerMediaTypes: Readonly<Record<Compression, string>> = {
  none: mediaTypes.ociLayer,
  gzip: mediaTypes.ociLayerGzip,
  zstd: mediaTypes.ociLayerZstd,
}
