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
import { randomRun } from './random-run.js'

/** What a peer's frontend knows beyond the one of docker 20.10. */
export interface Abilities {
  readonly heredocs: boolean
  /** `${x#p}`, `${x%p}`, `${x/p/r}`. */
  readonly patterns: boolean
  readonly link: boolean
  /** --chmod replaces the whole mode, the bits for setuid and the like too, and may be written with letters. */
  readonly chmod: boolean
  readonly exclude: boolean
  /** RUN --mount leaves no mount points in the layer, and a step has the groups of its user. */
  readonly mounts: boolean
  /** The client keeps what `!` patterns take back in out of a directory that is left out. */
  readonly negations: boolean
}

/** All of them. */
export const everything: Abilities = {
  heredocs: true,
  patterns: true,
  link: true,
  chmod: true,
  exclude: true,
  mounts: true,
  negations: true,
}

/** A stage that later ones can copy from. */
export interface FinishedStage {
  readonly name: string
  /** Where something was put in it. */
  readonly places: readonly string[]
  readonly busybox: boolean
}

/** What is known while a stage is written. */
export interface StageState {
  readonly seed: number
  readonly random: Random
  readonly abilities: Abilities
  readonly context: readonly ContextEntry[]
  /** Earlier stages, and paths of this one that something was put at. */
  readonly stages: readonly FinishedStage[]
  readonly places: string[]
  readonly variables: Set<string>
  /** Secrets of the command line, by id. */
  readonly secrets: Record<string, string>
  /** There is a shell and a user database. */
  readonly busybox: boolean
}

/** The name of the base that has a shell. */
export const base = 'localhost/base/busybox:latest'

/** A base with every field of a config, and triggers; it is built from this text. */
export const configuredBase = 'localhost/base/configured:latest'
export const configuredDockerfile = `FROM ${base}
ENV A=base E1="from base" PATH=/bin:/sbin
LABEL l1=base other=kept
WORKDIR /w
EXPOSE 80 7/udp
VOLUME /data
ENTRYPOINT ["/e"]
CMD ["c"]
HEALTHCHECK --interval=7s --retries=2 CMD check
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-ec"]
ONBUILD ARG C=of-trigger
ONBUILD ENV B=triggered-$C
ONBUILD RUN echo "$A $B" > /triggered
`

/** Makes the case of a seed. `run` is the share of stages that are made on the base with a shell. */
export function generateCase(seed: number, abilities: Abilities, run: number): Case {
  const random = randomFrom(seed)
  const context = randomContext(random, abilities.negations)
  const instructions: string[] = []
  const buildArgs: Record<string, string> = {}
  const secrets: Record<string, string> = {}
  if (random.chance(0.3)) instructions.push(`ARG GLOBAL=${random.pick(['one', '"two words"', ''])}`)
  if (random.chance(0.15)) instructions.push('ARG WHICH=s0')
  const stages: FinishedStage[] = []
  for (let left = random.pick([1, 1, 1, 2, 2, 3]); left > 0; left--) {
    const busybox = random.chance(run)
    const parent = stages.length > 0 && random.chance(0.3) ? random.pick(stages) : undefined
    const name = `s${stages.length}`
    const from = parent === undefined ? baseOf(random, busybox) : nameOf(parent, instructions, random)
    instructions.push(`FROM ${from} AS ${name}`)
    const places = [...(parent?.places ?? [])]
    const shell = parent?.busybox ?? busybox
    const state = { seed, random, abilities, context, stages: [...stages], places, variables: new Set<string>() }
    writeStage({ ...state, secrets, busybox: shell }, instructions, buildArgs)
    stages.push({ name, places, busybox: shell })
  }
  if (random.chance(0.1)) buildArgs[random.pick(['GLOBAL', 'HTTP_PROXY', 'C'])] = 'http://given'
  const target = random.chance(0.15) ? random.pick([...stages.map(({ name }) => name), 'S0']) : undefined
  const common = { seed, instructions, context, buildArgs, secrets }
  return target === undefined ? common : { ...common, target }
}

function baseOf(random: Random, busybox: boolean): string {
  if (!busybox) return 'scratch'
  return random.chance(0.3) ? configuredBase : base
}

/** A stage's name as FROM may write it. */
function nameOf({ name }: FinishedStage, instructions: readonly string[], random: Random): string {
  if (name === 's0' && instructions.includes('ARG WHICH=s0')) return random.pick(['$WHICH', `\${WHICH}`, `\${WHICH:-none}`])
  return name
}

function writeStage(state: StageState, instructions: string[], buildArgs: Record<string, string>): void {
  const { random } = state
  if (random.chance(0.2)) {
    instructions.push('ARG GLOBAL')
    state.variables.add('GLOBAL')
  }
  for (let left = 1 + random.below(9); left > 0; left--) {
    const trigger = random.chance(0.04)
    const instruction = randomInstruction(state, buildArgs)
    instructions.push(trigger ? `ONBUILD ${instruction}` : decorate(instruction, random))
  }
}

function randomInstruction(state: StageState, buildArgs: Record<string, string>): string {
  const kind = state.random.next()
  if (kind < 0.45) return randomCopy(state)
  if (kind < 0.53) return randomArg(state, buildArgs)
  if (state.busybox && kind < 0.68) return randomRun(state)
  return randomConfig(state)
}

/** The same instruction in an unusual layout. */
function decorate(instruction: string, random: Random): string {
  const kind = random.next()
  if (kind < 0.04) return `  ${instruction.replace(/^\w+/, (word) => word.toLowerCase())}`
  if (kind < 0.08) return `# a comment\n\n${instruction}`
  if (kind < 0.12) return instruction.replace(/^(\w+) /, '$1 \\\n  # in between\n   ')
  return kind < 0.14 && !instruction.includes('<<') ? `${instruction}  ` : instruction
}

function randomArg(state: StageState, buildArgs: Record<string, string>): string {
  const { random } = state
  const name = random.pick(['A', 'B', 'C', 'lower_1', 'TARGETOS', 'TARGETARCH'])
  state.variables.add(name)
  if (name.startsWith('TARGET')) return `ARG ${name}`
  if (random.chance(0.2)) buildArgs[name] = random.pick(['given', 'given value', '', '/x'])
  return random.chance(0.25) ? `ARG ${name}` : `ARG ${name}=${expression(state)}`
}
