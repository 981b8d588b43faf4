/** The key of a RUN with what it mounts of stages and images by content. Loaded when all other keys found nothing. */
import type { CanonicalValue } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { ExecOp } from '../graph/op.js'
import { layerStack } from '../layer/stack.js'
import type { KeyParts, VertexResult } from '../solver/ports.js'
import { type ExecPorts, isSelection } from './exec.js'
import { digestSelected } from './selected-files.js'
import { layerDirectories } from './stack.js'

/** Inputs that are mounted in parts only are covered; one that is the root filesystem too, or fills a cache, is not. */
export async function selectedExecKey(
  op: ExecOp,
  inputs: readonly VertexResult[],
  parts: KeyParts | undefined,
  { pool, store }: Pick<ExecPorts, 'pool' | 'store'>,
  ctx: Context,
): Promise<KeyParts | undefined> {
  const partly = new Set(op.mounts.filter((mount) => isSelection(mount, inputs)).map(({ input }) => input))
  if (op.base !== undefined) partly.delete(op.base)
  for (const mount of op.mounts)
    if ('input' in mount && mount.input !== undefined && !isSelection(mount, inputs)) partly.delete(mount.input)
  if (partly.size === 0) return undefined
  const selected: CanonicalValue[] = []
  for (const mount of op.mounts) {
    const input = isSelection(mount, inputs) && partly.has(mount.input) ? inputs[mount.input] : undefined
    if (input?.kind !== 'layers' || !isSelection(mount, inputs)) continue
    const path = mount.source.replace(/^\/+/, '')
    const source = { path, wildcard: false, exclude: compileIgnore([]), include: undefined }
    const view = layerStack(layerDirectories(store, input.diffIds))
    selected.push(await digestSelected(view, source, { owners: true, pool }, ctx))
  }
  const fields = { fields: parts?.fields ?? (op as unknown as CanonicalValue), selected }
  return { fields, components: parts?.components ?? {}, coveredInputs: [...(parts?.coveredInputs ?? []), ...partly] }
}
