/** WORKDIR: the config's directory, and a layer that makes it (semantics.md 55). */
import type { WordsInstruction } from '../../grammar/ast.js'
import type { MkdirOp, OwnerSpec } from '../graph/op.js'
import { workingDirectory } from './paths.js'
import { InputList } from './plan-builder.js'
import type { StageLowering } from './stage-lowering.js'
import type { Step } from './stages.js'

/** Lowers WORKDIR. Making a directory may come from the cache even with `--no-cache`, as in BuildKit. */
export function lowerWorkdir(lowering: StageLowering, step: Step, { words: [word] }: WordsInstruction): void {
  const { state, plan } = lowering
  if (word === undefined) return
  const path = workingDirectory(state.cwd, lowering.expand(step, word))
  const details = lowering.details(step, false)
  state.config.WorkingDir = path
  if (path === '/') {
    lowering.commitConfig('WORKDIR /')
    return
  }
  const inputs = new InputList()
  const base = inputs.addBase(state.rootfs)
  const owner = parseOwner(state.config.User ?? '')
  const op: MkdirOp = {
    ...{ kind: 'mkdir', path, mode: 0o755 },
    ...(base === undefined ? {} : { base }),
    ...(owner === undefined ? {} : { owner }),
  }
  lowering.commitLayer(`WORKDIR ${path}`, plan.add(op, inputs.ids, details), '')
}

/** `user[:group]`; undefined for nothing. A group alone belongs to root. */
export function parseOwner(text: string): OwnerSpec | undefined {
  if (text === '') return undefined
  const at = text.indexOf(':')
  const user = at < 0 ? text : text.slice(0, at)
  const group = at < 0 ? '' : text.slice(at + 1)
  const named = user === '' ? '0' : user
  return group === '' ? { user: named } : { user: named, group }
}
