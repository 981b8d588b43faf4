/** The vector suite `dockerignore`: cases of moby/patternmatcher against `frontend/dockerignore.ts`. */
import { BuildError } from '../../src/core/errors.js'
import { compileIgnore, readIgnoreFile } from '../../src/frontend/dockerignore.js'
import { type Judge, passed, type Suite, type VectorCase } from './frame.js'

interface Case {
  readonly id: string
  readonly kind: string
  readonly patterns?: readonly string[]
  readonly pattern?: string
  readonly path?: string
  readonly match?: boolean
  readonly error?: string
  readonly expectError?: boolean
  readonly input?: string
  readonly expect?: unknown
}

const judge: Judge = (vector) => {
  const detail = problemOf(vector as VectorCase & Case)
  return detail === undefined ? passed : { status: 'failed', detail }
}

/** The suite. */
export const suite: Suite = { files: { 'patternmatcher.json': judge, 'ignorefile.json': judge } }

/** What differs in one case; undefined when it holds. */
function problemOf(test: Case): string | undefined {
  switch (test.kind) {
    case 'match':
    case 'matchDeprecated':
    case 'matchOrParent':
      return runMatch(test)
    case 'readAll':
      return differs(test.expect, readIgnoreFile(test.input ?? ''))
    case 'newMatcher':
      return runNewMatcher(test)
    case 'compile':
      // How upstream groups its patterns is its own affair; that this one is accepted is ours.
      compileIgnore([test.pattern ?? ''])
      return undefined
    default:
      return `unknown kind ${test.kind}`
  }
}

function runMatch(test: Case): string | undefined {
  const mustFail = test.error !== undefined || test.expectError === true
  try {
    const found = compileIgnore(test.patterns ?? []).excludes(relative(test.path ?? ''))
    return mustFail ? 'the pattern was accepted' : differs(test.match, found)
  } catch (error) {
    if (error instanceof BuildError && mustFail) return undefined
    throw error
  }
}

/** Upstream's cases have paths with `/` at either end; a walk never makes such. */
function relative(path: string): string {
  return path.replace(/^\/+|\/+$/g, '')
}

function runNewMatcher(test: Case): string | undefined {
  const matcher = compileIgnore(test.patterns ?? [])
  const expect = test.expect as { readonly count?: number; readonly exclusions?: boolean }
  if (expect.count !== undefined) return differs(expect.count === 0, matcher.isEmpty)
  return differs(expect.exclusions, !matcher.excludes('docs/README.md') && matcher.excludes('docs/other'))
}

function differs(expected: unknown, found: unknown): string | undefined {
  const [a, b] = [JSON.stringify(expected), JSON.stringify(found)]
  return a === b ? undefined : `expected ${a}, found ${b}`
}
