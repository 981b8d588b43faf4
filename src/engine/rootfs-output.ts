/** The files of images: in a directory, or as a tar. */
import type { PendingAttestation } from '../attest/pending.js'
import type { Context } from '../core/context.js'
import { platformFolder } from '../core/platform.js'
import type { AssembledImage } from '../exporter/assemble.js'
import type { FileDigest } from '../exporter/file-digests.js'
import type { StatementNames } from './attested.js'
import type { Engine } from './engine.js'
import type { BuildOutput } from './options.js'
import { type OutputWork, saidOf, timesOf } from './outputs.js'

/** Puts out the files of the images of a build, and the statements about them beside. */
export async function exportRootfs(
  output: Extract<BuildOutput, { type: 'local' | 'tar' }>,
  id: string,
  { engine, layers, assembler, isIndex, epoch: buildEpoch, attestations }: OutputWork,
): Promise<undefined> {
  const times = timesOf(output, buildEpoch)
  // The times are taken back on the way out: the layers themselves need not be rewritten.
  const images = await assembler.images({ ...times, rewrite: false })
  const epoch = times.rewrite && times.epoch !== undefined ? { epoch: times.epoch } : {}
  const { store, pool, ctx } = engine
  const { layerDirectories } = await import('../ops/stack.js')
  const parts: { readonly hostLowers: readonly string[]; readonly folder: string }[] = []
  for (const image of images) {
    const diffIds = image.config.rootfs.diff_ids
    await layers.unpack(diffIds, id, ctx)
    const folder = (output.platformSplit ?? isIndex) ? platformFolder(image.platform) : ''
    const hostLowers = layerDirectories(store, diffIds)
    parts.push({ hostLowers, folder })
    const pending = saidOf(image, attestations)
    const isShared = images.length > 1 && folder === ''
    const names = { prefix: output.attestationPrefix ?? '', isShared }
    const statements = await statementDirectory(pending, image, hostLowers, names, engine)
    if (statements !== undefined) parts.push({ hostLowers: [statements], folder })
  }
  if (output.type === 'local') {
    await pool.run('exportDirectoryTask', { parts, destination: output.dest, ...epoch }, ctx.signal)
    return undefined
  }
  const [{ rootfsTar }, { layerStack }] = await Promise.all([import('../exporter/rootfs.js'), import('../layer/stack.js')])
  const views = parts.map(({ hostLowers, folder }) => ({ view: layerStack(hostLowers), folder }))
  await writeStream(rootfsTar(views, epoch), output.dest, ctx)
  return undefined
}

/** A directory with the statements about an image whose files are put out. */
async function statementDirectory(
  pending: readonly PendingAttestation[],
  image: AssembledImage,
  hostLowers: readonly string[],
  names: StatementNames,
  engine: Engine,
): Promise<string | undefined> {
  if (pending.every(({ inlineOnly }) => inlineOnly)) return undefined
  const { writeStatementFiles } = await import('./attested.js')
  const files = await engine.pool.run<readonly FileDigest[]>('fileDigestsTask', { hostLowers }, engine.ctx.signal)
  const subjects = files.map(({ path, sha256 }) => ({ name: path, digest: { sha256 } }))
  return writeStatementFiles(pending, image, subjects, names, engine)
}

async function writeStream(
  bytes: import('node:stream').Readable,
  dest: string | { readonly stream: NodeJS.WritableStream },
  ctx: Context,
): Promise<void> {
  const { pipeline } = await import('node:stream/promises')
  if (typeof dest !== 'string') return pipeline(bytes, dest.stream, { signal: ctx.signal })
  const { writeOutputFrom } = await import('../exporter/sink.js')
  return writeOutputFrom(dest, bytes, ctx.signal)
}
