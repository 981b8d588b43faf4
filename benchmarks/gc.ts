/**
 * How long it takes to remove 10,000 cache records: 2,000 layers of two files each, and five records on each layer.
 *
 * The store is made through the library, so nothing is built; what is timed is the collection alone.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DiffID } from '../src/core/digest.js'
import { digestOf } from '../src/core/digest.js'
import type { GcRule } from '../src/store/choose.js'
import { collectGarbage } from '../src/store/gc.js'
import { openStore } from '../src/store/store.js'
import type { OwnQuestion } from './harness.js'

const layers = 2_000
const recordsOnEach = 5

/** The question: a store is filled anew for each round. */
export function gcQuestion(scratch: string): OwnQuestion {
  const count = layers * recordsOnEach
  return {
    title: 'GC of a large store',
    size: `${count.toLocaleString('en')} records, ${layers.toLocaleString('en')} layers, all removed`,
    rounds: 3,
    async measure(round) {
      const root = join(scratch, `${round}`)
      await fillStore(root)
      const started = performance.now()
      await removeAll(root, count)
      const seconds = (performance.now() - started) / 1000
      rmSync(root, { recursive: true, force: true })
      return seconds
    },
  }
}

async function fillStore(root: string): Promise<void> {
  await using store = await openStore(root)
  for (let i = 0; i < layers; i++) {
    const diffId = digestOf(`layer ${i}`) as string as DiffID
    const snapshot = await store.snapshots.prepare()
    mkdirSync(`${snapshot.upper}/d`)
    for (const name of ['a', 'b']) writeFileSync(`${snapshot.upper}/d/${name}`, `${i}`)
    store.layers.save({ diffId, size: 8, snapshot: await snapshot.commit(''), blobs: [], sources: [] })
    await snapshot[Symbol.asyncDispose]()
    for (let j = 0; j < recordsOnEach; j++) {
      const key = digestOf(`record ${i} ${j}`)
      const common = { by: 'definition', createdAt: 1, size: 8, components: { op: 'x'.repeat(400) } } as const
      store.records.save({ ...common, key, layers: [diffId], layerTimes: [1], name: `[1/1] RUN ${i}` })
    }
  }
}

async function removeAll(root: string, count: number): Promise<void> {
  await using store = await openStore(root)
  const rule: GcRule = { matches: () => true, shared: true, internal: true, namedImages: false, reason: 'all' }
  const report = await collectGarbage(store, {
    ...{ rules: [rule], unreferenced: true, dryRun: false, signal: new AbortController().signal },
  })
  const removed = report.removed.flatMap(({ item: { content } }) => (content.kind === 'result' ? content.records : []))
  if (removed.length !== count) throw new Error(`${removed.length} of ${count} records were removed`)
}
