/** What a container's first process is: the image's config and the caller's wishes put together as docker does. Pure. */
import { BuildError } from '../core/errors.js'
import type { ContainerConfig } from '../core/image.js'
import type { RunOptions } from './options.js'

/** The process, its user still as text. */
export interface ContainerProcess {
  readonly argv: readonly string[]
  /** `NAME=value`, each name once. */
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: string
}

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Merges a config with options.
 *
 * @throws BuildError CONTAINER_NO_COMMAND
 */
export function containerProcess(
  config: ContainerConfig,
  options: Pick<RunOptions, 'command' | 'entrypoint' | 'env' | 'workdir' | 'user' | 'terminal'>,
  hostname: string,
): ContainerProcess {
  const argv = [...(options.entrypoint ?? config.Entrypoint ?? []), ...argumentsOf(config, options)]
  if (argv.length === 0) {
    const why = options.entrypoint === undefined ? 'the image has no ENTRYPOINT and no CMD' : '--entrypoint is empty'
    throw new BuildError('CONTAINER_NO_COMMAND', `${why}, and no command was given`, {
      hint: 'write the command after the image name',
    })
  }
  const own = [defaultPath, `HOSTNAME=${hostname}`, ...(options.terminal ? ['TERM=xterm'] : [])]
  return {
    argv,
    env: mergeEnv([...own, ...(config.Env ?? []), ...options.env]),
    cwd: absolute(options.workdir ?? config.WorkingDir ?? '', config.WorkingDir ?? '/'),
    user: options.user ?? config.User ?? '',
  }
}

/** The image's CMD stands in for a command only while its own ENTRYPOINT holds. */
function argumentsOf(config: ContainerConfig, options: Pick<RunOptions, 'command' | 'entrypoint'>): readonly string[] {
  if (options.command.length > 0 || options.entrypoint !== undefined) return options.command
  return config.Cmd ?? []
}

function mergeEnv(words: readonly string[]): string[] {
  const merged = new Map<string, string>()
  for (const word of words) merged.set(word.slice(0, word.indexOf('=')), word)
  return [...merged.values()]
}

function absolute(path: string, base: string): string {
  if (path === '') return '/'
  if (path.startsWith('/')) return path
  return `${base.startsWith('/') ? base.replace(/\/$/, '') : ''}/${path}`
}
