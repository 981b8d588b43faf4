/** Heredocs of COPY and ADD: files whose content is in the Dockerfile. The op says everything, so it needs no key. */
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, posix } from 'node:path'
import { ContextTree } from '../context/tree.js'
import { fsPath } from '../core/path-bytes.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { InlineOp } from '../graph/op.js'
import type { OpRunner } from '../solver/ports.js'

/** What the runner of heredocs needs. */
export interface InlineRunnerOptions {
  /** Makes a new empty directory that lives until the build ends. */
  readonly scratch: () => string
  /** Time of the files, ms since 1970. */
  readonly nowMs: () => number
}

/** Makes the runner of heredocs. */
export function createInlineRunner(options: InlineRunnerOptions): OpRunner<InlineOp> {
  return {
    async run(op) {
      const root = options.scratch()
      for (const { name, content, mode } of op.files) {
        const path = fsPath(`${root}${posix.join('/', name)}`)
        mkdirSync(fsPath(dirname(`${root}${posix.join('/', name)}`)), { recursive: true })
        writeFileSync(path, content, { mode })
        chmodSync(path, mode)
        utimesSync(path, options.nowMs() / 1000, options.nowMs() / 1000)
      }
      return { kind: 'files', view: new ContextTree(root, compileIgnore([])) }
    },
  }
}
