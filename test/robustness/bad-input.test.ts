/** Bad input gives one clear error with its code and exit code, and leaves the store as it was. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { type Ended, mille, milleOk, mustRun, projectRoot, runProgram } from '../helpers/cli.js'
import { freePort, withRegistry } from '../helpers/registry-server.js'
import { tempDirectory } from '../helpers/temp.js'

/** A store with the busybox base and an empty context, in a directory of their own. */
async function workshop(): Promise<
  AsyncDisposable & { path: string; root: string; context: string; dockerfile: (text: string) => void }
> {
  const directory = await tempDirectory()
  const root = join(directory.path, 'store')
  const context = join(directory.path, 'context')
  mkdirSync(root)
  mkdirSync(context)
  await importBase(root, 'busybox')
  const dockerfile = (text: string): void => writeFileSync(join(context, 'Dockerfile'), text)
  return { path: directory.path, root, context, dockerfile, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() }
}

function expectError(ended: Ended, code: string, exitCode: number, ...texts: readonly (string | RegExp)[]): void {
  const shown = `exit code ${ended.code}\n${ended.stdout}${ended.stderr}`
  assert.ok(ended.stderr.includes(`[${code}]`), `expected ${code}: ${shown}`)
  assert.is(ended.code, exitCode, shown)
  for (const text of texts) {
    assert.ok(typeof text === 'string' ? ended.stderr.includes(text) : text.test(ended.stderr), `expected ${text}: ${shown}`)
  }
  assert.is(ended.stdout, '', 'nothing on stdout')
  assert.not.match(ended.stderr, /^\s+at .*:\d+:\d+\)?$/m, 'no stack trace')
}

/** A build of a good Dockerfile still works: the store took no harm. */
async function expectStoreIntact(root: string, context: string): Promise<void> {
  writeFileSync(join(context, 'Dockerfile'), 'FROM localhost/base/busybox\nRUN echo fine > /fine\n')
  await milleOk(root, ['build', '-q', context])
}

const noBase = await whyNoBase('busybox')
const unlessNoBase = (title: string, body: () => Promise<void>): void =>
  test(title, async () => {
    if (noBase !== undefined) return void console.log(`SKIP: ${noBase}`)
    await body()
  })

unlessNoBase('three mistakes in a Dockerfile give three messages with their lines', async () => {
  await using at = await workshop()
  at.dockerfile('FROM localhost/base/busybox\nRUNN true\nCOPY --form=x a b\nEXPOSE\n')
  const ended = await mille(at.root, ['build', at.context])
  expectError(ended, 'DOCKERFILE_UNKNOWN_INSTRUCTION', 1, 'Dockerfile:2:1', 'did you mean RUN?', '2 | RUNN true', '^~~~')
  expectError(ended, 'DOCKERFILE_UNKNOWN_FLAG', 1, 'Dockerfile:3:', 'did you mean --from?')
  assert.match(ended.stderr, /Dockerfile:4:1: error: /)
  await expectStoreIntact(at.root, at.context)
})

unlessNoBase('an empty Dockerfile and a missing one say so', async () => {
  await using at = await workshop()
  at.dockerfile('# nothing here\n')
  expectError(await mille(at.root, ['build', at.context]), 'DOCKERFILE_EMPTY', 1)
  expectError(
    await mille(at.root, ['build', '-f', join(at.context, 'Dockerfil'), at.context]),
    'DOCKERFILE_NOT_FOUND',
    1,
    'Dockerfil',
  )
})

unlessNoBase('a Dockerfile or an ignore file that cannot be read is named', async () => {
  await using at = await workshop()
  const dockerfile = join(at.context, 'Dockerfile')
  symlinkSync('Dockerfile', dockerfile)
  expectError(await mille(at.root, ['build', at.context]), 'DOCKERFILE_NOT_FOUND', 1, 'leads to itself')
  rmSync(dockerfile)
  at.dockerfile('FROM scratch\nCOPY . /\n')
  mkdirSync(join(at.context, '.dockerignore'))
  expectError(await mille(at.root, ['build', at.context]), 'CONTEXT_UNREADABLE', 1, '.dockerignore', 'directory')
})

unlessNoBase('a missing file in COPY is named with its line and a near name', async () => {
  await using at = await workshop()
  writeFileSync(join(at.context, 'package.json'), '{}')
  at.dockerfile('FROM localhost/base/busybox\nCOPY pakage.json /\n')
  const ended = await mille(at.root, ['build', '--progress=quiet', at.context])
  expectError(ended, 'COPY_SOURCE_NOT_FOUND', 1, 'Dockerfile:2:', 'pakage.json', 'did you mean package.json?')
  await expectStoreIntact(at.root, at.context)
})

