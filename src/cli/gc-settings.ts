/** The limits of collections as people write them: in MILLE_GC_… and in the flags of `mille prune`. */
import type { Amount, GcSettings } from '../store/policy.js'
import { badValue, isOn, parseBytes } from './args.js'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * What MILLE_GC and MILLE_GC_… say; undefined: builds collect nothing.
 *
 * @throws UsageError for a value that is none
 */
export function readGcSettings(env: Environment): GcSettings | undefined {
  if (!isOn(env, 'MILLE_GC')) return undefined
  return {
    maxUsed: amountIn(env, 'MILLE_GC_MAX_USED'),
    reserved: amountIn(env, 'MILLE_GC_RESERVED'),
    minFree: amountIn(env, 'MILLE_GC_MIN_FREE'),
    keepDurationMs: env.MILLE_GC_KEEP_DURATION ? readKeepDuration(env.MILLE_GC_KEEP_DURATION) : undefined,
  }
}

function amountIn(env: Environment, name: string): Amount | undefined {
  const text = env[name]
  return text === undefined || text === '' ? undefined : parseAmount(text, name)
}

/** Reads a size such as `20GB`, or a part of the disk such as `10%`. */
function parseAmount(text: string, from: string): Amount {
  const percent = /^(\d+(?:\.\d+)?) ?%$/.exec(text)?.[1]
  if (percent === undefined) {
    return { bytes: parseBytes(text, from, 'a size such as 20GB or a part of the disk such as 10%') }
  }
  if (Number(percent) > 100) throw badValue(from, text, 'at most 100%')
  return { percent: Number(percent) }
}

function readKeepDuration(text: string): number {
  const ms = text === '0' ? 0 : parseDuration(text)
  if (ms !== undefined) return ms
  throw badValue('MILLE_GC_KEEP_DURATION', text, 'a length of time such as 48h or 60d')
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** Reads `24h`, `1h30m`, `10d` as ms; undefined for what is no length of time. */
export function parseDuration(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/gy)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return undefined
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (unitMs[unit ?? ''] ?? 0), 0)
}
