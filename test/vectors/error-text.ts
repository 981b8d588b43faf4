/** What an error says, and where, in the terms of the cases. */
import { type BuildError, DockerfileError } from '../../src/core/errors.js'
import { positionAt } from '../../src/core/span.js'
import { buildkitText } from './buildkit.js'

/** The 1-based line that an error points at. */
export function errorLine({ source, span }: BuildError): number | undefined {
  return source === undefined || span === undefined ? undefined : positionAt(source.text, span.start).line
}

/** What peers say where the code says it for us. */
const peerSayings: Readonly<Record<string, readonly string[]>> = {
  COPY_SOURCE_NOT_FOUND: ['no such file or directory'],
}

/** All that an error says: its messages as they are and in BuildKit's words, and the hints. */
export function errorText(error: BuildError): string {
  const found =
    error instanceof DockerfileError ? error.diagnostics : [{ ...error, severity: 'error' as const, message: error.message }]
  const sayings = peerSayings[error.code] ?? []
  const lines = found.flatMap((each) => {
    const { code, message, hint } = each
    return [message, buildkitText({ severity: 'error', code, message, ...(hint === undefined ? {} : { hint }) }), hint ?? '']
  })
  return [...lines, ...sayings].join('\n')
}

/** All that the errors on stderr say, as `errorText`. */
export function milleErrors(stderr: string): string {
  const lines = stderr.split('\n')
  const said = lines.flatMap((line, i) => {
    const [, message, code] = /^(?:\S+:\d+:\d+: )?error: (.*) \[([A-Z_]+)\]$/.exec(line) ?? []
    if (message === undefined || code === undefined) return []
    const hint = /^\s+hint: (.*)$/.exec(lines.slice(i + 1).find((each) => /^\s+hint: |error: /.test(each)) ?? '')?.[1]
    const diagnostic = { severity: 'error' as const, code, message, ...(hint === undefined ? {} : { hint }) }
    return [message, buildkitText(diagnostic), hint ?? '', ...(peerSayings[code] ?? []), ...rewordings(message)]
  })
  return said.join('\n')
}

/** What BuildKit's solver says, where `buildkitText` knows only its parser. */
const solverTexts: readonly (readonly [RegExp, string])[] = [
  [/^"\/?([^"]*)" (?:does not exist|is excluded) .*$/s, '"/$1": not found'],
  [/^secret "([^"]*)" was not given$/, 'secret $1: not found'],
  [/^unknown mount option "(.*)"$/s, "unexpected key '$1'"],
  [/^unknown mount type "(.*)"$/s, 'unsupported mount type "$1"'],
  [/^"\$.*" in ".*" is no global argument$/s, "'from' doesn't support variable expansion, define alias stage instead"],
]

function rewordings(message: string): readonly string[] {
  return solverTexts.flatMap(([pattern, text]) => (pattern.test(message) ? [message.replace(pattern, text)] : []))
}
