/**
 * Annotations of an output, by level: what is for which manifest, for the index, and for the descriptors of both.
 *
 * The descriptor of a manifest stands in the index; where there is none, and for the index itself, in the `index.json` of a layout.
 * Spec: image-spec annotations.md, image-index.md.
 */
import { BuildError } from '../core/errors.js'
import { formatPlatform, type Platform, platformMatches } from '../core/platform.js'
import type { AnnotationLevel, BuildOptions, BuildOutput, ImageAnnotation } from './options.js'

/** The annotations of one level as they are written; of manifests those for `platform`. */
export function annotationsOf(
  annotations: readonly ImageAnnotation[] | undefined,
  level: AnnotationLevel,
  platform?: Platform,
): Readonly<Record<string, string>> {
  const chosen = (annotations ?? []).filter(
    (each) =>
      each.level === level &&
      (each.platform === undefined || (platform !== undefined && platformMatches(each.platform, platform))),
  )
  return Object.fromEntries(chosen.map(({ key, value }) => [key, value]))
}

/** A descriptor, or any object with annotations, with these: the same object where there are none. */
export function annotated<T extends { readonly annotations?: Readonly<Record<string, string>> }>(
  value: T,
  annotations: Readonly<Record<string, string>>,
): T {
  return Object.keys(annotations).length === 0 ? value : { ...value, annotations: { ...value.annotations, ...annotations } }
}

/**
 * Refuses annotations that would be lost, before anything is built.
 *
 * @throws BuildError EXPORT_UNSUPPORTED: one of the index where none is made, of a platform that is not built, of an output
 * that has no place for it
 */
export function refuseLostAnnotations(options: BuildOptions, hostPlatform: Platform): void {
  const { outputs = [], platforms = [hostPlatform] } = options
  for (const output of outputs) {
    if (output.type === 'local' || output.type === 'tar') continue
    const annotations = output.annotations ?? []
    if (annotations.length === 0) continue
    refuseOtherPlatform(annotations, platforms)
    refuseNoIndex(annotations, makesIndex(options, platforms))
    refuseNotKept(annotations, output, options)
  }
}

function refuseOtherPlatform(annotations: readonly ImageAnnotation[], platforms: readonly Platform[]): void {
  const other = annotations.find(({ platform }) => platform && !platforms.some((target) => platformMatches(platform, target)))
  if (other?.platform === undefined) return
  const built = platforms.map(formatPlatform).join(', ')
  throw new BuildError(
    'EXPORT_UNSUPPORTED',
    `the annotation "${other.key}" is for ${formatPlatform(other.platform)}, and what is built is ${built}`,
  )
}

/** Refuses annotations of an index that is not made. @throws BuildError EXPORT_UNSUPPORTED */
export function refuseNoIndex(annotations: readonly ImageAnnotation[] | undefined, hasIndex: boolean): void {
  const lost = annotations?.find(({ level }) => level === 'index' || level === 'index-descriptor')
  if (lost === undefined || hasIndex) return
  throw new BuildError(
    'EXPORT_UNSUPPORTED',
    `the annotation "${lost.key}" is for an index, and an image for one platform has none`,
    {
      hint: 'leave the level out; several platforms, --provenance and --sbom make an index',
    },
  )
}

/** The store keeps manifests: an index is made anew whenever an image is pushed or saved. */
function refuseNotKept(annotations: readonly ImageAnnotation[], output: BuildOutput, { push = false }: BuildOptions): void {
  const lost = annotations.find(({ level }) => level !== 'manifest')
  if (lost === undefined || output.type !== 'image' || push || output.push) return
  throw new BuildError(
    'EXPORT_UNSUPPORTED',
    `the annotation "${lost.key}" (${lost.level}) has no place in the store, which keeps manifests`,
    {
      hint: 'push the image with --push, or write it with --output type=oci',
    },
  )
}

function makesIndex({ buildArgs, attestations }: BuildOptions, platforms: readonly Platform[]): boolean {
  return (
    platforms.length > 1 || /^(1|t|true)$/i.test(buildArgs?.BUILDKIT_MULTI_PLATFORM ?? '') || attestations?.storage === 'index'
  )
}
