/** Claims: one at a time has one, and the others learn how the work ended. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { digestOf } from '../../src/core/digest.js'
import { type Claims, openClaims, shareWork } from '../../src/store/claims.js'
import { layoutOf } from '../../src/store/layout.js'
import { tempDirectory } from '../helpers/temp-store.js'
import { within } from '../helpers/within.js'

const name = digestOf('work')
const never = new AbortController().signal

function claimsOf(root: string): Claims {
  return openClaims(layoutOf(root), { command: 'mille test', now: Date.now })
}

test('who waits learns how the work ended, and by whom it was done', async () => {
  await using directory = tempDirectory()
  for (const end of ['done', 'failed', 'gone'] as const) {
    const claim = claimsOf(directory.path).take('step', name)
    const other = claimsOf(directory.path).take('step', name)
    if (!claim.isOurs || other.isOurs) throw new Error('two have the claim, or none')
    assert.equal([other.process?.pid, other.process?.command], [process.pid, 'mille test'])
    const ended = other.ended(never, () => undefined)
    claim.release(end)
    assert.is(await within(5000, ended), end)
    assert.equal(readdirSync(`${directory.path}/claims`), [])
  }
})

test('a file that nobody has locked is no claim, whatever it says', async () => {
  await using directory = tempDirectory()
  const first = claimsOf(directory.path).take('step', name)
  const [file = ''] = readdirSync(`${directory.path}/claims`)
  const text = readFileSync(`${directory.path}/claims/${file}`)
  if (!first.isOurs) throw new Error('a free claim was not given')
  first.release('done')
  writeFileSync(`${directory.path}/claims/${file}`, text)
  assert.is(claimsOf(directory.path).take('step', name).isOurs, true)
})

test('work that is shared is done once, and again by who waited when it failed', async () => {
  await using directory = tempDirectory()
  let result: string | undefined
  let runs = 0
  const start = (fails: boolean): Promise<string> => {
    const run = async (): Promise<string> => {
      runs++
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (fails) throw new Error('failed')
      result = 'made'
      return result
    }
    const work = { kind: 'layer', name, find: () => result, run, waiting: () => undefined } as const
    return shareWork(claimsOf(directory.path), work, never)
  }
  const bad = start(true)
  const good = start(false)
  const outcomes = await within(5000, Promise.allSettled([bad, good]))
  assert.equal(
    outcomes.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  )
  result = undefined
  runs = 0
  assert.equal(await within(5000, Promise.all([start(false), start(false), start(false)])), ['made', 'made', 'made'])
  assert.is(runs, 1)
})

test('of many processes one at a time has a claim', async () => {
  await using directory = tempDirectory()
  const script = `
    import { openClaims } from ${JSON.stringify(new URL('../../src/store/claims.js', import.meta.url).href)}
    import { layoutOf } from ${JSON.stringify(new URL('../../src/store/layout.js', import.meta.url).href)}
    import { rmSync, writeFileSync } from 'node:fs'
    const claims = openClaims(layoutOf(process.argv[1]), { command: 'x', now: Date.now })
    const inside = process.argv[1] + '/inside'
    for (let taken = 0; taken < 400; ) {
      const claim = claims.take('step', ${JSON.stringify(name)})
      if (claim.isOurs) {
        taken++
        writeFileSync(inside, '', { flag: 'wx' })
        rmSync(inside)
        claim.release('done')
      } else if (taken % 2) claim.forgo()
      else await claim.ended(new AbortController().signal)
    }
  `
  const ended = Array.from({ length: 4 }, () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, directory.path], { stdio: 'inherit' })
    return new Promise((resolve) => child.on('close', resolve))
  })
  assert.equal(await within(60_000, Promise.all(ended)), [0, 0, 0, 0])
  assert.equal(readdirSync(`${directory.path}/claims`), [])
})

test.run()
