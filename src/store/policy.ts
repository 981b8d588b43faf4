/**
 * The default policy of collections at the end of builds: BuildKit's four rules with limits that can be set.
 *
 *   1. cache mounts and git repositories not used for 48 h, while they take more than 512 MB together
 *   2. whatever was not used for 60 days, while more than the reserved space is used
 *   3. the longest unused, while more than the most is used or less than the least is free, down to the reserved space
 *   4. the same with cached results of images that have names: records only, so it frees little and comes last
 *
 * Images with names and what they need are never removed, nor what a living process needs.
 */
import { statfsSync } from 'node:fs'
import type { DiskSpace, GcRule, SpaceLimits } from './choose.js'
import type { StoreItem } from './items.js'

/** A number of bytes, or a part of the disk. */
export type Amount = { readonly bytes: number } | { readonly percent: number }

/** What can be set. What is undefined has the default. */
export interface GcSettings {
  readonly maxUsed?: Amount | undefined
  readonly reserved?: Amount | undefined
  readonly minFree?: Amount | undefined
  readonly keepDurationMs?: number | undefined
}

const dayMs = 86_400_000
const shortLivedMs = 2 * dayMs
const shortLivedBytes = 512e6
const defaultKeepMs = 60 * dayMs

/** The space of the disk that `path` is on. */
export function diskSpace(path: string): DiskSpace {
  const { blocks, bsize, bavail } = statfsSync(path)
  return { total: blocks * bsize, free: bavail * bsize }
}

/** The limits in bytes: 10 % of the disk and at most 10 GB are reserved, 80 % and at most 100 GB may be used, 20 % stay free. */
export function limitsOf({ maxUsed, reserved, minFree }: GcSettings, { total }: DiskSpace): SpaceLimits {
  const bytes = (amount: Amount): number => Math.floor('bytes' in amount ? amount.bytes : (total * amount.percent) / 100)
  const limits = {
    maxUsed: maxUsed === undefined ? Math.min(100e9, total * 0.8) : bytes(maxUsed),
    reserved: reserved === undefined ? Math.min(10e9, total * 0.1) : bytes(reserved),
    minFree: minFree === undefined ? total * 0.2 : bytes(minFree),
  }
  // Whoever sets the most to less than the default of what is reserved means it.
  return maxUsed !== undefined && reserved === undefined && limits.maxUsed > 0
    ? { ...limits, reserved: Math.min(limits.reserved, limits.maxUsed) }
    : limits
}

/** The rules in their order. A limit of 0 is none. */
export function defaultRules(settings: GcSettings, disk: DiskSpace, nowMs: number): GcRule[] {
  const limits = limitsOf(settings, disk)
  const keepMs = settings.keepDurationMs ?? defaultKeepMs
  const shortMs = keepMs === 0 ? shortLivedMs : Math.min(shortLivedMs, keepMs)
  const common = { matches: isEvictable, shared: false, internal: true, namedImages: false }
  const rules: GcRule[] = [
    {
      ...common,
      matches: isShortLived,
      unusedSince: nowMs - shortMs,
      limits: upTo(shortLivedBytes),
      reason: `not used for ${timeText(shortMs)}`,
    },
  ]
  if (keepMs > 0) {
    const reason = `not used for ${timeText(keepMs)}`
    rules.push({ ...common, unusedSince: nowMs - keepMs, limits: upTo(limits.reserved), reason })
  }
  if (limits.maxUsed > 0 || limits.minFree > 0) {
    const pressure = { ...common, limits, sweep: true, reason: 'used longest ago, for space' }
    rules.push(pressure, { ...pressure, shared: true })
  }
  return rules
}

function upTo(bytes: number): SpaceLimits | undefined {
  return bytes === 0 ? undefined : { maxUsed: bytes, reserved: 0, minFree: 0 }
}

/** Build records have limits of their own: store/builds.ts. */
function isEvictable({ type }: StoreItem): boolean {
  return type !== 'history'
}

function isShortLived({ type }: StoreItem): boolean {
  return type === 'exec.cachemount' || type === 'source.git.checkout' || type === 'source.local'
}

function timeText(ms: number): string {
  const days = ms / dayMs
  return days >= 3 && Number.isInteger(days) ? `${days} days` : `${Math.round((ms / 3_600_000) * 10) / 10} h`
}
