/**
 * Where things are in a store, and which version of that layout a directory has.
 *
 * The version is in `version.json`. A store made by a newer mille is left alone. Everything else in a store checks
 * itself, so a version file that a power cut emptied is simply written again.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type ChainID, type DiffID, type Digest, digestOf, hexOf } from '../core/digest.js'
import { StoreError, systemCode } from '../core/errors.js'
import { asStoreError } from '../io/disk-error.js'
import { makeDirectories, readTextIfExists, writeFileAtomic } from '../io/fs.js'

/** The version of the layout that this code reads and writes. */
export const layoutVersion = 1

/** Absolute paths in one store. */
export interface Layout {
  readonly root: string
  /** A folder of the store. */
  folder(name: FolderName): string
  blob(digest: Digest): string
  layer(diffId: DiffID): string
  record(key: Digest): string
  image(id: Digest): string
  tag(reference: string): string
  snapshot(id: string): string
  /** The list of what a snapshot holds. */
  entries(id: string): string
}

/** The folders of a store. */
export type FolderName =
  | 'blobs/sha256'
  | 'snapshots'
  | 'layers'
  | 'records'
  | 'images'
  | 'tags'
  | 'active'
  | 'leases'
  | 'claims'
  | 'locks'
  | 'tmp'
  | 'quarantine'
  | 'condemned'
  | 'logs'
  | 'memo'
  | 'cache-mounts'
  | 'explain'
  | 'history'
  | 'git'

/** The paths of the store in `root`. */
export function layoutOf(root: string): Layout {
  const file = (folder: FolderName, digest: Digest | DiffID | ChainID): string => `${root}/${folder}/${hexOf(digest)}`
  return {
    root,
    folder: (name) => `${root}/${name}`,
    blob: (digest) => file('blobs/sha256', digest),
    layer: (diffId) => `${file('layers', diffId)}.json`,
    record: (key) => `${root}/records/${hexOf(key).slice(0, 2)}/${hexOf(key)}.json`,
    image: (id) => `${file('images', id)}.json`,
    tag: (reference) => `${root}/tags/${encodeTag(reference)}.json`,
    snapshot: (id) => `${root}/snapshots/${id}`,
    entries: (id) => `${root}/snapshots/${id}.entries`,
  }
}

/** A reference as a file name: what is not a letter, digit, `.`, `_` or `-` as `%xx`; by its hash when that is too long. */
function encodeTag(reference: string): string {
  const encoded = percentEncode(reference)
  return encoded.length <= 200 ? encoded : `~${hexOf(digestOf(reference))}`
}

function percentEncode(reference: string): string {
  return encodeURIComponent(reference).replace(/[!'()*~]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)
}

/**
 * Makes sure that `root` is a store that this code may use, and makes it one when it is new.
 *
 * @throws StoreError STORE_NEWER_VERSION, STORE_NO_PERMISSION, STORE_NO_SPACE
 */
export function openLayout(root: string): Layout {
  const version = refuseNewer(root)
  const layout = layoutOf(root)
  if (version === undefined) create(layout, join(root, 'version.json'))
  return layout
}

/**
 * The version of the store in `root`; undefined where there is none that can be read. For who looks into one without opening it.
 *
 * @throws StoreError STORE_NEWER_VERSION, STORE_NO_PERMISSION
 */
export function refuseNewer(root: string): number | undefined {
  const version = readVersion(join(root, 'version.json'))
  if (version !== undefined && version > layoutVersion) {
    throw new StoreError(
      'STORE_NEWER_VERSION',
      `the store in ${root} has version ${version}, this mille knows ${layoutVersion}`,
      {
        path: root,
        hint: 'use a newer mille, or set MILLE_ROOT to another directory',
      },
    )
  }
  return version
}

function readVersion(path: string): number | undefined {
  let text: string | undefined
  try {
    text = readTextIfExists(path)
  } catch (error) {
    throw asStoreError(error, path)
  }
  const match = text === undefined ? null : /"version"\s*:\s*(\d+)/.exec(text)
  return match ? Number(match[1]) : undefined
}

function create(layout: Layout, versionPath: string): void {
  try {
    makeDirectories(layout.root)
    for (const name of ['blobs', 'blobs/sha256', 'snapshots']) makeFolder(`${layout.root}/${name}`)
    writeFileAtomic(join(layout.root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    if (readTextIfExists(join(layout.root, 'index.json')) === undefined) {
      writeFileAtomic(join(layout.root, 'index.json'), emptyIndex)
    }
    writeFileAtomic(versionPath, `{"version":${layoutVersion}}\n`, { sync: true })
  } catch (error) {
    const code = systemCode(error) ?? ''
    if (['ENOTDIR', 'EEXIST', 'ENOENT', 'ENAMETOOLONG', 'ELOOP'].includes(code)) {
      throw new StoreError('STORE_NO_PERMISSION', `no store can be made at ${layout.root} (${code})`, {
        path: layout.root,
        cause: error,
        hint: 'set --root or MILLE_ROOT to a directory',
      })
    }
    throw asStoreError(error, layout.root)
  }
}

/** Not with `recursive`: Node 20 then says ENOENT where the disk is read-only. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
}

const emptyIndex = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
