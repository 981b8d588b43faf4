import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { removeFiles } from '../../src/io/remove-files.js'
import { tempDirectory } from '../helpers/temp-store.js'

test('whole trees are removed, links are not followed', async () => {
  await using directory = tempDirectory()
  const tree = `${directory.path}/tree`
  mkdirSync(`${directory.path}/kept`)
  writeFileSync(`${directory.path}/kept/file`, '')
  for (let i = 0; i < 50; i++) {
    mkdirSync(`${tree}/${i}/deep/er`, { recursive: true })
    writeFileSync(`${tree}/${i}/deep/file`, '')
    symlinkSync('../../kept', `${tree}/${i}/link`)
  }
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/7/deep/`), Buffer.of(0xff)]), '')
  await removeFiles(tree)
  assert.not(existsSync(tree))
  assert.ok(existsSync(`${directory.path}/kept/file`))
})

test('a file is removed, and nothing is no error', async () => {
  await using directory = tempDirectory()
  writeFileSync(`${directory.path}/file`, '')
  await removeFiles(`${directory.path}/file`)
  assert.not(existsSync(`${directory.path}/file`))
  await removeFiles(`${directory.path}/nothing`)
})

test.run()
