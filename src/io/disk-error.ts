/** What a full, read-only or closed disk means to the user. */
import { BuildError, StoreError, systemCode } from '../core/errors.js'

/**
 * The error to throw in place of `error`: a StoreError for no space and no permission at `path`, else `error` itself.
 *
 * @param bytes how many were to be written, where that is known
 */
export function asStoreError(error: unknown, path: string, bytes?: number): unknown {
  if (isOwnerError(error)) return asOwnerError(error)
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT': {
      const what = bytes === undefined ? 'no space left' : `no space left for ${bytes.toLocaleString('en')} bytes`
      return new StoreError('STORE_NO_SPACE', `${what} at ${path}`, {
        path,
        cause: error,
        hint: 'free some space, run "mille prune", or set MILLE_ROOT to a larger disk',
      })
    }
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StoreError('STORE_NO_PERMISSION', `no permission to write ${path}`, {
        path,
        cause: error,
        hint: 'run as the owner of the store, or set MILLE_ROOT to a directory that is yours',
      })
    default:
      return error
  }
}

/**
 * The same error, or one that says what it means for a step: a full disk, or a path that is longer than the kernel takes.
 */
export function asPlaceError(error: unknown): unknown {
  const code = systemCode(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const { dest, path } = error as NodeJS.ErrnoException & { readonly dest?: string }
    return asStoreError(error, dest ?? path ?? 'the place of the store')
  }
  if (code !== 'ENAMETOOLONG') return error
  return new BuildError('LAYER_UNSUPPORTED', 'a path of the files is longer than the 4,095 bytes that the system takes', {
    cause: error,
    hint: 'make fewer directories within each other, or shorter names; the place of the store counts too',
  })
}

/** An error of chown(2) that says that this user may not give files to that owner, or that his user namespace lacks the id. */
type OwnerError = NodeJS.ErrnoException

function isOwnerError(error: unknown): error is OwnerError {
  const code = systemCode(error)
  return (code === 'EPERM' || code === 'EINVAL') && /chown$/.test((error as OwnerError).syscall ?? '')
}

/** The same error, or one that says what a user without root lacks when a file cannot have its owner. */
export function asOwnerError(error: unknown): unknown {
  if (!isOwnerError(error)) return error
  return new StoreError('STORE_NO_PERMISSION', 'this user cannot give files another owner', {
    ...(error.path === undefined ? {} : { path: error.path }),
    cause: error,
    hint: 'run mille as root, or give the user ranges of ids in /etc/subuid and /etc/subgid and install uidmap',
  })
}
