/** Where credentials come from, and how login and logout change the file. */
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BuildError } from '../../src/core/errors.js'
import { type CredentialSettings, type Credentials, loadCredentials } from '../../src/registry/credentials.js'
import { removeLogin, saveLogin } from '../../src/registry/login.js'

const signal = new AbortController().signal

interface Home extends Disposable {
  readonly path: string
  readonly settings: CredentialSettings
  write(file: string, content: unknown): void
}

function tempHome(env: Readonly<Record<string, string>> = {}): Home {
  const path = mkdtempSync(join(tmpdir(), 'mille-home-'))
  const all = {
    PATH: `${path}/bin:${process.env.PATH}`,
    ...Object.fromEntries(Object.entries(env).map(([key, value]) => [key, value.replace('~', path)])),
  }
  return {
    path,
    settings: { env: all, home: path },
    write: (file, content) => {
      mkdirSync(dirname(join(path, file)), { recursive: true })
      writeFileSync(join(path, file), typeof content === 'string' ? content : JSON.stringify(content))
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}

function auth(username: string, password: string): { auth: string } {
  return { auth: Buffer.from(`${username}:${password}`).toString('base64') }
}

function find(home: Home, registry: string, repository = 'app'): Promise<Credentials | undefined> {
  return loadCredentials(home.settings)(registry, repository, signal)
}

test('auths of docker are found by host, by URL, and for Docker Hub by its old key', async () => {
  using home = tempHome()
  home.write('.docker/config.json', {
    auths: {
      'https://index.docker.io/v1/': auth('hub', 'p:w'),
      'one.example:5000': auth('one', '1'),
      'https://two.example/v2/': auth('two', '2'),
      'three.example': { identitytoken: 'refresh' },
    },
  })
  assert.equal(await find(home, 'docker.io'), { kind: 'password', username: 'hub', password: 'p:w' })
  assert.equal(await find(home, 'one.example:5000'), { kind: 'password', username: 'one', password: '1' })
  assert.equal(await find(home, 'two.example'), { kind: 'password', username: 'two', password: '2' })
  assert.equal(await find(home, 'three.example'), { kind: 'identity', token: 'refresh' })
  assert.is(await find(home, 'example'), undefined)
  assert.is(await find(home, 'one.example'), undefined, 'another port is another registry')
})

test('podman files are read after docker files, with the nearest namespace first', async () => {
  using home = tempHome({ XDG_RUNTIME_DIR: '~/run' })
  home.write('run/containers/auth.json', {
    auths: { 'q.example': auth('a', '1'), 'q.example/team': auth('b', '2'), 'd.example': auth('c', '3') },
  })
  home.write('.docker/config.json', { auths: { 'd.example': auth('docker', '4') } })
  assert.equal(await find(home, 'q.example', 'team/app'), { kind: 'password', username: 'b', password: '2' })
  assert.equal(await find(home, 'q.example', 'teams/app'), { kind: 'password', username: 'a', password: '1' })
  assert.equal(await find(home, 'd.example'), { kind: 'password', username: 'docker', password: '4' })
})

test('DOCKER_CONFIG, REGISTRY_AUTH_FILE and DOCKER_AUTH_CONFIG say where to look', async () => {
  using home = tempHome({
    DOCKER_CONFIG: '~/dc',
    REGISTRY_AUTH_FILE: '~/raf.json',
    DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { 'c.example': auth('env', '3') } }),
  })
  home.write('dc/config.json', { auths: { 'a.example': auth('dc', '1') } })
  home.write('raf.json', { auths: { 'b.example': auth('raf', '2') } })
  home.write('.docker/config.json', { auths: { 'a.example': auth('not', 'this') } })
  assert.equal(await find(home, 'a.example'), { kind: 'password', username: 'dc', password: '1' })
  assert.equal(await find(home, 'b.example'), { kind: 'password', username: 'raf', password: '2' })
  assert.equal(await find(home, 'c.example'), { kind: 'password', username: 'env', password: '3' })
})

test('a helper for the host goes before credsStore, that before auths; <token> is an identity token', async () => {
  using home = tempHome()
  const helper = (answer: string): string =>
    `#!/bin/sh\nread host\n[ "$1" = get ] && case $host in ${answer} *) echo "credentials not found in native keychain"; exit 1;; esac\n`
  home.write('bin/docker-credential-own', helper(`a.example) echo '{"ServerURL":"a","Username":"<token>","Secret":"t-1"}';;`))
  home.write('bin/docker-credential-all', helper(`b.example|a.example) echo '{"ServerURL":"b","Username":"u","Secret":"s"}';;`))
  for (const name of ['own', 'all']) chmodSync(join(home.path, `bin/docker-credential-${name}`), 0o755)
  home.write('.docker/config.json', {
    credHelpers: { 'a.example': 'own' },
    credsStore: 'all',
    auths: { 'a.example': auth('x', 'y'), 'c.example': auth('c', 'd') },
  })
  assert.equal(await find(home, 'a.example'), { kind: 'identity', token: 't-1' })
  assert.equal(await find(home, 'b.example'), { kind: 'password', username: 'u', password: 's' })
  assert.equal(await find(home, 'c.example'), { kind: 'password', username: 'c', password: 'd' })
})

