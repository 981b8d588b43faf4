/**
 * Solution → image: the config of what was built, with the layers' DiffIDs and a history that matches them one to one.
 *
 * Pure. All times come from the records of the layers, so that a rebuild in which nothing ran has the same image id
 * (image-spec, config.md; the rules for `created` and SOURCE_DATE_EPOCH are those of semantics.md 110).
 */
import { type DiffID, type Digest, digestOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import type { HistoryEntry, ImageConfig } from '../core/image.js'
import type { Platform } from '../core/platform.js'
import type { PlannedHistory, PlannedImage } from '../graph/op.js'

/** The layers of the root filesystem, bottom first, and when each was made (ms since 1970; 0 where the base knows). */
export interface ImageLayers {
  readonly diffIds: readonly DiffID[]
  readonly times: readonly number[]
}

/** Where the times come from that no layer has. */
export interface ImageTimes {
  /** When this image was first made, ms since 1970: for instructions after the last layer. */
  readonly madeAt: number
  /** SOURCE_DATE_EPOCH in seconds: later times become this one; undefined leaves them. */
  readonly epoch: number | undefined
}

/** An image that exists as a config and layers; manifests are made when it is exported. */
export interface AssembledImage {
  /** The config's digest. */
  readonly id: Digest
  readonly platform: Platform
  readonly config: ImageConfig
  /** The bytes that are hashed. */
  readonly rawConfig: string
}

/** Makes the config of an image. */
export function assembleImage(planned: PlannedImage, layers: ImageLayers, times: ImageTimes): AssembledImage {
  const history = assembleHistory(matchLayers(planned.history, layers), layers, times)
  const created = history.findLast((entry) => entry.created !== undefined)?.created
  const config: ImageConfig = {
    ...planned.config,
    ...(created === undefined ? {} : { created }),
    rootfs: { type: 'layers', diff_ids: layers.diffIds },
    history,
  }
  return { ...imageOf(config), platform: planned.platform }
}

/** An image of a finished config; `rawConfig` is its exact bytes where they exist already. */
export function imageOf(config: ImageConfig, rawConfig: string = JSON.stringify(config)): AssembledImage {
  const { os, architecture, variant } = config
  const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) }
  return { id: digestOf(rawConfig), platform, config, rawConfig }
}

/**
 * The same history with as many entries that have a layer as there are layers. Bases without a history, or with one that
 * does not match, get plain entries for their layers; an own instruction without its layer is a bug.
 */
export function matchLayers(history: readonly PlannedHistory[], layers: ImageLayers): readonly PlannedHistory[] {
  const own = history.filter((entry) => entry.inherited === undefined)
  const inherited = history.filter((entry) => entry.inherited !== undefined)
  const baseCount = layers.diffIds.length - own.filter((entry) => entry.vertex !== undefined).length
  if (baseCount < 0) throw new Error(`the history has ${-baseCount} layers more than the root filesystem`)
  const known = inherited.filter((entry) => entry.inherited?.emptyLayer === false).length
  if (known === baseCount) return history
  const missing = Array.from({ length: baseCount - Math.min(known, baseCount) }, () => plainEntry)
  return known < baseCount ? [...missing, ...inherited, ...own] : [...Array.from({ length: baseCount }, () => plainEntry), ...own]
}

const plainEntry: PlannedHistory = { createdBy: '', inherited: { emptyLayer: false } }

function assembleHistory(planned: readonly PlannedHistory[], layers: ImageLayers, times: ImageTimes): HistoryEntry[] {
  const lastOwnLayer = planned.findLastIndex((entry) => entry.vertex !== undefined)
  let layer = 0
  let time: string | undefined
  return planned.map((entry, i) => {
    const { inherited } = entry
    const hasLayer = inherited === undefined ? entry.vertex !== undefined : !inherited.emptyLayer
    const layerTime = hasLayer ? layers.times[layer++] : undefined
    if (inherited !== undefined) time = inherited.created ?? time
    else if (layerTime !== undefined) time = timeText(layerTime, times.epoch)
    else if (i > lastOwnLayer) time = timeText(times.madeAt, times.epoch)
    return historyEntry(entry, inherited === undefined ? time : inherited.created, hasLayer)
  })
}

/** Fields in the order in which docker writes them. */
function historyEntry(entry: PlannedHistory, created: string | undefined, hasLayer: boolean): HistoryEntry {
  return {
    ...(created === undefined ? {} : { created }),
    ...(entry.createdBy === '' ? {} : { created_by: entry.createdBy }),
    ...(entry.inherited?.author === undefined ? {} : { author: entry.inherited.author }),
    ...(entry.comment === undefined ? {} : { comment: entry.comment }),
    ...(hasLayer ? {} : { empty_layer: true }),
  }
}

function timeText(ms: number, epoch: number | undefined): string {
  const clamped = epoch === undefined ? ms : Math.min(ms, epoch * 1000)
  const date = new Date(clamped)
  if (Number.isNaN(date.getTime())) throw new BuildError('IMAGE_BAD_CONFIG', `${clamped} ms since 1970 is no time`)
  return date.toISOString()
}
