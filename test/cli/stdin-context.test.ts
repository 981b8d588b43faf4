/** Contexts on stdin, packed by the real programs. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readStdinContext } from '../../src/cli/stdin-context.js'
import { within } from '../helpers/within.js'

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100)
}

function pack(flag: string): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'mille-test-'))
  try {
    writeFileSync(join(directory, 'Dockerfile'), 'FROM scratch\n')
    return execFileSync('tar', ['-C', directory, flag, '-cf', '-', 'Dockerfile'])
  } finally {
    rmSync(directory, { recursive: true })
  }
}

for (const [program, flag] of [
  ['gzip', '-z'],
  ['bzip2', '-j'],
  ['xz', '-J'],
] as const) {
  test(`a context on stdin that ${program} compressed is unpacked, and removed when disposed`, async () => {
    const found = await within(20_000, readStdinContext(chunks(pack(flag)), new AbortController().signal))
    assert.is(readFileSync(join(found.directory, 'Dockerfile'), 'utf8'), 'FROM scratch\n')
    await found[Symbol.asyncDispose]()
    assert.not(existsSync(found.directory))
  })
}

test('a context on stdin whose xz data is cut off is an error', async () => {
  const whole = pack('-J')
  const cut = chunks(whole.subarray(0, whole.length - 20))
  const error = await within(
    20_000,
    readStdinContext(cut, new AbortController().signal).catch((reason: unknown) => reason),
  )
  assert.is((error as { readonly code?: string }).code, 'LAYER_BAD_TAR')
})

test.run()
