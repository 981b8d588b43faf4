/**
 * Chooses what a collection removes: rules in turn, and within a rule the longest unused first.
 *
 * What is chosen are cached results and images; a layer goes when the last of those that need it is chosen. The last use of
 * a result is that of the youngest result above it, and of two of the same time the upper one goes first: a build with
 * nothing to do only asks for the last step, and a step is of no use without those below it.
 */
import type { Inventory, LooseFile, StoreItem } from './items.js'

/** Bytes; 0: no limit. */
export interface SpaceLimits {
  /** What may be used at most. */
  readonly maxUsed: number
  /** What may always be used, however full the disk is. */
  readonly reserved: number
  /** What of the disk should be free. */
  readonly minFree: number
}

/** What may go, and how much of it. */
export interface GcRule {
  readonly matches: (item: StoreItem) => boolean
  /** Cached results whose files an image with a name needs too: only their records go. */
  readonly shared: boolean
  /** What mille keeps for itself: memos and logs. */
  readonly internal: boolean
  /** What nothing points at. */
  readonly unreferenced?: boolean
  /** Images with names, and the names. */
  readonly namedImages: boolean
  /** Only what was not used since (ms since 1970). */
  readonly unusedSince?: number | undefined
  /** Only as much as it takes; without it all. */
  readonly limits?: SpaceLimits | undefined
  /** Once it is above the limits it frees a twentieth more, so that not each of the next builds has to. */
  readonly sweep?: boolean
  /** For people: "not used for 60 days". */
  readonly reason: string
}

/** An item that goes. */
export interface ChosenItem {
  readonly item: StoreItem
  readonly reason: string
  /** Bytes that become free. */
  readonly size: number
  /** Of files that can go one by one: these. */
  readonly files: readonly LooseFile[]
}

/** The disk that the store is on. */
export interface DiskSpace {
  readonly total: number
  readonly free: number
}

/** Chooses. What one rule takes is gone for the next. */
export function chooseItems(inventory: Inventory, rules: readonly GcRule[], disk: DiskSpace): ChosenItem[] {
  const choice = new Choice(inventory)
  for (const rule of rules) {
    const candidates = inventory.items.filter((item) => !choice.has(item) && isCandidate(item, rule)).sort(byUse)
    const limit = bytesToKeep(choice, inventory, rule, disk)
    let used = choice.usedBy(inventory, rule)
    if (limit !== undefined && used <= limit) continue
    const keep = limit !== undefined && rule.sweep ? Math.max(limit * 0.95, Math.min(limit, rule.limits?.reserved ?? 0)) : limit
    for (const item of candidates) {
      if (keep !== undefined && used <= keep) break
      used -= choice.take(item, rule)
    }
  }
  return choice.chosen()
}

/** True for what a rule may take. */
function isCandidate(item: StoreItem, rule: GcRule): boolean {
  const { content, held, lastUsedAt, createdAt } = item
  if (content.kind === 'fixed' || held === 'process' || held === 'always') return false
  if (content.kind === 'unreferenced') return rule.unreferenced === true && rule.matches(item)
  if (content.kind === 'result' && content.records.length === 0) return false
  if (content.kind === 'files' && content.files.length === 0) return false
  if (content.kind === 'history' && content.builds.length === 0) return false
  if (held === 'name' && !(content.kind === 'image' ? rule.namedImages : rule.shared)) return false
  if (content.kind === 'files' && !rule.internal) return false
  if (!rule.matches(item)) return false
  if (rule.unusedSince === undefined) return true
  const { unusedSince } = rule
  if (content.kind === 'files') return content.files.some(({ at }) => at < unusedSince)
  if (content.kind === 'history') return content.builds.some(({ startedAt }) => startedAt < unusedSince)
  return (lastUsedAt ?? createdAt ?? 0) < unusedSince
}

function byUse(a: StoreItem, b: StoreItem): number {
  return (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0) || depthOf(b) - depthOf(a)
}

function depthOf({ content }: StoreItem): number {
  return content.kind === 'result' ? content.depth : 0
}

