/** Whole builds through the library, on a busybox base, with real containers. */
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CancelledError, DockerfileError, SandboxError } from '../../src/core/errors.js'
import { openStore } from '../../src/store/store.js'
import { benchTest, busybox } from '../helpers/engine.js'
import { failure } from '../helpers/failure.js'

const app = `FROM ${busybox}
WORKDIR /app
ENV NAME=world
COPY greeting.txt .
RUN echo "$(cat greeting.txt) $NAME" > out && cat out
RUN rm greeting.txt
LABEL a=b
CMD ["cat", "out"]
`

benchTest('builds, and a second time runs nothing and makes the same image', async (bench) => {
  bench.write({ Dockerfile: app, 'greeting.txt': 'hello' })
  const first = await bench.build({ tags: ['app'] })
  assert.match(bench.output(), 'hello world')
  assert.is(bench.ran().length, 4)
  assert.equal(first.names, ['docker.io/library/app:latest'])
  const again = await bench.build({ tags: ['app'] })
  assert.equal(bench.ran(), [])
  assert.is(again.imageId, first.imageId)
  utimesSync(join(bench.context, 'greeting.txt'), 1, 1)
  const touched = await bench.build({ tags: ['app'] })
  assert.equal(bench.ran(), [])
  assert.is(touched.imageId, first.imageId)
})

benchTest('a wildcard that comes to match an empty directory is no cached result', async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nCOPY [ab] /d/\n` })
  const nothing = await bench.build()
  mkdirSync(join(bench.context, 'b'))
  assert.is.not((await bench.build()).imageId, nothing.imageId)
})

benchTest('runs on a stack in which a layer is twice', async (bench) => {
  const copies = 'COPY f /d/f\nCOPY g /d/f\nCOPY f /d/f\n'
  bench.write({ Dockerfile: `FROM ${busybox}\nCOPY no* /\nCOPY no* /\n${copies}RUN cat /d/f\n`, f: 'first', g: 'second' })
  await bench.build()
  assert.match(bench.output(), 'first')
})

benchTest('writes a config with a history that matches the layers', async (bench) => {
  bench.write({ Dockerfile: app, 'greeting.txt': 'hello' })
  const { imageId } = await bench.build()
  await using store = await openStore(bench.root)
  const config = JSON.parse((await store.blobs.read({ digest: imageId })).toString())
  assert.is(config.rootfs.diff_ids.length, 5)
  const history = config.history as { created?: string; created_by?: string; empty_layer?: boolean }[]
  assert.is(history.filter((entry) => entry.empty_layer !== true).length, 5)
  assert.equal(config.config.Cmd, ['cat', 'out'])
  assert.equal(config.config.Labels, { a: 'b' })
  assert.is(config.config.WorkingDir, '/app')
  assert.is(config.created, history.at(-1)?.created)
  const times = history.map(({ created }) => created ?? '')
  assert.equal([...times].sort(), times, 'times do not go back')
})

benchTest('runs only from the changed file on', async (bench) => {
  bench.write({ Dockerfile: app, 'greeting.txt': 'hello' })
  await bench.build()
  bench.write({ 'greeting.txt': 'good day' })
  await bench.build()
  assert.equal(bench.ran(), [
    'COPY greeting.txt .',
    'RUN echo "$(cat greeting.txt) world" > out && cat out',
    'RUN rm greeting.txt',
  ])
})

benchTest('runs one step, not all after it, when a step leaves the same files', async (bench) => {
  const dockerfile = (comment: string): string => `FROM ${busybox}
RUN echo same > /same # ${comment}
RUN date +%N > /first
RUN date +%N > /second
`
  bench.write({ Dockerfile: dockerfile('one') })
  const first = await bench.build()
  bench.write({ Dockerfile: dockerfile('two') })
  const second = await bench.build()
  assert.equal(bench.ran(), ['RUN echo same > /same # two'])
  await using store = await openStore(bench.root)
  const layers = async (id: typeof first.imageId): Promise<unknown> =>
    JSON.parse((await store.blobs.read({ digest: id })).toString()).rootfs.diff_ids
  assert.equal(await layers(second.imageId), await layers(first.imageId))
})

benchTest('runs independent stages at once and copies between them', async (bench) => {
  bench.write({
    Dockerfile: `FROM ${busybox} AS base
FROM base AS a
RUN sleep 1 && echo a > /a
FROM base AS b
RUN sleep 1 && echo b > /b
FROM base AS unused
RUN false
FROM scratch
COPY --from=a /a /a
COPY --from=1 /a /again
COPY --from=b /b /b
`,
  })
  const result = await bench.build({ jobs: 2, outputs: [{ type: 'local', dest: join(bench.directory, 'out') }] })
  assert.equal(readdirSync(join(bench.directory, 'out')).sort(), ['a', 'again', 'b'])
  assert.is(readFileSync(join(bench.directory, 'out/again'), 'utf8'), 'a\n')
  assert.ok(result.steps.every(({ name }) => !name.includes('false')))
  const times = bench.events.flatMap((event) =>
    (event.type === 'vertex-started' || event.type === 'vertex-done') && event.name.includes('sleep') ? [event.type] : [],
  )
  assert.equal(times.slice(0, 2), ['vertex-started', 'vertex-started'], 'both started before one was done')
})

benchTest('says which command failed, how, where, and keeps its whole output', async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nRUN echo one; echo two >&2; exit 3\nRUN true\n` })
  const error = await failure(bench.build())
  assert.instance(error, SandboxError)
  assert.is(error.code, 'SANDBOX_COMMAND_FAILED')
  assert.match(error.message, /^"echo one; echo two >&2; exit 3" exited with code 3 after \d+\.\d s$/)
  assert.is(error.source?.text.slice(error.span?.start, error.span?.end), 'RUN echo one; echo two >&2; exit 3')
  const { logTail, logPath, exitCode } = error as SandboxError
  assert.is(exitCode, 3)
  assert.equal([...logTail].sort(), ['one', 'two'])
  assert.ok(logPath !== undefined && existsSync(logPath))
  assert.equal(readFileSync(logPath, 'utf8').split('\n').sort(), ['', 'one', 'two'])
  await failure(bench.build())
  assert.is(readdirSync(join(bench.root, 'active')).flatMap((lease) => readdirSync(join(bench.root, 'active', lease))).length, 0)
})