unlessNoBase('a file that the ignore file excludes is said to be excluded', async () => {
  await using at = await workshop()
  writeFileSync(join(at.context, 'secret.txt'), 'x')
  writeFileSync(join(at.context, '.dockerignore'), '*.txt\n')
  at.dockerfile('FROM scratch\nCOPY secret.txt /\n')
  expectError(await mille(at.root, ['build', '--progress=quiet', at.context]), 'COPY_SOURCE_NOT_FOUND', 1, '.dockerignore')
})

unlessNoBase('a context that is not there is named', async () => {
  await using at = await workshop()
  expectError(await mille(at.root, ['build', join(at.path, 'nowhere')]), 'CONTEXT_NOT_FOUND', 1, 'nowhere')
})

unlessNoBase('a base that neither the store nor a registry has is named', async () => {
  await using at = await workshop()
  await withRegistry(join(at.path, 'registry'), async (host) => {
    at.dockerfile(`FROM ${host}/no/such:thing\n`)
    expectError(
      await mille(at.root, ['build', '--progress=quiet', at.context]),
      'IMAGE_NOT_FOUND',
      1,
      'Dockerfile:1:',
      `${host}/no/such:thing`,
    )
  })
  await expectStoreIntact(at.root, at.context)
})

unlessNoBase('a registry that does not answer is named, in a build, a pull and a push', async () => {
  await using at = await workshop()
  const name = `127.0.0.1:${await freePort()}/team/app:1`
  at.dockerfile(`FROM ${name}\n`)
  expectError(await mille(at.root, ['build', '--progress=quiet', at.context]), 'REGISTRY_UNREACHABLE', 1, '127.0.0.1')
  expectError(await mille(at.root, ['pull', '-q', name]), 'REGISTRY_UNREACHABLE', 1, '127.0.0.1')
  await milleOk(at.root, ['tag', 'localhost/base/busybox', name])
  expectError(await mille(at.root, ['push', '-q', name]), 'REGISTRY_UNREACHABLE', 1, '127.0.0.1')
})

unlessNoBase('a command that fails is shown with its line, its exit code and the end of its output', async () => {
  await using at = await workshop()
  at.dockerfile('FROM localhost/base/busybox\nRUN echo about to fail >&2; exit 7\n')
  const ended = await mille(at.root, ['build', '--progress=quiet', at.context])
  expectError(ended, 'SANDBOX_COMMAND_FAILED', 1, 'Dockerfile:2:1', 'exited with code 7', 'about to fail')
  const log = /(\/\S+\.log)/.exec(ended.stderr)?.[1]
  assert.ok(log !== undefined, 'the message names a log file')
  assert.match(readFileSync(log, 'utf8'), /about to fail/)
  await expectStoreIntact(at.root, at.context)
})

for (const [what, name, make] of [
  [
    'leads above its root',
    '../../escaped',
    (tar: string, from: string) => ['-C', from, '--transform', 's,^,../../,', '-cPf', tar, 'escaped'],
  ],
  [
    'is absolute',
    '/tmp/escaped-absolute',
    (tar: string, from: string) => ['-C', from, '--transform', 's,^,/tmp/escaped-absolute/,', '-cPf', tar, 'escaped'],
  ],
] as const) {
  unlessNoBase(`a tar with an entry that ${what} writes nothing outside`, async () => {
    await using at = await workshop()
    writeFileSync(join(at.path, 'escaped'), 'from the tar')
    const tar = join(at.path, 'evil.tar')
    await mustRun('tar', make(tar, at.path))
    const ended = await mille(at.root, ['import', tar, 'localhost/evil'])
    if (ended.code !== 0) expectError(ended, 'LAYER_ESCAPES_ROOT', 1, name.slice(0, 5))
    for (const place of ['/tmp/escaped-absolute', join(at.root, 'escaped'), join(at.path, 'store/snapshots/escaped')]) {
      assert.is((await runProgram('test', ['-e', place])).code, 1, place)
    }
    await expectStoreIntact(at.root, at.context)
  })
}

unlessNoBase('a tar whose link leads outside writes nothing behind the link', async () => {
  await using at = await workshop()
  const outside = join(at.path, 'outside')
  mkdirSync(outside)
  const first = join(at.path, 'first')
  const second = join(at.path, 'second')
  mkdirSync(first)
  mkdirSync(join(second, 'link'), { recursive: true })
  symlinkSync(outside, join(first, 'link'))
  writeFileSync(join(second, 'link/file'), 'escaped')
  const tar = join(at.path, 'evil.tar')
  await mustRun('tar', ['-C', first, '-cf', tar, 'link'])
  await mustRun('tar', ['-C', second, '-rf', tar, 'link/file'])
  const ended = await mille(at.root, ['import', tar, 'localhost/evil'])
  if (ended.code !== 0) expectError(ended, 'LAYER_ESCAPES_ROOT', 1, 'link/file')
  assert.equal(readdirSync(outside), [])
})

