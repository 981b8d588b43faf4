/** login, push, pull and logout as a user types them, against a registry that wants a password. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { mille, milleOk } from '../helpers/cli.js'
import { registryMissing, startRegistry, testUser } from '../helpers/registry.js'
import { tempDirectory } from '../helpers/temp.js'

test('a registry with a password: wrong credentials are refused, right ones push and pull, logout forgets them', async () => {
  const reason = registryMissing() ?? (await whyNoBase('busybox'))
  if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
  await using directory = await tempDirectory()
  await using registry = await startRegistry({ auth: 'basic' })
  const root = join(directory.path, 'store')
  mkdirSync(root)
  await importBase(root, 'busybox')
  const env = { DOCKER_CONFIG: join(directory.path, 'docker') }
  const login = (password: string) =>
    mille(root, ['login', '-u', testUser.username, '--password-stdin', registry.host], { env, input: `${password}\n` })
  const name = `${registry.host}/team/busybox:1`
  await milleOk(root, ['tag', 'localhost/base/busybox', name])

  const anonymous = await mille(root, ['push', '-q', name], { env })
  assert.is(anonymous.code, 1)
  assert.match(anonymous.stderr, /\[REGISTRY_UNAUTHORIZED\]/)
  assert.match(anonymous.stderr, new RegExp(`mille login ${registry.host}`))

  const wrong = await login('not the password')
  assert.is(wrong.code, 1)
  assert.match(wrong.stderr, /\[REGISTRY_UNAUTHORIZED\]/)
  assert.not.match(wrong.stderr, /not the password/)

  const right = await login(testUser.password)
  assert.is(right.code, 0, right.stderr)
  assert.match(right.stdout + right.stderr, /Login Succeeded/)

  await milleOk(root, ['push', '-q', name], { env })
  const id = await milleOk(root, ['inspect', '--format', '{{.Id}}', name])
  const other = join(directory.path, 'other')
  mkdirSync(other)
  assert.match(await milleOk(other, ['pull', '-q', name], { env }), /team\/busybox:1/)
  assert.is(await milleOk(other, ['inspect', '--format', '{{.Id}}', name]), id)
  assert.is(await milleOk(other, ['run', '--rm', '--network', 'none', name, 'echo', 'pulled']), 'pulled\n')

  const foreign = await mille(other, ['pull', '--platform=linux/s390x', name], { env })
  assert.match(foreign.stderr, /warning: .* is for linux\/\w+, and --platform asks for linux\/s390x/)

  await milleOk(root, ['logout', registry.host], { env })
  const after = await mille(other, ['pull', '-q', name], { env })
  assert.is(after.code, 1)
  assert.match(after.stderr, /\[REGISTRY_UNAUTHORIZED\]/)

  mkdirSync(join(directory.path, 'odd/config.json'), { recursive: true })
  for (const verb of [
    ['pull', name],
    ['logout', registry.host],
    ['login', '-u', 'x', '-p', testUser.password, registry.host],
  ]) {
    const odd = await mille(other, verb, { env: { DOCKER_CONFIG: join(directory.path, 'odd') } })
    assert.is(odd.code, 1, odd.stderr)
    assert.match(odd.stderr, verb[0] === 'login' ? /UNAUTHORIZED/ : /logins in .*config\.json cannot be read \(EISDIR\)/)
  }
})

test.run()
