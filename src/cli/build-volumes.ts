/** `mille build --volume`: buildah's spelling, with `cacheable` beside its options. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { UsageError } from '../core/errors.js'
import type { BuildVolume } from '../engine/options.js'
import { harmlessVolumeOptions, targetOf, volumeName } from './run-flags.js'

/** Reads all `-v`; the last of those with one target counts. @throws UsageError */
export function readBuildVolumes(texts: readonly string[], cwd: string): readonly BuildVolume[] {
  return [...new Map(texts.map((text) => readBuildVolume(text, cwd)).map((volume) => [volume.target, volume])).values()]
}

function readBuildVolume(text: string, cwd: string): BuildVolume {
  const flag = `--volume ${text}`
  const [source = '', target, options = '', ...more] = text.split(':')
  if (target === undefined || more.length > 0) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag} has not the form source:target[:options]`, {
      hint: 'for a directory that nobody keeps write RUN --mount=type=tmpfs,target=…',
    })
  }
  const words = new Set(options.split(',').filter((word) => word !== ''))
  for (const word of words) {
    if (harmlessVolumeOptions.has(word) || ['ro', 'readonly', 'O', 'U', 'cacheable'].includes(word)) continue
    throw new UsageError('USAGE_BAD_FLAG', `${flag} has the unknown option "${word}"`, {
      hint: 'options are ro, rw, O, U, z, Z and cacheable',
    })
  }
  const isReadonly = words.has('ro') || words.has('readonly')
  if (isReadonly && (words.has('rw') || words.has('O') || words.has('U'))) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: ro goes with neither rw nor O nor U`)
  }
  const volume = {
    source: sourceOf(source, flag, cwd),
    target: targetOf(target, flag),
    access: words.has('O') ? ('overlay' as const) : isReadonly ? ('ro' as const) : ('rw' as const),
    chown: words.has('U'),
    cacheable: words.has('cacheable'),
  }
  if (volume.access === 'overlay' && volume.chown) {
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: U changes the files of this machine, O leaves them as they are`)
  }
  return volume
}

function sourceOf(source: string, flag: string, cwd: string): BuildVolume['source'] {
  if (!/^[./~]/.test(source)) {
    if (volumeName.test(source)) return { name: source }
    throw new UsageError('USAGE_BAD_FLAG', `${flag}: "${source}" is neither a path nor a volume name`, {
      hint: 'start a path with / or ./',
    })
  }
  const hostPath = resolve(cwd, source)
  if (existsSync(hostPath)) return { hostPath }
  throw new UsageError('USAGE_BAD_FLAG', `${flag}: there is no ${source}`, { hint: 'make it first' })
}
