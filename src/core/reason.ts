/** Why a step runs: what the progress, `--explain` and build records say of it. Plain data, as it is in their JSON. */

/**
 * One thing that is not as it was.
 *
 * `old` and `new` are there where they are known and may be shown: values of variables whose name sounds like a secret's
 * are not.
 */
export type StepChange =
  | {
      readonly kind: 'files'
      /** How many files are not as they were; `paths` has the first of them. */
      readonly count: number
      readonly paths: readonly { readonly path: string; readonly change: 'changed' | 'added' | 'removed' }[]
    }
  | {
      readonly kind: 'arg' | 'env' | 'setting' | 'secret'
      readonly name: string
      readonly old?: string
      readonly new?: string
    }
  | { readonly kind: 'instruction'; readonly old: string; readonly new: string }
  | { readonly kind: 'base'; readonly name: string; readonly old?: string; readonly new?: string }
  | { readonly kind: 'input'; readonly name: string }
  | { readonly kind: 'version' }

/**
 * Why a step runs.
 *
 * `new`: this step was never built here. `no-cache`: it was asked for. `failed`: it did not succeed the last time.
 * `pruned`, `lost`: its result was here and is gone. `changed`: something that its result depends on. `needed`: a
 * download whose files a step needs, or a step that is not of the Dockerfile.
 */
export interface StepReason {
  readonly kind: 'new' | 'no-cache' | 'failed' | 'pruned' | 'lost' | 'changed' | 'needed'
  /** One line for people. */
  readonly text: string
  readonly changes?: readonly StepChange[]
}
