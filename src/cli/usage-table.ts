/** Prints items of the store as `docker buildx du` and `docker buildx prune` do. */
import type { StoreItem } from '../store/items.js'
import { humanAge, humanSize } from './human.js'
import { printRows, type Row } from './listing.js'
import type { Shell } from './shell.js'

/** An item with the bytes that are spoken of: all of it, or what is removed. */
export interface ShownItem {
  readonly item: StoreItem
  readonly size: number
  /** Why it goes. */
  readonly reason?: string
}

const columns = [
  ['Shown', 'ID'],
  ['Reclaimable', 'RECLAIMABLE'],
  ['ShownSize', 'SIZE'],
  ['LastUsedSince', 'LAST ACCESSED'],
] as const

/** Prints a table, `--format`, or with `pretty` one paragraph for each. */
export function printItems(shown: readonly ShownItem[], format: string | undefined, shell: Shell): void {
  const now = shell.now()
  if (format === 'json') shell.print(shown.map((each) => `${JSON.stringify(jsonOf(each))}\n`).join(''))
  else if (format === 'pretty') shell.print(shown.map((each) => `${paragraphOf(each, now)}\n`).join(''))
  else if (shown.length > 0 || format !== undefined) {
    const rows = shown.map((each) => rowOf(each, now))
    printRows(rows, { format, columns }, shell)
  }
}

/** `Name:    value` lines with the values below one another. */
export function totalsText(lines: readonly (readonly [name: string, bytes: number])[]): string {
  const width = Math.max(...lines.map(([name]) => name.length)) + 1
  return lines.map(([name, bytes]) => `${`${name}:`.padEnd(width)}   ${humanSize(bytes)}\n`).join('')
}

function rowOf({ item, size, reason = '' }: ShownItem, now: number): Row {
  const { id, type, mutable, shared, held, description, parents, usageCount } = item
  return {
    ID: id,
    Shown: mutable ? `${id}*` : id,
    Type: type,
    Description: description,
    Parents: parents.join(','),
    Mutable: String(mutable),
    Reclaimable: String(held === undefined),
    Shared: String(shared),
    Size: humanSize(size),
    ShownSize: shared ? `${humanSize(size)}*` : humanSize(size),
    SizeBytes: String(size),
    UsageCount: countText(usageCount),
    CreatedAt: timeText(item.createdAt),
    LastUsedAt: timeText(item.lastUsedAt),
    LastUsedSince: item.lastUsedAt === undefined ? '' : humanAge(item.lastUsedAt, now),
    Reason: reason,
  }
}

function jsonOf({ item, size, reason }: ShownItem): Readonly<Record<string, unknown>> {
  const { id, type, mutable, shared, held, description, parents, usageCount, layerBytes } = item
  return {
    ID: id,
    Type: type,
    Description: description,
    Parents: parents,
    Mutable: mutable,
    Reclaimable: held === undefined,
    Shared: shared,
    Size: humanSize(size),
    SizeBytes: size,
    ...(layerBytes === undefined ? {} : { SharedBytes: layerBytes.shared, UniqueBytes: layerBytes.unique }),
    ...(usageCount === undefined ? {} : { UsageCount: usageCount }),
    ...(item.createdAt === undefined ? {} : { CreatedAt: timeText(item.createdAt) }),
    ...(item.lastUsedAt === undefined ? {} : { LastUsedAt: timeText(item.lastUsedAt) }),
    ...(reason === undefined ? {} : { Reason: reason }),
  }
}

function paragraphOf({ item, size, reason }: ShownItem, now: number): string {
  const { id, type, mutable, shared, held, description, parents, usageCount, lastUsedAt, layerBytes } = item
  const lines: (readonly [string, string])[] = [
    ['ID', id],
    ...(parents.length === 0 ? [] : [['Parent', parents.join(',')] as const]),
    ...(item.createdAt === undefined ? [] : [['Created at', timeText(item.createdAt)] as const]),
    ['Mutable', String(mutable)],
    ['Reclaimable', String(held === undefined)],
    ['Shared', String(shared)],
    ['Size', humanSize(size)],
    ...(layerBytes === undefined
      ? []
      : [
          [
            'Layers',
            `${humanSize(layerBytes.unique)} of its own, ${humanSize(layerBytes.shared)} shared with other images`,
          ] as const,
        ]),
    ['Description', description],
    ...(usageCount === undefined ? [] : [['Usage count', countText(usageCount)] as const]),
    ...(lastUsedAt === undefined ? [] : [['Last used', humanAge(lastUsedAt, now)] as const]),
    ['Type', type],
    ...(reason === undefined ? [] : [['Reason', reason] as const]),
  ]
  return lines.map(([name, value]) => `${`${name}:`.padEnd(16)}${value}\n`).join('')
}

function countText(count: number | undefined): string {
  return count === undefined ? '' : String(count)
}

function timeText(ms: number | undefined): string {
  return ms === undefined ? '' : new Date(ms).toISOString()
}
