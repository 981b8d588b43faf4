/**
 * What a stage is at one point of its instructions: environment, config, root filesystem, history.
 *
 * Lowering changes it instruction by instruction; a stage built on another starts from a copy. All lists and records in it
 * are replaced, never changed in place, so a copy is shallow.
 */
import type { ContainerConfig, ImageConfig } from '../core/image.js'
import type { Platform } from '../core/platform.js'
import type { PlannedHistory, PlannedImage, VertexId } from '../graph/op.js'
import { BuildEnv, parseKeyValue } from './env.js'
import { inheritHistory } from './history.js'

/** A container config that is being made. */
export type MutableConfig = { -readonly [K in keyof ContainerConfig]: ContainerConfig[K] }

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The state of one stage. */
export class StageState {
  env = new BuildEnv()
  config: MutableConfig = {}
  /** Names and values of the ARGs in scope, for the history of RUN. Values may be stale: the environment has the last word. */
  args: (readonly [name: string, value: string])[] = []
  rootfs: VertexId | undefined
  history: PlannedHistory[] = []
  author: string | undefined
  /** Image fields that the instructions never change. */
  readonly identity: Pick<ImageConfig, 'architecture' | 'os' | 'variant' | 'os.version' | 'os.features'>
  /** CMD occurred in this stage itself: a later ENTRYPOINT then keeps it. */
  cmdSet = false

  constructor(platform: Platform) {
    this.identity = platform
  }

  /** Starts a stage on this one: everything goes over but the triggers, and the marks that hold within one stage. */
  child(): StageState {
    const next = new StageState(this.identity)
    next.env = this.env.copy()
    next.config = { ...this.config }
    delete next.config.OnBuild
    next.args = [...this.args]
    next.rootfs = this.rootfs
    next.history = [...this.history]
    next.author = this.author
    return next
  }

  /** The directory that relative paths start from. */
  get cwd(): string {
    return this.config.WorkingDir || '/'
  }

  /** The image as it would be if the stage ended here. */
  image(platform: Platform): PlannedImage {
    const { OnBuild, ...rest } = this.config
    const config = withoutEmpty({ ...rest, ...sortedRecords(rest), ...(OnBuild === undefined ? {} : { OnBuild }) })
    const author = this.author === undefined ? {} : { author: this.author }
    return {
      platform,
      rootfs: this.rootfs,
      config: { ...this.identity, ...author, config },
      history: this.history,
    }
  }
}

/** `CMD []` and the like take away what was there: the member is left out, as Docker does. Of a health check all is kept. */
function withoutEmpty(config: MutableConfig): MutableConfig {
  const says = ([name, value]: readonly [string, unknown]): boolean =>
    name === 'Healthcheck' || (Boolean(value) && (typeof value !== 'object' || Object.keys(value ?? {}).length > 0))
  return Object.fromEntries(Object.entries(config).filter(says))
}

/** The records of a config with their names in order, as Docker writes them: the same image has the same bytes. */
function sortedRecords({ Labels, ExposedPorts, Volumes }: MutableConfig): MutableConfig {
  return {
    ...(Labels === undefined ? {} : { Labels: sortRecord(Labels) }),
    ...(ExposedPorts === undefined ? {} : { ExposedPorts: sortRecord(ExposedPorts) }),
    ...(Volumes === undefined ? {} : { Volumes: sortRecord(Volumes) }),
  }
}

function sortRecord<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The state of a stage that starts from nothing. */
export function scratchState(platform: Platform): StageState {
  const state = new StageState(platform)
  state.config = { WorkingDir: '/' }
  addDefaultPath(state, platform.os)
  return state
}

/** The state of a stage that starts from an image. */
export function imageState(image: ImageConfig, rootfs: VertexId | undefined): StageState {
  const { architecture, os, variant } = image
  const state = new StageState({
    ...{ architecture, os },
    ...(variant === undefined || variant === '' ? {} : { variant }),
    ...(image['os.version'] === undefined ? {} : { 'os.version': image['os.version'] }),
    ...(image['os.features'] === undefined ? {} : { 'os.features': image['os.features'] }),
  })
  state.config = knownFields(image.config ?? {})
  state.rootfs = rootfs
  state.author = image.author
  state.history = inheritHistory(image.history ?? [], image.rootfs.diff_ids.length)
  addDefaultPath(state, os)
  return state
}

const fields = [
  ...(['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'] as const),
  ...(['ArgsEscaped', 'Healthcheck', 'Shell'] as const),
]

/** The fields that the specs name and that say something; what else old tools left in a config is dropped, as BuildKit does. */
function knownFields(config: ContainerConfig): MutableConfig {
  const entries = fields.map((name) => [name, config[name]] as const)
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== null && value !== '')) as MutableConfig
}

/** RUN needs a PATH, and what a stage's steps see is what its image says. */
function addDefaultPath(state: StageState, os: string): void {
  const env = state.config.Env ?? []
  const hasPath = env.some((entry) => parseKeyValue(entry)[0] === 'PATH')
  state.config.Env = hasPath || os === 'windows' ? env : [...env, `PATH=${defaultPath}`]
  for (const entry of state.config.Env) state.env.set(...parseKeyValue(entry))
}
