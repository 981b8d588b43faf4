/** A stack of things to release: what `AsyncDisposableStack` will be once Node 20 has it. */

/** Releases in reverse order of being taken; the first error of a release is thrown after all have been tried. */
export class Scope implements AsyncDisposable {
  readonly #releases: (() => unknown)[] = []

  /** Takes a resource and returns it. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T {
    this.defer(() => (Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : resource[Symbol.dispose]()))
    return resource
  }

  /** Remembers a clean-up that may be asynchronous. */
  defer(release: () => unknown): void {
    this.#releases.push(release)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = []
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      try {
        await release()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}
