/** Places and files that a user names and that are no ordinary ones: each gives one clear error, and nothing hangs. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { type Ended, mille } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'

const noBase = await whyNoBase('busybox')

/** A store with the busybox base, and a context whose build needs no container. */
async function workshop(): Promise<AsyncDisposable & { path: string; root: string; context: string }> {
  const directory = await tempDirectory()
  const root = join(directory.path, 'store')
  const context = join(directory.path, 'context')
  mkdirSync(context)
  await importBase(root, 'busybox')
  writeFileSync(join(context, 'Dockerfile'), 'FROM localhost/base/busybox\nLABEL a=b\n')
  return { path: directory.path, root, context, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() }
}

const onBusybox = (title: string, body: (at: Awaited<ReturnType<typeof workshop>>) => Promise<void>): void =>
  test(title, async () => {
    if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
    await using at = await workshop()
    await body(at)
  })

function expectError(ended: Ended, exitCode: number, pattern: RegExp): void {
  assert.is(ended.code, exitCode, `${ended.signal}\n${ended.stderr}`)
  assert.match(ended.stderr, pattern)
}

onBusybox('where the kernel makes no directories, an output, a cache or a mount is an error and no hang', async (at) => {
  const limit = { timeoutMs: 60_000 }
  const build = (flag: string, value: string) => mille(at.root, ['build', flag, value, at.context], limit)
  const target = '/proc/no-such/place'
  expectError(
    await build('-o', `type=local,dest=${target}`),
    1,
    /error: \/proc\/no-such\/place cannot be written .*EXPORT_FAILED/,
  )
  expectError(await build('--cache-to', `type=local,dest=${target}`), 1, /\/proc\/no-such\/place/)
  const run = ['run', '--rm', '-v', `${target}:/y`, 'localhost/base/busybox', 'true']
  expectError(await mille(at.root, run, limit), 125, /\/proc\/no-such\/place.*CONTAINER_BAD_VOLUME/)
  const other = await mille(target, ['build', at.context], limit)
  expectError(other, 1, /\/proc\/no-such\/place/)
})

test.run()
