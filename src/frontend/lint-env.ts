/** Rules about ENV, LABEL and ARG: the old form without `=`, and names that sound like secrets. */
import type { KeyValueInstruction, Word } from '../../grammar/ast.js'
import type { Edit } from './lint-findings.js'
import type { StepScope } from './lint-scope.js'

const secretWords = ['apikey', 'auth', 'credential', 'credentials', 'key', 'password', 'pword', 'passwd', 'secret', 'token']
const harmlessWords = ['file', 'public', 'version']

/** True for a name like GPG_KEY; false for PUBLIC_KEY and PASSWORD_FILE. */
export function soundsSecret(name: string): boolean {
  const words = name.toLowerCase().split('_')
  return words.some((word) => secretWords.includes(word)) && !words.some((word) => harmlessWords.includes(word))
}

/** Reports an ARG or ENV whose name sounds like a secret: its value would be in the image's history. */
export function lintSecretName({ step, findings }: StepScope, instruction: KeyValueInstruction, key: Word): void {
  if (step.trigger !== undefined || !soundsSecret(key.text)) return
  const kind = instruction.kind.toUpperCase()
  const detail = `Do not use ARG or ENV instructions for sensitive data (${kind} "${key.text}")`
  const hint = `use RUN --mount=type=secret,id=${key.text.toLowerCase()},env=${key.text} where the value is needed`
  findings.add('SecretsUsedInArgOrEnv', instruction, detail, { span: key.span, hint })
}

/** Runs the rules on ENV and LABEL. */
export function lintEnv(scope: StepScope, instruction: KeyValueInstruction): void {
  const { step, findings } = scope
  if (instruction.kind === 'env') for (const { key } of instruction.pairs) lintSecretName(scope, instruction, key)
  if (!instruction.legacy || step.trigger !== undefined) return
  const { keyword } = instruction
  const detail = `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`
  const edits = legacyEdits(scope, instruction)
  findings.add('LegacyKeyValueFormat', instruction, detail, { span: instruction.pairs[0]?.span ?? instruction.span, edits })
}

/**
 * `NAME value` → `NAME=value`. A value with blanks outside quotes gets double quotes. Where the value has quotes, escapes or
 * continuations of its own besides blanks, rewriting it might change it: no edit.
 */
function legacyEdits({ step }: StepScope, { pairs }: KeyValueInstruction): Edit[] {
  const [pair] = pairs
  if (pair?.value === undefined) return []
  const { key, value } = pair
  const span = { start: key.span.start, end: value.span.end }
  const isExact = step.source.text.slice(value.span.start, value.span.end) === value.text
  if (!isExact) return []
  if (/^[^\s"'\\`]+$/.test(value.text) || isQuotedWhole(value.text)) return [{ span, text: `${key.text}=${value.text}` }]
  if (/^[^"'\\`]+$/.test(value.text)) return [{ span, text: `${key.text}="${value.text}"` }]
  return []
}

/** One pair of quotes around all of it, with nothing in it that another reading would take differently. */
function isQuotedWhole(text: string): boolean {
  return /^"[^"'\\`]*"$/.test(text) || /^'[^"'\\`]*'$/.test(text)
}
