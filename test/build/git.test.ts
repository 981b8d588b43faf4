/** Git through `bin/mille`: repositories in ADD and as contexts, tokens that leave no trace, agents, and what prune takes. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ended, mille, mustRun } from '../helpers/cli.js'
import { type GitServer, makeRepository, serveGit, type TestRepository } from '../helpers/git-server.js'
import { tempDirectory } from '../helpers/temp.js'
import { makeTree, showTree } from '../helpers/tree.js'
import { within } from '../helpers/within.js'

interface Place {
  readonly path: string
  readonly root: string
  readonly server: GitServer
  readonly repository: TestRepository
  /** The address of the repository. */
  readonly url: string
  /** Builds, and exports to a directory; `context` may be a text: that of a Dockerfile. */
  readonly build: (context: string, args?: readonly string[], env?: Readonly<Record<string, string>>) => Promise<Ended & Built>
}

interface Built {
  /** Lists what was exported. */
  readonly files: () => string[]
  readonly read: (path: string) => string
}

function gitTest(title: string, work: (place: Place) => Promise<void>): void {
  test(title, async () => {
    await using temp = await tempDirectory()
    const { path } = temp
    await using server = await serveGit(path)
    const root = join(path, 'store')
    let builds = 0
    const build: Place['build'] = async (context, args = [], env = {}) => {
      const out = join(path, `out${builds}`)
      const directory = join(path, `context${builds++}`)
      if (context.includes('\n')) makeTree(directory, { Dockerfile: context })
      const place = context.includes('\n') ? directory : context
      const output = ['--progress=plain', '-o', out]
      const ended = await mille(root, ['build', ...output, ...args, place], { cwd: path, env })
      const files = () => showTree(out).map((line) => line.split(' ')[0] ?? '')
      return { ...ended, files, read: (name) => readFileSync(join(out, name), 'utf8') }
    }
    const repository = makeRepository(join(path, 'repo'))
    await within(120_000, work({ path, root, server, repository, url: `${server.url}/smart/repo/.git`, build }))
  })
}

/** The files below a directory in which a text is. */
function filesWith(directory: string, text: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).includes(text))
}

/** A directory with a program that notes its arguments and goes on as `program`. */
function spyOn(directory: string, name: string, log: string, script: string): string {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, name), `#!/bin/sh\nprintf '%s\\n' "$@" >> ${log}\n${script}\n`)
  chmodSync(join(directory, name), 0o755)
  return directory
}

gitTest('a token from a secret is in no argument, output, image or file of the store', async (place) => {
  const { path, server, repository, url, build, root } = place
  repository.commit({ 'a.txt': 'a' })
  const token = 'hunter2-correct-horse'
  const encoded = Buffer.from(`x-access-token:${token}`).toString('base64')
  server.authorization = `Basic ${encoded}`
  const log = join(path, 'arguments')
  const real = (await mustRun('sh', ['-c', 'command -v git'])).trim()
  const env = { PATH: `${spyOn(join(path, 'bin'), 'git', log, `exec ${real} "$@"`)}:${process.env.PATH}`, TOKEN: token }
  const secret = ['--secret', `id=GIT_AUTH_TOKEN.${server.host},env=TOKEN`]
  const refused = await build(`FROM scratch\nADD ${url} /\n`, [], env)
  assert.is(refused.code, 1)
  assert.match(refused.stderr, `hint: if it is private, give a token: --secret id=GIT_AUTH_TOKEN.${server.host},env=NAME`)
  const added = await build(`FROM scratch\nADD ${url} /\n`, secret, env)
  assert.is(added.code, 0, added.stderr)
  assert.equal(added.files(), ['a.txt'])
  repository.commit({ Dockerfile: 'FROM scratch\nCOPY a.txt /b.txt\n' })
  const context = await build(url, secret, env)
  assert.is(context.code, 0, context.stderr)
  assert.equal(context.files(), ['b.txt'])
  // In the address it is as secret.
  const address = url.replace('//', `//x-access-token:${token}@`)
  const inUrl = await build(
    `FROM scratch\nARG URL\nADD --keep-git-dir $URL /\n`,
    ['--build-arg', `URL=${address}`, '-t', 'x'],
    env,
  )
  assert.is(inUrl.code, 0, inUrl.stderr)
  const unknown = await build(`FROM scratch\nARG URL\nADD $URL#none /\n`, ['--build-arg', `URL=${address}`], env)
  assert.match(unknown.stderr, 'repository does not contain ref "none"')
  for (const text of [token, encoded]) {
    for (const { stderr, stdout } of [added, context, inUrl, unknown]) assert.not.ok((stderr + stdout).includes(text), stderr)
    assert.equal(filesWith(root, text), [])
    assert.not.match(readFileSync(log, 'utf8'), text)
  }
  assert.match(readFileSync(log, 'utf8'), 'ls-remote')
})

