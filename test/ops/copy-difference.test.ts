/** A COPY that ran before writes what is other; the layer is the same as one that is written whole (helpers/copying.ts asserts it). */
import { chmodSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openBench } from '../helpers/copying.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree, showTree } from '../helpers/tree.js'

const files = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`d${i % 5}/f${i}`, `file ${i}`]))
const destination = '/app/'

/** What each copy wrote, the first of all and one after each edit. */
async function copies(...edits: readonly ((root: string) => void)[]): Promise<string[][]> {
  await using temp = await tempDirectory()
  await using bench = openBench(temp.path)
  const root = makeTree(join(temp.path, 'context'), { ...files, link: '-> d0' })
  const written: string[][] = []
  for (const edit of [() => undefined, ...edits]) {
    edit(root)
    // What changed within the last moments is not remembered.
    await sleep(70)
    const view = bench.context(root)
    await bench.key(view, { destination })
    written.push(showTree(await bench.copy(view, { destination })))
  }
  return written
}

/** The paths that were written after one edit. */
async function writtenAfter(edit: (root: string) => void): Promise<string[]> {
  const [, written = []] = await copies(edit)
  return written.map((line) => line.split(' ')[0] ?? '')
}

test('a file that changed is written with the directories that lead to it', async () => {
  const [whole = [], changed, again] = await copies(
    (root) => writeFileSync(join(root, 'd1/f1'), 'other'),
    (root) => {
      writeFileSync(join(root, 'd2/new'), 'new')
      writeFileSync(join(root, 'd1/f6'), 'other')
    },
  )
  assert.is(whole.length, 1 + 5 + 250 + 1)
  assert.equal(changed, ['app/ 755 0:0', 'app/d1/ 755 0:0', 'app/d1/f1 644 0:0 other'])
  assert.equal(
    again?.map((line) => line.split(' ')[0]),
    ['app/', 'app/d1/', 'app/d1/f1', 'app/d1/f6', 'app/d2/', 'app/d2/new'],
    'the second difference is one from the layer that is whole, too',
  )
})

test('every change of an entry counts', async () => {
  assert.equal(await writtenAfter((root) => chmodSync(join(root, 'd1/f1'), 0o600)), ['app/', 'app/d1/', 'app/d1/f1'])
  assert.equal(await writtenAfter((root) => utimesSync(join(root, 'd1/f1'), 5, 5)), ['app/', 'app/d1/', 'app/d1/f1'])
  assert.equal(await writtenAfter((root) => utimesSync(join(root, 'd1'), 5, 5)), ['app/', 'app/d1/'])
  assert.equal(await writtenAfter((root) => mkdirSync(join(root, 'empty'))), ['app/', 'app/empty/'])
  const relink = (root: string): void => {
    rmSync(join(root, 'link'))
    symlinkSync('d1', join(root, 'link'))
  }
  assert.equal(await writtenAfter(relink), ['app/', 'app/link'])
  const fileForLink = (root: string): void => {
    rmSync(join(root, 'link'))
    writeFileSync(join(root, 'link'), 'a file')
  }
  assert.equal(await writtenAfter(fileForLink), ['app/', 'app/link'])
  const hidden = (root: string): void => {
    utimesSync(join(root, 'd1/f1'), 5, 5)
    writeFileSync(join(root, 'd1/f1'), 'FILE 1')
  }
  assert.equal(await writtenAfter(hidden), ['app/', 'app/d1/', 'app/d1/f1'])
})

test('what no difference can express is written whole', async () => {
  const whole: Readonly<Record<string, (root: string) => void>> = {
    'a deletion': (root) => rmSync(join(root, 'd1/f1')),
    'another name': (root) => renameSync(join(root, 'd1'), join(root, 'e1')),
    'a directory for a link': (root) => {
      rmSync(join(root, 'link'))
      mkdirSync(join(root, 'link'))
    },
    'a hard link': (root) => linkSync(join(root, 'd1/f1'), join(root, 'd1/hard')),
    'more than half': (root) => {
      for (let i = 0; i < 150; i++) writeFileSync(join(root, `d${i % 5}/f${i}`), 'other')
    },
  }
  for (const [what, edit] of Object.entries(whole)) assert.ok((await writtenAfter(edit)).length > 200, what)
})

test('a memo that is damaged or of a layer that is gone is no memo', async () => {
  const [, , written = []] = await copies(
    (root) => {
      writeFileSync(join(root, 'd1/f1'), 'other')
      rmSync(join(root, '../memo'), { recursive: true })
    },
    (root) => {
      const memos = join(root, '../memo')
      for (const name of readdirSync(memos)) if (name.endsWith('.copy')) writeFileSync(join(memos, name), 'damaged')
      writeFileSync(join(root, 'd1/f1'), 'another')
    },
  )
  assert.ok(written.length > 200)
})

test.run()
