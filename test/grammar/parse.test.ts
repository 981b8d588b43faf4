/** The parser as a whole: several mistakes, spans, limits. Trees of ordinary files are in the golden folders. */
import { Lexer } from 'chevrotain'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Instruction } from '../../grammar/ast.js'
import { makeLexer } from '../../grammar/lexer.js'
import { parse } from '../../grammar/parse.js'
import { DockerfileParser, sharedParser } from '../../grammar/parser.js'

function parseText(text: string): ReturnType<typeof parse> {
  return parse({ name: 'Dockerfile', text })
}

function codes(text: string): string[] {
  return parseText(text).diagnostics.map(({ code }) => code)
}

test('the grammar and the token definitions stand up to all of chevrotain’s checks', () => {
  assert.not.throws(() => new DockerfileParser({ skipValidations: false }))
  for (const escapeChar of ['\\', '`'] as const) {
    const lexer = makeLexer(escapeChar, { skipValidations: false, safeMode: true })
    assert.instance(lexer, Lexer)
    assert.equal(lexer.lexerDefinitionErrors, [])
  }
})

test('one parser serves the whole process', () => {
  assert.is(sharedParser(), sharedParser())
})

test('three mistakes give three messages, in the order of the file, and the rest is still read', () => {
  const { ast, diagnostics } = parseText('FROM a\nRUNN x\nCOPY --form=b c d\nEXPOSE\nCMD ["ok"]\n')
  assert.equal(
    diagnostics.map(({ code, hint }) => [code, hint]),
    [
      ['DOCKERFILE_UNKNOWN_INSTRUCTION', 'did you mean RUN?'],
      ['DOCKERFILE_UNKNOWN_FLAG', 'did you mean --from?'],
      ['DOCKERFILE_BAD_ARGUMENT', 'write EXPOSE PORT[/PROTOCOL] …'],
    ],
  )
  assert.equal(
    ast.instructions.map(({ kind }) => kind),
    ['from', 'copy', 'cmd'],
  )
})

test('a keyword, a flag and a word may be cut by continuations, and their spans lead back to the source', () => {
  const text = 'FR\\\nOM --plat\\\n# between\nform=linux/a\\\nrm64 al\\\npine\n'
  const [from] = parseText(text).ast.instructions
  assert.is(from?.kind, 'from')
  if (from?.kind !== 'from') return
  assert.is(from.keyword, 'FROM')
  assert.equal(from.flags[0]?.value, 'linux/arm64')
  assert.is(from.base.text, 'alpine')
  assert.is(text.slice(from.base.span.start, from.base.span.end), 'al\\\npine')
  assert.is(text.slice(from.span.start, from.span.end), text.trimEnd())
})

test('a line of 65,535 bytes is read and one of 65,536 is an error, counted as UTF-8', () => {
  assert.equal(codes(`RUN ${'a'.repeat(65_531)}\n`), [])
  assert.equal(codes(`RUN ${'a'.repeat(65_532)}\n`), ['DOCKERFILE_SYNTAX'])
  assert.equal(codes(`RUN ${'é'.repeat(32_765)}a\n`), [])
  assert.equal(codes(`RUN ${'é'.repeat(32_766)}\n`), ['DOCKERFILE_SYNTAX'])
})

test('a directive ends the section for the ones after a blank line, and an unknown one does too', () => {
  assert.is(parseText('# escape=`\nFROM a\n').ast.escape, '`')
  assert.is(parseText('\n# escape=`\nFROM a\n').ast.escape, '\\')
  assert.is(parseText('# unknown=1\n# escape=`\nFROM a\n').ast.escape, '\\')
  assert.is(parseText('# syntax=x\n# EsCaPe = `\nFROM a\n').ast.escape, '`')
})

test('two here-documents with one name share the last body', () => {
  const [copy] = parseText('COPY <<A <<A /d/\nfirst\nA\nsecond\nA\n').ast.instructions
  assert.equal(copy?.kind === 'copy' && copy.heredocs.map(({ content }) => content), ['second\n', 'second\n'])
})

test('a here-document whose line has unmatched quotes is an error, not an empty file', () => {
  assert.ok(codes("COPY <<EOF it's /d\nEOF\n").includes('DOCKERFILE_SYNTAX'))
})

