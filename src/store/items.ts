/** What a store holds, as a person sees it: the rows of `mille du` and what `mille prune` chooses from. */
import type { Digest } from '../core/digest.js'
import type { BuildFile } from './builds.js'
import type { FoundRecord } from './roots.js'

/** buildx's types of records, and mille's own for what buildx has elsewhere. */
export const itemTypes = [
  'regular',
  'internal',
  'frontend',
  'source.local',
  'source.git.checkout',
  'exec.cachemount',
  'image',
  'volume',
  'history',
] as const

/** The type of an item. */
export type ItemType = (typeof itemTypes)[number]

/** One thing in the store. Times are ms since 1970, sizes allocated bytes. */
export interface StoreItem {
  /** At most 25 characters, as BuildKit's. */
  readonly id: string
  readonly type: ItemType
  /** Ids of what it lies on. */
  readonly parents: readonly string[]
  readonly description: string
  readonly createdAt: number | undefined
  readonly lastUsedAt: number | undefined
  /** As far as it is known; 999 is "or more". */
  readonly usageCount: number | undefined
  /** It may change; what is not mutable is only ever made and removed. */
  readonly mutable: boolean
  /** More than one needs it: images, or an image and cached results. */
  readonly shared: boolean
  /** What needs it now: a living process, an image with a name, or mille and its user always. */
  readonly held: 'process' | 'name' | 'always' | undefined
  readonly size: number
  /** Of an image: its layers that others need too, and those that nobody else needs. */
  readonly layerBytes?: { readonly shared: number; readonly unique: number }
  readonly content: ItemContent
}

/** A file that can be removed alone. */
export interface LooseFile {
  readonly path: string
  readonly size: number
  /** When it was written, ms since 1970. */
  readonly at: number
}

/** What an item is on the disk. */
export type ItemContent =
  /** Files of one step, and the cache records of steps that ended with it. Without a layer: a step that left no files. */
  | {
      readonly kind: 'result'
      /** Hex of the DiffID. */
      readonly layer: string | undefined
      readonly records: readonly FoundRecord[]
      /** Allocated bytes of the record files; the rest of the size is the layer. */
      readonly recordBytes: number
      /** How many layers are below it. */
      readonly depth: number
    }
  | { readonly kind: 'image'; readonly image: Digest; readonly names: readonly string[] }
  | { readonly kind: 'cache-mount'; readonly path: string }
  | { readonly kind: 'git'; readonly path: string }
  | { readonly kind: 'files'; readonly files: readonly LooseFile[] }
  | { readonly kind: 'history'; readonly builds: readonly (BuildFile & { readonly size: number })[] }
  /** Nothing points at it: any collection removes it. */
  | { readonly kind: 'unreferenced'; readonly path: string | undefined }
  | { readonly kind: 'fixed' }

/** Layers that are needed together: those of a cache record, or of an image. */
export interface LayerUse {
  /** The item that needs them; undefined for a living process. */
  readonly item: StoreItem | undefined
  /** Hex of DiffIDs. */
  readonly layers: readonly string[]
}

/** A store at one moment. */
export interface Inventory {
  readonly items: readonly StoreItem[]
  readonly uses: readonly LayerUse[]
  /** The items of layers, by the hex of the DiffID. */
  readonly layers: ReadonlyMap<string, StoreItem>
}

/** BuildKit's ids have 25 characters. */
export const idLength = 25
