/** Only what is needed is looked up, each image once, several at a time; triggers may add more. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from '../../grammar/parse.js'
import { quietContext } from '../../src/core/context.js'
import { BuildError, DockerfileError } from '../../src/core/errors.js'
import { resolve } from '../../src/frontend/resolve.js'
import { type amd64, analyzeText, fakeImage, planText } from '../helpers/plan.js'
import { within } from '../helpers/within.js'

test('stages that the target does not need are not looked up', async () => {
  const lookups: string[] = []
  await planText('FROM a AS x\nFROM b AS y\nCOPY --from=c f f\nFROM d\nCOPY --from=x f f\n', { lookups })
  assert.equal(lookups.sort(), ['a', 'd'])
})

test('an image that several instructions use is looked up once', async () => {
  const lookups: string[] = []
  await planText('FROM a AS x\nFROM a\nCOPY --from=x f f\nCOPY --from=a g g\nRUN --mount=from=a,target=/a true\n', { lookups })
  assert.equal(lookups, ['a'])
})

test('the same image for two platforms is two images', async () => {
  const lookups: string[] = []
  const { plan } = await planText('FROM --platform=linux/arm64 a AS x\nFROM a\nCOPY --from=x f f\n', { lookups })
  assert.equal(lookups, ['a', 'a'])
  assert.is(plan.vertices.filter(({ op }) => op.kind === 'image').length, 2)
})

test('images are looked up at the same time', async () => {
  const analysis = analyzeText('FROM a AS x\nFROM b\nCOPY --from=x f f\nCOPY --from=c f f\n')
  let waiting = 0
  let open: () => void = () => undefined
  const all = new Promise<void>((done) => {
    open = done
  })
  const lookup = async (reference: string, platform: typeof amd64) => {
    if (++waiting === 3) open()
    await all
    return fakeImage(reference, platform, undefined)
  }
  const { images } = await within(5_000, resolve(analysis, { lookup, parse }, quietContext()))
  assert.is(images.size, 3)
})

test('a trigger of the base can make another stage needed', async () => {
  const lookups: string[] = []
  const images = { a: {}, b: { config: { OnBuild: ['COPY --from=tools /x /x'] } }, unused: {} }
  const { plan } = await planText('FROM a AS tools\nRUN make\nFROM unused\nFROM b\n', { images, lookups })
  assert.equal(lookups.sort(), ['a', 'b'])
  assert.ok(plan.vertices.some(({ name }) => name === '[tools 2/2] RUN make'))
})

test('an image that does not exist is an error at its word in the Dockerfile', async () => {
  try {
    await planText('FROM base\nCOPY --from=missing x y\n', { images: { base: {} } })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, BuildError)
    if (!(error instanceof BuildError)) return
    assert.is(error.code, 'IMAGE_NOT_FOUND')
    assert.is(error.source?.text.slice(error.span?.start, error.span?.end), 'missing')
  }
})

test('a base that is a later stage is explained when no image has its name', async () => {
  try {
    await planText('FROM late AS one\nFROM scratch AS late\nCOPY --from=one x y\n', { images: {} })
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof BuildError && /defined after/.test(error.hint ?? ''))
  }
})

test('nothing is looked up while the analysis has errors', async () => {
  const lookups: string[] = []
  await planText('FROM a\nCOPY --from=5 x y\n', { lookups }).then(
    () => assert.unreachable(),
    (error: unknown) => assert.instance(error, DockerfileError),
  )
  assert.equal(lookups, [])
})

test.run()
