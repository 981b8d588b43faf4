/** COPY and ADD: flags and sources → one copy op, put on the root filesystem or beside it (`--link`) (semantics.md 64–83). */
import type { CopyInstruction, Heredoc } from '../../grammar/ast.js'
import { expandWord } from '../../grammar/words.js'
import type { CopyOp, CopySource, InlineOp, VertexId } from '../graph/op.js'
import type { VertexDetails } from '../graph/vertex.js'
import { type AddFlags, localSource, type PlannedSource, remoteSource } from './copy-sources.js'
import { boolFlag, expandFlag, findFlag, findFlags, flagWord } from './expand.js'
import { parseOwner } from './lower-workdir.js'
import { absolutePath } from './paths.js'
import { InputList } from './plan-builder.js'
import { type Place, placeIn, problem } from './problem.js'
import type { InputFiles, StageLowering } from './stage-lowering.js'
import type { Step } from './stages.js'

/** Lowers COPY and ADD. */
export function lowerCopy(lowering: StageLowering, step: Step, instruction: CopyInstruction): void {
  const from = findFlag(instruction, 'from')
  // The context is loaded only when a source is there to be copied from it.
  const files = (): InputFiles =>
    from === undefined ? lowering.contextFiles() : lowering.filesOf(step, flagWord(step.source, from), true)
  lowerFiles(lowering, step, instruction, { files, add: instruction.kind === 'add' ? addFlags(lowering, step) : undefined })
}

function addFlags(lowering: StageLowering, step: Step): AddFlags {
  return {
    unpack: boolFlag(step, 'unpack'),
    keepGitDir: boolFlag(step, 'keep-git-dir'),
    checksum: expandFlag(step, 'checksum', lowering.scope(step)),
  }
}

interface CopyRequest {
  readonly files: () => InputFiles
  /** Set for ADD. */
  readonly add: AddFlags | undefined
}

function lowerFiles(lowering: StageLowering, step: Step, instruction: CopyInstruction, request: CopyRequest): void {
  const { state, plan } = lowering
  const scope = lowering.scope(step)
  const chown = expandFlag(step, 'chown', scope)
  const chmod = chmodOf(step, expandFlag(step, 'chmod', scope))
  const parents = boolFlag(step, 'parents') ?? false
  const link = boolFlag(step, 'link') ?? false
  const written = lowering.expand(step, instruction.destination)
  const destination = absolutePath(state.cwd, written)
  for (const { text, span } of instruction.sources) checkHeredocMiss(text, instruction, placeIn(step, span))
  checkNul(destination, placeIn(step, instruction.destination.span))
  checkDestination(step, instruction, destination)
  const details = lowering.details(step, lowering.ignoreCache)
  const sources = [...planSources(lowering, step, instruction, request, { parents, details })]
  const inputs = new InputList()
  const base = link ? undefined : inputs.addBase(state.rootfs)
  const owner = chown === undefined ? undefined : parseOwner(chown)
  const op: CopyOp = {
    ...{ kind: 'copy', sources: sources.map((source) => toCopySource(source, inputs)), destination },
    ...(base === undefined ? {} : { base }),
    ...(owner === undefined ? {} : { owner }),
    ...(chmod === undefined ? {} : { chmod }),
    ...{ exclude: findFlags(instruction, 'exclude').map((flag) => flag.value ?? ''), parents },
  }
  const layer = plan.add(op, inputs.ids, details)
  const flags = [parents ? '--parents' : '', chown ? `--chown=${chown}` : '', chmod ? `--chmod=${chmod}` : '']
  const words = [
    request.add === undefined ? 'COPY' : 'ADD',
    ...flags.filter(Boolean),
    ...sources.map(({ shown }) => shown),
    written,
  ]
  lowering.commitLayer(words.join(' '), link ? linkLayer(lowering, layer, details) : layer)
}

/** A linked layer on an empty root filesystem is just that layer. */
function linkLayer({ state, plan }: StageLowering, layer: VertexId, details: VertexDetails): VertexId {
  if (state.rootfs === undefined) return layer
  const name = details.name.replace('] ', '] LINK ')
  return plan.add({ kind: 'merge', base: 0, layers: [1] }, [state.rootfs, layer], { ...details, name, ignoreCache: false })
}

function toCopySource({ vertex, source }: PlannedSource, inputs: InputList): CopySource {
  return { input: inputs.add(vertex), ...source }
}

/** Docker's classic rule, which BuildKit lost: with several sources the destination is a directory, and says so. */
function checkDestination(step: Step, { sources, heredocs, destination, kind }: CopyInstruction, path: string): void {
  if (sources.length + heredocs.length < 2 || path.endsWith('/')) return
  throw problem(
    placeIn(step, destination.span),
    'DOCKERFILE_BAD_ARGUMENT',
    `${kind.toUpperCase()} has several sources, so its destination "${destination.text}" must be a directory and end with /`,
    `write ${destination.text}/`,
  )
}

