/** What is read of the contexts before a build. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readLocalFiles } from '../../src/engine/dockerfile.js'

test('a build context cannot take a reserved name, and other names work', () => {
  const context = mkdtempSync(join(tmpdir(), 'mille-test-'))
  try {
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\n')
    const read = (name: string): unknown => {
      try {
        return readLocalFiles({ context, buildContexts: { [name]: context } })?.directories.get(name)?.()
      } catch (error) {
        return (error as { readonly code?: string }).code
      }
    }
    assert.equal(read('other'), { path: context })
    assert.is(read('context'), 'CONTEXT_UNSUPPORTED')
    assert.is(read('scratch'), 'CONTEXT_UNSUPPORTED')
  } finally {
    rmSync(context, { recursive: true })
  }
})

test.run()