/** How much may stay; undefined when everything that matches goes. */
function bytesToKeep(choice: Choice, inventory: Inventory, rule: GcRule, disk: DiskSpace): number | undefined {
  const { limits } = rule
  if (limits === undefined || (limits.maxUsed === 0 && limits.reserved === 0 && limits.minFree === 0)) return undefined
  const used = choice.usedBy(inventory, rule)
  const missing = limits.minFree - (disk.free + choice.bytes)
  let keep = limits.maxUsed
  if (missing > 0) keep = keep === 0 ? used - missing : Math.min(keep, used - missing)
  // Enough is free and nothing limits the size: what is reserved is the limit only where it is the only word.
  else if (limits.maxUsed === 0 && limits.minFree > 0) return Number.POSITIVE_INFINITY
  return Math.max(keep, limits.reserved)
}

/** What is chosen so far, and which layers that leaves without a need. */
class Choice {
  readonly #inventory: Inventory
  readonly #taken = new Map<StoreItem, { reason: string; size: number; files: readonly LooseFile[] }>()
  /** How many need a layer. */
  readonly #needs = new Map<string, number>()
  readonly #usesOf = new Map<StoreItem, (readonly string[])[]>()
  bytes = 0

  constructor(inventory: Inventory) {
    this.#inventory = inventory
    for (const { item, layers } of inventory.uses) {
      for (const hex of new Set(layers)) this.#needs.set(hex, (this.#needs.get(hex) ?? 0) + 1)
      if (item === undefined) continue
      const known = this.#usesOf.get(item)
      if (known === undefined) this.#usesOf.set(item, [layers])
      else known.push(layers)
    }
  }

  has(item: StoreItem): boolean {
    return this.#taken.has(item)
  }

  /** What the limits of a rule are compared with: all that it could take, and the layers below that. */
  usedBy({ items }: Inventory, rule: GcRule): number {
    return items.reduce((sum, item) => (this.has(item) || !counts(item, rule) ? sum : sum + item.size), 0)
  }

  /** Takes an item, and the layers that nothing needs then. Returns the bytes that become free. */
  take(item: StoreItem, rule: GcRule): number {
    const { content } = item
    const before = this.bytes
    if (content.kind === 'result') this.#add(item, rule, content.layer === undefined ? item.size : content.recordBytes)
    else if (content.kind === 'files') this.#takeFiles(item, content.files, rule)
    else if (content.kind === 'history') this.#takeFiles(item, content.builds.map(fileOfBuild), rule)
    else this.#add(item, rule, item.size)
    for (const layers of this.#usesOf.get(item) ?? []) for (const hex of new Set(layers)) this.#release(hex, rule)
    return this.bytes - before
  }

  chosen(): ChosenItem[] {
    return [...this.#taken].map(([item, taken]) => ({ item, ...taken }))
  }

  #release(hex: string, rule: GcRule): void {
    const left = (this.#needs.get(hex) ?? 0) - 1
    this.#needs.set(hex, left)
    const item = this.#inventory.layers.get(hex)
    if (left !== 0 || item?.content.kind !== 'result') return
    this.#add(item, rule, item.size - item.content.recordBytes)
  }

  #takeFiles(item: StoreItem, all: readonly LooseFile[], { unusedSince, reason }: GcRule): void {
    const files = all.filter(({ at }) => unusedSince === undefined || at < unusedSince)
    const size = files.reduce((sum, file) => sum + file.size, 0)
    this.bytes += size
    this.#taken.set(item, { reason, size, files })
  }

  #add(item: StoreItem, { reason }: GcRule, size: number): void {
    const taken = this.#taken.get(item)
    if (taken === undefined) this.#taken.set(item, { reason, size, files: [] })
    else taken.size += size
    this.bytes += size
  }
}

function fileOfBuild({ stem, size, startedAt }: { stem: string; size: number; startedAt: number }): LooseFile {
  return { path: stem, size, at: startedAt }
}

/** Counts as used by what a rule is about: what nothing but the cache needs. */
function counts(item: StoreItem, rule: GcRule): boolean {
  if (item.held !== undefined || item.content.kind === 'fixed' || item.type === 'history') return false
  if (item.content.kind === 'files' && !rule.internal) return false
  return rule.matches(item)
}
