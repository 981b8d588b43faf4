/**
 * Directories of `RUN --mount=type=cache`: one per id and starting state, locked as `sharing` says.
 *
 * The locks are flocks, so they hold between processes too and end with them. Uid, gid and mode are part of what a cache
 * starts from, hence of its identity (semantics.md 89).
 */
import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { canonicalJson } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import { digestOf, hexOf } from '../core/digest.js'
import type { ExecMount } from '../graph/op.js'
import { tryLock } from '../io/sys.js'

/** A cache mount of an op. */
export type CacheMount = Extract<ExecMount, { kind: 'cache' }>

/** A cache directory that is held until it is disposed. */
export interface HeldCache extends Disposable {
  readonly path: string
  /** It was made just now and is empty. */
  readonly isNew: boolean
}

const pollMs = 50

/**
 * Takes the directory of a cache mount.
 *
 * `shared`: with everyone. `locked`: alone, after waiting. `private`: the first instance that nobody has.
 *
 * @param root the store's directory of cache mounts
 * @param startsFrom what a new cache is filled with: part of its identity
 */
export async function holdCache(mount: CacheMount, root: string, startsFrom: string, ctx: Context): Promise<HeldCache> {
  const { id, uid, gid, mode, source } = mount
  const name = hexOf(digestOf(canonicalJson({ id, uid, gid, mode, source, startsFrom }))).slice(0, 32)
  if (mount.sharing === 'private') {
    for (let i = 0; ; i++) {
      const held = tryHold(join(root, i === 0 ? name : `${name}-${i}`), 'exclusive', mount)
      if (held !== undefined) return held
    }
  }
  const how = mount.sharing === 'locked' ? 'exclusive' : 'shared'
  for (;;) {
    ctx.signal.throwIfAborted()
    const held = tryHold(join(root, name), how, mount)
    if (held !== undefined) return held
    await sleep(pollMs, undefined, { signal: ctx.signal })
  }
}

/** The lock file lies beside the directory: what is in the directory belongs to the steps. */
function tryHold(path: string, how: 'shared' | 'exclusive', mount: CacheMount): HeldCache | undefined {
  const fd = openSync(`${path}.lock`, 'a', 0o600)
  let held = false
  try {
    held = tryLock(fd, how)
    if (!held) return undefined
    const isNew = !existsSync(path)
    if (isNew) makeCache(path, mount)
    return { path, isNew, [Symbol.dispose]: () => closeSync(fd) }
  } finally {
    if (!held) closeSync(fd)
  }
}

function makeCache(path: string, { uid, gid, mode }: CacheMount): void {
  mkdirSync(path, { recursive: true })
  chownSync(path, uid, gid)
  chmodSync(path, mode)
}
