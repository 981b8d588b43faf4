/**
 * The one place where context arguments become something that a build can use.
 *
 * A directory is used where it is. What comes from stdin or the network is unpacked into a scratch directory of the store,
 * which is removed with this operation, or by the next one when this process is killed. An image stays a name, which is
 * looked up for the platform that needs it (images.ts).
 */
import { mkdirSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { BuildError } from '../core/errors.js'
import type { Scope } from '../io/scope.js'
import type { PinnedSource } from '../ops/context.js'
import type { FindSecret } from '../ops/exec-mounts.js'
import type { SshSource } from '../ops/ssh-agent.js'
import type { ContextReference } from './context-reference.js'
import type { Engine } from './engine.js'

/** Files in a directory. */
export interface FilesContext {
  readonly kind: 'files'
  /** Absolute. */
  readonly directory: string
  /**
   * `local`: a directory of the user's, where ignore files count. `fetched`: unpacked for this operation from something
   * that nobody here vouches for; links in it are only ever followed inside it.
   */
  readonly origin: 'local' | 'fetched'
  /** What exactly was fetched. */
  readonly pinned?: PinnedSource
  /** What came was no archive but this text: a Dockerfile. */
  readonly text?: string
  /**
   * A time of its own, for SOURCE_DATE_EPOCH=context: of the commit, Last-Modified, else of the newest file of the archive;
   * seconds since 1970.
   */
  readonly timeSeconds?: number | undefined
}

/** What opening needs. Scratch directories are released by `scope`. */
export interface ContextWorld {
  readonly engine: Engine
  readonly scope: Scope
  /** What `-` stands for. */
  readonly stdin: AsyncIterable<Uint8Array> | undefined
  /** The secrets of the build, for servers that ask who is there. */
  readonly findSecret: FindSecret
  /** Agents and keys of `--ssh`. */
  readonly ssh: Readonly<Record<string, SshSource>>
  /** Keep the `.git` of the main context (`BUILDKIT_CONTEXT_KEEP_GIT_DIR`). */
  readonly keepGitDir: boolean
}

/** What a context is for: the main one may be a Dockerfile alone, a named one that is no archive is a file. */
export type ContextUse = 'main' | 'named'

/** A reference that has to be fetched or unpacked before its files are here. */
export type FetchedReference = Extract<ContextReference, { readonly kind: 'stdin' | 'http' | 'git' }>

/**
 * Fetches and unpacks a context.
 *
 * @param what how messages name it
 * @throws BuildError CONTEXT_UNSUPPORTED, CONTEXT_BAD_ARCHIVE, ADD_DOWNLOAD_FAILED, ADD_GIT_FAILED
 */
export async function fetchContext(
  reference: FetchedReference,
  use: ContextUse,
  what: string,
  world: ContextWorld,
): Promise<FilesContext> {
  switch (reference.kind) {
    case 'stdin': {
      const { openStdinContext } = await import('./tar-context.js')
      return openStdinContext(what, world)
    }
    case 'http': {
      const { openHttpContext } = await import('./http-context.js')
      return openHttpContext(reference.url, use, what, world)
    }
    case 'git': {
      const { openGitContext } = await import('./git-context.js')
      return openGitContext(reference.ref, use, what, world)
    }
  }
}

/** A directory of the user's. Throws CONTEXT_NOT_FOUND. */
export function openDirectory(path: string): FilesContext {
  const directory = resolve(path)
  const stats = statSync(directory, { throwIfNoEntry: false })
  if (stats === undefined) {
    throw new BuildError('CONTEXT_NOT_FOUND', `there is no directory ${path} to take as the context`)
  }
  if (!stats.isDirectory()) {
    throw new BuildError('CONTEXT_NOT_FOUND', `the context ${path} is not a directory`, {
      hint: `give the directory that the Dockerfile copies from, and the Dockerfile with -f ${path}`,
    })
  }
  return { kind: 'files', directory, origin: 'local' }
}

/** A new empty directory that is removed with the operation, and by a later one when this process is killed. */
export function makeScratch({ engine, scope }: ContextWorld): string {
  const path = engine.store.blobs.temporaryPath()
  mkdirSync(path, { mode: 0o700 })
  scope.defer(() => rm(path, { recursive: true, force: true }))
  return path
}
