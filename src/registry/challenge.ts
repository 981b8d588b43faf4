/** Reads `WWW-Authenticate` (RFC 9110, 11.6.1): what a registry wants to see before it answers. */

/** One challenge; parameter names are lower case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: Readonly<Record<string, string>>
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const schemePattern = new RegExp(`\\s*,*\\s*(${token})(?=\\s|,|$)`, 'y')
const parameterPattern = new RegExp(`[\\s,]*(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))`, 'y')

/** All challenges of a header, in order. What cannot be read ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = []
  let at = 0
  while (at < header.length) {
    schemePattern.lastIndex = at
    const scheme = schemePattern.exec(header)?.[1]
    if (scheme === undefined) break
    at = schemePattern.lastIndex
    const parameters: Record<string, string> = {}
    for (;;) {
      parameterPattern.lastIndex = at
      const found = parameterPattern.exec(header)
      if (found === null) break
      at = parameterPattern.lastIndex
      parameters[(found[1] ?? '').toLowerCase()] = found[2]?.replace(/\\(.)/g, '$1') ?? found[3] ?? ''
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters })
  }
  return challenges
}
