/** Plans a Dockerfile with made-up images: what frontend tests start from. */
import { parse } from '../../grammar/parse.js'
import { quietContext } from '../../src/core/context.js'
import type { Diagnostic } from '../../src/core/diagnostic.js'
import { type DiffID, digestOf } from '../../src/core/digest.js'
import { BuildError, DockerfileError } from '../../src/core/errors.js'
import type { ImageConfig } from '../../src/core/image.js'
import type { Platform } from '../../src/core/platform.js'
import { formatReference, isReference, parseReference } from '../../src/core/reference.js'
import { analyze } from '../../src/frontend/analyze.js'
import { type Lowered, lower } from '../../src/frontend/lower.js'
import { type FrontendOptions, frontendOptions } from '../../src/frontend/options.js'
import { type ResolvedImage, resolve } from '../../src/frontend/resolve.js'
import type { Analysis } from '../../src/frontend/stages.js'

/** The platform that tests are for, whatever runs them. */
export const amd64: Platform = { os: 'linux', architecture: 'amd64' }

/** Configs by image name as written. A name that is not there does not exist, unless `images` is left out. */
export type FakeImages = Readonly<Record<string, Partial<ImageConfig>>>

/** What `planText` takes beside the text. */
export interface PlanSettings {
  readonly options?: Partial<FrontendOptions>
  readonly images?: FakeImages
  /** Names that were looked up, in order, are added here. */
  readonly lookups?: string[]
}

/** Parses and analyzes a text; errors of the parser come first in the diagnostics. */
export function analyzeText(text: string, options: Partial<FrontendOptions> = {}): Analysis {
  const { ast, diagnostics } = parse({ name: 'Dockerfile', text })
  const analysis = analyze(ast, frontendOptions(amd64, options))
  return { ...analysis, diagnostics: [...diagnostics.filter(({ severity }) => severity === 'error'), ...analysis.diagnostics] }
}

/** The plan of a Dockerfile. */
export async function planText(text: string, { options = {}, images, lookups }: PlanSettings = {}): Promise<Lowered> {
  const analysis = analyzeText(text, options)
  const lookup = async (reference: string, platform: Platform): Promise<ResolvedImage> => {
    lookups?.push(reference)
    return fakeImage(reference, platform, images)
  }
  return lower(await resolve(analysis, { lookup, parse }, quietContext()))
}

/** The errors of a Dockerfile, as `line: CODE message`. */
export async function errorsOf(text: string, settings: PlanSettings = {}): Promise<readonly Diagnostic[]> {
  try {
    await planText(text, settings)
    return []
  } catch (error) {
    if (error instanceof DockerfileError) return error.diagnostics
    throw error
  }
}

/** An image that exists nowhere; its digests are made of its name. */
export function fakeImage(reference: string, platform: Platform, images: FakeImages | undefined): ResolvedImage {
  const given = images === undefined ? {} : images[reference]
  if (given === undefined) throw new BuildError('IMAGE_NOT_FOUND', `there is no image ${reference}`)
  const parsed = parseReference(reference)
  const full = isReference(parsed) ? formatReference(parsed) : reference
  const diffId = digestOf(`layer of ${full}`) as string as DiffID
  const rootfs = given.rootfs ?? { type: 'layers' as const, diff_ids: [diffId] }
  const config: ImageConfig = {
    ...{ architecture: platform.architecture, os: platform.os },
    history: [{ created: '2024-01-01T00:00:00Z', created_by: `made ${reference}` }],
    ...given,
    rootfs,
  }
  return {
    ...{ reference: full, manifest: digestOf(`manifest of ${full}`), configDigest: digestOf(`config of ${full}`) },
    ...{ config, platform, diffIds: rootfs.diff_ids },
  }
}
