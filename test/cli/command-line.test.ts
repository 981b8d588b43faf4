/** The bundle as a process: start, help, mistakes, exit codes, closed pipes, signals. */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { verbs } from '../../src/cli/verbs.js'
import { importBase, whyNoBase } from '../helpers/bases.js'
import { mille, milleOk, projectRoot, runProgram } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'
import { within } from '../helpers/within.js'

const binary = join(projectRoot, 'bin/mille')
const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { readonly version: string }

test('--version, -v and version say the version, for programs too', async () => {
  await using directory = await tempDirectory()
  for (const args of [['--version'], ['-v'], ['--debug', '--version']]) {
    assert.is(await milleOk(directory.path, args), `mille version ${version}\n`)
  }
  assert.is(await milleOk(directory.path, ['version', '--format', '{{.Server.Version}}']), `${version}\n`)
})

test('help goes to stdout with exit code 0, however it is asked for', async () => {
  await using directory = await tempDirectory()
  const whole = await milleOk(directory.path, ['--help'])
  for (const args of [[], ['help'], ['-h']]) assert.is(await milleOk(directory.path, args), whole)
  for (const verb of Object.keys(verbs)) assert.ok(whole.includes(`\n  ${verb} `), verb)
  const build = await milleOk(directory.path, ['build', '--help'])
  assert.match(build, /^Usage: {2}mille build /)
  for (const args of [
    ['help', 'build'],
    ['build', '-h'],
    ['buildx', 'build', '--help'],
    ['image', 'build', '.', '--help'],
  ]) {
    assert.is(await milleOk(directory.path, args), build, args.join(' '))
  }
  assert.match(await milleOk(directory.path, ['image', '--help']), /image ls/)
})

test('a wrong command line is exit code 2, of run 125, with one error that helps', async () => {
  await using directory = await tempDirectory()
  const cases: [string[], number, RegExp][] = [
    [['buidl'], 2, /"buidl" is no mille command \[USAGE_UNKNOWN_COMMAND\]\n {2}hint: did you mean build\?/],
    [['--rot', 'x'], 2, /unknown flag --rot for "mille" .*\n {2}hint: did you mean --root\?/],
    [['build', '--tga', 'x', '.'], 2, /did you mean --tag\?/],
    [['build'], 2, /"mille build" takes 1 argument, got 0/],
    [['build', '--policy', 'x', '.'], 2, /--policy of docker is not supported by "mille build" yet/],
    [['build', '-o', 'type=ocy,dest=x', '.'], 2, /unknown type "ocy"/],
    [['build', '-o', 'type=oci,dest=x,compression-level=10', '.'], 2, /the level is "10", gzip has 0 to 9/],
    [['build', '-o', 'type=oci,dest=x,compression=lz4', '.'], 2, /the compression "lz4" is not supported/],
    [['build', '-o', 'type=oci,dest=x,source-date-epoch=now', '.'], 2, /expected seconds since 1970/],
    [['build', '-o', 'type=oci,dst=x', '.'], 2, /unknown key "dst".*\n {2}hint: did you mean dest\?/],
    [['images', '--format', '{{.Nope'], 2, /\{\{ without \}\}/],
    [['run', '-d', 'x'], 125, /-d \(--detach\) of docker is not supported/],
    [['run'], 125, /takes at least 1 argument, got 0/],
    [['run', '-v', 'a:b:c:d', 'x'], 125, /more than two colons/],
  ]
  for (const [args, code, pattern] of cases) {
    const ended = await mille(directory.path, args)
    assert.is(ended.code, code, `${args.join(' ')}: ${ended.stderr}`)
    assert.match(ended.stderr, pattern)
    assert.is(ended.stdout, '')
  }
})

test('a failed command is exit code 1', async () => {
  await using directory = await tempDirectory()
  for (const args of [
    ['rmi', 'nope'],
    ['inspect', 'nope'],
    ['tag', 'nope', 'x'],
    ['build', join(directory.path, 'nope')],
  ]) {
    const ended = await mille(directory.path, args)
    assert.is(ended.code, 1, ended.stderr)
    assert.match(ended.stderr, /^error: /)
  }
  assert.is((await mille(directory.path, ['rmi', '-f', 'nope'])).code, 0)
})

test('three mistakes in a Dockerfile are three messages', async () => {
  await using directory = await tempDirectory()
  const input = 'FROM scratch\nRUNN a\nCOPPY a b\nUSR x\n'
  const ended = await mille(directory.path, ['build', '-q', '-'], { input })
  assert.is(ended.code, 1)
  assert.is(ended.stderr.split('\n').filter((line) => /^Dockerfile:\d+:1: error: unknown instruction/.test(line)).length, 3)
  assert.is(ended.stdout, '')
})

