/** Reads the plain progress of a build: which steps ran and which were cached. */

/** What the progress says of one step. */
export interface StepLine {
  readonly name: string
  readonly cached: boolean
}

/** The steps of `--progress=plain` output in the order of their numbers; internal ones are left out. */
export function stepsOf(stderr: string): StepLine[] {
  const names = new Map<number, string>()
  const cached = new Set<number>()
  for (const line of stderr.split('\n')) {
    const match = /^#(\d+) (.*)$/.exec(line)
    if (match === null) continue
    const number = Number(match[1])
    const text = match[2] ?? ''
    if (text === 'CACHED') cached.add(number)
    else if (text.startsWith('[') && !names.has(number)) names.set(number, text)
  }
  return [...names]
    .filter(([, name]) => !name.startsWith('[internal]'))
    .sort(([a], [b]) => a - b)
    .map(([number, name]) => ({ name, cached: cached.has(number) }))
}

/** Names of the steps that were carried out, without bases. */
export function executedSteps(stderr: string): string[] {
  return stepsOf(stderr)
    .filter((step) => !step.cached && !/^\[[^\]]*\] FROM /.test(step.name))
    .map((step) => step.name)
}
