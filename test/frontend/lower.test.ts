/** Semantics of lowering that golden plans do not show well. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ImageConfig } from '../../src/core/image.js'
import type { BuildPlan, ExecOp, Op } from '../../src/graph/op.js'
import { planText } from '../helpers/plan.js'

function configOf(plan: BuildPlan): NonNullable<ImageConfig['config']> {
  return plan.image.config.config ?? {}
}

function opsOf<K extends Op['kind']>(plan: BuildPlan, kind: K): Extract<Op, { kind: K }>[] {
  return plan.vertices.flatMap(({ op }) => (op.kind === kind ? [op as Extract<Op, { kind: K }>] : []))
}

async function lastRun(text: string, settings = {}): Promise<ExecOp> {
  const op = opsOf((await planText(text, settings)).plan, 'exec').at(-1)
  if (op === undefined) throw new Error('there is no RUN')
  return op
}

test('an ENTRYPOINT drops a CMD that was inherited, and keeps one of its own stage', async () => {
  const images = { a: { config: { Cmd: ['x'] } } }
  const inherited = await planText('FROM a\nENTRYPOINT ["e"]\n', { images })
  assert.is(configOf(inherited.plan).Cmd, undefined)
  const own = await planText('FROM a\nCMD ["y"]\nENTRYPOINT ["e"]\n', { images })
  assert.equal(configOf(own.plan).Cmd, ['y'])
  const parent = await planText('FROM a AS p\nCMD ["y"]\nFROM p\nENTRYPOINT ["e"]\n', { images })
  assert.is(configOf(parent.plan).Cmd, undefined)
})

test('what takes a setting away leaves no empty member behind, nor does what a base has of them', async () => {
  const empty = { Cmd: [], Labels: {}, OnBuild: [], ArgsEscaped: false, User: '' }
  const images = { a: { config: { User: 'u', Cmd: ['x'], Entrypoint: ['y'] } }, b: { config: empty } }
  const { plan } = await planText('FROM a\nARG X\nCMD []\nENTRYPOINT []\nUSER $X\nEXPOSE $X\n', { images })
  assert.equal(Object.keys(configOf(plan)).sort(), ['ArgsEscaped', 'Env'])
  assert.equal(Object.keys(configOf((await planText('FROM b\nENV A=\n', { images })).plan)), ['Env'])
})

test('a later SHELL does not rewrite a CMD', async () => {
  const { plan } = await planText('FROM scratch\nCMD hi\nSHELL ["/sh2", "-c"]\n')
  assert.equal(configOf(plan).Cmd, ['/bin/sh', '-c', 'hi'])
})

test('an ARG after an ENV is what RUN sees, the config keeps the ENV', async () => {
  const text = 'FROM a\nENV A=1\nARG A=2\nRUN true\n'
  assert.ok((await lastRun(text)).env.includes('A=2'))
  assert.ok(configOf((await planText(text)).plan).Env?.includes('A=1'))
})

test('a default that a build argument replaces is not expanded', async () => {
  const options = { buildArgs: { A: 'given' } }
  assert.ok((await lastRun('FROM a\nARG A=\x24{B:?missing}\nRUN true\n', { options })).env.includes('A=given'))
})

test('a global ARG is seen only after the stage declares it', async () => {
  const env = async (line: string) => (await lastRun(`ARG G=global\nFROM a\n${line}\nRUN true\n`)).env
  assert.not((await env('LABEL x=y')).some((entry) => entry.startsWith('G=')))
  assert.ok((await env('ARG G')).includes('G=global'))
  assert.ok((await env('ARG G=own')).includes('G=own'))
})

test('--no-cache reaches RUN, COPY and ADD, but not WORKDIR', async () => {
  const { plan } = await planText('FROM a\nWORKDIR /w\nCOPY x .\nRUN true\n', { options: { noCache: true } })
  const flags = Object.fromEntries(plan.vertices.map(({ op, ignoreCache }) => [op.kind, ignoreCache]))
  assert.equal(flags, { image: false, mkdir: false, context: false, copy: true, exec: true })
})

test('--no-cache-filter reaches the named stages only', async () => {
  const text = 'FROM a AS one\nRUN 1\nFROM one AS two\nRUN 2\n'
  const { plan } = await planText(text, { options: { noCache: ['Two'] } })
  assert.equal(
    plan.vertices.filter(({ op }) => op.kind === 'exec').map(({ ignoreCache }) => ignoreCache),
    [false, true],
  )
})

test('rights that were given are used', async () => {
  const options = { allow: ['network.host', 'security.insecure'] as const }
  const op = await lastRun('FROM a\nRUN --network=host --security=insecure true\n', { options })
  assert.equal([op.network, op.security], ['host', 'insecure'])
})

test('the network of the build holds where a RUN asks for none of its own', async () => {
  const options = { network: 'none' as const }
  assert.is((await lastRun('FROM a\nRUN true\n', { options })).network, 'none')
})

test('sandbox options of the build are in the op', async () => {
  const options = { hostNames: ['db'], shmSizeBytes: 1024, buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: 'here' } }
  const op = await lastRun('FROM a\nRUN true\n', { options })
  assert.equal([op.hostNames, op.shmSizeBytes, op.hostname], [['db'], 1024, 'here'])
})

test('proxies are outside the plan unless an ARG declares them', async () => {
  const options = { buildArgs: { HTTP_PROXY: 'http://p' } }
  const { plan, diagnostics } = await planText('FROM a\nRUN true\n', { options })
  assert.not(JSON.stringify(plan).includes('http://p'))
  assert.equal(diagnostics, [])
})

test('an unused build argument is a warning with the near name', async () => {
  const options = { buildArgs: { VERSON: '1', VERSION: '2' } }
  const { diagnostics } = await planText('FROM a\nARG VERSION\nRUN true\n', { options })
  assert.equal(
    diagnostics.map(({ code, hint }) => [code, hint]),
    [['UnusedBuildArg', 'did you mean VERSION?']],
  )
})

test('of two stages with one name the later one is meant', async () => {
  const { plan } = await planText('FROM a AS s\nRUN 1\nFROM a AS s\nRUN 2\nFROM scratch\nCOPY --from=s x y\n')
  assert.equal(
    opsOf(plan, 'exec').map(({ argv }) => argv.at(-1)),
    ['2'],
  )
})

test('equal steps of two stages are one vertex', async () => {
  const { plan } = await planText('FROM a AS x\nRUN make\nFROM a AS y\nRUN make\nCOPY --from=x f f\n')
  assert.is(opsOf(plan, 'exec').length, 1)
})

test('an image without layers is like scratch, with its config', async () => {
  const images = { empty: { config: { Env: ['A=1'] }, rootfs: { type: 'layers' as const, diff_ids: [] }, history: [] } }
  const { plan } = await planText('FROM empty\nLABEL a=b\n', { images })
  assert.equal([plan.vertices, plan.image.rootfs], [[], undefined])
  assert.ok(configOf(plan).Env?.includes('A=1'))
})

test('every layer has exactly one history line, whatever the base says', async () => {
  const diffIds = ['a', 'b'].map((each) => `sha256:${each.repeat(64)}`) as unknown as ImageConfig['rootfs']['diff_ids']
  const rootfs = { type: 'layers' as const, diff_ids: diffIds }
  for (const history of [[], [{}, {}, {}, { empty_layer: true }], [{ created_by: 'one' }]]) {
    const { plan } = await planText('FROM odd\nRUN true\n', { images: { odd: { rootfs, history } } })
    const full = plan.image.history.filter((entry) => entry.vertex !== undefined || entry.inherited?.emptyLayer === false)
    assert.is(full.length, 3)
  }
})

test('a plan is plain data: it survives JSON', async () => {
  const { plan } = await planText('FROM a\nCOPY --link x y\nRUN --mount=type=secret,id=s true\n')
  assert.equal(JSON.parse(JSON.stringify(plan)), plan)
})

test('a stage on a build context starts with its files', async () => {
  const contexts = { root: { kind: 'context' as const, name: 'root', ignore: [] } }
  const { plan } = await planText('FROM root\nRUN true\n', { options: { contexts } })
  assert.equal(
    plan.vertices.map(({ op }) => op.kind),
    ['context', 'copy', 'exec'],
  )
})

test('a plan of 5,000 instructions is made in a moment', async () => {
  const lines = Array.from({ length: 5_000 }, (_, n) => `RUN step ${n}`)
  const started = performance.now()
  const { plan } = await planText(`FROM a\n${lines.join('\n')}\n`)
  assert.is(plan.vertices.length, 5_001)
  assert.ok(performance.now() - started < 10_000)
})

test.run()
