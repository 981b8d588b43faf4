/** Symbolic modes; what they give was compared with Docker 28 for each of these. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseMode } from '../../src/ops/chmod.js'

const octal = (mode: number | undefined): string | undefined => mode?.toString(8)

for (const [text, before, file, directory] of [
  ['u=rwX,go=rX', '4755', '755', '755'],
  ['u=rwX,go=rX', '400', '644', '755'],
  ['a=r', '1777', '1444', '1444'],
  ['a=r', '2755', '444', '444'],
  ['u=', '6700', '2000', '2000'],
  ['g=u', '2711', '2771', '2771'],
  ['u+t', '644', '1644', '1644'],
  ['o+t', '644', '644', '644'],
  ['a-x,a+X', '2711', '2711', '2711'],
  ['u=rwxs', '0', '4700', '4700'],
  ['u=r+x', '6700', '2500', '2500'],
] as const) {
  test(`--chmod=${text} on ${before}`, () => {
    const change = parseMode(text)
    const mode = Number.parseInt(before, 8)
    assert.is(octal(change?.(mode, false)), file)
    assert.is(octal(change?.(mode, true)), directory)
  })
}

test('no mode is made of anything else', () => {
  for (const text of ['', 'u', '8', '10000', 'u=rg', 'z+x', 'u+x,', '+q']) assert.is(parseMode(text), undefined, text)
})

test.run()
