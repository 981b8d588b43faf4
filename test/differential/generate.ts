/**
 * Random Dockerfiles that a peer should understand as mille does. Most of them build; where both refuse one, that is
 * agreement too. What is known to differ on purpose is never made: see the table in docs/testing.md.
 */
import type { Random } from '../helpers/random.js'
import { randomFrom } from '../helpers/random.js'
import type { Case, ContextEntry } from './case.js'
import { expression, randomConfig } from './random-config.js'
import { randomContext } from './random-context.js'
import { randomCopy } from './random-copy.js'

/** What a peer's frontend knows beyond the one of docker 20.10. */
export interface Abilities {
  readonly heredocs: boolean
  /** `${x#p}`, `${x%p}`, `${x/p/r}`. */
  readonly patterns: boolean
  readonly link: boolean
  /** --chmod replaces the whole mode, the bits for setuid and the like too. */
  readonly chmod: boolean
}

/** A stage that later ones can copy from. */
export interface FinishedStage {
  readonly name: string
  /** Where something was put in it. */
  readonly places: readonly string[]
}

/** What is known while a stage is written. */
export interface StageState {
  readonly random: Random
  readonly abilities: Abilities
  readonly context: readonly ContextEntry[]
  /** Earlier stages, and paths of this one that something was put at. */
  readonly stages: readonly FinishedStage[]
  readonly places: string[]
  readonly variables: Set<string>
  /** There is a shell and a user database. */
  readonly busybox: boolean
}

/** The name of the base that has a shell. */
export const base = 'localhost/base/busybox:latest'

/** Makes the case of a seed. `run` is the share of stages that are made on the base with a shell. */
export function generateCase(seed: number, abilities: Abilities, run: number): Case {
  const random = randomFrom(seed)
  const context = randomContext(random)
  const instructions: string[] = []
  const buildArgs: Record<string, string> = {}
  if (random.chance(0.3))
    instructions.push(`ARG GLOBAL=${random.pick(['one', 'two words', ''])}`.replace('two words', '"two words"'))
  const stages: FinishedStage[] = []
  for (let left = random.pick([1, 1, 1, 2, 2, 3]); left > 0; left--) {
    const busybox = random.chance(run)
    const parent = stages.length > 0 && random.chance(0.25) ? random.pick(stages) : undefined
    const name = `s${stages.length}`
    instructions.push(`FROM ${parent?.name ?? (busybox ? base : 'scratch')} AS ${name}`)
    const state = {
      random,
      abilities,
      context,
      stages: [...stages],
      places: [...(parent?.places ?? [])],
      variables: new Set<string>(),
      busybox,
    }
    writeStage({ ...state, busybox: busybox && parent === undefined }, instructions, buildArgs)
    stages.push({ name, places: state.places })
  }
  return { seed, instructions, context, buildArgs }
}

function writeStage(state: StageState, instructions: string[], buildArgs: Record<string, string>): void {
  const { random } = state
  if (random.chance(0.2)) {
    instructions.push('ARG GLOBAL')
    state.variables.add('GLOBAL')
  }
  for (let left = 1 + random.below(9); left > 0; left--) {
    const kind = random.next()
    if (kind < 0.5) instructions.push(randomCopy(state))
    else if (kind < 0.6) instructions.push(randomArg(state, buildArgs))
    else if (state.busybox && kind < 0.68) instructions.push(randomRun(state))
    else instructions.push(randomConfig(state))
  }
}

function randomArg(state: StageState, buildArgs: Record<string, string>): string {
  const { random } = state
  const name = random.pick(['A', 'B', 'C', 'lower_1'])
  state.variables.add(name)
  if (random.chance(0.2)) buildArgs[name] = random.pick(['given', 'given value', '', '/x'])
  return random.chance(0.25) ? `ARG ${name}` : `ARG ${name}=${expression(state)}`
}

function randomRun(state: StageState): string {
  const { random } = state
  const path = random.pick(['/r', '/tmp/r', '/home/r', 'r'])
  return `RUN ${random.pick([
    `echo "$A ${'$'}{B:-b}" > ${path}`,
    `mkdir -p /d/e && chmod 0750 /d && echo x > /d/e/f`,
    `rm -rf /d /home/r; mkdir -p /home && ln -s /tmp /home/l 2>/dev/null || true`,
    `env | grep -v -e HOSTNAME -e SHLVL -e '^HOME=' | sort > /tmp/env && pwd >> /tmp/env && id -u >> /tmp/env`,
    `chown 5:6 /etc/group; chmod 600 /etc/passwd || true`,
    `rm -rf /var && mkdir -p /var && touch /var/new`,
    `["sh", "-c", "echo $A > /tmp/exec"]`,
    `ls /home | wc -l > /tmp/count; \\\n  # a comment\n  echo more >> /tmp/count`,
  ])}`
}
