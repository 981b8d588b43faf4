/** Asks the person at the terminal. */
import { CancelledError } from '../core/errors.js'
import type { Shell } from './shell.js'

/** Asks for a line; with `hidden` nothing that is typed is shown. stdin must be a terminal. */
export async function ask(question: string, hidden: boolean, shell: Shell): Promise<string> {
  const { stdin, stderr } = shell
  stderr.write(question)
  stdin.setRawMode(true)
  try {
    let answer = ''
    for await (const chunk of stdin.iterator({ destroyOnReturn: false })) {
      for (const character of String(chunk)) {
        if (character === '\r' || character === '\n') return answer
        if (character === '\u0003' || character === '\u0004') throw new CancelledError()
        const isErase = character === '\u007f' || character === '\b'
        answer = isErase ? answer.slice(0, -1) : answer + character
        if (!hidden) stderr.write(isErase ? '\b \b' : character)
      }
    }
    throw new CancelledError()
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}