test('a here-document mark in JSON form is an ordinary name', () => {
  const [copy, run] = parseText('COPY ["<<EOF", "/d"]\nRUN ["<<EOF"]\n').ast.instructions
  assert.equal(copy?.kind === 'copy' && copy.sources.map(({ text }) => text), ['<<EOF'])
  assert.is(run?.kind === 'run' && run.heredocs.length, 0)
})

test('a bare -- ends the flags', () => {
  const [run, other] = parseText('RUN --network=none -- --mount=x y\nRUN -- -- z\n').ast.instructions
  assert.equal(
    run?.flags.map(({ name }) => name),
    ['network'],
  )
  assert.is(run?.kind === 'run' && run.command.form === 'shell' && run.command.text, '--mount=x y')
  assert.is(other?.kind === 'run' && other.command.form === 'shell' && other.command.text, '-- z')
})

test('CMD, ENTRYPOINT and RUN without arguments are the shell form of nothing', () => {
  for (const { kind, ...rest } of parseText('CMD\nENTRYPOINT\nRUN\n').ast.instructions) {
    assert.equal('command' in rest && rest.command?.form === 'shell' && rest.command.text, '', kind)
  }
})

test('what ONBUILD stores is the trigger as written with its here-documents', () => {
  const [onbuild] = parseText('onbuild   copy <<-A /d\n\tx\n\tA\n').ast.instructions
  assert.is(onbuild?.kind === 'onbuild' && onbuild.text, 'copy <<-A /d\n\tx\nA')
})

test('ten thousand instructions, wrong ones too, are all read', () => {
  const count = 10_000
  assert.is(parseText('RUN echo hello\n'.repeat(count)).ast.instructions.length, count)
  assert.is(parseText('RNU echo hello\n'.repeat(count)).diagnostics.length, count)
})

test('nesting, lists and continuations of any length need no stack', () => {
  const count = 50_000
  const texts = [
    `RUN cat <<E ${'${a:-'.repeat(10_000)}\n`,
    `${'ONBUILD '.repeat(8_000)}RUN x\n`,
    `EXPOSE ${'a '.repeat(30_000)}\n`,
    `CMD ${'['.repeat(30_000)}${']'.repeat(30_000)}\n`,
    `CMD [${'"a",'.repeat(15_000)}"b"]\n`,
    `ENV ${'a=b '.repeat(15_000)}\n`,
    `RUN ${'a \\\n'.repeat(count)}b\n`,
    `ENV A="${'b\\\n'.repeat(count)}"\n`,
  ]
  for (const text of texts) assert.not.throws(() => parseText(text), undefined, text.slice(0, 20))
})

test('time grows with the length of the file, not with its square', () => {
  const makers: ((size: number) => string)[] = [
    (size) => 'RUN a b c\n'.repeat(size),
    (size) => `RUN ${'x \\\n'.repeat(size)}y\n`,
    (size) => 'COPY <<E /d\nx\nE\n'.repeat(size),
    (size) => `RUN <<E\n${'line\n'.repeat(size)}E\n`,
    (size) => `# check=skip=A${' '.repeat(5 * size)}b\n`,
    (size) => `HEALTHCHECK --interval=${'1'.repeat(5 * size)} CMD a\n`,
    (size) => `ENV A=\${B//${'*a'.repeat(size)}/b}\n`,
  ]
  for (const make of makers) {
    const [small, large] = [make(1_500), make(12_000)]
    // Eight times the text: linear is 8, quadratic 64. Processor time of this process only; the best of three.
    const ratio = Math.min(...[1, 2, 3].map(() => cpuOf(large) / Math.max(cpuOf(small), 1_000)))
    assert.ok(ratio < 32, `${ratio.toFixed(1)} times as long for 8 times the text ${JSON.stringify(small.slice(0, 20))}`)
  }
})

function cpuOf(text: string): number {
  const before = process.cpuUsage()
  parseText(text)
  const { user, system } = process.cpuUsage(before)
  return user + system
}

test('every kind of instruction has its rest of the line without the keyword', () => {
  const rests = parseText('from  a  as b\nRUN --network=none x \\\n  y  \n').ast.instructions.map(({ rest }: Instruction) => rest)
  assert.equal(rests, ['a  as b', '--network=none x   y'])
})

test.run()
