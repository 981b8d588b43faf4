/** Builds at the same time on one store: each step runs once, whoever is first, and nobody suffers from another's end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BuildRecord } from '../../src/store/builds.js'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { milleOk, mustRun, projectRoot, runProgram } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

const noBase = await whyNoBase('busybox')

interface Site {
  readonly directory: string
  readonly root: string
  /** Lets the steps that stand at the gate go on. */
  open(): void
  /** Starts a build of a Dockerfile text under a name. */
  start(name: string, text: string, flags?: readonly string[]): Building
}

interface Building {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  text(): string
  /** Waits until the progress says this. */
  says(pattern: RegExp): Promise<void>
}

async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  await importBase(root, 'busybox')
  const gatePath = join(directory.path, 'gate')
  mkdirSync(gatePath)
  await work({
    directory: directory.path,
    root,
    open: () => writeFileSync(join(gatePath, 'open'), ''),
    start(name, text, flags = []) {
      const context = join(directory.path, name)
      mkdirSync(context)
      writeFileSync(join(context, 'Dockerfile'), `FROM localhost/base/busybox\n${text}`)
      return startBuild(root, [
        'build',
        '--progress=plain',
        '-t',
        name,
        '--cache-mount',
        `id=gate,src=${gatePath}`,
        ...flags,
        context,
      ])
    },
  })
}

