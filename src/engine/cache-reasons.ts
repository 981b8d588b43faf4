/** Why a step was not found in a cache: its key compared with that of the record that the cache has for the same step. */
import type { CacheDocument } from '../cache/document.js'
import type { SolvedVertex } from '../solver/solution.js'

/** A few words; undefined where an earlier step is the reason. */
export function missReason(vertex: SolvedVertex, document: CacheDocument): string | undefined {
  if (document.entries.has(vertex.key.digest)) return undefined
  const candidates = [...document.entries.values()]
    .filter(({ record }) => record.by === 'definition' && withoutPlace(record.name) === withoutPlace(vertex.name))
    .sort((a, b) => b.usedAt - a.usedAt)
  const [nearest] = candidates
  if (nearest === undefined) return `${withoutPlace(vertex.name)} is new`
  const before = nearest.record.components
  const now = vertex.key.components
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])]
  const changed = names.filter((name) => before[name] !== now[name] && !name.startsWith('input.'))
  const [first] = changed
  if (first === undefined) return undefined
  if (first.startsWith('env.')) return `${first.slice('env.'.length)} changed`
  if (first.startsWith('path:')) return `${first.slice('path:'.length)} changed`
  if (first.startsWith('files.')) return `${sourcesOf(vertex.name)} changed`
  return `${withoutPlace(vertex.name)} changed`
}

/** `[build 2/4] RUN x` → `RUN x`: the number changes when a step is put before it. */
function withoutPlace(name: string): string {
  return name.replace(/^\[[^\]]*\] /, '')
}

/** `COPY --chown=a src lib /app/` → `src lib`. */
function sourcesOf(name: string): string {
  const words = withoutPlace(name)
    .split(/\s+/)
    .filter((word) => !word.startsWith('--'))
  return words.slice(1, -1).join(' ') || withoutPlace(name)
}
