/** What steps that run find: their layers, their groups, the name of the stage. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { busybox, makeBench, whyNoBuild } from '../helpers/engine.js'

/** Builds a Dockerfile after `FROM busybox`; returns what its steps print. */
async function outputOf(lines: readonly string[], last = ''): Promise<string | undefined> {
  const problem = await whyNoBuild()
  if (problem !== undefined) {
    process.stdout.write(`SKIP: ${problem}\n`)
    return undefined
  }
  using bench = await makeBench()
  bench.write({ Dockerfile: `FROM ${busybox}${last}\n${lines.join('\n')}\n`, group: 'root:x:0:\nwheel:x:10:root\n' })
  await bench.build()
  return bench.output()
}

test('a step runs on layers of which two are the same', async () => {
  const output = await outputOf(['RUN true', 'RUN echo a > /a', 'RUN true', 'RUN cat /a'])
  if (output !== undefined) assert.match(output, 'a\n')
})

test('root is in its further groups, also when no USER names it', async () => {
  const output = await outputOf(['COPY group /etc/group', 'RUN id -G', 'USER 0:0', 'RUN id -G'])
  if (output !== undefined) assert.equal(output, '0 10\n0\n')
})

test('TARGETSTAGE is the name of the last stage when no target is given, and "default" when it has none', async () => {
  const lines = ['ARG TARGETSTAGE', 'RUN echo "<$TARGETSTAGE>"']
  const named = await outputOf(lines, ' AS Final')
  if (named !== undefined) assert.equal(named, '<final>\n')
  const unnamed = await outputOf(lines)
  if (unnamed !== undefined) assert.equal(unnamed, '<default>\n')
})

test.run()
