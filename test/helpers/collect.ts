/** Collections for tests. */
import type { GcRule, SpaceLimits } from '../../src/store/choose.js'
import { type CollectReport, collectGarbage } from '../../src/store/gc.js'
import type { ItemType } from '../../src/store/items.js'
import type { OpenedStore } from '../../src/store/store.js'

/** What a test wants to go besides what nothing needs. */
export interface Wanted {
  readonly types?: readonly ItemType[]
  readonly namedImages?: boolean
  readonly unusedSince?: number
  readonly limits?: SpaceLimits
  readonly dryRun?: boolean
}

/** All types that a collection may remove. */
export const everything: Wanted = {
  types: ['regular', 'image', 'exec.cachemount', 'source.git.checkout', 'internal'],
}

/** Collects, shared results too. */
export function collect(store: OpenedStore, { types = [], dryRun = false, ...wanted }: Wanted = {}): Promise<CollectReport> {
  const rule: GcRule = {
    ...{ matches: ({ type }) => types.includes(type), shared: true, internal: true, namedImages: false, reason: 'test' },
    ...wanted,
  }
  return collectGarbage(store, { rules: [rule], unreferenced: true, dryRun, signal: new AbortController().signal })
}
