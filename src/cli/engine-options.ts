/** The engine's options as the command line knows them: store, runtime, credentials, signal. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { BuildEvent } from '../core/context.js'
import type { EngineOptions } from '../engine/options.js'
import type { Shell } from './shell.js'
import { isSystemUser, storeRoot } from './stores.js'

/** Options for an operation that reports to `onEvent`. */
export function engineOptions(shell: Shell, onEvent: (event: BuildEvent) => void): EngineOptions {
  const { env, globals } = shell
  return {
    root: storeRoot(shell),
    runtime: globals.runtime,
    stateDirectory: stateDirectory(env),
    env: globals.configDir === undefined ? env : { ...env, DOCKER_CONFIG: globals.configDir },
    home: env.HOME || homedir(),
    insecureRegistries: globals.insecureRegistries,
    now: shell.now,
    signal: shell.signal,
    onEvent,
  }
}

/** For what lives as long as a process does. */
export function stateDirectory(env: Readonly<Record<string, string | undefined>>): string {
  if (isSystemUser(env)) return '/run/mille'
  return join(env.XDG_RUNTIME_DIR || '/tmp', 'mille')
}
