/** What is not as it was between two states of a step, causes first: the instruction, variables, files, then inputs. Pure. */
import type { StepChange } from '../core/reason.js'
import type { InputState, StepState } from './state.js'

/** Names of the files that a component is the digest of, now and earlier; undefined where nobody kept them. */
export type ListFiles = (component: string) => {
  readonly now: ReadonlyMap<string, string> | undefined
  readonly earlier: ReadonlyMap<string, string> | undefined
}

/** How many paths of changed files are named. */
const namedPaths = 20

/** How many parts of the key differ: the state with the fewest is the nearest. */
export function countDifferences(now: StepState, earlier: StepState): number {
  const inputs = differingNames(now.inputs, earlier.inputs, isSameInput)
  return differingNames(now.parts, earlier.parts).length + inputs.length
}

/** All changes from `earlier` to `now`; `declared` says how a variable came to be: by ARG or by ENV. */
export function findChanges(
  now: StepState,
  earlier: StepState,
  files: ListFiles,
  declared: (name: string) => 'arg' | 'env',
): StepChange[] {
  const names = differingNames(now.parts, earlier.parts)
  const variables = names.filter((name) => name.startsWith('env.'))
  const selections = names.filter(isFiles)
  const secrets = names.filter((name) => name.startsWith('secret.'))
  const fields = names.filter((name) => !variables.includes(name) && !selections.includes(name) && !secrets.includes(name))
  const inputs = differingNames(now.inputs, earlier.inputs, isSameInput)
  const changes = [
    ...instructionChanges(now, earlier, fields),
    ...variables.map((name) => variableChange(name.slice('env.'.length), now, earlier, declared)),
    ...secrets.map((name): StepChange => ({ kind: 'secret', name: name.slice('secret.'.length) })),
    ...fileChanges(selections, files),
    ...inputs.map((name) => inputChange(now.inputs[name], earlier.inputs[name])),
  ]
  return changes
}

function isFiles(name: string): boolean {
  return /^(mount\..*\.)?files\.\d+$/.test(name)
}

function differingNames<T>(
  now: Readonly<Record<string, T>>,
  earlier: Readonly<Record<string, T>>,
  isSame: (a: T | undefined, b: T | undefined) => boolean = (a, b) => a === b,
): string[] {
  const names = new Set([...Object.keys(now), ...Object.keys(earlier)])
  return [...names].filter((name) => !isSame(now[name], earlier[name])).sort()
}

/** By content where both are known by it, else by definition. */
function isSameInput(a: InputState | undefined, b: InputState | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.content === undefined || b.content === undefined ? a.definition === b.definition : a.content === b.content
}

/** One change for whatever fields of the op differ when the instruction does; else the fields one by one. */
function instructionChanges(now: StepState, earlier: StepState, fields: readonly string[]): StepChange[] {
  if (fields.length === 0) return []
  if (now.text !== earlier.text) return [{ kind: 'instruction', old: earlier.text, new: now.text }]
  if (now.shown !== earlier.shown) return [{ kind: 'instruction', old: earlier.shown, new: now.shown }]
  return fields.map((name) => ({ kind: 'setting', name, ...oldAndNew(earlier.parts[name], now.parts[name]) }))
}

function variableChange(name: string, now: StepState, earlier: StepState, declared: (name: string) => 'arg' | 'env'): StepChange {
  const [old, value] = [earlier.values[name], now.values[name]]
  // A value that is set and not shown would look like one that is not set.
  const isHidden = (state: StepState): boolean => state.parts[`env.${name}`] !== undefined && state.values[name] === undefined
  const shown = isHidden(now) || isHidden(earlier) ? {} : oldAndNew(old, value)
  return { kind: declared(name), name, ...shown }
}

function oldAndNew(old: string | undefined, value: string | undefined): { readonly old?: string; readonly new?: string } {
  return { ...(old === undefined ? {} : { old }), ...(value === undefined ? {} : { new: value }) }
}

function fileChanges(components: readonly string[], files: ListFiles): StepChange[] {
  if (components.length === 0) return []
  const found = { changed: new Set<string>(), added: new Set<string>(), removed: new Set<string>() }
  for (const component of components) {
    const { now, earlier } = files(component)
    if (now === undefined || earlier === undefined) continue
    for (const [path, state] of now) {
      const old = earlier.get(path)
      if (old !== state) found[old === undefined ? 'added' : 'changed'].add(path)
    }
    for (const path of earlier.keys()) if (!now.has(path)) found.removed.add(path)
  }
  const all = (['changed', 'added', 'removed'] as const).flatMap((change) => [...found[change]].map((path) => ({ path, change })))
  return [{ kind: 'files', count: all.length, paths: all.slice(0, namedPaths) }]
}

function inputChange(now: InputState | undefined, earlier: InputState | undefined): StepChange {
  if (now?.image === undefined) return { kind: 'input', name: now?.name ?? earlier?.name ?? '' }
  const { reference, digest } = now.image
  if (earlier?.image === undefined) return { kind: 'base', name: reference, new: reference }
  if (earlier.image.reference !== reference) {
    return { kind: 'base', name: reference, old: earlier.image.reference, new: reference }
  }
  return { kind: 'base', name: reference, old: earlier.image.digest, new: digest }
}
