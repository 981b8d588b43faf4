/** What is wrong with a Dockerfile is said at the exact word, with a stable code; all mistakes at once. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Diagnostic } from '../../src/core/diagnostic.js'
import { errorsOf, type PlanSettings } from '../helpers/plan.js'

/** The words that a diagnostic points at. */
function pointedAt({ source, span }: Diagnostic): string | undefined {
  return span === undefined ? undefined : source?.text.slice(span.start, span.end)
}

interface ErrorCase {
  readonly title: string
  readonly text: string
  readonly code: string
  readonly at?: string
  readonly message?: RegExp
  readonly hint?: RegExp
  readonly settings?: PlanSettings
}

const runs = (flags: string): string => `FROM busybox\nRUN ${flags} true\n`

const cases: readonly ErrorCase[] = [
  { title: 'a file without FROM', text: 'ARG A=1\n', code: 'DOCKERFILE_NO_STAGE' },
  { title: 'RUN before FROM', text: 'RUN x\nFROM scratch\n', code: 'DOCKERFILE_NO_STAGE', at: 'RUN' },
  {
    ...{ title: 'an unknown target', text: 'FROM scratch AS build\n', code: 'DOCKERFILE_UNKNOWN_STAGE' },
    ...{ settings: { options: { target: 'bulid' } }, hint: /did you mean build\?/ },
  },
  {
    title: 'a target number past the end',
    text: 'FROM scratch\n',
    code: 'DOCKERFILE_UNKNOWN_STAGE',
    settings: { options: { target: '1' } },
  },
  { title: 'a blank base', text: 'ARG A=\nFROM $A AS x\n', code: 'DOCKERFILE_BAD_BASE', at: '$A' },
  {
    title: 'a base that is no image name',
    text: 'FROM Not/Valid\n',
    code: 'DOCKERFILE_BAD_BASE',
    at: 'Not/Valid',
    message: /lower case/,
  },
  { title: 'a bad platform', text: 'FROM --platform=nonsense/x/y/z a\n', code: 'DOCKERFILE_BAD_FLAG', at: 'nonsense/x/y/z' },
  {
    ...{
      title: 'a copy from the stage itself',
      text: 'FROM busybox AS a\nCOPY --from=a x y\n',
      code: 'DOCKERFILE_STAGE_ORDER',
      at: 'a',
    },
    message: /circular dependency detected on stage: a/,
  },
  {
    ...{
      title: 'a copy from a later stage',
      text: 'FROM busybox\nCOPY --from=late x y\nFROM a AS late\n',
      code: 'DOCKERFILE_STAGE_ORDER',
    },
    ...{ at: 'late', message: /needs to be defined before/, settings: { options: { target: '0' } } },
  },
  {
    ...{ title: 'stages in a circle', text: 'FROM a AS s0\nCOPY --from=s1 x y\nFROM a AS s1\nCOPY --from=s0 x y\n' },
    ...{ code: 'DOCKERFILE_STAGE_ORDER', message: /circular dependency detected on stage: s0/ },
  },
  {
    title: 'a stage number past the end',
    text: 'FROM busybox\nCOPY --from=7 x y\n',
    code: 'DOCKERFILE_UNKNOWN_STAGE',
    at: '7',
    message: /no stage 7/,
  },
  {
    ...{ title: 'a stage name with an unknown variable', text: 'ARG STAGE=a\nFROM a\nCOPY --from=$STAG x y\n' },
    ...{ code: 'DOCKERFILE_BAD_FLAG', at: '$STAG', hint: /did you mean STAGE\?/ },
  },
  {
    title: 'a required variable',
    text: 'FROM busybox\nENV A=\x24{B:?missing}\n',
    code: 'DOCKERFILE_VARIABLE_REQUIRED',
    at: '\x24{B:?missing}',
  },
  { title: 'an empty ENV name', text: 'FROM busybox\nENV $X=1\n', code: 'DOCKERFILE_BAD_ARGUMENT', at: '$X' },
  {
    title: 'an unknown mount type',
    text: runs('--mount=type=tmp,target=/x'),
    code: 'DOCKERFILE_BAD_FLAG',
    at: 'tmp',
    hint: /tmpfs/,
  },
  {
    title: 'an unknown mount option',
    text: runs('--mount=typ=cache,target=/x'),
    code: 'DOCKERFILE_BAD_FLAG',
    at: 'typ',
    hint: /type/,
  },
  {
    title: 'an option of another mount type',
    text: runs('--mount=type=tmpfs,target=/x,sharing=locked'),
    code: 'DOCKERFILE_BAD_FLAG',
    at: 'sharing',
  },
  { title: 'a mount option without a value', text: runs('--mount=type=cache,target'), code: 'DOCKERFILE_BAD_FLAG', at: 'target' },
  {
    title: 'a mount over everything',
    text: runs('--mount=type=tmpfs,target=/'),
    code: 'DOCKERFILE_BAD_FLAG',
    message: /invalid mount target/,
  },
  {
    title: 'a mount mode that is not octal',
    text: runs('--mount=type=cache,target=/x,mode=99'),
    code: 'DOCKERFILE_BAD_FLAG',
    at: '99',
  },
  {
    title: 'a sharing mode that is not one',
    text: runs('--mount=type=cache,target=/x,sharing=lock'),
    code: 'DOCKERFILE_BAD_FLAG',
    at: 'lock',
  },
  { title: 'a secret without an id', text: runs('--mount=type=secret'), code: 'DOCKERFILE_BAD_FLAG' },
  { title: 'a secret with id and source', text: runs('--mount=type=secret,id=a,source=b'), code: 'DOCKERFILE_BAD_FLAG', at: 'b' },
  {
    title: 'the host network without the right',
    text: runs('--network=host'),
    code: 'DOCKERFILE_UNSUPPORTED',
    hint: /--allow network\.host/,
  },
  { title: 'an insecure step without the right', text: runs('--security=insecure'), code: 'DOCKERFILE_UNSUPPORTED' },
  { title: 'a device', text: runs('--device=vendor.com/gpu=0'), code: 'DOCKERFILE_UNSUPPORTED', at: 'vendor.com/gpu=0' },
  { title: 'a port that is none', text: 'FROM a\nEXPOSE 80 $NONE 99999\n', code: 'DOCKERFILE_BAD_ARGUMENT', at: '99999' },
  {
    title: 'a signal that is none',
    text: 'FROM a\nSTOPSIGNAL SIGTREM\n',
    code: 'DOCKERFILE_BAD_ARGUMENT',
    at: 'SIGTREM',
    hint: /SIGTERM/,
  },
  { title: 'signal 0', text: 'FROM a\nSTOPSIGNAL 0\n', code: 'DOCKERFILE_BAD_ARGUMENT', at: '0' },
  {
    ...{
      title: 'a SOURCE_DATE_EPOCH that is no time',
      text: 'ARG SOURCE_DATE_EPOCH=soon\nFROM scratch\n',
      code: 'USAGE_BAD_ARGUMENT',
    },
    message: /invalid SOURCE_DATE_EPOCH: soon/,
  },
  { title: 'several sources into a file', text: 'FROM a\nCOPY x y z\n', code: 'DOCKERFILE_BAD_ARGUMENT', at: 'z', hint: /z\// },
  { title: 'a bad --chmod', text: 'FROM a\nCOPY --chmod=64a x y\n', code: 'DOCKERFILE_BAD_FLAG', at: '64a' },
  { title: 'a --chmod too large', text: 'FROM a\nCOPY --chmod=10000 x y\n', code: 'DOCKERFILE_BAD_FLAG', at: '10000' },
  {
    title: 'COPY of a URL',
    text: 'FROM a\nCOPY https://example.com/x /\n',
    code: 'DOCKERFILE_BAD_ARGUMENT',
    at: 'https://example.com/x',
    hint: /ADD/,
  },
  { title: 'a checksum of a local file', text: 'FROM a\nADD --checksum=sha256:00 x /\n', code: 'DOCKERFILE_BAD_FLAG' },
  {
    title: 'a checksum that is none',
    text: 'FROM a\nADD --checksum=sha256:00 https://example.com/x /\n',
    code: 'DOCKERFILE_BAD_FLAG',
  },
  {
    title: 'a contradicting git URL',
    text: 'FROM a\nADD https://e.com/r.git?ref=a#b /\n',
    code: 'DOCKERFILE_BAD_ARGUMENT',
    message: /ref conflicts/,
  },
  {
    ...{
      title: 'a wrong trigger of the base',
      text: 'FROM parent\n',
      code: 'DOCKERFILE_BAD_BASE',
      at: 'parent',
      message: /FROM is not allowed/,
    },
    settings: { images: { parent: { config: { OnBuild: ['FROM x'] } } } },
  },
  {
    ...{
      title: 'a mistake in a trigger of the base',
      text: 'FROM parent\n',
      code: 'DOCKERFILE_BAD_ARGUMENT',
      at: 'parent',
      message: /no signal/,
    },
    settings: { images: { parent: { config: { OnBuild: ['STOPSIGNAL nope'] } } } },
  },
]

for (const { title, text, code, at, message, hint, settings } of cases) {
  test(`${title} is an error`, async () => {
    const [first] = await errorsOf(text, settings)
    assert.is(first?.code, code, first?.message)
    if (at !== undefined && first !== undefined) assert.is(pointedAt(first), at)
    if (message !== undefined) assert.match(first?.message ?? '', message)
    if (hint !== undefined) assert.match(first?.hint ?? '', hint)
  })
}

test('three mistakes give three messages', async () => {
  const errors = await errorsOf('FROM a\nEXPOSE x\nSTOPSIGNAL y\nRUN --mount=type=z true\n')
  assert.equal(
    errors.map((each) => pointedAt(each)),
    ['x', 'y', 'z'],
  )
})

test('a trigger of the base is named beside the FROM line', async () => {
  const images = { parent: { config: { OnBuild: ['EXPOSE nope'] } } }
  const [first] = await errorsOf('FROM parent\n', { images })
  assert.match(first?.notes?.[0]?.message ?? '', /ONBUILD EXPOSE nope/)
})

test('what unreachable stages do wrong is no error', async () => {
  assert.equal(await errorsOf('FROM a AS bad\nEXPOSE x\nCOPY --from=9 x y\nFROM scratch\nCOPY a b\n'), [])
})

test.run()
