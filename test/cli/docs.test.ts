import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { globalFlags } from '../../src/cli/globals.js'
import { commandHelp } from '../../src/cli/help.js'
import { overview } from '../../src/cli/overview.js'
import { aliases, aliasesOf, resolveVerb, verbs } from '../../src/cli/verbs.js'
import { projectRoot } from '../helpers/cli.js'

const path = join(projectRoot, 'docs/cli.md')
const begin = '<!-- commands:begin -->\n'
const end = '<!-- commands:end -->\n'

test('docs/cli.md has the help text of every command', async () => {
  const parts = [`### mille\n\n\`\`\`\n${overview(globalFlags)}\`\`\`\n`]
  for (const [name, verb] of Object.entries(verbs)) {
    const { command } = await verb.load()
    parts.push(`### mille ${name}\n\n\`\`\`\n${commandHelp(command, aliasesOf(name))}\`\`\`\n`)
  }
  const text = readFileSync(path, 'utf8')
  const head = text.slice(0, text.indexOf(begin) + begin.length)
  const expected = `${head}\n${parts.join('\n')}\n${end}`
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, expected)
  assert.fixture(readFileSync(path, 'utf8'), expected)
})

test('a verb, its module and its line in the overview say the same', async () => {
  for (const [name, verb] of Object.entries(verbs)) {
    const { command } = await verb.load()
    assert.is(command.name, name)
    assert.is(command.summary, verb.summary)
  }
})

test('every flag has a help text that starts upper case, and no letter is used twice in a command', async () => {
  for (const [name, verb] of Object.entries(verbs)) {
    const { command } = await verb.load()
    const letters = Object.values(command.flags).flatMap(({ short }) => short ?? [])
    assert.equal(letters, [...new Set(letters)], name)
    for (const [flag, { help }] of Object.entries(command.flags)) assert.match(help, /^[A-Z].*[^.]$/, `${name} --${flag}`)
  }
})

test('docker’s longer spellings lead to verbs, and words that are none are told apart', () => {
  for (const [alias, name] of Object.entries(aliases)) {
    const found = resolveVerb([...alias.split(' '), 'x'])
    assert.equal(found, { kind: 'verb', name, typed: alias, rest: ['x'] })
  }
  assert.is(resolveVerb(['image']).kind, 'group')
  assert.is(resolveVerb(['image', '--help']).kind, 'group')
  assert.equal(resolveVerb(['image', 'lss']), {
    kind: 'unknown',
    word: 'image lss',
    known: [...Object.keys(verbs), ...Object.keys(aliases)].filter((words) => words.startsWith('image ')),
  })
  assert.is(resolveVerb(['constructor']).kind, 'unknown')
})

test('the words of the README and of docs/cli.md that start commands are verbs', () => {
  for (const file of ['README.md', 'docs/cli.md']) {
    const text = readFileSync(join(projectRoot, file), 'utf8')
    for (const [, words = ''] of text.matchAll(/^\$ mille ([a-z]+(?: [a-z]+)?)/gm)) {
      assert.is(resolveVerb(words.split(' ')).kind, 'verb', `${file}: mille ${words}`)
    }
  }
})

test.run()
