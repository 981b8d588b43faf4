/** Rules about EXPOSE. */
import type { WordsInstruction } from '../../grammar/ast.js'
import { hasHostPart } from './expose.js'
import { expandPorts, type StepScope } from './lint-scope.js'

/** Runs the rules on every port of one EXPOSE. */
export function lintExpose(scope: StepScope, instruction: WordsInstruction): void {
  const { step, findings } = scope
  if (step.trigger !== undefined) return
  for (const word of instruction.words) {
    for (const port of expandPorts(scope, word)) {
      if (hasHostPart(port)) {
        const detail = `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`
        const hint = 'name the port of the container only; -p of run maps it'
        findings.add('ExposeInvalidFormat', instruction, detail, { span: word.span, hint })
      }
      const slash = port.lastIndexOf('/')
      if (slash < 0 || port.slice(slash) === port.slice(slash).toLowerCase()) continue
      const detail = `Defined protocol '${port}' in EXPOSE instruction should be lowercase`
      const fixed = port.slice(0, slash) + port.slice(slash).toLowerCase()
      const isWritten = word.text === port && word.span.end - word.span.start === port.length
      const edits = isWritten ? [{ span: word.span, text: fixed }] : []
      findings.add('ExposeProtoCasing', instruction, detail, { span: word.span, hint: `write ${fixed}`, edits })
    }
  }
}
