/**
 * `--annotation [LEVEL[PLATFORM]:]KEY=VALUE`, in buildx's spelling.
 *
 * What comes before the colon is a level only when it is spelled like one, so that keys may have colons. An image for one platform
 * has a manifest and no index: the other levels are read, and refused where they would have no effect.
 */
import { UsageError } from '../core/errors.js'
import { type Platform, parsePlatform } from '../core/platform.js'
import type { BuildOutput } from '../engine/options.js'

/** Where an annotation goes. */
export type AnnotationLevel = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor'

/** One annotation. */
export interface Annotation {
  readonly level: AnnotationLevel
  /** Only for this platform's manifest; undefined: for all. */
  readonly platform: Platform | undefined
  readonly key: string
  readonly value: string
}

const level = '(?:manifest|index)(?:-descriptor)?'
const form = new RegExp(`^(?:(${level}(?:\\[[^\\]]*\\])?(?:,${level}(?:\\[[^\\]]*\\])?)*):)?([^=]+)=(.*)$`, 's')
const levelForm = /^([a-z-]+)(?:\[([^\]]*)\])?$/

/** Reads the values of `--annotation`. @throws UsageError */
export function readAnnotations(texts: readonly string[], host: Platform): Annotation[] {
  return texts.flatMap((text) => {
    const [, levels = 'manifest', key, value] = form.exec(text) ?? []
    if (key === undefined || value === undefined) {
      throw new UsageError('USAGE_BAD_FLAG', `--annotation "${text}" has not the form key=value`, {
        hint: 'a level stands in front: index:key=value, manifest[linux/arm64]:key=value',
      })
    }
    return levels.split(/,(?![^[]*\])/).map((word) => {
      const [, name = '', platform] = levelForm.exec(word) ?? []
      return { level: name as AnnotationLevel, platform: platformOf(platform, text, host), key, value }
    })
  })
}

function platformOf(name: string | undefined, text: string, host: Platform): Platform | undefined {
  if (name === undefined) return undefined
  const platform = parsePlatform(name, host)
  if (platform !== undefined) return platform
  throw new UsageError('USAGE_BAD_FLAG', `--annotation "${text}": "${name}" is no platform`)
}

/**
 * Gives annotations to the outputs that have a manifest.
 *
 * @throws UsageError where one would be lost: another level, another platform, no output with a manifest
 */
export function annotateOutputs(
  outputs: readonly BuildOutput[] | undefined,
  annotations: readonly Annotation[],
  isTarget: (platform: Platform) => boolean,
): readonly BuildOutput[] | undefined {
  if (annotations.length === 0) return outputs
  const other = annotations.find((annotation) => annotation.level !== 'manifest')
  if (other !== undefined) {
    throw new UsageError('USAGE_BAD_FLAG', `--annotation for the ${other.level} needs an image with an index`, {
      hint: 'an image for one platform has a manifest only: leave the level out',
    })
  }
  const chosen = annotations.filter(({ platform }) => platform === undefined || isTarget(platform))
  const pairs = Object.fromEntries(chosen.map(({ key, value }) => [key, value]))
  const all: readonly BuildOutput[] = outputs ?? [{ type: 'image' }]
  if (all.every(({ type }) => type === 'local' || type === 'tar')) {
    throw new UsageError('USAGE_BAD_FLAG', '--annotation has no effect: the outputs have no manifest', {
      hint: 'annotations are for --output type=image, registry, oci or docker',
    })
  }
  return all.map((output) =>
    output.type === 'local' || output.type === 'tar' ? output : { ...output, annotations: { ...pairs, ...output.annotations } },
  )
}
