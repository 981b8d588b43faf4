/** `# syntax=`: Docker's names are accepted, other frontends are refused where they are named. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from '../../grammar/parse.js'
import { lintSource } from '../../src/check.js'
import { renderDiagnostic, renderError } from '../../src/core/render.js'
import { checkSyntax } from '../../src/frontend/syntax.js'
import { makeBench } from '../helpers/engine.js'

function check(text: string, buildArgs: Readonly<Record<string, string>> = {}): string {
  const found = checkSyntax(parse({ name: 'Dockerfile', text }).ast, buildArgs)
  return found.map((diagnostic) => renderDiagnostic(diagnostic, { color: false })).join('')
}

test('docker/dockerfile and -upstream are accepted with any tag and digest, from any registry', () => {
  const digest = `sha256:${'0a'.repeat(32)}`
  for (const name of ['docker/dockerfile', 'docker/dockerfile:1', `docker/dockerfile:1.7-labs@${digest}`, 'mille/labs']) {
    assert.is(check(`# syntax=${name}\nFROM scratch\n`), '')
  }
  for (const prefix of ['docker.io/', 'mirror.gcr.io/', 'localhost/', 'registry:5000/mirrors/hub/']) {
    assert.is(check(`# syntax=${prefix}docker/dockerfile-upstream:master\nFROM scratch\n`), '')
  }
})

test('another frontend is refused at its place, in every form', () => {
  const message = check('# escape=`\n#syntax = acme/frontend:2\nFROM scratch\n')
  assert.match(message, 'Dockerfile:2:1: error: the directive syntax names the frontend "acme/frontend:2"')
  assert.match(check('//syntax=acme/x\n{}'), 'Dockerfile:1:10: error')
  assert.match(check('#!/usr/bin/env x\n# syntax=acme/x\n'), 'Dockerfile:2:10: error')
  assert.match(check('{"syntax": "acme/x"}'), 'names the frontend "acme/x"')
  for (const name of ['dockerfile', 'docker/dockerfile-copy:1', 'evil/docker/dockerfile', 'docker/dockerfile:', 'mille/labs2']) {
    assert.match(check(`# syntax=${name}\nFROM scratch\n`), 'which mille cannot run', name)
  }
})

test('the build argument counts before the directive', () => {
  assert.is(check('# syntax=acme/x\nFROM scratch\n', { BUILDKIT_SYNTAX: 'docker/dockerfile:1' }), '')
  assert.match(check('FROM scratch\n', { BUILDKIT_SYNTAX: 'acme/x' }), 'the build argument BUILDKIT_SYNTAX names')
})

test('lint says it too, and nothing of what the parser makes of another language', async () => {
  const { errors } = await lintSource({ name: 'x', text: '# syntax=acme/x\nbuild the thing\n' })
  assert.equal(
    errors.map(({ code }) => code),
    ['DOCKERFILE_UNSUPPORTED'],
  )
})

test('a here-document that is none is told from a missing file', async () => {
  const build = async (line: string): Promise<string> => {
    using bench = await makeBench({ base: false })
    bench.write({ Dockerfile: `FROM scratch\n${line}\nbody\nEOF\n` })
    try {
      await bench.build()
    } catch (error) {
      return renderError(error, { color: false }).replaceAll(`${bench.context}/`, '')
    }
    return 'built'
  }
  const apart = await build('COPY << EOF /x')
  assert.match(apart, /^Dockerfile:2:6: error: "<<" stands apart from its word/)
  assert.match(apart, 'write <<EOF without a blank')
  assert.match(await build('ADD <<- EOF /x'), 'write <<-EOF without a blank')
  assert.is(await build('COPY <<EOF /x'), 'built')
})

test.run()
