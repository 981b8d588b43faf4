/**
 * mille's own rules: what the builders accept in silence and then do something else than was meant. A step here has passed
 * the parser, so each of these files would build, or fail only much later.
 */
import type { CommandLine, CopyInstruction, Instruction, RunInstruction } from '../../grammar/ast.js'
import { findFlag, findFlags, flagWord } from './expand.js'
import type { StepScope } from './lint-scope.js'
import { splitMountFields } from './mount-fields.js'

/** Runs the rules on one instruction. */
export function lintOwn(scope: StepScope): void {
  const { instruction } = scope.step
  switch (instruction.kind) {
    case 'run':
      lintFallback(scope, instruction.command)
      lintMountFrom(scope, instruction)
      lintPackageCache(scope, instruction)
      break
    case 'cmd':
    case 'entrypoint':
      lintFallback(scope, instruction.command)
      break
    case 'healthcheck':
      if (instruction.command !== undefined) lintFallback(scope, instruction.command)
      break
    case 'copy':
    case 'add':
      lintDestination(scope, instruction)
      lintOwner(scope, instruction)
      break
    case 'user':
      lintName(scope, instruction, instruction.words[0]?.text ?? '', instruction.words[0]?.span)
      break
    default:
  }
}

/** `CMD ['a', "b"]` is a shell command. A test like `[ -f x ]` is meant as one: its first word has no quote. */
function lintFallback({ step, findings }: StepScope, command: CommandLine): void {
  if (command.form === 'exec' || !/^\[\s*(['"“”‘’]|$|[^\s'"]+\s*,)/.test(command.text)) return
  const { keyword } = step.instruction
  const detail = `The arguments of ${keyword} begin with "[" but are no JSON list of strings, so a shell is given the line as it is`
  const hint = 'use double quotes, a comma between any two strings, none at the end, and \\\\ for a backslash'
  findings.add('JSONFormFallback', step.instruction, detail, { span: command.span, hint })
}

function lintMountFrom({ step, findings }: StepScope, instruction: RunInstruction): void {
  for (const flag of findFlags(instruction, 'mount')) {
    const word = flagWord(step.source, flag)
    const from = splitMountFields(word.text)?.findLast(({ key }) => key === 'from')?.value
    if (from === undefined || !/^\d+$/.test(from)) continue
    const detail = `from=${from} of a mount names the image "${from}", not stage ${from}: numbers name stages in COPY --from only`
    findings.add('NumericMountFrom', instruction, detail, { span: word.span, hint: 'give the stage a name with AS and use it' })
  }
}

/** What installs packages, what it leaves in the layer, and what takes that away. */
const packageTools = [
  {
    install: /\bapt(?:-get)?\s+(?:-\S+\s+)*(?:install|update)\b/,
    clean: /rm\s+[^;&|]*\/var\/lib\/apt\b/,
    mounts: ['/var/lib/apt', '/var/lib/apt/lists', '/var/lib', '/var'],
    left: '/var/lib/apt/lists',
    hint: 'end the RUN with "rm -rf /var/lib/apt/lists/*", or mount type=cache,target=/var/lib/apt,sharing=locked',
  },
  {
    install: /\bapk\s+(?:-\S+\s+)*(?:add|update)\b(?![^;&|]*--no-cache)(?<!--no-cache[^;&|]*)/,
    clean: /rm\s+[^;&|]*\/var\/cache\/apk\b/,
    mounts: ['/var/cache/apk', '/etc/apk/cache', '/var/cache', '/var'],
    left: '/var/cache/apk',
    hint: 'use apk add --no-cache',
  },
  {
    install: /\b(?:dnf|yum|microdnf)\s+(?:-\S+\s+)*(?:install|update|upgrade|groupinstall)\b/,
    clean:
      /\b(?:dnf|yum|microdnf)\s+(?:-\S+\s+)*clean\b|rm\s+[^;&|]*\/var\/cache\/(?:dnf|yum|libdnf5)\b|rm\s+[^;&|]*\/var\/cache\b/,
    mounts: ['/var/cache/dnf', '/var/cache/libdnf5', '/var/cache/yum', '/var/cache', '/var'],
    left: '/var/cache',
    hint: 'end the RUN with "dnf clean all", or mount type=cache,target=/var/cache/dnf',
  },
] as const

function lintPackageCache({ step, stage, input, findings }: StepScope, instruction: RunInstruction): void {
  // What a stage leaves behind matters in the image that is shipped and in stages that it is built on.
  if (!isShipped(stage.index, input.analysis)) return
  const command = instruction.command.form === 'exec' ? instruction.command.argv.join(' ') : instruction.command.text
  const text = [command, ...instruction.heredocs.map(({ content }) => content)].join('\n')
  const mounted = findFlags(instruction, 'mount').flatMap(({ value }) =>
    (splitMountFields(value ?? '') ?? []).flatMap(({ key, value: path }) =>
      ['target', 'dst', 'destination'].includes(key) ? [(path ?? '').replace(/\/$/, '')] : [],
    ),
  )
  for (const { install, clean, mounts, left, hint } of packageTools) {
    const found = install.exec(text)
    if (found === null || clean.test(text) || mounts.some((path) => mounted.includes(path))) continue
    const written = step.source.text.indexOf(found[0], instruction.span.start)
    const isInside = written >= 0 && written < instruction.span.end
    const span = isInside ? { start: written, end: written + found[0].length } : instruction.span
    const detail = `"${found[0]}" leaves its downloads in ${left} of the layer`
    findings.add('PackageCacheLeft', instruction, detail, { span, hint })
  }
}

/** The target, and the stages below it. */
function isShipped(index: number, { stages, target }: StepScope['input']['analysis']): boolean {
  for (let at = target; at !== undefined; ) {
    if (at === index) return true
    const base = stages[at]?.base
    at = base?.kind === 'stage' ? base.index : undefined
  }
  return false
}

function lintDestination({ findings }: StepScope, instruction: CopyInstruction): void {
  const count = instruction.sources.length + instruction.heredocs.length
  const { text, span } = instruction.destination
  if (count < 2 || /(^|\/)\.{0,2}["']?$/.test(text) || text.includes('$')) return
  // A here-document with a blank in it: an error that says so.
  if (instruction.sources.some((source) => /^\d*<<-?$/.test(source.text))) return
  const detail = `${instruction.keyword} has ${count} sources, so its destination "${text}" must be a directory and end with /`
  findings.add('MultipleSourcesNeedDirectory', instruction, detail, { span, hint: `write ${text}/` })
}

function lintOwner(scope: StepScope, instruction: CopyInstruction): void {
  const { step, findings } = scope
  const link = findFlag(instruction, 'link')
  const isLinked = link !== undefined && link.value?.toLowerCase() !== 'false'
  const chown = findFlag(instruction, 'chown')
  const owner = chown?.value ?? ''
  if (isLinked && chown !== undefined && hasName(owner)) {
    const detail = `--link copies without looking at the image, so --chown=${owner} cannot be looked up in it`
    findings.add('LinkWithNamedOwner', instruction, detail, { span: chown.span, hint: 'use numbers, as in --chown=1000:1000' })
    return
  }
  const chmod = findFlag(instruction, 'chmod')
  if (isLinked && chmod !== undefined) {
    const detail =
      '--chmod does not reach the directories above the destination: with --link they are made anew with mode 0755, whatever the image has there'
    findings.add('LinkWithChmod', instruction, detail, {
      span: chmod.span,
      hint: 'leave out --link, or copy to a directory that has mode 0755 anyway',
    })
  }
  if (chown !== undefined) lintName(scope, instruction, owner, flagWord(step.source, chown).span)
}

/** A name in an image that was made from nothing and has no /etc/passwd. */
function lintName({ known, findings }: StepScope, instruction: Instruction, owner: string, span = instruction.span): void {
  if (!known.isFromScratch || known.hasUsers || !hasName(owner)) return
  const detail = `"${owner}" cannot be looked up: the image starts from scratch and no /etc/passwd was copied into it`
  findings.add('UnknownOwner', instruction, detail, { span, hint: 'use a number, or COPY an /etc/passwd first' })
}

/** True for `app`, `app:1000`, `0:staff`; root needs no look-up, and what a variable holds is not known. */
function hasName(owner: string): boolean {
  return owner.split(':').some((part) => part !== '' && part !== 'root' && !part.includes('$') && !/^\d+$/.test(part))
}
