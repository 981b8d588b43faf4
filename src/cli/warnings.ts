/** Shows the warnings of a build together at its end, where they are not scrolled away by the steps. */
import type { Diagnostic } from '../core/diagnostic.js'
import { renderDiagnostic } from '../core/render.js'
import type { Listener } from './listener.js'
import type { Shell } from './shell.js'

/** A display that holds warnings back until it is closed. Displays for programs and silent ones are left as they are. */
export function withWarningsAtEnd(listener: Listener, mode: string, shell: Shell): Listener {
  if (!['auto', 'tty', 'plain'].includes(mode)) return listener
  const held: Diagnostic[] = []
  return {
    handle: (event) => {
      if (event.type === 'warning') held.push(event.diagnostic)
      else listener.handle(event)
    },
    close: () => {
      listener.close()
      const warnings = held.splice(0)
      if (warnings.length === 0) return
      const count = `${warnings.length} warning${warnings.length === 1 ? '' : 's'} found:`
      const { color } = shell
      shell.stderr.write(`\n${count}\n${warnings.map((each) => renderDiagnostic(each, { color })).join('')}`)
    },
  }
}
