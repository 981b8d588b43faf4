/** Git repositories as contexts. */

import { BuildError } from '../core/errors.js'
import { type GitRef, gitOp, isCommitPrefix } from '../frontend/git-ref.js'
import { openGitTree } from '../ops/git.js'
import { parseGitRemote } from '../ops/git-remote.js'
import { type ContextUse, type ContextWorld, type FilesContext, makeScratch } from './contexts.js'

/**
 * Checks a repository out into a scratch directory; `directory` is the subdirectory that was asked for.
 *
 * @throws BuildError ADD_GIT_FAILED, ADD_CHECKSUM_MISMATCH
 */
export async function openGitContext(ref: GitRef, use: ContextUse, what: string, world: ContextWorld): Promise<FilesContext> {
  const { engine, findSecret } = world
  const { store, settings, ctx } = engine
  if (ref.checksum !== undefined && !isCommitPrefix(ref.checksum)) {
    throw new BuildError('CONTEXT_UNSUPPORTED', `${what} has the invalid checksum "${ref.checksum}", expected hex commit hash`)
  }
  const op = gitOp(ref, use === 'main' && world.keepGitDir)
  const uri = `${parseGitRemote(op.remote, what).url}${op.ref === undefined ? '' : `#${op.ref}`}`
  const id = `context ${what}`
  const name = `[internal] load git source ${ref.shortName}`
  ctx.emit({ type: 'vertex-started', id, name, atMs: settings.now() })
  try {
    const { directory, commit, committedAt } = await openGitTree(
      op,
      makeScratch(world),
      {
        ...{ directory: store.directory('git'), stateDirectory: settings.stateDirectory, env: settings.env, findSecret },
        ssh: withOwnAgent(world),
      },
      ctx,
    )
    ctx.emit({ type: 'vertex-done', id, name, atMs: settings.now(), cached: false })
    return { kind: 'files', directory, origin: 'fetched', timeSeconds: committedAt, pinned: { uri, digest: commit } }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    ctx.emit({ type: 'vertex-done', id, name, atMs: settings.now(), cached: false, error: message })
    throw error
  }
}

/** As with buildx, the user's agent opens a context that the user names; a Dockerfile gets it with --ssh only. */
function withOwnAgent({ ssh, engine }: ContextWorld): ContextWorld['ssh'] {
  const agent = engine.settings.env.SSH_AUTH_SOCK
  return Object.keys(ssh).length > 0 || agent === undefined || agent === '' ? ssh : { default: { agent } }
}
