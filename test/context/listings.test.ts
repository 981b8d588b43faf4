/** Directories that did not change are not read again, and those that did are. */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fsPath } from '../../src/core/path-bytes.js'
import { openBench } from '../helpers/copying.js'
import { randomFrom } from '../helpers/random.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree } from '../helpers/tree.js'

/** Longer than what changed is taken to be changing still. */
const untilBelieved = 70

test('what is selected is what a build without any memo selects, whatever was made, removed and renamed', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  await using forgetful = openBench(join(temp.path, 'forgetful'))
  const files = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`d${i % 10}/e${i}/f`, `${i}`]))
  const root = makeTree(join(temp.path, 'context'), { ...files, 'empty/': '' })
  writeFileSync(fsPath(join(root, 'd1/\udce9t\udce9')), 'a name that is not UTF-8')
  const random = randomFrom(5)
  const seen = new Set<string>()
  for (let round = 0; round < 15; round++) {
    await sleep(untilBelieved)
    rmSync(join(temp.path, 'forgetful/memo'), { recursive: true, force: true })
    const found = await bench.key(bench.context(root), {})
    const looked = await forgetful.key(forgetful.context(root), {})
    assert.equal(found.components, looked.components, `round ${round}`)
    seen.add(JSON.stringify(found.components))
    const leaves = readdirSync(join(root, 'd3'))
    const leaf = join(root, 'd3', random.pick(leaves))
    const kind = round % 5
    if (kind === 0) writeFileSync(join(leaf, `new${round}`), 'new')
    else if (kind === 1) rmSync(leaf, { recursive: true })
    else if (kind === 2) renameSync(leaf, `${leaf}-renamed`)
    else if (kind === 3) mkdirSync(join(root, 'empty', `deep${round}`, 'deeper'), { recursive: true })
    // Two directories change places: each still has its inode and its names.
    else {
      renameSync(join(root, 'd4'), join(root, 'aside'))
      renameSync(join(root, 'd5'), join(root, 'd4'))
      renameSync(join(root, 'aside'), join(root, 'd5'))
    }
  }
  assert.is(seen.size, 15)
})

test('the memo is written once, and is used', async () => {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(
    join(temp.path, 'context'),
    Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`d${i}/f`, `${i}`])),
  )
  await sleep(untilBelieved)
  const first = await bench.key(bench.context(root), {})
  const memos = readdirSync(join(temp.path, 'memo')).filter((name) => name.endsWith('.dirs'))
  const [memo = ''] = memos
  if (memos.length === 0) return console.log('SKIP: listings are not remembered on this file system')
  const written = statSync(join(temp.path, 'memo', memo)).mtimeMs
  assert.equal((await bench.key(bench.context(root), {})).components, first.components)
  assert.is(statSync(join(temp.path, 'memo', memo)).mtimeMs, written)
  writeFileSync(join(temp.path, 'memo', memo), 'damaged')
  assert.equal((await bench.key(bench.context(root), {})).components, first.components)
  assert.ok(statSync(join(temp.path, 'memo', memo)).size > 1000, 'it is written anew')
})

test.run()
