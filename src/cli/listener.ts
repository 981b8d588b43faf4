/** What listens to the events of a build, a pull or a push and shows them. Four kinds: terminal, plain, rawjson, quiet. */
import type { BuildEvent } from '../core/context.js'
import { UsageError } from '../core/errors.js'
import type { Shell } from './shell.js'

/** A display of events. */
export interface Listener {
  readonly handle: (event: BuildEvent) => void
  /** Leaves the terminal as it was found: no live lines, cursor visible. Safe to call twice. */
  readonly close: () => void
}

/** The values of `--progress`. */
export const progressModes = ['auto', 'tty', 'plain', 'rawjson', 'quiet', 'none'] as const

/**
 * Opens the display that `--progress` asks for; `auto` is a terminal's when stderr is one.
 *
 * @param title what the whole is called on the live line: `Building`, `Pulling`
 */
export async function openListener(mode: string, title: string, shell: Shell): Promise<Listener> {
  const onTerminal = shell.stderr.isTTY === true && shell.env.TERM !== 'dumb'
  const chosen = mode === 'auto' ? (onTerminal ? 'tty' : 'plain') : mode
  switch (chosen) {
    case 'tty': {
      const { openProgress } = await import('./progress.js')
      return withDebug(openProgress({ title, stream: shell.stderr, color: shell.color, now: shell.now }), shell)
    }
    case 'plain': {
      const { openPlain } = await import('./plain.js')
      return withDebug(openPlain({ write: (text) => shell.stderr.write(text), color: shell.color }), shell)
    }
    case 'rawjson': {
      const { openRawJson } = await import('./rawjson.js')
      return openRawJson((text) => shell.stderr.write(text))
    }
    case 'quiet':
    case 'none':
      return { handle: (event) => (event.type === 'debug' ? shell.emit(event) : undefined), close: () => undefined }
    default:
      throw new UsageError('USAGE_BAD_FLAG', `--progress is "${mode}", expected one of ${progressModes.join(', ')}`)
  }
}

/** Debug lines go the same way in every display. */
function withDebug(listener: Listener, shell: Shell): Listener {
  return { ...listener, handle: (event) => (event.type === 'debug' ? shell.emit(event) : listener.handle(event)) }
}