test('a helper that is missing or broken, and a file that is no JSON, are named', async () => {
  using home = tempHome()
  const messageOf = async (): Promise<string> => {
    try {
      await find(home, 'a.example')
    } catch (error) {
      if (error instanceof BuildError && error.code === 'REGISTRY_CREDENTIALS') return error.message
      throw error
    }
    return 'no error'
  }
  home.write('.docker/config.json', { credsStore: 'nowhere' })
  assert.match(await messageOf(), /docker-credential-nowhere, which is not installed/)
  home.write('bin/docker-credential-bad', '#!/bin/sh\necho locked >&2; exit 3\n')
  chmodSync(join(home.path, 'bin/docker-credential-bad'), 0o755)
  home.write('.docker/config.json', { credsStore: 'bad' })
  assert.match(await messageOf(), /ended with code 3: locked/)
  home.write('.docker/config.json', { credsStore: '../../bin/sh' })
  assert.match(await messageOf(), /no name of a credential helper/)
  home.write('.docker/config.json', '{ secret')
  const text = await messageOf()
  assert.match(text, /config\.json is not a JSON object/)
  assert.not.match(text, /secret/)
})

test('login keeps what else is in the file, and only the owner may read it', async () => {
  using home = tempHome()
  home.write('.docker/config.json', { HttpHeaders: { a: 'b' }, auths: { 'old.example': auth('o', 'p') }, psFormat: 'x' })
  chmodSync(join(home.path, '.docker/config.json'), 0o644)
  const saved = await saveLogin('new.example', { kind: 'password', username: 'u', password: 'pä:ss' }, home.settings, signal)
  assert.is(statSync(saved.file).mode & 0o777, 0o600)
  const content = JSON.parse(readFileSync(saved.file, 'utf8')) as Record<string, unknown>
  assert.equal(content.HttpHeaders, { a: 'b' })
  assert.is(content.psFormat, 'x')
  assert.equal(await find(home, 'new.example'), { kind: 'password', username: 'u', password: 'pä:ss' })
  assert.ok(await find(home, 'old.example'))
  assert.is(await removeLogin('new.example', home.settings, signal), true)
  assert.is(await removeLogin('new.example', home.settings, signal), false)
  assert.is(await find(home, 'new.example'), undefined)
  assert.ok(await find(home, 'old.example'))
})

test('login makes the file where there is none and leaves a link to it a link', async () => {
  using home = tempHome()
  await saveLogin('docker.io', { kind: 'password', username: 'u', password: 'p' }, home.settings, signal)
  const path = join(home.path, '.docker/config.json')
  assert.equal(Object.keys((JSON.parse(readFileSync(path, 'utf8')) as { auths: object }).auths), ['https://index.docker.io/v1/'])
  home.write('dotfiles/docker.json', readFileSync(path, 'utf8'))
  rmSync(path)
  symlinkSync('../dotfiles/docker.json', path)
  await saveLogin('x.example', { kind: 'password', username: 'v', password: 'q' }, home.settings, signal)
  assert.ok(lstatSync(path).isSymbolicLink())
  assert.equal(await find(home, 'x.example'), { kind: 'password', username: 'v', password: 'q' })
})

test('login with a helper gives it the secret and writes none', async () => {
  using home = tempHome()
  home.write('bin/docker-credential-keep', `#!/bin/sh\ncat > ${home.path}/kept-$1\n`)
  chmodSync(join(home.path, 'bin/docker-credential-keep'), 0o755)
  home.write('.docker/config.json', { credsStore: 'keep' })
  const saved = await saveLogin('h.example', { kind: 'password', username: 'u', password: 'hush' }, home.settings, signal)
  assert.is(saved.helper, 'keep')
  assert.equal(JSON.parse(readFileSync(join(home.path, 'kept-store'), 'utf8')), {
    ServerURL: 'h.example',
    Username: 'u',
    Secret: 'hush',
  })
  assert.not.match(readFileSync(saved.file, 'utf8'), /hush|dTpodXNo/)
  assert.is(await removeLogin('h.example', home.settings, signal), true)
  assert.is(readFileSync(join(home.path, 'kept-erase'), 'utf8'), 'h.example')
})

test.run()
