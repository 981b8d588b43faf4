/** Environments as lists of `NAME=value`, in the order in which they end up in a config or a process. */

/** `NAME=value` split at the first `=`; a text without one is a name with an empty value. */
export function parseKeyValue(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** The list with `name` set: in its old place when it has one (the first), else at the end. */
export function addEnv(env: readonly string[], name: string, value: string): string[] {
  const at = env.findIndex((entry) => entry.startsWith(`${name}=`) || entry === name)
  return at < 0 ? [...env, `${name}=${value}`] : env.with(at, `${name}=${value}`)
}

/** The values that an expansion sees: the last of `env` for each name, then the first of `args` that has a value. */
export function argsAndEnvToMap(
  args: readonly (readonly [name: string, value: string | undefined])[],
  env: readonly string[],
): Map<string, string> {
  const values = new Map(env.map(parseKeyValue))
  for (const [name, value] of args) if (value !== undefined && !values.has(name)) values.set(name, value)
  return values
}

/** The build environment of a stage: ENV and ARG values in program order. Copied when a stage builds on another. */
export class BuildEnv {
  readonly #values: Map<string, string>

  constructor(values: Iterable<readonly [string, string]> = []) {
    this.#values = new Map(values)
  }

  get(name: string): string | undefined {
    return this.#values.get(name)
  }

  /** A name keeps its first place. */
  set(name: string, value: string): void {
    this.#values.set(name, value)
  }

  names(): string[] {
    return [...this.#values.keys()]
  }

  copy(): BuildEnv {
    return new BuildEnv(this.#values)
  }

  /** `NAME=value` each. */
  list(): string[] {
    return [...this.#values].map(([name, value]) => `${name}=${value}`)
  }
}
