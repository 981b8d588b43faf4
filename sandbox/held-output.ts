/**
 * Keeps a runtime's own words out of the command's output.
 *
 * A runtime that cannot start the command says so on the stderr it shares with the command. Its first words are held until it
 * is known whose they were: more output or a normal end means the command's, and they are passed on.
 */

/** How crun, runc and youki begin when they fail. */
const runtimeWords =
  /^(\{"msg":"|\{"level":"|time="|runc run failed: |exec \S+: |executable file |open executable: |error |exec container process)/

/** Sits between a process and `next`. */
export class HeldOutput {
  readonly #next: (data: Uint8Array) => void
  #held: Uint8Array | undefined
  #isFirst = true

  constructor(next: (data: Uint8Array) => void) {
    this.#next = next
  }

  readonly push = (data: Uint8Array): void => {
    if (this.#isFirst && runtimeWords.test(Buffer.from(data.buffer, data.byteOffset, Math.min(data.length, 64)).toString())) {
      this.#held = data
    } else {
      this.release()
      this.#next(data)
    }
    this.#isFirst = false
  }

  /** They were the command's: passes them on. */
  release(): void {
    if (this.#held !== undefined) this.#next(this.#held)
    this.#held = undefined
  }
}