test('debug ast prints the tree and debug graph the plan', async () => {
  await using directory = await tempDirectory()
  const input = 'FROM scratch\nENV A=1\n'
  assert.match(await milleOk(directory.path, ['debug', 'ast', '-'], { input }), /from 1:1/)
  assert.is(
    (JSON.parse(await milleOk(directory.path, ['debug', 'ast', '--format=json', '-'], { input })) as { instructions: unknown[] })
      .instructions.length,
    2,
  )
  assert.match(await milleOk(directory.path, ['debug', 'graph', '-'], { input }), /ENV A=1/)
  assert.match(await milleOk(directory.path, ['debug', 'graph', '--format=dot', '-'], { input }), /^digraph plan \{/)
  assert.is((await mille(directory.path, ['debug', 'ast', '-'], { input: 'FRM x\n' })).code, 1)
})

test('an unreadable reader ends the program quietly', async () => {
  await using directory = await tempDirectory()
  const ended = await runProgram('bash', ['-c', `"${binary}" --help | head -c 1; echo "\${PIPESTATUS[0]}"`], {
    env: { MILLE_ROOT: directory.path },
  })
  assert.match(ended.stdout, /^U(0|141)\n$/)
  assert.is(ended.stderr, '')
})

test('a result that cannot be written is an error', async () => {
  await using directory = await tempDirectory()
  for (const words of ['--version', '--help', 'images', 'version', 'build --help']) {
    const ended = await runProgram('bash', ['-c', `"$0" ${words} > /dev/full`, binary], { env: { MILLE_ROOT: directory.path } })
    assert.is(ended.code, 1, words)
    assert.is(ended.stderr, 'error: the output cannot be written: no space is left [OUTPUT_UNWRITABLE]\n')
  }
})

test('an output that is no file is written to, and a link stays one', async () => {
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  writeFileSync(join(directory.path, 'Dockerfile'), 'FROM scratch\nLABEL a=b\n')
  const id = (await milleOk(root, ['build', '-q', '-t', 'x', directory.path])).trim()
  const script = `set -e
    mkfifo pipe; ln -s real link; ln -s Dockerfile linked; chmod 640 Dockerfile
    cat pipe > got & "$0" save -q -o pipe x; wait
    "$0" save -q -o >(cat > got2; touch done) x; until [ -e done ]; do sleep 0.05; done; cmp got got2
    "$0" save -q -o /dev/stdout x | cmp - got
    "$0" save -q -o link x; cmp real got; "$0" save -q -o link x; cmp real got
    "$0" load -q < got
    cat pipe > id & "$0" build -q --iidfile pipe . > /dev/null; wait
    echo 'from scratch' > Dockerfile; "$0" fmt -w linked; "$0" build -q -o type=tar,dest=pipe . & tar t < pipe; wait
    find . -maxdepth 1 ! -type f ! -type d -printf '%f %y %l\\n' | sort; stat -c %a Dockerfile; cat Dockerfile`
  const ended = await runProgram('bash', ['-c', script, binary], {
    cwd: directory.path,
    env: { MILLE_ROOT: root },
    timeoutMs: 60_000,
  })
  assert.is(ended.code, 0, ended.stderr)
  const expected = 'Loaded image: x:latest\nlink l real\nlinked l Dockerfile\npipe p \n640\nFROM scratch\n'
  assert.is(ended.stdout.replace(/^sha256:.*\n/gm, ''), expected)
  assert.is(readFileSync(join(directory.path, 'id'), 'utf8'), id)
  const refused = await mille(root, ['save', '-q', '-o', '/proc/self/no', 'x'])
  assert.is(refused.code, 1)
  assert.match(refused.stderr, /^error: \/proc\/self\/no cannot be written \(ENOENT\) \[EXPORT_FAILED\]/)
})

test('load and import take what tar takes', async () => {
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  writeFileSync(join(directory.path, 'Dockerfile'), 'FROM scratch\nLABEL a=b\n')
  await milleOk(root, ['build', '-q', '-t', 'x', directory.path])
  const script = `set -e; "$0" save -q -o x.tar x; tar cf files.tar Dockerfile
    for program in xz bzip2 gzip; do
      $program -k x.tar files.tar; "$0" load -q -i x.tar.?z*; "$0" import files.tar.?z* imported:$program > /dev/null
      "$0" import - < files.tar.?z* > /dev/null; rm ./*z*
    done
    "$0" images --format '{{.Size}}' imported`
  const ended = await runProgram('bash', ['-c', script, binary], { cwd: directory.path, env: { MILLE_ROOT: root } })
  assert.is(ended.code, 0, ended.stderr)
  assert.is(ended.stdout, `${'Loaded image: x:latest\n'.repeat(3)}${'23B\n'.repeat(3)}`)
  const folder = await mille(root, ['import', directory.path])
  assert.is(folder.code, 1)
  assert.match(folder.stderr, /^error: \S+ is a directory \[ARCHIVE_BAD\]/)
})

test('places that cannot be are errors, not bugs', async () => {
  await using directory = await tempDirectory()
  for (const root of ['/proc/no/such', '/dev/null/x', binary]) {
    const ended = await mille(root, ['images'], { timeoutMs: 20_000 })
    assert.is(ended.code, 1, root)
    assert.match(ended.stderr, /^error: no store can be made at .* \((ENOENT|ENOTDIR|EEXIST)\) \[STORE_NO_PERMISSION\]/)
  }
  const script = `mkdir gone; cd gone; rmdir ../gone; "$0" images -q && ! "$0" build -q .`
  const ended = await runProgram('bash', ['-c', script, binary], {
    cwd: directory.path,
    env: { MILLE_ROOT: join(directory.path, 'store') },
  })
  assert.is(ended.code, 0, ended.stderr)
  assert.match(ended.stderr, /^error: the current directory was deleted/m)
})

test('a registry that can be none is refused', async () => {
  await using directory = await tempDirectory()
  for (const [verb, server] of [
    ['login', 'bad host'],
    ['login', 'foo'],
    ['logout', 'a b'],
    ['login', 'x/../y'],
  ] as const) {
    const flags = verb === 'login' ? ['-u', 'a', '-p', 'b'] : []
    const ended = await mille(directory.path, [verb, ...flags, server])
    assert.is(ended.code, 2)
    assert.match(ended.stderr, /is no registry host/)
  }
})

test('images are listed, named, described and removed as docker does', async () => {
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  const context = join(directory.path, 'Dockerfile')
  writeFileSync(context, 'FROM scratch\nLABEL a=b\nENV X=1\nCMD ["/x"]\n')
  const id = (await milleOk(root, ['build', '-q', '-t', 'team/app:1', directory.path])).trim()
  assert.match(id, /^sha256:[0-9a-f]{64}$/)
  await milleOk(root, ['tag', 'team/app:1', 'localhost:5000/app'])
  assert.match(await milleOk(root, ['images']), /^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\n/)
  assert.is(await milleOk(root, ['image', 'ls', '-q', '--no-trunc']), `${id}\n`)
  const labelled = await milleOk(root, ['images', '--format', '{{.Repository}}:{{.Tag}}', '-f', 'label=a=b'])
  assert.equal(labelled.split('\n').sort(), ['', 'localhost:5000/app:latest', 'team/app:1'])
  assert.is(await milleOk(root, ['images', '-q', '-f', 'label=a=c']), '')
  assert.is(await milleOk(root, ['images', '-q', 'team/app:2']), '')
  assert.is(
    await milleOk(root, ['inspect', '-f', '{{json .Config.Cmd}} {{.Os}} {{len .RepoTags}}', 'team/app:1']),
    '["/x"] linux 2\n',
  )
  const [image] = JSON.parse(await milleOk(root, ['inspect', id.slice(7, 19)])) as { Id: string; Config: { Labels: unknown } }[]
  assert.is(image?.Id, id)
  assert.equal(image?.Config.Labels, { a: 'b' })
  assert.match(
    await milleOk(root, ['history', '--format', '{{.CreatedBy}}', 'team/app:1']),
    /^CMD \["\/x"\]\nENV X=1\nLABEL a=b\n$/,
  )
  const refused = await mille(root, ['rmi', id.slice(7, 19)])
  assert.is(refused.code, 1)
  assert.match(refused.stderr, /has 2 names/)
  assert.is(await milleOk(root, ['rmi', 'team/app:1']), 'Untagged: team/app:1\n')
  assert.is(await milleOk(root, ['rmi', id.slice(7, 19)]), `Untagged: localhost:5000/app:latest\nDeleted: ${id}\n`)
  assert.is(await milleOk(root, ['images', '-q']), '')
})

test('lists of images have docker’s columns, times and filters', async () => {
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  const build = async (tag: string, epoch: number, text: string): Promise<string> => {
    const args = ['build', '-q', '-t', tag, '--build-arg', `SOURCE_DATE_EPOCH=${epoch}`, '-']
    return (await milleOk(root, args, { input: `FROM scratch\nLABEL a="${text}"\n` })).trim()
  }
  const old = await build('old', 1_000_000_000, 'x\x1b[2Jy')
  const young = await build('localhost:5000/team/young:1', 1_700_000_000, 'z')
  const list = (...words: string[]): Promise<string> => milleOk(root, ['images', '-q', '--no-trunc', ...words])
  assert.is(await list('-f', 'before=localhost:5000/team/young:1'), `${old}\n`)
  assert.is(await list('-f', 'since=old'), `${young}\n`)
  assert.is(await list('-f', 'until=2005-01-01'), `${old}\n`)
  assert.is(await list('-f', 'reference=*/*/*'), `${young}\n`)
  assert.is(await list('docker.io/library/old'), `${old}\n`)
  assert.is((await mille(root, ['images', '-f', 'dangling=maybe'])).code, 2)
  assert.is((await mille(root, ['images', '-f', 'before=nope'])).code, 1)
  assert.is(await milleOk(root, ['images', 'old', '--format', '{{.CreatedAt}}']), '2001-09-09 01:46:40 +0000 UTC\n')
  assert.match(await milleOk(root, ['images', 'old']), /^REPOSITORY {3}TAG {7}IMAGE ID {7}CREATED {8,}SIZE\nold {10}latest {4}/)
  const history = await milleOk(root, ['history', '-H=false', 'old'])
  assert.match(history, /^IMAGE {10}CREATED AT {13}CREATED BY .*\n[0-9a-f]{12} {3}2001-09-09T01:46:40Z {3}LABEL a=xy/)
})

test('build writes the id, the metadata and the output that it was asked for', async () => {
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  writeFileSync(join(directory.path, 'file'), 'text')
  writeFileSync(join(directory.path, 'Dockerfile'), 'FROM scratch\nCOPY file /file\n')
  const files = ['--iidfile', 'id', '--metadata-file', 'metadata.json']
  const id = await milleOk(root, ['build', '-q', ...files, '-f', 'Dockerfile', '.'], { cwd: directory.path })
  assert.is(readFileSync(join(directory.path, 'id'), 'utf8'), id.trim())
  const metadata = JSON.parse(readFileSync(join(directory.path, 'metadata.json'), 'utf8')) as Record<string, unknown>
  assert.is(metadata['containerimage.config.digest'], id.trim())
  await milleOk(root, ['build', '-q', '-o', 'out', '.'], { cwd: directory.path })
  assert.is(readFileSync(join(directory.path, 'out/file'), 'utf8'), 'text')
  const listed = await runProgram('bash', ['-c', `"${binary}" build -o - . 2>/dev/null | tar t`], {
    cwd: directory.path,
    env: { MILLE_ROOT: root },
  })
  assert.is(listed.stdout, 'file\n')
  const piped = await runProgram('bash', ['-c', `tar c Dockerfile file | "${binary}" build -q -`], {
    cwd: directory.path,
    env: { MILLE_ROOT: root },
  })
  assert.is(piped.stdout, id)
  const fromStdin = await milleOk(root, ['build', '-q', '-f', '-', '.'], {
    cwd: directory.path,
    input: 'FROM scratch\nCOPY file /file\n',
  })
  assert.is(fromStdin, id)
})

test('Ctrl-C ends a build with 130 and leaves nothing running', async () => {
  const missing = await whyNoBase('busybox')
  if (missing !== undefined) return void console.log(`SKIP: ${missing}`)
  await using directory = await tempDirectory()
  const base = await importBase(directory.path, 'busybox')
  const child = spawn(binary, ['build', '--progress=plain', '-'], {
    env: { ...process.env, MILLE_ROOT: directory.path },
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  child.stdin.end(`FROM ${base}\nRUN echo started; sleep 876\n`)
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  await within(
    20_000,
    waitFor(() => stderr.includes('started\n')),
  )
  child.kill('SIGINT')
  assert.is(await within(15_000, ended), 130)
  assert.match(stderr, /cancelled\n$/)
  const left = await runProgram('pgrep', ['-f', 'sleep 876'])
  assert.is(left.stdout, '')
})

async function waitFor(isReady: () => boolean): Promise<void> {
  while (!isReady()) await sleep(50)
}

test.run()
