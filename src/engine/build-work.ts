/** What the parts of one build work with. */
import type { BuildFiles } from './dockerfile.js'
import type { Engine } from './engine.js'
import type { EngineLayers } from './layers.js'
import type { BuildOptions } from './options.js'
import type { RemoteCache } from './remote-cache.js'

/** One build. */
export interface BuildWork {
  /** Names this build: in `buildx.build.ref`, in its provenance and in the history. */
  readonly id: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly files: BuildFiles
  readonly options: BuildOptions
  readonly engine: Engine
  readonly layers: EngineLayers
  /** Of other machines; undefined where none is to be read or written. */
  readonly caches?: RemoteCache | undefined
}
