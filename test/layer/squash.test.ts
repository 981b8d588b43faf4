/** Squashed layers show what the layers showed, on whatever is below, and say nothing that is not needed. */
import { linkSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { makeNode } from '../../src/io/sys.js'
import { layerStack } from '../../src/layer/stack.js'
import { squashLayerTask } from '../../src/layer/tasks.js'
import { walkLayer } from '../../src/layer/walk.js'
import { isWhiteout } from '../../src/layer/whiteout.js'
import { describe, fillLayer, randomFrom } from '../helpers/random-layers.js'
import { tempDirectory } from '../helpers/temp-store.js'

function makeDirectory(path: string): string {
  mkdirSync(path, { recursive: true })
  return path
}

test('random stacks look the same before and after', async () => {
  await using temp = await tempDirectory()
  for (let seed = 0; seed < 25; seed++) {
    const layers = [0, 1, 2, 3].map((i) => makeDirectory(join(temp.path, `${seed}`, `${i}`)))
    const random = randomFrom(seed)
    for (const [i, layer] of layers.entries()) fillLayer(layer, random, 3, i === 0)
    for (const keep of [0, 1, 2]) {
      const [lower, upper] = [layers.slice(0, keep), layers.slice(keep)]
      const target = makeDirectory(join(temp.path, `${seed}`, `squashed${keep}`))
      await squashLayerTask({ uppers: upper, hostLowers: lower, target })
      assert.equal(describe(layerStack([...lower, target])), describe(layerStack(layers)), `seed ${seed}, ${keep} kept`)
      const below = layerStack(lower)
      const markers = [...walkLayer(target)].filter(({ type }) => type === 'whiteout' || type === 'opaque')
      for (const { path, type } of markers) {
        const hidden = below.lstat(`/${path}`)
        assert.ok(type === 'opaque' ? hidden?.type === 'directory' : hidden, `${type} ${path} hides nothing, seed ${seed}`)
      }
    }
  }
})

test('hard links stay links among the names that are left', async () => {
  await using temp = await tempDirectory()
  const [one, two, target] = ['1', '2', 'target'].map((name) => makeDirectory(join(temp.path, name)))
  if (one === undefined || two === undefined || target === undefined) throw new Error('no directories')
  writeFileSync(join(one, 'a'), 'same')
  for (const name of ['b', 'c']) linkSync(join(one, 'a'), join(one, name))
  makeNode(join(two, 'a'), 'character', 0, 0)
  await squashLayerTask({ uppers: [one, two], hostLowers: [], target })
  const [b, c] = ['b', 'c'].map((name) => lstatSync(join(target, name)))
  assert.is(b?.ino, c?.ino)
  assert.is(b?.nlink, 2)
  assert.is(lstatSync(join(target, 'a'), { throwIfNoEntry: false }), undefined)
  const kept = makeDirectory(join(temp.path, 'kept'))
  await squashLayerTask({ uppers: [two], hostLowers: [one], target: kept })
  assert.ok(isWhiteout(lstatSync(join(kept, 'a'))))
})

test.run()
