/**
 * Opens a store: one directory, any number of processes (design.md, section 4).
 *
 * Opening reads one small file. No lock, no lease and no libc until something is written that needs one.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { openBlobs } from './blobs.js'
import { openImages } from './images.js'
import { openLayers } from './layers.js'
import { openLayout } from './layout.js'
import { openRecords } from './records.js'
import { openSession, type Session } from './session.js'
import { openSnapshots } from './snapshots.js'
import type { Store } from './types.js'

/** How a store is opened. */
export interface OpenStoreOptions {
  /** Names the present boot of the machine; default: what the kernel says. Tests give another. */
  readonly bootId?: string
}

/** A store with what garbage collection and verification need of it. */
export interface OpenedStore extends Store {
  readonly session: Session
}

/**
 * Opens the store in `root`, and makes it when there is none.
 *
 * @param root absolute path of a directory
 * @throws StoreError STORE_NEWER_VERSION, STORE_NO_PERMISSION, STORE_NO_SPACE
 */
export async function openStore(root: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const session = openSession(openLayout(root), options.bootId ?? readBootId())
  const layers = openLayers(session)
  return {
    root,
    session,
    blobs: openBlobs(session),
    layers,
    snapshots: openSnapshots(session),
    images: openImages(session, layers),
    records: openRecords(session),
    hold() {
      session.hold()
      layers.forgetFound()
    },
    directory(name) {
      const path = join(root, name)
      try {
        // What explanations and build records hold is for the owner of the store: values of arguments, output of steps.
        mkdirSync(path, { recursive: true, mode: name === 'explain' || name === 'history' ? 0o700 : 0o777 })
      } catch (error) {
        throw asStoreError(error, path)
      }
      return path
    },
    [Symbol.asyncDispose]: () => session.close(),
  }
}

/** The kernel's name for this boot. Without one each opening counts as a new boot: slower, and safe. */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return `unknown-${process.pid}-${Date.now()}`
  }
}
