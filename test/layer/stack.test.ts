import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { makeNode } from '../../src/io/sys.js'
import { layerStack, resolvePath } from '../../src/layer/stack.js'
import { describe, fillLayer, randomFrom } from '../helpers/random-layers.js'
import { tempDirectory } from '../helpers/temp-store.js'

test('a stack looks as overlay mounts it, on random trees', async () => {
  if (!canMount()) {
    process.stdout.write('SKIP: overlayfs cannot be mounted here\n')
    return
  }
  for (let seed = 1; seed <= 25; seed++) {
    await using directory = tempDirectory()
    const random = randomFrom(seed)
    const layers = Array.from({ length: 2 + random(4) }, (_, i) => `${directory.path}/${i}`)
    for (const [i, layer] of layers.entries()) {
      mkdirSync(layer)
      fillLayer(layer, random, 3, i === 0)
    }
    const lowers = [...layers].reverse().join(':')
    mkdirSync(`${directory.path}/merged`)
    // The mount is private to its own process, so what it shows is copied out. In a directory of one layer alone, overlay
    // lists deletions that cannot be looked at: cp complains about these.
    const copy = `mount -t overlay none -o lowerdir=${lowers} ${directory.path}/merged && { cp -a ${directory.path}/merged/. ${directory.path}/seen 2>/dev/null || true; }`
    execFileSync('unshare', ['-m', 'sh', '-c', `mkdir ${directory.path}/seen; ${copy}`])
    const seen = layerStack([`${directory.path}/seen`])
    const expected = describe(seen)
    assert.equal(describe(layerStack(layers)), expected, `seed ${seed}`)
    // The same without listing first: each look goes its own way.
    const fresh = layerStack(layers)
    for (const line of expected) {
      const path = line.split(/ (?:file|directory|symlink|fifo) /)[0] ?? ''
      assert.is(fresh.lstat(path)?.type, seen.lstat(path)?.type, `seed ${seed}: ${path}`)
    }
    for (const path of ['/a/b/c/a', '/b/a/a', '/c/c', '/b/b/b']) {
      assert.is(fresh.lstat(path)?.mode, seen.lstat(path)?.mode, `seed ${seed}: ${path}`)
    }
  }
})

function canMount(): boolean {
  try {
    execFileSync('unshare', [
      '-m',
      'sh',
      '-c',
      'd=$(mktemp -d) && mkdir $d/a $d/b && mount -t overlay none -o lowerdir=$d/a:$d/b $d/a',
    ])
    return true
  } catch {
    return false
  }
}

test('a stack of nothing is an empty root', () => {
  const view = layerStack([])
  assert.equal(view.readdir('/'), [])
  assert.is(view.lstat('/')?.type, 'directory')
  assert.is(view.lstat('/a'), undefined)
})

test('twenty layers are listed as one', async () => {
  await using directory = tempDirectory()
  const layers = Array.from({ length: 20 }, (_, i) => `${directory.path}/${String(i).padStart(2, '0')}`)
  for (const [i, layer] of layers.entries()) {
    mkdirSync(`${layer}/usr/lib`, { recursive: true })
    writeFileSync(`${layer}/usr/lib/file${i}`, '')
    if (i > 0) makeNode(`${layer}/usr/lib/file${i - 1}`, 'character', 0, 0)
  }
  assert.equal(layerStack(layers).readdir('/usr/lib'), ['file19'])
  assert.equal(layerStack(layers.slice(0, 7)).readdir('/usr/lib'), ['file6'])
})

test('links are followed with the view as their root', async () => {
  await using directory = tempDirectory()
  const root = directory.path
  mkdirSync(`${root}/usr/bin`, { recursive: true })
  writeFileSync(`${root}/usr/bin/sh`, '')
  symlinkSync('usr/bin', `${root}/bin`)
  symlinkSync('/bin/sh', `${root}/shell`)
  symlinkSync('../../../../usr', `${root}/usr/up`)
  symlinkSync('loop', `${root}/loop`)
  symlinkSync('/nowhere/else', `${root}/dangling`)
  const view = layerStack([root])
  const resolve = (path: string, followLast = true): string => {
    const { path: found, entry, existing } = resolvePath(view, path, { followLast })
    return `${found} ${entry?.type} ${existing}`
  }
  assert.is(resolve('/shell'), '/usr/bin/sh file /usr/bin/sh')
  assert.is(resolve('shell', false), '/shell symlink /shell')
  assert.is(resolve('/bin/sh', false), '/usr/bin/sh file /usr/bin/sh')
  assert.is(resolve('/usr/up/bin/../bin'), '/usr/bin directory /usr/bin')
  assert.is(resolve('/../../usr/./bin/'), '/usr/bin directory /usr/bin')
  assert.is(resolve('/bin/new/deep'), '/usr/bin/new/deep undefined /usr/bin')
  assert.is(resolve('/bin/new/../other'), '/usr/bin/other undefined /usr/bin')
  assert.is(resolve('/bin/new/../sh'), '/usr/bin/sh file /usr/bin/sh')
  assert.is(resolve('/dangling'), '/nowhere/else undefined /')
  assert.is(resolve('/dangling/x'), '/nowhere/else/x undefined /')
  assert.is(resolve('/shell/below'), '/usr/bin/sh/below undefined /usr/bin/sh')
  assert.is(resolve('/'), '/ directory /')
  assert.throws(
    () => resolve('/loop'),
    (error: { code?: string }) => error.code === 'LAYER_LINK_LOOP',
  )
})

test('an entry says where it is on this machine', async () => {
  await using directory = tempDirectory()
  mkdirSync(`${directory.path}/one/d`, { recursive: true })
  mkdirSync(`${directory.path}/two/d`, { recursive: true })
  writeFileSync(`${directory.path}/one/d/f`, 'x')
  linkSync(`${directory.path}/one/d/f`, `${directory.path}/one/d/g`)
  const view = layerStack([`${directory.path}/one`, `${directory.path}/two`])
  assert.is(view.lstat('/d')?.hostPath, `${directory.path}/two/d`)
  assert.is(view.lstat('/d/f')?.hostPath, `${directory.path}/one/d/f`)
  assert.is(view.lstat('/d/f')?.nlink, 2)
  assert.is(view.lstat('/d/f/x'), undefined)
  rmSync(`${directory.path}/one`, { recursive: true })
})

test.run()
