/** The global scope: predefined arguments and the ARGs before the first FROM (semantics.md 31, 37). */
import type { Env } from '../../grammar/words.js'
import type { Diagnostic } from '../core/diagnostic.js'
import { expand } from './expand.js'
import { collectProblems } from './problem.js'
import type { GlobalArgs, Step } from './stages.js'

/** Global arguments, and the same as an environment for FROM. */
export interface GlobalScope {
  readonly values: GlobalArgs
  readonly env: Env
}

/** Reads the global ARGs in order: each default sees the ones before it, a build argument wins over a default. */
export function readGlobals(
  steps: readonly Step[],
  predefined: ReadonlyMap<string, string>,
  buildArgs: Readonly<Record<string, string>>,
  escapeChar: '\\' | '`',
  diagnostics: Diagnostic[],
): GlobalScope {
  const values = new Map<string, string | undefined>(predefined)
  const env: Env = { get: (name) => values.get(name) }
  for (const step of steps) {
    if (step.instruction.kind !== 'arg') continue
    for (const { key, value } of step.instruction.pairs) {
      const name = collectProblems(diagnostics, () => expand(step, key, { env, escape: escapeChar })) ?? key.text
      const given = Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined
      const written = () => (value === undefined ? undefined : expand(step, value, { env, escape: escapeChar }))
      values.set(name, given ?? collectProblems(diagnostics, written) ?? values.get(name))
    }
  }
  return { values, env }
}
