/**
 * Build contexts as inputs: opened, not read. What a COPY selects of them is hashed when its key is made (ops/copy.ts),
 * so the context's own key says nothing of its files, and whoever uses it must cover it.
 */
import { openContext } from '../context/context.js'
import { BuildError } from '../core/errors.js'
import { didYouMean } from '../core/suggest.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { ContextOp } from '../graph/op.js'
import type { WorkerPool } from '../io/pool.js'
import type { OpRunner } from '../solver/ports.js'

/** What the runner of contexts needs. */
export interface ContextRunnerOptions {
  /** Absolute directories by name: `context`, and those of `--build-context`. */
  readonly directories: ReadonlyMap<string, string>
  /** The store's `memo` directory. */
  readonly memoDirectory: string
  readonly pool: WorkerPool
  readonly nowMs: () => number
  /** False: nothing is written to the memo; true. */
  readonly remember?: boolean
}

/** Makes the runner of contexts. Its views are `ContextView`s. */
export function createContextRunner(options: ContextRunnerOptions): OpRunner<ContextOp> {
  return {
    async run(op) {
      const root = options.directories.get(op.name)
      if (root === undefined) {
        throw new BuildError('CONTEXT_NOT_FOUND', `there is no build context named "${op.name}"`, {
          hint: didYouMean(op.name, options.directories.keys()) ?? `give it with --build-context ${op.name}=DIRECTORY`,
        })
      }
      const { memoDirectory, pool, nowMs, remember = true } = options
      const ignore = compileIgnore(op.ignore)
      return { kind: 'files', view: openContext(root, { ignore, memoDirectory, pool, nowMs: nowMs(), remember }) }
    },
  }
}
