/** INCLUDE behind `# syntax=mille/labs`. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lintFile } from '../../src/check.js'
import { renderError } from '../../src/core/render.js'
import type { BuildOptions } from '../../src/engine/options.js'
import { type Bench, makeBench } from '../helpers/engine.js'

const labs = '# syntax=mille/labs\n'

async function withBench(work: (bench: Bench) => Promise<void>): Promise<void> {
  using bench = await makeBench({ base: false })
  await work(bench)
}

async function failure(
  bench: Bench,
  files: Readonly<Record<string, string>>,
  options: Partial<BuildOptions> = {},
): Promise<string> {
  bench.write(files)
  try {
    await bench.build(options)
  } catch (error) {
    return renderError(error, { color: false }).replaceAll(`${bench.context}/`, '')
  }
  throw new Error('it was built')
}

test('included instructions stand in place of their lines, nested ones beside their own file', () =>
  withBench(async (bench) => {
    bench.write({
      Dockerfile: `${labs}INCLUDE parts/base\nCOPY f /last\ninclude /more\n`,
      'parts/base': '# escape=\\\nFROM scratch AS base\nINCLUDE sub/labels\nENV A=1',
      'parts/sub/labels': 'LABEL from="parts/sub" \\\n  two=2\n',
      more: 'COPY <<EOF /doc\nINCLUDE nothing\nEOF\nWORKDIR /$A\n',
      f: 'f',
    })
    const dest = join(bench.directory, 'out')
    const { imageId } = await bench.build({ tags: ['inc'], outputs: [{ type: 'image' }, { type: 'local', dest }] })
    assert.is(readFileSync(join(dest, 'doc'), 'utf8'), 'INCLUDE nothing\n')
    const config = JSON.parse(readFileSync(join(bench.root, 'blobs/sha256', imageId.slice(7)), 'utf8'))
    assert.equal(config.config.Labels, { from: 'parts/sub', two: '2' })
    assert.is(config.config.WorkingDir, '/1')
    await bench.build({ tags: ['inc'] })
    assert.equal(bench.ran(), [])
    bench.write({ 'parts/sub/labels': 'LABEL changed=yes\n' })
    assert.is.not((await bench.build()).imageId, imageId)
  }))

test('mistakes are shown in the file and line that they are in', () =>
  withBench(async (bench) => {
    const base = { Dockerfile: `${labs}FROM scratch\nINCLUDE a.inc\n` }
    assert.match(
      await failure(bench, { ...base, 'a.inc': '\nLABEL x=1\nCOPY nope /\n' }),
      /^a\.inc:3:1: error: "nope" does not exist/,
    )
    assert.match(await failure(bench, { ...base, 'a.inc': '\nRUNN x\n' }), /^a\.inc:2:1: error: unknown instruction "RUNN"/)
    assert.match(await failure(bench, { ...base, 'a.inc': 'STOPSIGNAL nope\n' }), /^a\.inc:1:12: error/)
    assert.match(
      await failure(bench, { ...base, 'a.inc': 'COPY <<E /\nbody\n' }),
      /a\.inc:1:6: error: the here-document "E" has no end/,
    )
    const after = { Dockerfile: `${labs}FROM scratch\nINCLUDE a.inc\nCOPY later /\n`, 'a.inc': 'LABEL a=1\n\n\n' }
    assert.match(await failure(bench, after), /^Dockerfile:4:1: error: "later" does not exist/)
    const { findings } = await lintFile(join(bench.context, 'Dockerfile'))
    assert.is(findings.length, 0)
  }))

test('what cannot be included is an error at the INCLUDE line', () =>
  withBench(async (bench) => {
    const file = (line: string): Record<string, string> => ({ Dockerfile: `${labs}FROM scratch\n${line}\n` })
    assert.match(await failure(bench, file('INCLUDE gone')), /^Dockerfile:3:9: error: there is no file "gone" in the context/)
    assert.match(await failure(bench, file('INCLUDE ../x')), 'leads out of the context')
    assert.match(await failure(bench, file('INCLUDE $X')), 'without quotes, blanks and variables')
    assert.match(await failure(bench, file('INCLUDE --from=lib x')), 'no directory of the name "lib"')
    assert.match(await failure(bench, file('INCLUDE --form=lib x')), 'INCLUDE has no flag "--form"')
    symlinkSync('/etc/passwd', join(bench.context, 'link'))
    assert.match(await failure(bench, file('INCLUDE link')), 'a link that leads out of the context')
    const circle = { ...file('INCLUDE a'), a: 'INCLUDE b\n', b: 'LABEL b=1\nINCLUDE a\n' }
    assert.match(await failure(bench, circle), /^b:2:9: error: "a" includes itself/)
    const deep = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`d${i}`, `INCLUDE d${i + 1}\n`]))
    assert.match(await failure(bench, { ...file('INCLUDE d0'), ...deep }), 'more than 16 deep')
    assert.match(
      await failure(bench, { ...file('INCLUDE open'), open: 'LABEL a=1 \\\n' }),
      '"open" ends inside of an instruction',
    )
    assert.match(await failure(bench, { ...file('INCLUDE tick'), tick: '# escape=`\nLABEL a=1\n' }), 'another escape character')
    assert.match(await failure(bench, { ...file('INCLUDE other'), other: '# syntax=acme/x\nLABEL a=1\n' }), /^other:1:1: error/)
  }))

test('another context is named with --from, and what it includes is looked for there', () =>
  withBench(async (bench) => {
    const lib = join(bench.directory, 'lib')
    mkdirSync(join(lib, 'x'), { recursive: true })
    writeFileSync(join(lib, 'x/one'), 'FROM scratch\nINCLUDE two\n')
    writeFileSync(join(lib, 'x/two'), 'COPY missing /\n')
    const files = { Dockerfile: `${labs}INCLUDE --from=lib x/one\n` }
    assert.match(await failure(bench, files, { buildContexts: { lib } }), /^lib:x\/two:1:1: error: "missing" does not exist/)
  }))

test('without the directive INCLUDE is unknown, and the message says how to have it', () =>
  withBench(async (bench) => {
    const message = await failure(bench, { Dockerfile: '# syntax=docker/dockerfile:1\nFROM scratch\nINCLUDE a\n', a: '' })
    assert.match(message, /^Dockerfile:3:1: error: unknown instruction "INCLUDE"/)
    assert.match(message, 'put "# syntax=mille/labs" on the first line')
  }))

test.run()
