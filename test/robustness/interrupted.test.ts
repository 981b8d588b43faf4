/** Ctrl-C and kill -9 at any moment: nothing is left running or mounted, and the next build works. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { milleOk, projectRoot } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

const noBase = await whyNoBase('busybox')

interface Site {
  readonly root: string
  readonly context: string
  readonly mark: string
}

async function prepare(directory: string): Promise<Site> {
  const root = join(directory, 'store')
  const context = join(directory, 'context')
  const mark = `31${Math.floor(Math.random() * 1e6)}`
  mkdirSync(root)
  mkdirSync(context)
  await importBase(root, 'busybox')
  writeFileSync(
    join(context, 'Dockerfile'),
    `FROM localhost/base/busybox\nRUN echo one > /one\nRUN echo started && sleep ${mark}\n`,
  )
  return { root, context, mark }
}

/** Starts a build in a process group of its own and waits until its second step prints. */
async function startBuild(site: Site): Promise<ChildProcess> {
  const child = spawn(join(projectRoot, 'bin/mille'), ['build', '--progress=plain', site.context], {
    env: { ...process.env, MILLE_ROOT: site.root },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  let text = ''
  await within(
    30_000,
    new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        if (/^#\d+ [\d.]+ started$/m.test(text)) resolve()
      })
      child.on('exit', (code) => reject(new Error(`the build ended early with ${code}\n${text}`)))
    }),
  )
  return child
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve({ code: child.exitCode, signal: child.signalCode })
    else child.once('exit', (code, signal) => resolve({ code, signal }))
  })
}

function processesWith(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        return command.includes(text) ? [`${pid} ${command}`] : []
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
        throw error
      }
    })
}

async function until(what: () => readonly string[], ms: number): Promise<readonly string[]> {
  const end = Date.now() + ms
  for (;;) {
    const left = what()
    if (left.length === 0 || Date.now() > end) return left
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const mountsBelow = (root: string): string[] =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(root))

async function expectNothingLeft(site: Site): Promise<void> {
  assert.equal(await until(() => processesWith(`sleep ${site.mark}`), 8000), [], 'no process of the step is left')
  assert.equal(await until(() => processesWith(site.root), 8000), [], 'no helper process is left')
  assert.equal(mountsBelow(site.root), [], 'no mount is left')
}

async function expectNextBuildWorks(site: Site): Promise<void> {
  const dockerfile = join(site.context, 'Dockerfile')
  writeFileSync(dockerfile, readFileSync(dockerfile, 'utf8').replace(`sleep ${site.mark}`, 'true'))
  await milleOk(site.root, ['build', '-q', '-t', 'after', site.context])
  assert.is(await milleOk(site.root, ['run', '--rm', 'after', 'cat', '/one']), 'one\n')
  const active = join(site.root, 'active')
  const left = readdirSync(active).flatMap((lease) => readdirSync(join(active, lease)).map((id) => `${lease}/${id}`))
  assert.equal(left, [], 'half-written snapshots are removed')
}

for (const [signal, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} ends a build within 5 s, with exit code ${exitCode} and nothing left`, async () => {
    if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
    await using directory = await tempDirectory()
    const site = await prepare(directory.path)
    const child = await startBuild(site)
    const started = Date.now()
    child.kill(signal)
    const { code } = await within(10_000, ended(child))
    assert.is(code, exitCode)
    assert.ok(Date.now() - started < 7000, `took ${Date.now() - started} ms`)
    await expectNothingLeft(site)
    await expectNextBuildWorks(site)
  })
}

test('kill -9 of mille takes the running step with it, and the next build cleans up and works', async () => {
  if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
  await using directory = await tempDirectory()
  const site = await prepare(directory.path)
  const child = await startBuild(site)
  child.kill('SIGKILL')
  await within(10_000, ended(child))
  await expectNothingLeft(site)
  await expectNextBuildWorks(site)
})

test('builds that are killed at random moments never damage the store', async () => {
  if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
  await using directory = await tempDirectory()
  const site = await prepare(directory.path)
  for (let round = 0; round < 12; round++) {
    writeFileSync(join(site.context, 'file'), `round ${round}`)
    writeFileSync(
      join(site.context, 'Dockerfile'),
      `FROM localhost/base/busybox\nCOPY file /file\nRUN cp /file /copy && echo ${round}\nRUN cat /copy > /last\n`,
    )
    const child = spawn(join(projectRoot, 'bin/mille'), ['build', '-q', '-t', 'often', site.context], {
      env: { ...process.env, MILLE_ROOT: site.root },
      stdio: 'ignore',
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), 40 + round * 35)
    await within(30_000, ended(child))
    clearTimeout(timer)
  }
  await milleOk(site.root, ['build', '-q', '-t', 'often', site.context])
  assert.is(await milleOk(site.root, ['run', '--rm', 'often', 'cat', '/last']), 'round 11')
  assert.equal(mountsBelow(site.root), [])
})

test('two builds at once on one store both succeed', async () => {
  if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
  await using directory = await tempDirectory()
  const site = await prepare(directory.path)
  const dockerfile = (tail: string): string =>
    `FROM localhost/base/busybox\nRUN sleep 1; echo shared > /shared\nRUN echo ${tail} > /own\n`
  await Promise.all(
    ['a', 'b', 'c', 'd'].map(async (name) => {
      const path = join(directory.path, `Dockerfile.${name}`)
      writeFileSync(path, dockerfile(name))
      await milleOk(site.root, ['build', '-q', '-t', `own-${name}`, '-f', path, site.context])
    }),
  )
  for (const name of ['a', 'b', 'c', 'd']) {
    assert.is(await milleOk(site.root, ['run', '--rm', `own-${name}`, 'cat', '/shared', '/own']), `shared\n${name}\n`)
  }
})

test.run()