unlessNoBase('a truncated tar is refused and leaves no image', async () => {
  await using at = await workshop()
  const tar = join(at.path, 'cut.tar')
  await mustRun('cp', [join(projectRoot, '.cache/bases/busybox.tar'), tar])
  truncateSync(tar, 1_000_001)
  expectError(await mille(at.root, ['import', tar, 'localhost/cut']), 'LAYER_TRUNCATED', 1)
  assert.not.match(await milleOk(at.root, ['images']), /localhost\/cut/)
})

unlessNoBase('a blob that was damaged on disk is noticed before it is sent anywhere', async () => {
  await using at = await workshop()
  await milleOk(at.root, ['save', '-o', join(at.path, 'ok.tar'), 'localhost/base/busybox'])
  const blobs = join(at.root, 'blobs/sha256')
  const biggest = readdirSync(blobs)
    .map((name) => ({ name, size: readFileSync(join(blobs, name)).length }))
    .sort((a, b) => b.size - a.size)[0]
  assert.ok(biggest !== undefined && biggest.size > 100_000)
  const path = join(blobs, biggest.name)
  const bytes = readFileSync(path)
  bytes.writeUInt8(bytes.readUInt8(1000) ^ 1, 1000)
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  await withRegistry(join(at.path, 'registry'), async (host) => {
    await milleOk(at.root, ['tag', 'localhost/base/busybox', `${host}/x`])
    const ended = await mille(at.root, ['push', '-q', `${host}/x`])
    if (ended.code !== 0) expectError(ended, 'STORE_DIGEST_MISMATCH', 1, biggest.name.slice(0, 8))
    // Once noticed, the blob is made anew from the layer's files.
    await milleOk(at.root, ['push', '-q', `${host}/x`])
    await mustRun('skopeo', ['copy', '--quiet', '--src-tls-verify=false', `docker://${host}/x`, `oci:${join(at.path, 'back')}:x`])
  })
})

unlessNoBase('a full disk is an error that names the place, and the store works once there is room', async () => {
  await using at = await workshop()
  const small = join(at.path, 'small')
  mkdirSync(small)
  writeFileSync(join(at.context, 'big'), Buffer.alloc(6 << 20, 'x'))
  at.dockerfile('FROM scratch\nCOPY big /big\n')
  const script = `mount -t tmpfs -o size=4m none ${small} && export MILLE_ROOT=${small}/store && {
    ${projectRoot}/bin/mille build --progress=quiet ${at.context}; echo "code $?" >&2
    mount -o remount,size=64m ${small}; ${projectRoot}/bin/mille build -q ${at.context} >/dev/null; echo "after $?" >&2
    find ${small}/store/active ${small}/store/tmp -mindepth 1 2>/dev/null | head -n 5 >&2; }`
  const ended = await runProgram('unshare', ['-m', 'sh', '-c', script])
  assert.match(ended.stderr, /\[STORE_NO_SPACE\]/)
  assert.match(ended.stderr, /code 1\n/)
  assert.match(ended.stderr, /after 0\n$/)
})

unlessNoBase('a machine without a runtime says what to install', async () => {
  await using at = await workshop()
  at.dockerfile('FROM localhost/base/busybox\nRUN true\n')
  const ended = await mille(at.root, ['build', '--progress=quiet', at.context], { env: { MILLE_RUNTIME: '/nonexistent/runc' } })
  expectError(ended, 'SANDBOX_NO_RUNTIME', 1, '/nonexistent/runc')
})

unlessNoBase('a store that may not be written is named', async () => {
  await using at = await workshop()
  chmodSync(at.path, 0o755)
  at.dockerfile('FROM scratch\nCOPY Dockerfile /\n')
  const ended = await runProgram('setpriv', [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    'env',
    `MILLE_ROOT=${at.root}`,
    `${projectRoot}/bin/mille`,
    'build',
    '--progress=quiet',
    at.context,
  ])
  expectError(ended, 'STORE_NO_PERMISSION', 1, at.root)
})

test('an unknown flag, command and value are usage errors with a near word', async () => {
  await using directory = await tempDirectory()
  expectError(await mille(directory.path, ['build', '--tagg=x', '.']), 'USAGE_UNKNOWN_FLAG', 2, '--tagg', 'did you mean --tag?')
  expectError(await mille(directory.path, ['biuld', '.']), 'USAGE_UNKNOWN_COMMAND', 2, 'did you mean build?')
  expectError(await mille(directory.path, ['build', '--progress=fancy', '.']), 'USAGE_BAD_FLAG', 2, 'fancy')
})

test.run()
