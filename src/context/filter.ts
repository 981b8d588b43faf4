/** What a walk needs of ignore patterns; `compileIgnore` of frontend/dockerignore.ts makes these. */

/**
 * A filter over relative paths. A state is a number that a directory hands to its children: the last pattern that
 * matched it or a parent of it. -1 stands for none and is the state of the root.
 */
export interface PathFilter {
  readonly isEmpty: boolean
  /** The state of `path`, given its parent's. */
  enter(path: string, parent: number): number
  /** True when a path in this state is matched and not taken back. */
  isExcluded(state: number): boolean
  /** True when nothing below the matched directory `path` can be taken back. */
  canPruneAt(path: string, state: number): boolean
  /** True when some pattern may match something below the directory `path`. */
  canMatchBelow(path: string): boolean
}
