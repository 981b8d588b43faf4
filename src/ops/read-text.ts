/** Reads small text files of a root filesystem: links are followed inside it, sizes are bounded. */
import { readFileSync } from 'node:fs'
import { BuildError } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import type { FileView } from '../core/view.js'
import { resolvePath } from '../layer/stack.js'

const limitBytes = 4 << 20

/** The text of a file in `view`, or undefined when there is no such regular file. */
export function readTextInView(view: FileView, path: string): string | undefined {
  const { entry } = resolvePath(view, path, { followLast: true })
  if (entry?.type !== 'file') return undefined
  if (entry.size > limitBytes) {
    throw new BuildError(
      'LAYER_UNSUPPORTED',
      `${path} of the root filesystem has ${entry.size} bytes, at most ${limitBytes} are read`,
    )
  }
  return readFileSync(fsPath(entry.hostPath), 'utf8')
}
