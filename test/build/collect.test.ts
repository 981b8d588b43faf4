/** Collections that the library is asked for. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { GcSettings } from '../../src/index.js'
import { makeBench } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'

const tight: GcSettings = { maxUsed: { bytes: 1.5e6 }, reserved: { bytes: 0 }, minFree: { bytes: 0 } }

test('a build of the library collects when it is told to, also one that fails, and nothing without that', async () => {
  using bench = await makeBench({ base: false })
  const build = async (letter: string, more: object = {}) => {
    bench.write({ Dockerfile: `FROM scratch\nCOPY ${letter} /\n`, [letter]: letter.repeat(1_000_000) })
    return await bench.build({ tags: ['app'], ...more })
  }
  for (const letter of ['a', 'b', 'c']) assert.is((await build(letter)).collected, undefined)
  await build('a')
  assert.equal(bench.ran(), [], 'all three are in the store')
  const { collected } = await build('d', { collect: tight })
  assert.ok((collected?.count ?? 0) >= 2 && (collected?.bytes ?? 0) >= 1_500_000, JSON.stringify(collected))
  assert.is((await build('d', { collect: tight })).collected, undefined, 'it is not time for one again')
  for (const letter of ['b', 'c']) {
    await build(letter)
    assert.equal(bench.ran(), [`COPY ${letter} /`], 'what was used longest ago went')
  }
  bench.write({ Dockerfile: 'FROM scratch\nCOPY none /\n' })
  await failure(bench.build({ collect: tight }))
  await build('a')
  assert.equal(bench.ran(), ['COPY a /'], 'a build that failed collected, too')
})

test.run()
