/** `import`: a tar of a root filesystem becomes an image of one layer. */
import type { Readable } from 'node:stream'
import type { Digest } from '../core/digest.js'
import { BuildError, systemCode } from '../core/errors.js'
import type { ContainerConfig, ImageConfig } from '../core/image.js'
import type { Platform } from '../core/platform.js'
import { formatReference } from '../core/reference.js'
import { type AssembledImage, imageOf } from '../exporter/assemble.js'
import type { AppliedLayer } from '../layer/apply.js'
import type { ApplyLayerTask } from '../layer/tasks.js'
import { commitLayer } from '../ops/commit.js'
import type { ActiveSnapshot } from '../store/types.js'
import { type Engine, withEngine } from './engine.js'
import { requireReference } from './images.js'
import type { EngineOptions } from './options.js'
import { saveImage } from './outputs.js'

/** What to import. */
export interface ImportOptions extends EngineOptions {
  /** A tar, plain or compressed: its path, or its bytes. */
  readonly source: string | Readable
  readonly reference?: string | undefined
  /** The config of the image; empty. */
  readonly config?: ContainerConfig | undefined
  /** The comment in the history; `imported from …`. */
  readonly message?: string | undefined
  /** This machine's. */
  readonly platform?: Platform | undefined
}

/** Imports a root filesystem and returns the image id. */
export function importImage(options: ImportOptions): Promise<Digest> {
  return withEngine(options, async (engine) => {
    const reference = options.reference === undefined ? undefined : requireReference(options.reference)
    await using active = await engine.store.snapshots.prepare()
    await unpack(options.source, active, engine)
    const { diffId } = await commitLayer(active, { knownContent: new Map() }, engine, engine.ctx)
    const image = describe(diffId, options, engine)
    saveImage(engine, image, [])
    if (reference !== undefined) engine.store.images.setTag({ reference: formatReference(reference), image: image.id })
    return image.id
  })
}

async function unpack(source: string | Readable, active: ActiveSnapshot, { pool, ctx }: Engine): Promise<void> {
  if (typeof source === 'string') {
    const task: ApplyLayerTask = { path: source, compression: 'archive', target: active.upper, form: 'plain' }
    try {
      await pool.run<AppliedLayer>('applyLayerTask', task, ctx.signal)
    } catch (error) {
      const code = systemCode(error)
      if (code === 'ENOENT') throw new BuildError('ARCHIVE_BAD', `there is no file ${source}`)
      if (code === 'EISDIR') throw new BuildError('ARCHIVE_BAD', `${source} is a directory`, { hint: 'give a tar of it' })
      if (code === 'EACCES') throw new BuildError('ARCHIVE_BAD', `not allowed to read ${source}`, { cause: error })
      throw error
    }
    return
  }
  const [{ applyLayer }, archive] = await Promise.all([import('../layer/apply.js'), import('../layer/open-archive.js')])
  await applyLayer(archive.openPeeked(await archive.peekArchive(source)), active.upper, { form: 'plain' }, ctx.signal)
}

function describe(diffId: ImageConfig['rootfs']['diff_ids'][number], options: ImportOptions, engine: Engine): AssembledImage {
  const { now, hostPlatform } = engine.settings
  const { os, architecture, variant } = options.platform ?? hostPlatform
  const created = new Date(now()).toISOString()
  const from = typeof options.source === 'string' ? options.source : '-'
  return imageOf({
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    created,
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, comment: options.message ?? `imported from ${from}` }],
  })
}
