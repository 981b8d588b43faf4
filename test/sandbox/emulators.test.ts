/** Reading the kernel's list of emulators. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { findEmulator } from '../../sandbox/emulators.js'
import { exitProgram } from '../../sandbox/tiny-program.js'
import { tempDirectory } from '../helpers/temp.js'

const arm64 = `interpreter /usr/bin/qemu-aarch64-static
flags: FLAGS
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`

test('an emulator is found by the first bytes of a program', async () => {
  await using directory = await tempDirectory()
  const folder = join(directory.path, 'binfmt')
  assert.is(findEmulator(Buffer.alloc(64), folder), undefined)
  mkdirSync(folder)
  writeFileSync(join(folder, 'register'), '')
  writeFileSync(join(folder, 'status'), 'enabled\n')
  const [own, other] = [exitProgram('arm64'), exitProgram('x64')].map((program) => Buffer.from(program ?? []))
  const entry = (state: string, flags: string): void =>
    writeFileSync(join(folder, 'qemu-aarch64'), `${state}\n${arm64.replace('FLAGS', flags)}`)
  const look = (program = own): unknown => findEmulator(program ?? Buffer.alloc(0), folder)
  entry('enabled', 'OCF')
  assert.equal(look(), { interpreter: '/usr/bin/qemu-aarch64-static', isFixed: true })
  assert.is(look(other), undefined)
  entry('enabled', 'P')
  assert.equal(look(), { interpreter: '/usr/bin/qemu-aarch64-static', isFixed: false })
  entry('disabled', 'F')
  assert.is(look(), undefined)
})

test.run()