benchTest('stops within seconds when it is cancelled, and leaves a store that builds', async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nRUN sleep 60\n` })
  const controller = new AbortController()
  const started = performance.now()
  const onEvent = (event: { type: string; name?: string }): void => {
    if (event.type === 'vertex-started' && event.name?.includes('sleep')) setTimeout(() => controller.abort(), 300)
  }
  const error = await failure(bench.build({ signal: controller.signal, onEvent }))
  assert.instance(error, CancelledError)
  assert.ok(performance.now() - started < 20_000)
  bench.write({ Dockerfile: `FROM ${busybox}\nRUN echo fine\n` })
  await bench.build()
  assert.match(bench.output(), 'fine')
})

benchTest('runs as USER with its groups, and refuses one that is not there', async (bench) => {
  bench.write({
    Dockerfile: `FROM ${busybox}
RUN mkdir -p /etc && echo 'root:x:0:0::/:/bin/sh' > /etc/passwd && echo 'web:x:1000:1001::/web:/bin/sh' >> /etc/passwd \\
 && echo 'more:x:50:web' > /etc/group
USER web
RUN id -u; id -g; id -G; echo "$HOME"
USER 7:8
RUN id -u; id -g; echo "$HOME"
ENV HOME=/given
RUN echo "$HOME"
`,
  })
  await bench.build()
  assert.equal(bench.output().split(/\s+/).filter(Boolean), ['1000', '1001', '1001', '50', '/web', '7', '8', '/', '/given'])
  bench.write({ Dockerfile: `FROM ${busybox}\nUSER nobody-here\nRUN true\n` })
  assert.is((await failure(bench.build())).code, 'SANDBOX_UNKNOWN_USER')
})

benchTest('mounts contexts, stages, caches, tmpfs and secrets into a step, and none of it into its layer', async (bench) => {
  bench.write({
    Dockerfile: `FROM ${busybox} AS other
RUN echo from-stage > /file
FROM ${busybox}
RUN --mount=type=bind,target=/ctx --mount=type=bind,from=other,source=/file,target=/f \\
    --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t \\
    --mount=type=secret,id=key --mount=type=secret,id=key,env=KEY \\
    cat /ctx/a.txt /f /run/secrets/key; echo "$KEY"; ls /ctx; echo x >> /cache/n; wc -l < /cache/n
`,
    'a.txt': 'from-context\n',
    'ignored.txt': 'secret',
    '.dockerignore': 'ignored.txt\n',
  })
  const secrets = { key: { value: 's3cret\n' } }
  await bench.build({ secrets, outputs: [{ type: 'local', dest: join(bench.directory, 'out') }] })
  const lines = bench.output().split('\n')
  assert.equal(lines.slice(0, 3), ['from-context', 'from-stage', '***'])
  assert.not.ok(lines.includes('ignored.txt'))
  for (const path of ['ctx', 'f', 'cache', 't', 'run/secrets'])
    assert.not.ok(existsSync(join(bench.directory, 'out', path)), path)
  await bench.build({ secrets, noCache: true })
  assert.match(bench.output(), /\n2\n?$/, 'the cache kept its file')
  bench.write({ 'ignored.txt': 'other' })
  await bench.build({ secrets: { key: { value: 'changed' } } })
  assert.equal(bench.ran(), [])
  bench.write({ 'a.txt': 'changed\n' })
  await bench.build({ secrets })
  assert.is(bench.ran().length, 1)
})

benchTest('gives all mistakes of a Dockerfile at once', async (bench) => {
  bench.write({ Dockerfile: `FROM ${busybox}\nRUNN true\nCOPYY a b\nWORKDIR\n` })
  const error = await failure(bench.build())
  assert.instance(error, DockerfileError)
  assert.is((error as DockerfileError).diagnostics.length, 3)
})

benchTest('names a base that is nowhere, and a missing file of the context', async (bench) => {
  bench.write({ Dockerfile: 'FROM localhost:1/none\n' })
  assert.match((await failure(bench.build())).code, /^REGISTRY_|IMAGE_NOT_FOUND/)
  assert.is((await failure(bench.build({ pull: 'never' }))).code, 'IMAGE_NOT_FOUND')
  bench.write({ Dockerfile: `FROM ${busybox}\nCOPY greetings.txt /\n`, 'greeting.txt': '' })
  const error = await failure(bench.build())
  assert.is(error.code, 'COPY_SOURCE_NOT_FOUND')
  assert.is(error.hint, 'did you mean greeting.txt?')
})

test.run()
