/** Random edits of a case, as somebody makes them between two builds: in one file of the context or one instruction. */
import type { Random } from '../helpers/random.js'
import type { Case, ContextEntry } from './case.js'

/** The case after one edit. */
export function editCase(found: Case, random: Random): Case {
  return random.chance(0.6) && found.context.length > 0 ? editContext(found, random) : editInstructions(found, random)
}

/**
 * Leaves out what a second build may rightly do otherwise than a first one: cache mounts have kept something, and a secret is
 * in no key.
 */
export function withoutMemory(found: Case): Case {
  return { ...found, instructions: found.instructions.filter((text) => !/type=(cache|secret)/.test(text)) }
}

function editContext(found: Case, random: Random): Case {
  const { context } = found
  const at = random.below(context.length)
  const entry = context[at]
  if (entry === undefined) return found
  const replaced = (other: ContextEntry): Case => ({ ...found, context: context.with(at, other) })
  const below = context.some(({ path }) => path.startsWith(`${entry.path}/`))
  const kind = random.next()
  if (kind < 0.15)
    return { ...found, context: context.filter(({ path }) => path !== entry.path && !path.startsWith(`${entry.path}/`)) }
  if (kind < 0.3) return { ...found, context: [...context, newFile(random, context)] }
  if (entry.type === 'link') return replaced({ ...entry, target: random.pick(['a', 'lib', '../b', 'nowhere']) })
  if (kind < 0.45) return replaced({ ...entry, mode: entry.mode ^ random.pick([0o100, 0o040, 0o4000]) })
  if (entry.type === 'directory')
    return below ? found : replaced({ path: entry.path, type: 'file', mode: 0o644, content: Buffer.from('was a directory') })
  if (kind < 0.55 && entry.path !== '.dockerignore') return replaced({ path: entry.path, type: 'directory', mode: 0o755 })
  if (entry.path === '.dockerignore')
    return replaced({
      ...entry,
      content: Buffer.concat([entry.content, Buffer.from(random.pick(['a\n', '!a\n', '**/*.txt\n']))]),
    })
  if (/^t\.t/.test(entry.path)) return found
  return replaced({ ...entry, content: changed(entry.content, random) })
}

/** Other bytes: often as many as before. */
function changed(content: Buffer, random: Random): Buffer {
  if (content.length === 0 || random.chance(0.3)) return Buffer.concat([content, Buffer.from('more\n')])
  const copy = Buffer.from(content)
  const at = random.below(copy.length)
  copy[at] = ((copy[at] ?? 0) + 1) % 128
  return copy
}

function newFile(random: Random, context: readonly ContextEntry[]): ContextEntry {
  const parents = ['', ...context.filter(({ type }) => type === 'directory').map(({ path }) => `${path}/`)]
  const path = `${random.pick(parents)}new${random.below(100)}`
  return { path, type: 'file', mode: 0o644, content: Buffer.from(`new ${random.below(100)}`) }
}

function editInstructions(found: Case, random: Random): Case {
  const { instructions } = found
  const first = instructions.findIndex((text) => text.startsWith('FROM'))
  const at = first + 1 + random.below(instructions.length - first)
  const isStep = at < instructions.length && !instructions[at]?.startsWith('FROM')
  const kind = random.next()
  if (isStep && kind < 0.3) return { ...found, instructions: instructions.toSpliced(at, 1) }
  const next = instructions[at + 1]
  if (isStep && kind < 0.5 && next !== undefined && !next.startsWith('FROM'))
    return { ...found, instructions: instructions.toSpliced(at, 2, next, instructions[at] ?? '') }
  const added = random.pick([
    'ENV A=edited',
    'LABEL edited=yes',
    'COPY . /edited/',
    'WORKDIR /edited/w',
    'USER 3',
    'ARG A=edited',
    '# only a comment',
  ])
  return { ...found, instructions: instructions.toSpliced(at, 0, added) }
}
