/** Suite `instructions`: what BuildKit checks when it makes instructions of nodes, see the README.md beside the cases. */
import type { Dockerfile, Instruction } from '../../grammar/ast.js'
import { descriptionOf } from '../../grammar/comments.js'
import { parseDevice } from '../../grammar/device.js'
import { checkFlags, type FlagTable, readFlag } from '../../grammar/flags.js'
import { parse } from '../../grammar/parse.js'
import type { Diagnostic } from '../../src/core/diagnostic.js'
import { positionAt } from '../../src/core/span.js'
import { buildkitText, stagesOf } from './buildkit.js'
import { claim, type Judge, type Outcome, passed, recordOf, type Suite, same, skip, textOf, type VectorCase } from './frame.js'

interface Read {
  readonly ast: Dockerfile
  readonly first: Instruction | undefined
  readonly errors: readonly Diagnostic[]
  readonly text: string
}

function read(vector: VectorCase): Read {
  const text = textOf(vector, 'dockerfile')
  const { ast, diagnostics } = parse({ name: 'Dockerfile', text })
  return { ast, first: ast.instructions[0], errors: diagnostics.filter(({ severity }) => severity === 'error'), text }
}

const kinds: Readonly<Record<string, Judge>> = {
  instructionError: judgeError,
  healthcheckInterval: judgeError,
  nodeError: () => skip('the case gives nodes that no text can give'),
  handleJSONArgs: () => skip('an internal step of BuildKit'),
  healthcheck: judgeHealthcheck,
  copy: judgeCopy,
  run: judgeRun,
  flagsUsed: (vector) => same({ flagsUsed: read(vector).first?.flags.map(({ name }) => name) }, vector.expect),
  docComments: judgeComments,
  parseDevice: judgeDevice,
  noCrash: (vector) => claim(read(vector).ast.instructions.length >= 0, 'no tree'),
  builderFlags: judgeFlags,
}

const judgeUnit: Judge = (vector, folder) => {
  const kind = textOf(vector, 'kind')
  return kinds[kind]?.(vector, folder) ?? skip(`the kind ${kind} is not known to the runner`)
}

function judgeError(vector: VectorCase): Outcome {
  const errors = read(vector).errors.map(buildkitText)
  if (vector.errorContains === null) return same(errors, [], 'the list of errors')
  const [error = ''] = errors
  if (typeof vector.errorEquals === 'string') return same(error, vector.errorEquals, 'the error')
  const wanted = textOf(vector, 'errorContains')
  return claim(error.includes(wanted) && error !== '', `the error is "${error}", expected one with "${wanted}"`)
}

function judgeHealthcheck(vector: VectorCase): Outcome {
  const { first } = read(vector)
  if (first?.kind !== 'healthcheck') return claim(false, 'no HEALTHCHECK was read')
  const { command } = first
  const test = command === undefined ? ['NONE'] : command.form === 'exec' ? ['CMD', ...command.argv] : ['CMD-SHELL', command.text]
  const { expect } = vector
  return same(test, Array.isArray(expect) ? expect : Object.values(recordOf(expect)).find(Array.isArray))
}

function judgeCopy(vector: VectorCase): Outcome {
  const { first } = read(vector)
  if (first?.kind !== 'copy' && first?.kind !== 'add') return claim(false, 'no COPY was read')
  const contents = first.heredocs.map(({ name, content, expand }) => ({ path: name, data: content, expand }))
  return same({ dest: first.destination.text, sources: first.sources.map(({ text }) => text), contents }, vector.expect)
}

function judgeRun(vector: VectorCase): Outcome {
  const { first, text } = read(vector)
  if (first?.kind !== 'run') return claim(false, 'no RUN was read')
  const files = first.heredocs.map(({ name, contentSpan, stripTabs }) => ({
    name,
    data: text.slice(contentSpan.start, contentSpan.end),
    chomp: stripTabs,
  }))
  const { command } = first
  const argv = command.form === 'exec' ? command.argv : [command.text]
  return same({ shell: command.form === 'shell', command: argv, files }, vector.expect)
}

function judgeComments(vector: VectorCase): Outcome[] {
  const { metaArgs, stages } = stagesOf(read(vector).ast)
  const argument = (instruction: Instruction | undefined, index: string): unknown => {
    if (instruction?.kind !== 'arg') return undefined
    const key = instruction.pairs[Number(index)]?.key.text ?? ''
    return { key, doc: descriptionOf(instruction.comment, key) ?? '' }
  }
  return Object.entries(recordOf(vector.expect)).map(([path, wanted]) => {
    const [stage = '', command = '', index = ''] = path.match(/\d+/g) ?? []
    if (path.startsWith('meta')) return same(argument(metaArgs[Number(stage)], command), wanted, path)
    const [from, ...commands] = stages[Number(stage)] ?? []
    if (!path.endsWith('docComment')) return same(argument(commands[Number(command)], index), wanted, path)
    return same(from === undefined ? undefined : stageDescription(from), wanted, path)
  })
}

/** What the comment above a FROM says about its stage. */
export function stageDescription(from: Instruction): string {
  return from.kind === 'from' ? (descriptionOf(from.comment, from.name?.text.toLowerCase() ?? '') ?? '') : ''
}

function judgeDevice(vector: VectorCase): Outcome {
  const device = parseDevice(textOf(vector, 'input'))
  if (vector.expectError === true || vector.expect === undefined) return claim('problem' in device, 'no problem was found')
  return same(device, vector.expect)
}

function judgeFlags(vector: VectorCase): Outcome {
  const declared = recordOf(vector.declare)
  const table: FlagTable = Object.fromEntries(
    Object.entries(declared).map(([name, value]) => [
      name,
      typeof value === 'boolean' ? 'bool' : Array.isArray(value) || value === null ? 'list' : 'string',
    ]),
  )
  const words = Array.isArray(vector.args) ? vector.args.map(String) : []
  const end = words.indexOf('--')
  const given = (end < 0 ? words : words.slice(0, end)).map((word) => ({ word, ...readFlag(word) }))
  const wrong = given.some(({ word }) => !word.startsWith('--')) || checkFlags(given, table).length > 0
  if (vector.expectError === true) return claim(wrong, 'no problem was found')
  if (wrong) return claim(false, 'a problem was found')
  const values: Record<string, unknown> = { ...declared, used: [...new Set(given.map(({ name }) => name))].sort() }
  for (const { name, value } of given) {
    if (table[name] === 'bool') values[name] = value?.toLowerCase() !== 'false'
    else if (table[name] === 'list') values[name] = given.filter((flag) => flag.name === name).map((flag) => flag.value)
    else values[name] = value
  }
  for (const [field, wanted] of Object.entries(recordOf(vector.expect))) {
    const outcome = same(values[field], field === 'used' && Array.isArray(wanted) ? [...wanted].sort() : wanted, field)
    if (outcome.status !== 'passed') return outcome
  }
  return passed
}

const judgeErrorLines: Judge = (vector) => {
  if (!textOf(vector, 'needs').startsWith('parse')) return skip('the error comes while building')
  const { errors, text } = read(vector)
  const lines = recordOf(vector.expect).lines
  return same(
    errors.slice(0, 1).map(({ span }) => positionAt(text, span?.start ?? 0).line),
    lines,
  )
}

/** The suite. */
export const suite: Suite = { files: { 'cases.json': judgeUnit, 'errorlines.json': judgeErrorLines } }
