/** What `build` answers. */
import type { BuildAttestations } from '../attest/pending.js'
import type { Descriptor } from '../core/descriptor.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { familiarReference, formatReference, type Reference } from '../core/reference.js'
import type { Solution } from '../solver/solution.js'
import type { BuildWork } from './build-work.js'
import type { BuildResult } from './options.js'
import { type AssembledImages, mainImage } from './outputs.js'

/** What was built and where it went. */
export interface Finished {
  readonly solutions: readonly Solution[]
  readonly warnings: readonly Diagnostic[]
  readonly attestations: BuildAttestations | undefined
  readonly images: AssembledImages
  readonly manifest: Descriptor | undefined
  readonly names: readonly Reference[]
}

/** The typed result, with the metadata that buildx would write. */
export function reportBuild(finished: Finished, work: BuildWork): BuildResult {
  const { solutions, warnings, attestations, images, manifest, names } = finished
  const { id } = mainImage(images, work.engine.settings.hostPlatform)
  const steps = new Map(solutions.flatMap(({ vertices }) => vertices.map((vertex) => [vertex.id, vertex])))
  return {
    imageId: id,
    images: images.map((image) => ({ imageId: image.id, platform: image.platform })),
    manifest,
    names: names.map(formatReference),
    steps: [...steps.values()].map(({ name, by, key, reason }) => ({
      ...{ name, cached: by !== 'ran', key: key.digest },
      ...(reason === undefined ? {} : { reason }),
    })),
    warnings,
    caches: [],
    metadata: {
      'buildx.build.ref': `mille/mille/${work.id}`,
      // An index has no config.
      ...(images.length > 1 ? {} : { 'containerimage.config.digest': id }),
      'containerimage.digest': manifest?.digest ?? id,
      ...(manifest === undefined ? {} : { 'containerimage.descriptor': manifest }),
      ...(names.length === 0 ? {} : { 'image.name': names.map(familiarReference).join(',') }),
      ...provenanceIn(attestations),
    },
  }
}

/** The provenance as buildx puts it into the metadata: of several images each under its platform. */
function provenanceIn(attestations: BuildAttestations | undefined): Record<string, unknown> {
  if (attestations === undefined) return {}
  const { of } = attestations
  const entries = [...of].flatMap(([platform, pending]) => {
    const found = pending.find(({ predicateType }) => predicateType.startsWith('https://slsa.dev/provenance/'))
    const key = `buildx.build.provenance${of.size > 1 ? `/${platform}` : ''}`
    return found === undefined ? [] : [[key, found.predicate([])] as const]
  })
  return Object.fromEntries(entries)
}
