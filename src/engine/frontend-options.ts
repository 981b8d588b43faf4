/** The options of a build as the frontend takes them. */
import type { Platform } from '../core/platform.js'
import { type FrontendOptions, frontendOptions } from '../frontend/options.js'
import type { BuildFiles } from './dockerfile.js'
import type { BuildOptions, EngineSettings } from './options.js'
import { stepVolumes } from './volumes.js'

/** Everything from outside the Dockerfile that its plan depends on. */
export function planOptions(
  files: BuildFiles,
  options: BuildOptions,
  settings: EngineSettings,
  platform: Platform | undefined = options.platforms?.[0],
): FrontendOptions {
  return frontendOptions(settings.hostPlatform, {
    target: options.target,
    buildArgs: options.buildArgs ?? {},
    platform,
    isOneOfSeveral: (options.platforms?.length ?? 0) > 1,
    contexts: files.contexts,
    contextImage: files.contextImage,
    ignore: files.ignore,
    labels: options.labels ?? {},
    noCache: options.noCache ?? false,
    network: options.network ?? 'default',
    allow: options.allow ?? [],
    hostNames: (options.addHosts ?? []).map(({ name }) => name),
    shmSizeBytes: options.shmSizeBytes,
    confinement: options.confinement ?? {},
    volumes: stepVolumes(options.volumes ?? []),
    sbom: options.attestations?.sbom !== undefined,
  })
}
