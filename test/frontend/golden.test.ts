/** Golden plans: fixtures/dockerfiles/<case>/Dockerfile (with options.json) against graph.txt. `UPDATE_GOLDEN=1` rewrites them. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parsePlatform } from '../../src/core/platform.js'
import type { FrontendOptions } from '../../src/frontend/options.js'
import { printGraph } from '../../src/graph/print.js'
import { amd64, type FakeImages, planText } from '../helpers/plan.js'

const root = fileURLToPath(new URL('../../../fixtures/dockerfiles', import.meta.url))

type CaseOptions = Partial<Omit<FrontendOptions, 'platform'>> & {
  readonly images?: FakeImages
  readonly platform?: string
}

async function planCase(folder: string): Promise<string> {
  const path = join(folder, 'options.json')
  const { images, platform, ...rest }: CaseOptions = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
  const parsed = platform === undefined ? undefined : (parsePlatform(platform, amd64) ?? amd64)
  const options = parsed === undefined ? rest : { ...rest, platform: parsed }
  const text = readFileSync(join(folder, 'Dockerfile'), 'utf8')
  const { plan, diagnostics } = await planText(text, images === undefined ? { options } : { options, images })
  const warnings = diagnostics.map(({ severity, code, message }) => `${severity}: ${message} [${code}]\n`)
  return printGraph(plan) + (warnings.length > 0 ? `\n${warnings.join('')}` : '')
}

const cases = readdirSync(root).filter((name) => existsSync(join(root, name, 'graph.txt')))

for (const name of cases) {
  test(`the plan of ${name} is as recorded`, async () => {
    const golden = join(root, name, 'graph.txt')
    const actual = await planCase(join(root, name))
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(golden, actual)
    assert.fixture(actual, readFileSync(golden, 'utf8'))
    assert.is(await planCase(join(root, name)), actual, 'planning twice gives the same bytes')
  })
}

test('there are golden plans', () => {
  assert.ok(cases.length >= 11)
})

test.run()
