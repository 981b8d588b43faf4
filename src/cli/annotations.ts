/**
 * `--annotation [LEVEL[PLATFORM]:]KEY=VALUE`, in buildx's spelling.
 *
 * What comes before the colon is a level only when it is spelled like one, so that keys may have colons. What would be lost (of
 * an index where there is none) is refused by the build itself.
 */
import { UsageError } from '../core/errors.js'
import { type Platform, parsePlatform } from '../core/platform.js'
import type { AnnotationLevel, BuildOutput, ImageAnnotation } from '../engine/options.js'

const level = '(?:manifest|index)(?:-descriptor)?'
const form = new RegExp(`^(?:(${level}(?:\\[[^\\]]*\\])?(?:,${level}(?:\\[[^\\]]*\\])?)*):)?([^=]+)=(.*)$`, 's')
const levelForm = /^([a-z-]+)(?:\[([^\]]*)\])?$/

/** Reads the values of `--annotation`. @throws UsageError */
export function readAnnotations(texts: readonly string[], host: Platform): ImageAnnotation[] {
  return texts.flatMap((text) => {
    const [, levels = 'manifest', key, value] = form.exec(text) ?? []
    if (key === undefined || value === undefined) {
      throw new UsageError('USAGE_BAD_FLAG', `--annotation "${text}" has not the form key=value`, {
        hint: 'a level stands in front: index:key=value, manifest[linux/arm64]:key=value',
      })
    }
    return levels.split(/,(?![^[]*\])/).map((word) => {
      const [, name = '', platform] = levelForm.exec(word) ?? []
      if (platform !== undefined && name.startsWith('index')) {
        throw new UsageError('USAGE_BAD_FLAG', `--annotation "${text}": an index is of all platforms, and of none alone`)
      }
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

/** Gives annotations to the outputs that have a manifest. @throws UsageError where none has one */
export function annotateOutputs(
  outputs: readonly BuildOutput[] | undefined,
  annotations: readonly ImageAnnotation[],
): readonly BuildOutput[] | undefined {
  if (annotations.length === 0) return outputs
  const all: readonly BuildOutput[] = outputs ?? [{ type: 'image' }]
  if (all.every(({ type }) => type === 'local' || type === 'tar')) {
    throw new UsageError('USAGE_BAD_FLAG', '--annotation has no effect: the outputs have no manifest', {
      hint: 'annotations are for --output type=image, registry, oci or docker',
    })
  }
  return all.map((output) => (output.type === 'local' || output.type === 'tar' ? output : { ...output, annotations }))
}
