/** `--volume` of a build: what the plan knows of it, and where it is on this machine. */
import { statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { StepVolume } from '../frontend/options.js'
import type { ContextDirectories } from '../ops/context.js'
import type { OpenVolume } from '../ops/exec-mounts.js'
import type { BuildOptions, BuildVolume } from './options.js'

/** The volumes as the frontend plans them. What can be written and stays, or has a name, is not in keys. */
export function stepVolumes(volumes: readonly BuildVolume[]): StepVolume[] {
  return volumes.map((volume) => {
    const { target, access, chown = false, cacheable = false } = volume
    const content = isInKey(volume) ? { context: contextName(volume), path: placeOf(volume) } : undefined
    return { target, access, content, chown, cacheable }
  })
}

/** The directories of the contexts that stand for volumes. */
export function volumeDirectories({ volumes = [] }: BuildOptions): ContextDirectories {
  return new Map(
    volumes.filter(isInKey).map((volume) => {
      const { hostPath } = volume.source
      const path = isFile(hostPath) ? dirname(hostPath) : hostPath
      return [contextName(volume), () => ({ path })]
    }),
  )
}

/** Finds a volume's place by its target. A named one is made when it is new, as for `run`. */
export function volumeOpener({ volumes = [] }: BuildOptions, storeRoot: string): OpenVolume {
  return async (target, view) => {
    const source = volumes.find((volume) => volume.target === target)?.source
    if (source === undefined) throw new Error(`there is no volume for ${target}`)
    if ('hostPath' in source) return source.hostPath
    const { openVolume } = await import('../container/volumes.js')
    return openVolume(storeRoot, source.name, target, view)
  }
}

function isInKey(volume: BuildVolume): volume is BuildVolume & { readonly source: { readonly hostPath: string } } {
  return volume.access !== 'rw' && 'hostPath' in volume.source
}

/** No `--build-context` can have this name: it has a blank. */
function contextName({ target }: BuildVolume): string {
  return `volume ${target}`
}

function placeOf({ source }: BuildVolume & { readonly source: { readonly hostPath: string } }): string {
  return isFile(source.hostPath) ? `/${basename(source.hostPath)}` : '/'
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false
}
