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

/** Something that was fetched: `digest` is `sha256:…` of a download, or the id of a git commit. */
export interface PinnedSource {
  /** Without a subdirectory; may have credentials. */
  readonly uri: string
  readonly digest: string
}

/** Where a context's files are: absolute paths. */
export interface ContextDirectory {
  readonly path: string
  /** Where the memos of a directory go that is there for this operation only; undefined: with all others. */
  readonly memos?: string | undefined
  /** How messages name it; its path. */
  readonly shown?: string | undefined
  /** A time of its own, where it was fetched and has one; seconds since 1970. */
  readonly timeSeconds?: number | undefined
  /** Set for what was fetched and can be named exactly. */
  readonly pinned?: PinnedSource | undefined
}

/** Directories by name: `context`, and those of `--build-context`. What has to be fetched is, with its first use. */
export type ContextDirectories = ReadonlyMap<string, () => ContextDirectory | Promise<ContextDirectory>>

/** What the runner of contexts needs. */
export interface ContextRunnerOptions {
  readonly directories: ContextDirectories
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
      const open = options.directories.get(op.name)
      if (open === undefined) {
        throw new BuildError('CONTEXT_NOT_FOUND', `there is no build context named "${op.name}"`, {
          hint: didYouMean(op.name, options.directories.keys()) ?? `give it with --build-context ${op.name}=DIRECTORY`,
        })
      }
      const root = await open()
      const { pool, nowMs, remember = true } = options
      const memoDirectory = root.memos ?? options.memoDirectory
      const common = { memoDirectory, pool, nowMs: nowMs(), shown: root.shown, remember }
      const view = openContext(root.path, { ignore: compileIgnore(op.ignore), ...common })
      return { kind: 'files', view }
    },
  }
}
