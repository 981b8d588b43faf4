/** `# check=skip=A,B;error=true;experimental=C`: which rules run and whether a finding fails the build. */

/** What check comments and the build argument BUILDKIT_DOCKERFILE_CHECK can say. */
export interface CheckOptions {
  readonly skip: readonly string[] | 'all'
  readonly experimental: readonly string[] | 'all'
  readonly error: boolean
}

/** Nothing said. */
export const noCheckOptions: CheckOptions = { skip: [], experimental: [], error: false }

/** Reads the value of a check directive. `problem` is a sentence when it cannot be understood. */
export function parseCheckOptions(text: string): CheckOptions | { readonly problem: string } {
  let options = noCheckOptions
  for (const part of text.split(';')) {
    if (part.trim() === '') continue
    const at = part.indexOf('=')
    if (at < 0) return { problem: `the check option "${part.trim()}" has no value` }
    const name = part.slice(0, at).trim()
    const value = part.slice(at + 1).trim()
    if (name === 'skip' || name === 'experimental') options = { ...options, [name]: names(value) }
    else if (name !== 'error') return { problem: `there is no check option "${name}"` }
    else if (!/^(1|t|true|0|f|false)$/i.test(value))
      return { problem: `the check option error is "${value}", expected true or false` }
    else options = { ...options, error: /^(1|t|true)$/i.test(value) }
  }
  return options
}

function names(value: string): readonly string[] | 'all' {
  if (value === 'all') return 'all'
  return value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

/** The options for one instruction: the file's, and what a `# check=` comment right above adds. Text after a blank is a remark. */
export function withCommentOptions(options: CheckOptions, comment: string | undefined): CheckOptions {
  if (comment === undefined || !/^check\s*=/im.test(comment)) return options
  let merged = options
  for (const line of comment.split('\n')) {
    const value = /^check\s*=\s*(\S+)/i.exec(line)?.[1]
    const own = value === undefined ? undefined : parseCheckOptions(value)
    if (own === undefined || 'problem' in own) continue
    merged = {
      skip: join(merged.skip, own.skip),
      experimental: join(merged.experimental, own.experimental),
      error: merged.error || own.error,
    }
  }
  return merged
}

function join(one: readonly string[] | 'all', other: readonly string[] | 'all'): readonly string[] | 'all' {
  return one === 'all' || other === 'all' ? 'all' : [...one, ...other]
}

/** True when a rule is to run. */
export function isRuleOn(
  { skip, experimental }: CheckOptions,
  rule: { readonly name: string; readonly experimental: boolean },
): boolean {
  // `skip=all` says nothing of experimental rules: they run only where someone asked for them.
  if (!rule.experimental) return skip !== 'all' && !skip.includes(rule.name)
  if (skip !== 'all' && skip.includes(rule.name)) return false
  return experimental === 'all' || experimental.includes(rule.name)
}
