/** Rule CopyIgnoredFile: a source of COPY or ADD that the ignore file leaves out of the context. */
import { posix } from 'node:path'
import type { Word } from '../../grammar/ast.js'
import { compileIgnore, type IgnoreMatcher } from './dockerignore.js'
import { findFlag } from './expand.js'
import { parseGitRef } from './git-ref.js'
import { goQuote } from './go-text.js'
import type { StepScope } from './lint-scope.js'

/** Runs the rule. Says nothing when the ignore file takes something back with `!`: then a part may well be there. */
export function lintCopyIgnored(scope: StepScope, sources: readonly { readonly word: Word; readonly path: string }[]): void {
  const { input, step, findings } = scope
  const { ignore } = input.analysis.options
  const { instruction } = step
  if (step.trigger !== undefined || ignore.length === 0 || ignore.some((pattern) => pattern.startsWith('!'))) return
  if (findFlag(instruction, 'from') !== undefined) return
  const matcher = compileIgnore(ignore)
  for (const { word, path } of sources) {
    if (isRemote(path)) continue
    const clean = posix.normalize(path).replace(/(.)\/$/, '$1')
    if (!isExcluded(clean.replace(/^\/+/, ''), ignore, matcher)) continue
    const verb = instruction.kind === 'add' ? 'Add' : 'Copy'
    const detail = `Attempting to ${verb} file ${goQuote(clean)} that is excluded by .dockerignore`
    findings.add('CopyIgnoredFile', instruction, detail, { span: word.span })
  }
}

/** A leading slash is the root of the context, and the root is left out when all that is in it is. */
function isExcluded(path: string, patterns: readonly string[], matcher: IgnoreMatcher): boolean {
  if (path === '' || path === '.') return patterns.some((pattern) => /^(\*\*\/)*\*{1,2}$/.test(pattern))
  return matcher.excludes(path)
}

function isRemote(path: string): boolean {
  if (/^https?:\/\//.test(path)) return true
  const git = parseGitRef(path)
  return git !== undefined && ('problem' in git || git.indistinguishableFromLocal !== true)
}