function startBuild(root: string, args: readonly string[]): Building {
  const child = spawn(join(projectRoot, 'bin/mille'), args, {
    env: { ...process.env, MILLE_ROOT: root },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let text = ''
  const listeners = new Set<() => void>()
  const tell = (): void => {
    for (const listener of listeners) listener()
    listeners.clear()
  }
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    tell()
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  void ended.then(() => tell())
  const says = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(text)) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended without saying ${pattern}\n${text}`)
      await within(60_000, new Promise<void>((resolve) => listeners.add(resolve)))
    }
  }
  return { child, ended: within(120_000, ended), text: () => text, says }
}

/** A command that prints `begun` and goes on when the test opens the gate; the directory of a gate is in no key. */
const gate = '--mount=type=cache,id=gate,target=/gate'
const held = 'echo begun; while [ ! -e /gate/open ]; do sleep 0.05; done'

/** The step runs here: its first words were printed. */
const runs = /^#\d+ [\d.]+ begun$/m
const waits = /^#\d+ waiting for process \d+ \(mille build -t one \S+, since \d+ s\), which runs this step$/m

test('a step that another build runs is waited for, and its result is taken', async () => {
  await withSite(async ({ root, start, open }) => {
    const text = `RUN ${gate} ${held}; head -c 16 /dev/urandom | od -An -tx1 > /random\nRUN cat /random > /again\n`
    const one = start('one', text)
    await one.says(runs)
    const two = start('two', text)
    await two.says(waits)
    open()
    assert.equal([await one.ended, await two.ended], [0, 0], one.text() + two.text())
    assert.match(two.text(), /^#2 CACHED$/m)
    assert.not.match(two.text(), runs)
    const [a, b] = [
      await milleOk(root, ['inspect', '-f', '{{.Id}}', 'one']),
      await milleOk(root, ['inspect', '-f', '{{.Id}}', 'two']),
    ]
    assert.is(a, b)
    assert.equal(readdirSync(join(root, 'claims')), [], 'no claim is left')
    const shown = await milleOk(root, ['history', 'inspect'])
    assert.match(
      shown,
      new RegExp(`^cached .* RUN .*\n +waited [\\d.]+s for process ${one.child.pid} \\(mille build -t one `, 'm'),
    )
    const record = JSON.parse(await milleOk(root, ['history', 'inspect', '--format', 'json'])) as BuildRecord
    const [waited] = record.steps.filter(({ waitedMs }) => waitedMs !== undefined)
    assert.ok(waited?.name.includes('/random') && (waited?.waitedMs ?? 0) > 0)
    assert.is(waited?.waitedFor?.pid, one.child.pid)
  })
})

test('a build that waits for one that was stopped says so and how to continue it, and takes nothing from it', async () => {
  await withSite(async ({ start, open }) => {
    const text = `RUN ${gate} ${held}; echo done > /done\n`
    const one = start('one', text)
    await one.says(runs)
    const two = start('two', text)
    await two.says(waits)
    one.child.kill('SIGSTOP')
    await two.says(/^#2 waiting for process \d+, which is stopped: continue it with "kill -CONT \d+", or end it/m)
    const [, pid] = /kill -CONT (\d+)/.exec(two.text()) ?? []
    assert.is(Number(pid), one.child.pid)
    one.child.kill('SIGCONT')
    await two.says(/is stopped.*\n#2 waiting for process \d+ \(mille/)
    open()
    assert.equal([await one.ended, await two.ended], [0, 0], one.text() + two.text())
    assert.match(two.text(), /^#2 CACHED$/m)
  })
})

test('a build that waits takes over when the other one is killed', async () => {
  await withSite(async ({ start, open }) => {
    const text = `RUN ${gate} ${held}; echo done > /done\n`
    const one = start('one', text)
    await one.says(runs)
    const two = start('two', text)
    const three = start('three', text)
    await Promise.all([two.says(waits), three.says(waits)])
    one.child.kill('SIGKILL')
    open()
    assert.equal([await two.ended, await three.ended], [0, 0], two.text() + three.text())
    const ran = [two, three].filter((build) => runs.test(build.text()))
    assert.is(ran.length, 1, 'one of them took over, and the other waited for that one')
  })
})

test('a failure is not taken over: the step runs here', async () => {
  await withSite(async ({ directory, start, open }) => {
    const text = `RUN ${gate} --mount=type=secret,id=s,required ${held}; test -s /run/secrets/s && echo fine > /fine\n`
    writeFileSync(join(directory, 'empty'), '')
    writeFileSync(join(directory, 'full'), 'value')
    const one = start('one', text, ['--secret', `id=s,src=${directory}/empty`])
    await one.says(runs)
    const two = start('two', text, ['--secret', `id=s,src=${directory}/full`])
    await two.says(waits)
    open()
    assert.is(await one.ended, 1)
    assert.is(await two.ended, 0, two.text())
    assert.match(two.text(), runs)
  })
})

test('--no-cache waits for nobody and takes nothing that others made', async () => {
  await withSite(async ({ root, start, open }) => {
    const text = `RUN ${gate} ${held}; head -c 16 /dev/urandom | od -An -tx1 > /random\n`
    const one = start('one', text)
    await one.says(runs)
    const two = start('two', text, ['--no-cache'])
    await two.says(runs)
    open()
    assert.equal([await one.ended, await two.ended], [0, 0])
    assert.not.match(two.text(), /waiting/)
    const [a, b] = [
      await milleOk(root, ['inspect', '-f', '{{.Id}}', 'one']),
      await milleOk(root, ['inspect', '-f', '{{.Id}}', 'two']),
    ]
    assert.is.not(a, b)
  })
})

test('Ctrl-C ends a build that waits at once, and the other goes on', async () => {
  await withSite(async ({ start, open }) => {
    const text = `RUN ${gate} ${held}\n`
    const one = start('one', text)
    await one.says(runs)
    const two = start('two', text)
    await two.says(waits)
    two.child.kill('SIGINT')
    assert.is(await two.ended, 130)
    assert.is(one.child.exitCode, null, 'the other one still runs')
    open()
    assert.is(await one.ended, 0, one.text())
  })
})

test('a build that waits goes on with its other steps, with one place for steps too', async () => {
  await withSite(async ({ start, open }) => {
    const shared = `RUN ${gate} ${held}; echo shared > /shared\n`
    const one = start('one', shared)
    await one.says(runs)
    const two = start('two', `${shared}FROM localhost/base/busybox\nRUN echo other; echo x > /x\nCOPY --from=0 /shared /\n`, [
      '--jobs=1',
    ])
    await Promise.all([two.says(waits), two.says(/^#\d+ [\d.]+ other$/m)])
    assert.is(one.child.exitCode, null, 'the first one still runs')
    open()
    assert.equal([await one.ended, await two.ended], [0, 0], two.text())
  })
})

test('two steps that want the same caches for themselves in different orders do not wait for ever', async () => {
  await withSite(async ({ start }) => {
    const mount = (id: string): string => `--mount=type=cache,id=${id},target=/c/${id},sharing=locked`
    const twice = `${mount('a')} --mount=type=cache,id=a,target=/c/again,sharing=locked`
    const builds = [`${mount('a')} ${mount('b')}`, `${mount('b')} ${twice}`].map((mounts, i) =>
      start(
        `build${i}`,
        [1, 2, 3].map((n) => `RUN ${mounts} echo ${i} ${n} > /f; echo x >> /c/a/log; echo x >> /c/b/log\n`).join(''),
      ),
    )
    assert.equal(await Promise.all(builds.map(({ ended }) => ended)), [0, 0])
  })
})

test('a store that was copied while a build ran is whole, and nobody waits for who had it', async () => {
  await withSite(async ({ directory, root, start, open }) => {
    const text = `RUN echo first > /first\nRUN ${gate} ${held}; echo last > /last\n`
    const one = start('one', text)
    await one.says(runs)
    const copy = join(directory, 'copy')
    await mustRun('cp', ['-a', root, copy])
    const gateFlag = `id=gate,src=${join(directory, 'gate')}`
    open()
    const two = startBuild(copy, ['build', '--progress=plain', '-t', 'two', '--cache-mount', gateFlag, join(directory, 'one')])
    assert.is(await two.ended, 0, two.text())
    assert.match(two.text(), /RUN echo first > \/first\n#2 CACHED$/m)
    assert.not.match(two.text(), /waiting/)
    assert.is(await milleOk(copy, ['run', '--rm', 'two', 'cat', '/first', '/last']), 'first\nlast\n')
    assert.is(await one.ended, 0)
  })
})

/** Files below a directory cannot be locked; others can, or the builds of other tests would take these for dead. */
const flockThatFails = `#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int flock(int fd, int how) {
  char name[64], path[4096] = "";
  const char *root = getenv("WITHOUT_LOCKS");
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  if (readlink(name, path, sizeof path - 1) < 0 || root == NULL || strncmp(path, root, strlen(root)) != 0)
    return syscall(SYS_flock, fd, how);
  errno = ENOLCK;
  return -1;
}
`

test('on a filesystem without locks builds work, each by itself', async () => {
  const compiler = await runProgram('sh', ['-c', 'command -v cc'])
  if (compiler.code !== 0) return void console.log('SKIP: no C compiler to make a flock that fails with')
  await withSite(async ({ directory, root }) => {
    writeFileSync(join(directory, 'flock.c'), flockThatFails)
    const library = join(directory, 'flock.so')
    await mustRun('cc', ['-shared', '-fPIC', '-o', library, join(directory, 'flock.c')])
    const context = join(directory, 'context')
    mkdirSync(context)
    const env = { LD_PRELOAD: library, WITHOUT_LOCKS: root }
    const build = async (text: string): Promise<void> => {
      writeFileSync(join(context, 'Dockerfile'), `FROM localhost/base/busybox\n${text}`)
      await milleOk(root, ['build', '-q', '-t', 'app', context], { env })
    }
    const cache = '--mount=type=cache,id=c,target=/caches/c,sharing=locked'
    await Promise.all([build(`RUN sleep 1; echo a > /a\nRUN ${cache} echo b > /b\n`), milleOk(root, ['prune', '-f'], { env })])
    await build(`RUN sleep 1; echo a > /a\nRUN ${cache} echo c > /c\n`)
    await milleOk(root, ['prune', '-f'], { env })
    assert.is(await milleOk(root, ['run', '--rm', 'app', 'cat', '/a', '/c'], { env }), 'a\nc\n')
  })
})

test.run()
