/**
 * `# syntax=`: which language the file says it is in. mille is its own frontend, so Docker's are just names of the language that
 * it reads; any other program cannot be run here, and a build that ignores that would build something else.
 */
import type { Dockerfile, Parsed } from '../../grammar/ast.js'
import { findDirective, labsSyntax } from '../../grammar/directives.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { errorAt } from './problem.js'

/** docker/dockerfile and -upstream: any tag or digest, from any registry. */
const dockerSyntax =
  /^(?:(?:localhost|[^/]*[.:][^/]*)\/(?:[^/]+\/)*)?docker\/dockerfile(?:-upstream)?(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64})?$/

type SyntaxOf = Pick<Dockerfile, 'source' | 'directives'>

/** The error for a frontend that is not mille. A build argument counts before the directive, as in BuildKit. */
export function checkSyntax(ast: SyntaxOf, buildArgs: Readonly<Record<string, string>>): Diagnostic[] {
  const { BUILDKIT_SYNTAX: given } = buildArgs
  if (given) return isKnown(given) ? [] : [refused(given, { code: 'USAGE_BAD_FLAG', from: 'the build argument BUILDKIT_SYNTAX' })]
  const directive = ast.directives.find(({ name }) => name === 'syntax')
  if (directive !== undefined) {
    if (isKnown(directive.value)) return []
    const { message, hint } = refused(directive.value, { code: 'DOCKERFILE_UNSUPPORTED', from: 'the directive syntax' })
    return [errorAt({ source: ast.source, span: directive.span }, 'DOCKERFILE_UNSUPPORTED', message, hint)]
  }
  return otherForm(ast)
}

/** True when the text of other files belongs to this one. */
export function hasIncludes({ ast }: Parsed): boolean {
  return ast.instructions.some(({ kind }) => kind === 'include')
}

/** A file in another language: what the parser thinks of it says nothing. */
export function onlyIfOurs(parsed: Parsed, buildArgs: Readonly<Record<string, string>>): Parsed {
  return checkSyntax(parsed.ast, buildArgs).length === 0 ? parsed : { ...parsed, diagnostics: [] }
}

/** `//syntax=…`, JSON, or after a `#!` line: files that only another frontend can read. */
function otherForm({ source }: SyntaxOf): Diagnostic[] {
  if (!/^\ufeff?(?:#!|\/\/|\s*\{)/.test(source.text)) return []
  const found = findDirective('syntax', source.text, true)
  if (found === undefined || isKnown(found.ref)) return []
  const start = Math.max(0, source.text.indexOf(found.ref))
  const { message, hint } = refused(found.ref, { code: 'DOCKERFILE_UNSUPPORTED', from: 'the directive syntax' })
  return [errorAt({ source, span: { start, end: start + found.ref.length } }, 'DOCKERFILE_UNSUPPORTED', message, hint)]
}

function refused(value: string, { code, from }: { readonly code: Diagnostic['code']; readonly from: string }): Diagnostic {
  return {
    severity: 'error',
    code,
    message: `${from} names the frontend "${firstWord(value)}", which mille cannot run`,
    hint: `mille reads the language of docker/dockerfile itself; this file needs BuildKit`,
  }
}

function isKnown(value: string): boolean {
  const name = firstWord(value)
  return name === labsSyntax || dockerSyntax.test(name)
}

function firstWord(value: string): string {
  return value.trim().split(/\s/, 1)[0] ?? ''
}
