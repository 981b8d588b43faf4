/** The network of a container: the host's, none, or a private one of the pool. */
import type { NetworkMode } from './plan.js'

/** A network that a container joins. */
export interface JoinedNetwork {
  /** What it really is: `default` falls back to `host` where no private network can be made. */
  readonly mode: NetworkMode
  /** The network namespace to join; undefined: the host's own, or a new empty one. */
  readonly path: string | undefined
  /** Gives it back. */
  release(): void
}
