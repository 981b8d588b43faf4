/** Git repositories as contexts. */
import { BuildError } from '../core/errors.js'
import type { GitRef } from '../frontend/git-ref.js'
import type { ContextWorld, FilesContext } from './contexts.js'

/** Checks a repository out into a scratch directory (`makeScratch`); `directory` is the subdirectory that was asked for. */
export async function openGitContext(ref: GitRef, what: string, _world: ContextWorld): Promise<FilesContext> {
  throw new BuildError('CONTEXT_UNSUPPORTED', `${what} is the git repository ${ref.shortName}, which cannot be used yet`, {
    hint: 'clone it first',
  })
}
