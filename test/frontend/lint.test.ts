/** The lint rules one by one, what switches them off, what mends them, and outlines. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from '../../grammar/parse.js'
import { fixSource } from '../../src/check.js'
import { DockerfileError } from '../../src/core/errors.js'
import { analyze } from '../../src/frontend/analyze.js'
import { parseCheckOptions } from '../../src/frontend/lint-options.js'
import { lintRules } from '../../src/frontend/lint-rules.js'
import { frontendOptions } from '../../src/frontend/options.js'
import { listTargets, outlineTarget } from '../../src/frontend/outline.js'
import { projectRoot } from '../helpers/cli.js'
import { findingLines, type LintSettings, lintText } from '../helpers/lint.js'
import { amd64, planText } from '../helpers/plan.js'

function found(text: string, settings: LintSettings = {}): string[] {
  return findingLines(lintText(text, settings).findings)
}

function rulesIn(text: string, settings: LintSettings = {}): string[] {
  return lintText(text, settings).findings.map(({ rule }) => rule.name)
}

test('FROM arguments that are not declared are found, with the near name', () => {
  assert.equal(found('ARG VERSION=1\nFROM a:$VERSION$VERSIO\n'), [
    "2 UndefinedArgInFrom: FROM argument 'VERSIO' is not declared (did you mean VERSION?)",
  ])
  assert.equal(found('FROM a:1$XYZXYZ\n'), ["1 UndefinedArgInFrom: FROM argument 'XYZXYZ' is not declared"])
  assert.equal(found('ARG EMPTY\nFROM a$EMPTY\n'), [])
})

test('stage names that are used twice or reserved are found', () => {
  assert.equal(found('FROM a AS s\nFROM a AS s\nFROM a AS scratch\n'), [
    '2 DuplicateStageName: Duplicate stage name "s", stage names should be unique',
    '3 ReservedStageName: Stage name should not use the same name as reserved stage "scratch"',
  ])
})

test('a constant platform is found unless the stage is named after it', () => {
  assert.equal(found('FROM --platform=linux/arm64 a AS x\n', { config: 'unknown' }), [
    '1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/arm64"',
  ])
  assert.equal(found('FROM --platform=linux/arm64 a AS on-arm64\n', { config: 'unknown' }), [])
})

test('host ports in EXPOSE are found', () => {
  assert.equal(found('FROM scratch\nEXPOSE 127.0.0.1:80:80 81:81\n'), [
    "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
    "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '81:81'",
  ])
})

test('a base image for another platform is found', () => {
  assert.equal(rulesIn('FROM a\n', { config: { architecture: 'arm64' } }), ['InvalidBaseImagePlatform'])
})

test('a variable that an unknown base image may set is found only when it looks misspelled', () => {
  const text = 'FROM a\nARG NAME=x\nCOPY $JAVA_HOME /y\nCOPY $NAMW /z\n'
  assert.equal(found(text, { config: 'unknown' }), ["4 UndefinedVar: Usage of undefined variable '$NAMW' (did you mean $NAME?)"])
  assert.equal(rulesIn(text), ['UndefinedVar', 'UndefinedVar'])
})

test("variables in flags, here-documents and mounts are looked at, those in commands are the shell's", () => {
  const text = 'FROM a\nCOPY --chown=$ONE <<A <<"B" /\n$TWO\nA\n$not\nB\nRUN --mount=type=cache,target=$THREE echo $not\n'
  assert.equal(
    lintText(text).findings.map(({ detail }) => detail.replace(/^.*'(.*)'$/, '$1')),
    ['$ONE', '$TWO', '$THREE'],
  )
})

test('each of our own rules finds its case and leaves the harmless one alone', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['JSONFormFallback', 'FROM a\nRUN ["a", \'b\']\n', 'FROM a\nRUN [ -f x ] && y\n'],
    ['NumericMountFrom', 'FROM a\nRUN --mount=from=0,target=/x y\n', 'FROM a AS b\nRUN --mount=from=b0,target=/x y\n'],
    ['LinkWithNamedOwner', 'FROM a\nCOPY --link --chown=app b /c\n', 'FROM a\nCOPY --link --chown=1 b /c\n'],
    ['LinkWithChmod', 'FROM a\nCOPY --link --chmod=644 b /c\n', 'FROM a\nCOPY --link=false --chmod=644 b /c\n'],
    ['UnknownOwner', 'FROM scratch\nCOPY --chown=app b /c\n', 'FROM scratch\nCOPY passwd /etc/passwd\nCOPY --chown=app b /c\n'],
    ['MultipleSourcesNeedDirectory', 'FROM a\nCOPY b c d\n', 'FROM a\nCOPY b c d/\nCOPY b c .\n'],
    ['PackageCacheLeft', 'FROM a\nRUN apt-get install -y b\n', 'FROM a\nRUN apt-get install b && rm -rf /var/lib/apt/lists/*\n'],
    ['PackageCacheLeft', 'FROM a\nRUN apk add b\n', 'FROM a\nRUN apk add --no-cache b\nRUN apk --no-cache add c\n'],
    ['UnknownCheckRule', '# check=skip=StageNameCasin\nFROM a\n', '# check=skip=StageNameCasing\nFROM a\n'],
  ]
  for (const [rule, bad, good] of cases) {
    assert.equal(rulesIn(bad), [rule], bad)
    assert.equal(rulesIn(good), [], good)
    assert.is(lintRules.get(rule)?.own, true)
  }
})

test('a cache mount and a stage that is not shipped need no clean-up', () => {
  assert.equal(rulesIn('FROM a\nRUN --mount=type=cache,target=/var/lib/apt apt-get install b\n'), [])
  assert.equal(rulesIn('FROM a AS b\nRUN apt-get install b\nFROM a\nCOPY --from=b /x /y\n'), [])
})

test('rules are switched off for the file, for one instruction and by the build argument', () => {
  const text = 'FROM a as b\nMAINTAINER me\n'
  assert.equal(rulesIn(text), ['FromAsCasing', 'MaintainerDeprecated'])
  assert.equal(rulesIn(`# check=skip=FromAsCasing\n${text}`), ['MaintainerDeprecated'])
  assert.equal(rulesIn(`# check=skip=all\n${text}`), [])
  assert.equal(rulesIn('FROM a as b\n# check=skip=MaintainerDeprecated // who cares\nMAINTAINER me\n'), ['FromAsCasing'])
  const options = { buildArgs: { BUILDKIT_DOCKERFILE_CHECK: 'skip=MaintainerDeprecated' } }
  assert.equal(rulesIn(`# check=skip=all\n${text}`, { options }), ['FromAsCasing'])
})

test('error=true makes an error of a finding, but not of a rule that only mille has', () => {
  assert.is(lintText('# check=error=true\nFROM a as b\n').failure?.message, 'lint violation found for rules: FromAsCasing')
  const own = lintText('# check=error=true\nFROM a\nRUN apk add b\n')
  assert.equal([own.findings.length, own.failure], [1, undefined])
})

test('check options that cannot be understood are an error', () => {
  assert.ok('problem' in parseCheckOptions('skip'))
  assert.ok('problem' in parseCheckOptions('skpi=A'))
  assert.ok('problem' in parseCheckOptions('error=maybe'))
  assert.equal(parseCheckOptions('skip=A, B;experimental=all;error=1'), { skip: ['A', 'B'], experimental: 'all', error: true })
  assert.is(lintText('# check=skpi=A\nFROM a\n').problems[0]?.code, 'DOCKERFILE_BAD_DIRECTIVE')
})

test('a build looks at the stages that it needs, a check at all', () => {
  const text = 'FROM a AS b\nENV k v\nFROM a\nENV l w\n'
  assert.equal(found(text, { allStages: false }).length, 1)
  assert.equal(found(text).length, 2)
})

test('every mechanical rule is mended and the plan stays the same', async () => {
  const text = [
    'FROM --platform=$TARGETPLATFORM a as Base',
    'ENV name  some value',
    'label one two',
    'EXPOSE 80/TCP',
    'RUN a \\',
    '',
    '  && b \\',
    '',
    '  && c',
    'FROM Base',
    'COPY --from=Base /x /y',
    '',
  ].join('\n')
  const { text: mended, left } = await fixSource({ name: 'Dockerfile', text })
  assert.is(
    mended,
    [
      'FROM a AS base',
      'ENV name="some value"',
      'LABEL one=two',
      'EXPOSE 80/tcp',
      'RUN a \\',
      '  && b \\',
      '  && c',
      'FROM base',
      'COPY --from=base /x /y',
      '',
    ].join('\n'),
  )
  assert.equal(
    left.map(({ rule }) => rule.name),
    [],
  )
  const planOf = async (each: string): Promise<unknown> => {
    const { plan } = await planText(each)
    return { image: plan.image, ops: plan.vertices.map(({ op, inputs }) => [op, inputs]) }
  }
  assert.equal(await planOf(mended), await planOf(text))
})

test('mending real Dockerfiles keeps their plans', async () => {
  const folder = join(process.env.MILLE_VECTORS ?? join(projectRoot, '../shared/vectors'), 'realworld/files')
  if (!existsSync(folder)) {
    process.stdout.write(`SKIP: the real Dockerfiles are not in ${folder}\n`)
    return
  }
  let count = 0
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8')
    const before = await planOrError(text)
    const { text: mended, fixed } = await fixSource({ name: 'Dockerfile', text })
    if (fixed.length === 0 || before === undefined) continue
    count++
    assert.equal(await planOrError(mended), before, `${file} means the same`)
  }
  assert.ok(count > 50, `only ${count} files were mended`)
})

/** A plan without the author, whom mending moves to a label; undefined for a file that cannot be planned. */
async function planOrError(text: string): Promise<unknown> {
  try {
    const { plan } = await planText(text)
    const { Labels, ...config } = plan.image.config.config ?? {}
    return { config, ops: plan.vertices.map(({ op, inputs }) => [op, inputs]) }
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}

test('what cannot be mended for sure is left alone', async () => {
  const text = 'FROM a\nENV k it\'s "so"\nMAINTAINER "me" <me@example.org>\n'
  assert.is((await fixSource({ name: 'Dockerfile', text })).text, text)
})

test('the outline has what the target and the stages below it take', () => {
  const text = [
    'ARG sfx=1',
    'ARG stage=first',
    '# unused is not needed',
    'ARG unused=2',
    'FROM b$sfx AS first',
    '# BAR is a number',
    'ARG BAR=4',
    'RUN --mount=type=secret,id=s$BAR,required --mount=type=ssh --mount=type=cache,target=/c true',
    'FROM a AS other',
    'ARG OTHER',
    '# last is it',
    'FROM scratch AS last',
    'COPY --from=$stage / /',
    '',
  ].join('\n')
  const { ast } = parse({ name: 'Dockerfile', text })
  const analysis = analyze(ast, frontendOptions(amd64, { buildArgs: { BAR: '5' } }))
  const { name, description, args, secrets, ssh, cache } = outlineTarget(ast, analysis)
  assert.equal([name, description], ['last', 'is it'])
  assert.equal(
    args?.map((arg) => [arg.name, arg.value, arg.description, arg.location.ranges[0]?.start.line]),
    [
      ['sfx', '1', undefined, 1],
      ['stage', 'first', undefined, 2],
      ['BAR', '5', 'is a number', 7],
    ],
  )
  assert.equal(
    secrets?.map((each) => [each.name, each.required]),
    [['s5', true]],
  )
  assert.equal(
    ssh?.map((each) => [each.name, each.required]),
    [['default', undefined]],
  )
  assert.equal(
    cache?.map(({ ID }) => ID),
    ['/c'],
  )
  const { targets } = listTargets(ast, analysis)
  assert.equal(
    targets.map((target) => [target.name, target.base, target.default, target.description]),
    [
      ['first', 'b$sfx', undefined, undefined],
      ['other', 'a', undefined, undefined],
      ['last', 'scratch', true, 'is it'],
    ],
  )
})

test.run()