gitTest('a repository is a context: with ref and directory, -f inside it, and as a named one', async (place) => {
  const { repository, url, build, server } = place
  repository.commit({
    Dockerfile: 'FROM scratch\nCOPY . /\n',
    'app/Dockerfile': 'FROM scratch\nCOPY . /\n',
    'app/docker/Other': 'FROM scratch\nCOPY file /other\nCOPY --from=lib app/file /lib\n',
    'app/file': 'one',
  })
  repository.git('tag', 'v1')
  const commit = repository.commit({ 'app/file': 'two', '.dockerignore': 'app\n' })
  const tagged = await build(`${url}#v1:app`)
  assert.is(tagged.code, 0, tagged.stderr)
  assert.equal(tagged.files(), ['Dockerfile', 'docker/', 'docker/Other', 'file'])
  assert.is(tagged.read('file'), 'one')
  const whole = await build(url)
  assert.ok(whole.files().includes('app/file'), 'the ignore file of a repository does not count')
  const asked = server.requests.splice(0).length
  const other = await build(`${url}?commit=${commit}&subdir=app`, [
    '-f',
    'docker/Other',
    '--build-context',
    `lib=${url}#refs/tags/v1`,
  ])
  assert.is(other.code, 0, other.stderr)
  assert.equal([other.read('other'), other.read('lib')], ['two', 'one'])
  assert.ok(asked > 0 && server.requests.length <= 2, server.requests.join(' '))
  assert.ok(!whole.files().some((file) => file.startsWith('.git/')))
  const kept = await build(url, ['--build-arg', 'BUILDKIT_CONTEXT_KEEP_GIT_DIR=1'])
  assert.is(kept.read('.git/HEAD').trim(), commit)
  const again = await build(url, ['--build-arg', 'BUILDKIT_CONTEXT_KEEP_GIT_DIR=1'])
  assert.match(again.stderr, /CACHED/)
  const wrong = await build(`${url}#v1`, ['-f', 'none/Dockerfile'])
  assert.match(wrong.stderr, 'there is no file none/Dockerfile')
})

gitTest('a Dockerfile gets an agent for ssh only with --ssh, a context has that of the user', async (place) => {
  const { path, repository, build } = place
  repository.commit({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' })
  const key = join(path, 'key')
  await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'the-key', '-f', key])
  const log = join(path, 'ssh-log')
  const script = `ssh-add -L >> ${log} 2>&1\nfor last; do :; done\nexec sh -c "$last"`
  const ssh = join(spyOn(join(path, 'bin'), 'ssh', log, script), 'ssh')
  const env = { GIT_SSH_COMMAND: ssh, SSH_AUTH_SOCK: '' }
  const dockerfile = `FROM scratch\nADD git@example.org:${repository.path} /\n`
  const without = await build(dockerfile, [], env)
  assert.is(without.code, 0, without.stderr)
  assert.match(readFileSync(log, 'utf8'), 'git@example.org')
  assert.not.match(readFileSync(log, 'utf8'), 'ssh-ed25519')
  repository.commit({ more: 'x' })
  assert.is((await build(dockerfile, ['--ssh', `default=${key}`], env)).code, 0)
  assert.match(readFileSync(log, 'utf8'), /ssh-ed25519 \S+/)
  writeFileSync(log, '')
  const context = await build(`ssh://git@example.org${repository.path}`, ['--ssh', `default=${key}`], env)
  assert.is(context.code, 0, context.stderr)
  assert.match(readFileSync(log, 'utf8'), /ssh-ed25519 \S+/)
})

gitTest('prune takes the repositories, and a build fetches again', async ({ root, repository, url, build }) => {
  repository.commit({ 'a.txt': 'a' })
  const dockerfile = `FROM scratch\nADD ${url} /\n`
  assert.is((await build(dockerfile)).code, 0)
  const repositories = () => readdirSync(join(root, 'git')).filter((name) => name.endsWith('.git'))
  assert.is(repositories().length, 1)
  assert.is((await mille(root, ['prune', '--filter', 'until=1h', '--filter', 'type=source.git.checkout'])).code, 0)
  assert.is(repositories().length, 1)
  const pruned = await mille(root, ['prune', '--verbose', '--filter', 'type=source.git.checkout'])
  assert.ok(pruned.stdout.includes(`Description:    git repository ${url.replace(/\.git$/, '')}`), pruned.stdout)
  assert.is(repositories().length, 0)
  assert.match((await build(dockerfile)).stderr, /CACHED/)
  assert.is((await build(dockerfile, ['--no-cache'])).code, 0)
  assert.ok(existsSync(join(root, 'git')))
})

test.run()
