/**
 * Directories of `RUN --mount=type=cache`: one per id and starting state, locked as `sharing` says.
 *
 * The locks are flocks, so they hold between processes too and end with them. Uid, gid and mode are part of what a cache
 * starts from, hence of its identity (semantics.md 89). A new cache is filled under another name: it is there when it is whole.
 * Garbage collection holds the lock of what it removes, and removes the lock file too.
 */
import { chmodSync, chownSync, closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { canonicalJson } from '../core/canonical.js'
import type { Context } from '../core/context.js'
import { digestOf, hexOf } from '../core/digest.js'
import type { ExecMount } from '../graph/op.js'
import { randomName } from '../io/fs.js'
import { removeFiles } from '../io/remove-files.js'
import { tryLock } from '../io/sys.js'
import type { CacheMountNote } from '../store/inventory-folders.js'
import { writeRecord } from '../store/record-file.js'
import { noteUse, startUse } from '../store/use.js'

/** A cache mount of an op. */
export type CacheMount = Extract<ExecMount, { kind: 'cache' }>

/** A cache directory that is held until it is disposed. */
export interface HeldCache extends Disposable {
  readonly path: string
}

/** Where caches are, and how a new one is made. */
export interface CachePlace {
  /** The store's directory of cache mounts. */
  readonly root: string
  /** A directory of the user's that stands in for the cache; it is used as it is. */
  readonly hostPath: string | undefined
  /** What a new cache is filled with: part of its identity. */
  readonly startsFrom: string
  /** Fills a new cache. */
  readonly fill: (path: string) => Promise<void>
  /** Caches of other machines, which may have this one. */
  readonly travel?: CacheTravel | undefined
}

/** How cache mounts go from machine to machine. `key` is the same on all of them. */
export interface CacheTravel {
  /** Fills a new cache with what another machine has. False: nobody has it, or not whole; the directory is empty then. */
  restore(key: string, id: string, path: string, ctx: Context): Promise<boolean>
  /** A step uses the cache. */
  used(key: string, id: string, path: string): void
}

/** Names a cache, on every machine: what it starts from is part of it. */
export function cacheIdentity({ id, uid, gid, mode, source }: CacheMount, startsFrom: string): string {
  return hexOf(digestOf(canonicalJson({ id, uid, gid, mode, source, startsFrom })))
}

/** The directory of a cache below `root`; beside it lie its locks. */
export function cacheDirectory(root: string, identity: string): string {
  return join(root, identity.slice(0, 32))
}

/** Names what is taken for a cache mount: the cache, or the directory of the user's that stands in for it. */
export function placeIdentity(mount: CacheMount, hostPath: string | undefined, startsFrom: string): string {
  return hostPath === undefined ? cacheIdentity(mount, startsFrom) : hexOf(digestOf(canonicalJson({ hostPath })))
}

const pollMs = 50

/**
 * Takes the directory of a cache mount.
 *
 * `shared`: with everyone. `locked`: alone, after waiting. `private`: the first instance that nobody has; of a directory of
 * the user's there is only one, so it waits.
 */
export async function holdCache(mount: CacheMount, place: CachePlace, ctx: Context): Promise<HeldCache> {
  const { root, hostPath, startsFrom } = place
  const identity = placeIdentity(mount, hostPath, startsFrom)
  const base = cacheDirectory(root, identity)
  const { path, fd } = await lockInstance(base, mount, hostPath !== undefined, ctx)
  let held = false
  try {
    if (hostPath === undefined && !existsSync(path)) await makeCache(path, identity, mount, place, ctx)
    if (hostPath === undefined && path === base) place.travel?.used(identity, mount.id, path)
    if (hostPath === undefined) noteMountUse(base, mount)
    held = true
    return { path: hostPath ?? path, [Symbol.dispose]: () => closeSync(fd) }
  } finally {
    if (!held) closeSync(fd)
  }
}

/** For `mille du`: what the cache is called, and when it was used. */
function noteMountUse(base: string, { id, target }: CacheMount): void {
  const path = `${base}.id`
  if (existsSync(path)) noteUse(path, Date.now())
  else {
    writeRecord(path, { id, target, createdAt: Date.now() } satisfies CacheMountNote)
    startUse(path, Date.now())
  }
}

interface Locked {
  readonly path: string
  readonly fd: number
}

async function lockInstance(base: string, { sharing }: CacheMount, isOne: boolean, ctx: Context): Promise<Locked> {
  if (sharing === 'private' && !isOne) {
    for (let i = 0; ; i++) {
      const path = i === 0 ? base : `${base}-${i}`
      const fd = tryHold(`${path}.lock`, 'exclusive')
      if (fd !== undefined) return { path, fd }
    }
  }
  return { path: base, fd: await waitFor(`${base}.lock`, sharing === 'shared' ? 'shared' : 'exclusive', ctx) }
}

/** Holds a cache as one more that shares it, so that nobody who has it alone changes it. */
export async function shareCache(path: string, ctx: Context): Promise<Disposable> {
  const fd = await waitFor(`${path}.lock`, 'shared', ctx)
  return { [Symbol.dispose]: () => closeSync(fd) }
}

async function waitFor(lockPath: string, how: 'shared' | 'exclusive', ctx: Context): Promise<number> {
  for (;;) {
    ctx.signal.throwIfAborted()
    const fd = tryHold(lockPath, how)
    if (fd !== undefined) return fd
    await sleep(pollMs, undefined, { signal: ctx.signal })
  }
}

/** The lock file lies beside the directory: what is in the directory belongs to the steps. */
function tryHold(lockPath: string, how: 'shared' | 'exclusive'): number | undefined {
  for (;;) {
    const fd = openSync(lockPath, 'a', 0o600)
    let held = false
    try {
      if (!tryLock(fd, how)) return undefined
      // Between the two a collection may have removed the file: then this is the lock of nothing.
      held = statSync(lockPath, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino
      if (held) return fd
    } finally {
      if (!held) closeSync(fd)
    }
  }
}

/** One process makes it; those that share it wait until it is whole. */
async function makeCache(
  path: string,
  identity: string,
  { id, uid, gid, mode }: CacheMount,
  { fill, travel }: CachePlace,
  ctx: Context,
): Promise<void> {
  const making = await waitFor(`${path}.making`, 'exclusive', ctx)
  const unfinished = `${path}.${randomName(8)}`
  try {
    if (existsSync(path)) return
    mkdirSync(unfinished)
    if (!(await travel?.restore(identity, id, unfinished, ctx))) await fill(unfinished)
    chownSync(unfinished, uid, gid)
    chmodSync(unfinished, mode)
    renameSync(unfinished, path)
  } finally {
    await removeFiles(unfinished)
    closeSync(making)
  }
}