/** Octal digits up to 07777, or a symbolic mode. */
function chmodOf(step: Step, chmod: string | undefined): string | undefined {
  if (chmod === undefined) return undefined
  const octal = /^[0-7]+$/.test(chmod) && Number.parseInt(chmod, 8) <= 0o7777
  const clause = '[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+'
  if (octal || new RegExp(`^${clause}(?:,${clause})*$`).test(chmod)) return chmod
  const flag = findFlag(step.instruction, 'chmod')
  throw problem(
    placeIn(step, flag === undefined ? step.instruction.span : flagWord(step.source, flag).span),
    'DOCKERFILE_BAD_FLAG',
    `invalid chmod parameter: '${chmod}'. it should be octal string and between 0 and 07777`,
    'a symbolic mode like u+x,go=r will do, too',
  )
}

/** The sources in the order in which they are copied: files first, then here-documents. */
function* planSources(
  lowering: StageLowering,
  step: Step,
  instruction: CopyInstruction,
  { files, add }: CopyRequest,
  { parents, details }: { readonly parents: boolean; readonly details: VertexDetails },
): Generator<PlannedSource> {
  checkChecksum(step, instruction, add)
  for (const word of instruction.sources) {
    const place = placeIn(step, word.span)
    const text = lowering.expand(step, word)
    checkNul(text, place)
    const remote = remoteSource(text, { add, place, plan: lowering.plan, details })
    if (remote === undefined)
      yield localSource(text, lowering, files(), { parents, unpack: add === undefined ? false : (add.unpack ?? true) })
    else yield remote
  }
  if (instruction.heredocs.length > 0) yield* inlineSources(lowering, step, instruction.heredocs)
}

/** The kernel ends a path at a NUL byte, so no file has one in its name. */
function checkNul(path: string, place: Place): void {
  if (!path.includes('\0')) return
  throw problem(place, 'DOCKERFILE_BAD_ARGUMENT', 'there is a NUL byte in this path', 'take it out: no file has one in its name')
}

/** A here-document that is no such: its mark apart from its word (RUN allows that, COPY and ADD do not), or the shell's `<<<`. */
function checkHeredocMiss(text: string, { kind, sources, destination }: CopyInstruction, place: Place): void {
  const name = kind.toUpperCase()
  if (/^\d*<<-?$/.test(text)) {
    const next = [...sources, destination].find(({ span }) => span.start > place.span.start)?.text ?? 'EOF'
    const message = `"${text}" stands apart from its word, so ${name} takes both for files`
    throw problem(place, 'DOCKERFILE_BAD_ARGUMENT', message, `write ${text}${next} without a blank`)
  }
  if (!/^<<<[^<]/.test(text)) return
  throw problem(
    place,
    'DOCKERFILE_BAD_ARGUMENT',
    `"${text}" is no here-document of ${name}`,
    `write <<${text.slice(3)} and the text in lines of its own`,
  )
}

function checkChecksum(step: Step, instruction: CopyInstruction, add: AddFlags | undefined): void {
  const flag = findFlag(instruction, 'checksum')
  if (flag === undefined || add?.checksum === undefined) return
  if (instruction.sources.length + instruction.heredocs.length === 1 && instruction.heredocs.length === 0) return
  throw problem(placeIn(step, flag.span), 'DOCKERFILE_BAD_FLAG', "--checksum can't be specified for several sources")
}

/** Here-documents become files named like their delimiters; of two with one name the last body counts (semantics.md 18–20). */
function* inlineSources(lowering: StageLowering, step: Step, heredocs: readonly Heredoc[]): Generator<PlannedSource> {
  const contents = new Map(heredocs.map((heredoc) => [heredoc.name, contentOf(lowering, step, heredoc)]))
  const files = [...contents].map(([name, content]) => ({ name, content, mode: 0o644 }))
  const op: InlineOp = { kind: 'inline', files }
  const vertex = lowering.plan.add(op, [], { name: '[internal] preparing inline document', ignoreCache: false })
  for (const { name } of heredocs) {
    const source = { path: name, wildcard: false, unpack: 'never' as const, keepOwner: false }
    yield { vertex, source, shown: `<<${name}` }
  }
}

function contentOf(lowering: StageLowering, step: Step, { content, expand, contentSpan }: Heredoc): string {
  if (!expand) return content
  const expanded = expandWord(content, lowering.state.env, { mode: 'heredoc' })
  if (expanded.problem === undefined) return expanded.value
  const { code, message, hint, offset } = expanded.problem
  const exact = step.source.text.slice(contentSpan.start, contentSpan.end) === content
  const span = exact ? { start: contentSpan.start + offset, end: contentSpan.end } : contentSpan
  throw problem(placeIn(step, span), code, message, hint)
}
