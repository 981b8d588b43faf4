/** The history of the image to be: what each instruction writes, and what a base brings (semantics.md 108–111). */
import type { HealthConfig, HistoryEntry } from '../core/image.js'
import type { PlannedHistory, VertexId } from '../graph/op.js'
import { goDuration, goList } from './go-text.js'

const comment = 'buildkit.dockerfile.v0'

/** The entry of an instruction that changes the config only. */
export function configHistory(createdBy: string): PlannedHistory {
  return { createdBy, comment }
}

/** The entry of an instruction with a layer; WORKDIR has no suffix, as BuildKit writes it. */
export function layerHistory(createdBy: string, vertex: VertexId, suffix = ' # buildkit'): PlannedHistory {
  return { createdBy: `${createdBy}${suffix}`, comment, vertex }
}

/** The text for RUN: the build arguments in scope, then the command. */
export function runText(argv: readonly string[], args: readonly (readonly [name: string, value: string])[]): string {
  const byName = new Map(args)
  const shown = [...byName].map(([name, value]) => `${name}=${value}`)
  return ['RUN', ...(shown.length === 0 ? [] : [`|${shown.length}`, ...shown]), ...argv].join(' ')
}

/** The text for HEALTHCHECK: the settings as Go prints the struct. */
export function healthcheckText(health: HealthConfig): string {
  const fields = [
    `Test:${goList(health.Test ?? [])}`,
    `Interval:${goDuration(health.Interval ?? 0)}`,
    `Timeout:${goDuration(health.Timeout ?? 0)}`,
    `StartPeriod:${goDuration(health.StartPeriod ?? 0)}`,
    `StartInterval:${goDuration(health.StartInterval ?? 0)}`,
    `Retries:${health.Retries ?? 0}`,
  ]
  return `HEALTHCHECK {${fields.join(' ')}}`
}

/**
 * A base's history as it is taken over. Where it says too little or too much (an image made by `docker import`, a
 * squashed one), entries are added at the end, or marked as empty from the end, until each layer has exactly one.
 */
export function inheritHistory(entries: readonly HistoryEntry[], layerCount: number): PlannedHistory[] {
  const planned = entries.map(inherit)
  let surplus = planned.filter((entry) => entry.inherited?.emptyLayer === false).length - layerCount
  for (; surplus < 0; surplus++) planned.push({ createdBy: '', inherited: { emptyLayer: false } })
  for (let at = planned.length - 1; surplus > 0 && at >= 0; at--) {
    const entry = planned[at]
    if (entry?.inherited?.emptyLayer !== false) continue
    planned[at] = { ...entry, inherited: { ...entry.inherited, emptyLayer: true } }
    surplus--
  }
  return planned
}

function inherit(entry: HistoryEntry): PlannedHistory {
  const { created, created_by: createdBy, author, comment: remark, empty_layer: empty } = entry
  const inherited = {
    emptyLayer: empty === true,
    ...(created === undefined ? {} : { created }),
    ...(author === undefined ? {} : { author }),
  }
  const planned = { createdBy: createdBy ?? '', inherited }
  return remark === undefined ? planned : { ...planned, comment: remark }
}
