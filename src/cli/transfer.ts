/** Shows an operation that is no build, such as a pull, as one step on stderr. */
import type { BuildEvent } from '../core/context.js'
import type { EngineOptions } from '../engine/options.js'
import { engineOptions } from './engine-options.js'
import { openListener } from './listener.js'
import { isCancellation } from './process.js'
import type { Shell } from './shell.js'

/** What is done, and how it is shown. */
export interface Operation {
  /** The id that the engine's progress events have. */
  readonly id: 'pull' | 'push' | 'save' | 'load'
  /** The heading of the live line: `Pulling`. */
  readonly title: string
  /** The name of the step: `pull debian:12`. */
  readonly name: string
  readonly quiet: boolean
}

/** Runs the work with a display that is closed whatever happens. */
export async function withTransfer<Result>(
  operation: Operation,
  shell: Shell,
  work: (options: EngineOptions) => Promise<Result>,
): Promise<Result> {
  const { id, name, title, quiet } = operation
  const listener = await openListener(quiet ? 'quiet' : 'auto', title, shell)
  const tell = (event: BuildEvent): void => listener.handle(event)
  tell({ type: 'vertex-started', id, name, atMs: shell.now() })
  try {
    const result = await work({ ...engineOptions(shell, tell), command: `mille ${name}` })
    tell({ type: 'vertex-done', id, name, atMs: shell.now(), cached: false })
    return result
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
    // What stopped it is said by whoever did that: a signal, or an output that cannot be written.
    if (!isCancellation(error)) {
      tell({ type: 'vertex-done', id, name, atMs: shell.now(), cached: false, error: message ?? 'failed' })
    }
    throw error
  } finally {
    listener.close()
  }
}
