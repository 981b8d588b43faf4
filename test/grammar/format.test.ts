/** `formatDockerfile`: the same meaning in another layout, over every Dockerfile at hand and over generated ones. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDockerfile } from '../../grammar/format.js'
import { meaningOf } from '../../grammar/meaning.js'
import { parse } from '../../grammar/parse.js'
import { projectRoot } from '../helpers/cli.js'

function hasErrors(text: string): boolean {
  return parse({ name: 'Dockerfile', text }).diagnostics.some(({ severity }) => severity === 'error')
}

/** Formats a text, checks the two properties, returns the result. */
function checked(text: string, name: string): string {
  const formatted = formatDockerfile({ name, text })
  const meaning = (each: string): string => meaningOf(parse({ name: 'Dockerfile', text: each }).ast)
  assert.is(meaning(formatted), meaning(text), `${name} means the same`)
  assert.is(formatDockerfile({ name, text: formatted }), formatted, `formatting ${name} twice changes nothing`)
  return formatted
}

/** All comments of a text: `#` lines outside here-documents are hard to tell, so all lines that begin with one. */
function commentsOf(text: string): string[] {
  return (
    text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line.startsWith('#') && line !== '#')
      .map((line) => line.replace(/^#\s*/, '').replace(/\s*=\s*/, '='))
      // The names of directives are written in lower case.
      .map((line) => line.replace(/^(escape|syntax|check)=/i, (name) => name.toLowerCase()))
      .sort()
  )
}

test('formatting every Dockerfile of the fixtures keeps its meaning and its comments', () => {
  const root = join(projectRoot, 'fixtures')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('Dockerfile'))
  assert.ok(files.length > 20)
  for (const file of files) {
    const text = readFileSync(join(root, file), 'utf8')
    if (hasErrors(text)) continue
    assert.equal(commentsOf(checked(text, file)), commentsOf(text), `${file} keeps its comments`)
  }
})

test('formatting real Dockerfiles keeps their meaning and their comments', () => {
  const folder = join(process.env.MILLE_VECTORS ?? join(projectRoot, '../shared/vectors'), 'realworld/files')
  if (!existsSync(folder)) {
    process.stdout.write(`SKIP: the real Dockerfiles are not in ${folder}\n`)
    return
  }
  let count = 0
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8')
    if (!/Dockerfile|Containerfile/.test(file) || hasErrors(text)) continue
    count++
    assert.equal(commentsOf(checked(text, file)), commentsOf(text), `${file} keeps its comments`)
  }
  assert.ok(count > 100, `only ${count} files were formatted`)
})

test('the layout is canonical', () => {
  const text = [
    '',
    '#syntax is explained elsewhere',
    'arg  version=1',
    '',
    '',
    'from   debian    as   build  ',
    'env A=1   B="two  words" \\  ',
    '',
    '  # why C',
    '     C=3',
    'copy   --from=x    a   b   /c/',
    'cmd [ "a" ,"b" ]',
    'run  echo   one  && \\',
    '       two',
    '# the last',
    '# stage',
    'from scratch',
    'healthcheck   none',
    '',
  ].join('\n')
  const expected = [
    '# syntax is explained elsewhere',
    'ARG version=1',
    '',
    'FROM debian AS build',
    'ENV A=1 B="two  words" \\',
    '    # why C',
    '    C=3',
    'COPY --from=x a b /c/',
    'CMD ["a", "b"]',
    'RUN echo   one  && \\',
    '       two',
    '',
    '# the last',
    '# stage',
    'FROM scratch',
    'HEALTHCHECK NONE',
    '',
  ].join('\n')
  assert.is(checked(text, 'a text'), expected)
})

test('here-documents, triggers and quoted line ends are left to the letter', () => {
  const body = 'run <<A cat <<-B\n  \n\n\tx  \nA\n\t y\n\tB\nonbuild   run   x  y\nenv K="a \\\n   b"\n'
  const text = `FROM scratch\n${body}`
  const expected = 'FROM scratch\nRUN <<A cat <<-B\n  \n\n\tx  \nA\n\t y\n\tB\nONBUILD run   x  y\nENV K="a \\\n   b"\n'
  assert.is(checked(text, 'a text'), expected)
})

test('a comment that looks like a directive does not become one', () => {
  const text = '\n\n# escape=`\nFROM scratch\nRUN a \\\n b\n'
  assert.is(checked(text, 'a text'), '\n# escape=`\nFROM scratch\nRUN a \\\n b\n')
})

/** A small generator of numbers that is the same everywhere. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const fragments = [
  ...['FROM a', 'from b as c', 'FROM --platform=$X d AS e', 'ARG A', 'ARG A=1 B="2 3"', 'ENV k v  w', 'env a=b   c=d'],
  ...[
    'LABEL a="b \\\n  c"',
    'COPY a b',
    'COPY  --link   a \\\n # c\n\n  b/ c/',
    'ADD ["a b" , "c"]',
    'RUN x  y',
    'RUN ["a",  "b"]',
  ],
  ...['RUN --mount=type=cache,target=/x   y \\\n  && z \\\n # comment\n  && w', 'RUN <<E\n a\n#b\n\nE', 'COPY <<"E" /x\n$a\nE'],
  ...[
    'EXPOSE 80   81/tcp',
    'VOLUME /a   /b',
    'USER  a:b',
    'WORKDIR  /a b',
    'STOPSIGNAL  9',
    'HEALTHCHECK --interval=5s   CMD  x y',
  ],
  ...[
    'SHELL [ "a","b" ]',
    'ONBUILD  RUN  x',
    'CMD   a b',
    'ENTRYPOINT [ "a" ]',
    'MAINTAINER  me',
    '# comment',
    '#comment',
    '#',
    '',
    '  ',
  ],
  ...[
    '\t# indented',
    '#check=skip=all',
    '# syntax=x',
    'RUN a\\\nb',
    'COPY a\\\nb c',
    'RUN a \\',
    'RUN x \\   \r',
    'RUN  --   -x',
    'COPY --link  --  a b',
  ],
]

test('formatting generated Dockerfiles keeps their meaning', () => {
  let count = 0
  for (let seed = 1; seed <= 1_500; seed++) {
    const next = numbers(seed)
    const lines = Array.from({ length: 1 + next(9) }, () => fragments[next(fragments.length)] ?? '')
    const text = ['FROM z', '', ...lines].slice(next(3)).join(next(5) === 0 ? '\r\n' : '\n')
    if (hasErrors(text)) continue
    count++
    checked(text, `seed ${seed}:\n${text}`)
  }
  assert.ok(count > 300, `only ${count} files were valid`)
})

test.run()
