/** Recorded events for the tests of the displays. */
import type { BuildEvent } from '../../src/core/context.js'

const text = (words: string): Uint8Array => Buffer.from(words)

/** A build of four steps: one cached, one with output, a transfer, and a failure. */
export const recorded: readonly BuildEvent[] = [
  { type: 'plan', vertices: ['a', 'b', 'c', 'd'].map((id) => ({ id, name: `step ${id}` })) },
  { type: 'vertex-started', id: 'a', name: '[1/3] FROM debian', atMs: 1_000 },
  { type: 'progress', id: 'a', item: 'sha256:1234', current: 0, total: 2_500_000, done: false, atMs: 1_000 },
  { type: 'progress', id: 'a', item: 'sha256:1234', current: 1_000_000, total: 2_500_000, done: false, atMs: 1_100 },
  { type: 'progress', id: 'a', item: 'sha256:1234', current: 2_500_000, total: 2_500_000, done: true, atMs: 1_400 },
  { type: 'vertex-done', id: 'a', name: '[1/3] FROM debian', atMs: 1_500, cached: false },
  { type: 'vertex-started', id: 'b', name: '[2/3] RUN npm ci', atMs: 1_500 },
  { type: 'vertex-started', id: 'c', name: '[other 2/2] COPY . .', atMs: 1_500 },
  { type: 'log', id: 'b', atMs: 1_812, stream: 1, data: text('added 12 pack') },
  { type: 'vertex-done', id: 'c', name: '[other 2/2] COPY . .', atMs: 1_900, cached: true },
  { type: 'log', id: 'b', atMs: 2_000, stream: 1, data: text('ages\n50%\r100%\r\nlast') },
  { type: 'log', id: 'b', atMs: 2_100, stream: 2, data: text('npm warn\n') },
  { type: 'vertex-done', id: 'b', name: '[2/3] RUN npm ci', atMs: 2_700, cached: false },
  { type: 'vertex-started', id: 'd', name: '[3/3] RUN false', atMs: 2_700 },
  { type: 'vertex-done', id: 'd', name: '[3/3] RUN false', atMs: 2_800, cached: false, error: 'exited with code 1' },
]
