/**
 * A store that is read and never written: what a dry run uses. Whatever the work wants to keep (what a registry said of a
 * base image, a download whose digest is part of a key) goes to a temporary store that is gone at the end.
 */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeDirectories } from '../io/fs.js'
import { listFolder } from '../store/lock.js'
import { openStore } from '../store/store.js'
import type { Blobs, Images, Layers, Store } from '../store/types.js'

/** Opens the shadow of `real`; disposing it leaves nothing. */
export async function openShadow(real: Store): Promise<Store> {
  const directory = mkdtempSync(join(tmpdir(), 'mille-dry-run-'))
  const own = await openStore(directory)
  copySmallMemos(join(real.root, 'memo'), join(directory, 'memo'))
  return {
    root: directory,
    blobs: shadowBlobs(real.blobs, own.blobs),
    layers: shadowLayers(real.layers, own.layers),
    images: shadowImages(real.images, own.images),
    snapshots: { prepare: () => own.snapshots.prepare(), pathOf: real.snapshots.pathOf, has: real.snapshots.has },
    records: { find: real.records.peek, peek: real.records.peek, save: () => undefined },
    hold: () => undefined,
    // Explanations are only read in a dry run.
    directory: (name) => (name === 'explain' ? join(real.root, name) : own.directory(name)),
    async [Symbol.asyncDispose]() {
      await own[Symbol.asyncDispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The store's directory; a temporary one, removed at the end, where there is no store. */
export function scratchRoot(root: string): Disposable & { readonly path: string } {
  if (existsSync(join(root, 'version.json'))) return { path: root, [Symbol.dispose]: () => undefined }
  const path = mkdtempSync(join(tmpdir(), 'mille-dry-run-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Keys depend on the salt of secrets, and what a server said of a download saves downloading it. */
function copySmallMemos(from: string, to: string): void {
  makeDirectories(to)
  for (const name of listFolder(from)) {
    if (name === 'secret-salt' || /^(http|tree)-/.test(name)) copyFileSync(join(from, name), join(to, name))
  }
}

function shadowBlobs(real: Blobs, own: Blobs): Blobs {
  const holder = (digest: Parameters<Blobs['has']>[0]): Blobs => (real.has(digest) ? real : own)
  return {
    has: (digest) => real.has(digest) || own.has(digest),
    pathOf: (digest) => holder(digest).pathOf(digest),
    open: (blob) => holder(blob.digest).open(blob),
    read: (blob, limitBytes) => holder(blob.digest).read(blob, limitBytes),
    write: (bytes, expected, signal) => own.write(bytes, expected, signal),
    writeBytes: (bytes) => own.writeBytes(bytes),
    keepBytes: (bytes) => own.keepBytes(bytes),
    temporaryPath: () => own.temporaryPath(),
    adopt: (path, digest) => own.adopt(path, digest),
  }
}

function shadowLayers(real: Layers, own: Layers): Layers {
  return {
    find: (diffId) => real.find(diffId) ?? own.find(diffId),
    refresh: (diffId) => real.refresh(diffId) ?? own.refresh(diffId),
    save: (record) => own.save(record),
    ofSize: (size) => real.ofSize(size),
    arePresent: (diffIds) => real.arePresent(diffIds),
    forget: (diffId) => own.forget(diffId),
  }
}

function shadowImages(real: Images, own: Images): Images {
  return {
    save: (image) => own.save(image),
    get: (id) => own.get(id) ?? real.get(id),
    isWhole: (id) => real.isWhole(id),
    find: (text) => own.find(text) ?? real.find(text),
    list: () => [...real.list(), ...own.list()],
    tags: () => [...real.tags(), ...own.tags()],
    tagOf: (reference) => own.tagOf(reference) ?? real.tagOf(reference),
    setTag: (tag) => own.setTag(tag),
    removeTag: (reference) => own.removeTag(reference),
    remove: (id) => own.remove(id),
  }
}
