/** Mounts from a context are made of the layer that COPY would make: the same key, filter and owners. */
import type { CopyOp } from '../graph/op.js'

/** What COPY makes of the files below `source`: at the same path, so that mounts name it as they would in the input. */
export function copyOfSource(source: string, keepOwner: boolean): CopyOp {
  const path = source.replace(/^\/+/, '') || '.'
  return {
    kind: 'copy',
    sources: [{ input: 0, path, wildcard: false, unpack: 'never', keepOwner, wholeDirectory: true }],
    destination: source,
    exclude: [],
    parents: false,
  }
}
