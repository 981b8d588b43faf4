/** The options of a build as the frontend takes them. */
import { type FrontendOptions, frontendOptions } from '../frontend/options.js'
import type { BuildFiles } from './dockerfile.js'
import type { BuildOptions, EngineSettings } from './options.js'
import { stepVolumes } from './volumes.js'

/** Everything from outside the Dockerfile that its plan depends on. */
export function planOptions(files: BuildFiles, options: BuildOptions, settings: EngineSettings): FrontendOptions {
  return frontendOptions(settings.hostPlatform, {
    target: options.target,
    buildArgs: options.buildArgs ?? {},
    platforms: options.platform === undefined ? [] : [options.platform],
    contexts: files.contexts,
    ignore: files.ignore,
    labels: options.labels ?? {},
    noCache: options.noCache ?? false,
    network: options.network ?? 'default',
    allow: options.allow ?? [],
    hostNames: (options.addHosts ?? []).map(({ name }) => name),
    shmSizeBytes: options.shmSizeBytes,
    confinement: options.confinement ?? {},
    volumes: stepVolumes(options.volumes ?? []),
  })
}
