/** Suite `lint`: BuildKit's build checks, see the README.md beside the cases. mille's own rules are left out of the comparison. */
import { parsePlatform } from '../../src/core/platform.js'
import { readIgnoreFile } from '../../src/frontend/dockerignore.js'
import type { Finding } from '../../src/frontend/lint-findings.js'
import type { FrontendOptions } from '../../src/frontend/options.js'
import { lineOf, lintText } from '../helpers/lint.js'
import { amd64 } from '../helpers/plan.js'
import { buildkitText, isSyntaxError } from './buildkit.js'
import { claim, type Judge, type Outcome, passed, recordOf, type Suite, same, skip, textOf, type VectorCase } from './frame.js'

interface Expected {
  readonly ruleName: unknown
  readonly description: unknown
  readonly url: unknown
  readonly detail: unknown
  readonly level: unknown
  readonly line: unknown
}

function expectedOf(value: unknown): Expected[] {
  if (!Array.isArray(value)) throw new Error('expected a list of warnings')
  return value
    .map(recordOf)
    .map(({ ruleName, description, url, detail, level, line }) => ({ ruleName, description, url, detail, level, line }))
    .sort(inOrder)
}

/** Findings as the cases have them; every warning of a build check has level 1. */
export function warningsOf(findings: readonly Finding[]): Expected[] {
  return findings
    .filter(({ rule }) => !rule.own)
    .map(({ rule, detail, statement, source }) => ({
      ...{ ruleName: rule.name, description: rule.description, url: rule.url ?? '', detail, level: 1 },
      line: lineOf(statement.start, source.text),
    }))
    .sort(inOrder)
}

function inOrder(a: Expected, b: Expected): number {
  return Number(a.line) - Number(b.line) || (String(a.detail) < String(b.detail) ? -1 : 1)
}

function optionsOf(vector: VectorCase): Partial<FrontendOptions> {
  const attributes = Object.entries(recordOf(vector.frontendAttrs))
  const buildArgs = attributes.flatMap(([name, value]) =>
    name.startsWith('build-arg:') ? [[name.slice('build-arg:'.length), String(value)] as const] : [],
  )
  const platform = attributes.find(([name]) => name === 'platform')?.[1]
  const target = attributes.find(([name]) => name === 'target')?.[1]
  const parsed = platform === undefined ? undefined : parsePlatform(String(platform), amd64)
  return {
    buildArgs: Object.fromEntries(buildArgs),
    ...(parsed === undefined ? {} : { platform: parsed }),
    ...(target === undefined ? {} : { target: String(target) }),
    ignore: typeof vector.dockerignore === 'string' ? readIgnoreFile(vector.dockerignore) : [],
  }
}

const judgeCase: Judge = (vector) => {
  const text = textOf(vector, 'dockerfile')
  const options = optionsOf(vector)
  // The one case with another image than linux/amd64 says so where the image is prepared.
  const prepared = vector.prepare === undefined ? undefined : parsePlatform(textOf(recordOf(vector.prepare), 'platform'), amd64)
  const config =
    prepared === undefined ? {} : { os: prepared.os, architecture: prepared.architecture, ...omitUndefined(prepared) }
  const named = text.replaceAll('{{REGISTRY}}', 'localhost:5000')
  const settings = { options, config }
  const onlyLint = lintText(named, { ...settings, allStages: options.target === undefined })
  const build = lintText(named, { ...settings, allStages: false })
  const expected = expectedOf(vector.warnings).map((each) => ({
    ...each,
    detail: String(each.detail).replaceAll('{{REGISTRY}}', 'localhost:5000'),
  }))
  const expectedLint = Array.isArray(vector.lintSubrequestWarnings) ? expectedOf(vector.lintSubrequestWarnings) : expected
  return [
    same(warningsOf(build.findings), expected, 'the list of warnings of a build'),
    same(warningsOf(onlyLint.findings), expectedLint, 'the list of warnings of the lint call'),
    ...judgeErrors(vector, onlyLint),
  ]
}

function omitUndefined({ variant }: { readonly variant?: string }): { readonly variant?: string } {
  return variant === undefined ? {} : { variant }
}

function judgeErrors(vector: VectorCase, { errors, failure }: ReturnType<typeof lintText>): Outcome[] {
  const [error] = [...errors, ...(failure === undefined ? [] : [failure])]
  if (typeof vector.buildErrRegex === 'string')
    return [skip('the error comes when files are copied: the context is judged elsewhere')]
  const pattern = typeof vector.lintErrRegex === 'string' ? new RegExp(vector.lintErrRegex) : undefined
  if (typeof vector.buildErr !== 'string' && pattern === undefined) {
    return [claim(error === undefined, `there is the error "${error?.message}"`)]
  }
  if (error?.span === undefined) return [{ status: 'failed', detail: 'there is no error with a place' }]
  const line = lineOf(error.span.start, textOf(vector, 'dockerfile').replaceAll('{{REGISTRY}}', 'localhost:5000'))
  const prefix =
    isSyntaxError(error) || error.code === 'DOCKERFILE_UNKNOWN_INSTRUCTION' ? `dockerfile parse error on line ${line}: ` : ''
  const message = prefix + buildkitText(error)
  return [
    pattern === undefined
      ? same(message, vector.buildErr, 'the error')
      : claim(pattern.test(message), `the error is "${message}"`),
    typeof vector.buildErrLine === 'number' ? same(line, vector.buildErrLine, 'the line of the error') : passed,
  ]
}

/** The suite. */
export const suite: Suite = { files: { 'cases.json': judgeCase } }
