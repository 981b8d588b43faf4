/** The command line of the benchmarks. */
import { parseArgs } from 'node:util'

/** Peers that can be named. */
export const peerNames = ['buildah', 'docker', 'docker-containerd'] as const

/** The name of a peer. */
export type PeerName = (typeof peerNames)[number]

/** What the command line asks for. */
export interface Wanted {
  /** Names of questions, in the order in which they are asked. */
  readonly questions: readonly string[]
  readonly peers: readonly PeerName[]
  readonly rounds: number | undefined
  readonly peerRoot: string | undefined
  readonly json: string | undefined
}

/** How to call it; `questions` are the names that there are. */
export function usageText(questions: readonly string[]): string {
  return `usage: npm run bench -- [--runs N] [--peers NAME,…] [--peer-root DIR] [--json FILE] [QUESTION …]
  --runs N          rounds of every question (each has a number of its own)
  --peers NAME,…    ${peerNames.join(', ')} (default: buildah,docker; none: --peers=)
  --peer-root DIR   a root filesystem with newer peers, made by .ci/bench-peers DIR
  --json FILE       all times, for a later comparison
questions: ${questions.join(', ')}
           "noop" is all that begin with "noop-"; none: all
`
}

/** Reads the command line. @throws Error with a message for the user */
export function parseWanted(argv: readonly string[], questions: readonly string[]): Wanted {
  const text = { type: 'string' } as const
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { runs: text, peers: text, 'peer-root': text, json: text },
  })
  return {
    questions: select(questions, positionals),
    peers: values.peers === undefined ? ['buildah', 'docker'] : peersOf(values.peers),
    rounds: values.runs === undefined ? undefined : roundsOf(values.runs),
    peerRoot: values['peer-root'],
    json: values.json,
  }
}

function roundsOf(text: string): number {
  const rounds = Number(text)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--runs ${text} is no number of rounds`)
  return rounds
}

function peersOf(text: string): PeerName[] {
  return text
    .split(',')
    .filter((name) => name !== '')
    .map((name) => {
      const found = peerNames.find((known) => known === name)
      if (found === undefined) throw new Error(`there is no peer "${name}": ${peerNames.join(', ')}`)
      return found
    })
}

/** `noop` is `noop-20`, `noop-2000` and `noop-50000`. */
function select(names: readonly string[], wanted: readonly string[]): readonly string[] {
  const matches = (name: string, want: string): boolean => name === want || name.startsWith(`${want}-`)
  const unknown = wanted.find((want) => !names.some((name) => matches(name, want)))
  if (unknown !== undefined) throw new Error(`there is no question "${unknown}"`)
  return wanted.length === 0 ? names : names.filter((name) => wanted.some((want) => matches(name, want)))
}
