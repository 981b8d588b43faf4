/** Suite `dag`: stages, plans and the small parsers of the frontend, see the README.md beside the cases. */
import { BuildError } from '../../src/core/errors.js'
import type { Platform } from '../../src/core/platform.js'
import { proxyFromBuildArgs } from '../../src/frontend/args.js'
import { addEnv, argsAndEnvToMap, parseKeyValue } from '../../src/frontend/env.js'
import { checkSourceStage, parseEpoch } from '../../src/frontend/epoch.js'
import { parsePorts } from '../../src/frontend/expose.js'
import { parseGitRef } from '../../src/frontend/git-ref.js'
import { healthcheckText } from '../../src/frontend/history.js'
import { resolveBuildPlatforms } from '../../src/frontend/platform-args.js'
import { amd64, analyzeText, planText } from '../helpers/plan.js'
import { claim, type Judge, type Outcome, passed, recordOf, type Suite, same, skip, textOf, type VectorCase } from './frame.js'

function stringsOf(value: unknown): string[] {
  if (!Array.isArray(value)) throw new Error('expected a list')
  return value.map(String)
}

function judgeError(message: string | undefined, expected: Readonly<Record<string, unknown>>): Outcome {
  if (message === undefined) return { status: 'failed', detail: 'there is no error' }
  if (typeof expected.errorEquals === 'string') return same(message, expected.errorEquals, 'the error')
  if (typeof expected.errorContains !== 'string') return passed
  return claim(message.includes(expected.errorContains), `the error is "${message}", expected "${expected.errorContains}"`)
}

const judgeGraph: Judge = async (vector) => {
  if (vector.network === true) return skip('needs an image of a public registry')
  const expected = recordOf(vector.expect)
  const options = typeof vector.target === 'string' ? { target: vector.target } : {}
  const error = await planText(textOf(vector, 'dockerfile'), { options }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error !== undefined && !(error instanceof BuildError)) throw error
  if (expected.error === true) return judgeError(error?.message, expected)
  return claim(error === undefined, `the error is "${error?.message}"`)
}

const judgeGitRef: Judge = (vector) => {
  const found = parseGitRef(textOf(vector, 'ref'))
  if (found !== undefined && 'problem' in found) return judgeError(found.problem, vector)
  if (vector.expect === undefined) return judgeError(undefined, vector)
  return same(found ?? null, vector.expect)
}

const judgePorts: Judge = (vector) => {
  const expected = recordOf(vector.expect)
  const ports = parsePorts(stringsOf(vector.specs))
  return 'problem' in ports ? judgeError(ports.problem, expected) : same(ports, expected.ports)
}

function platformOf(value: unknown): Platform {
  const { os, architecture } = recordOf(value)
  return { os: String(os), architecture: String(architecture) }
}

const judgePlatforms: Judge = (vector) => {
  const target = vector.targetPlatform === null ? undefined : platformOf(vector.targetPlatform)
  const builders = Array.isArray(vector.buildPlatforms) ? vector.buildPlatforms.map(platformOf) : []
  const { buildPlatforms } = recordOf(vector.expect)
  const wanted = buildPlatforms === '[host default]' ? [amd64] : buildPlatforms
  return same(resolveBuildPlatforms(target, builders, amd64), wanted)
}

const judgeEpoch: Judge = (vector) => {
  const expected = recordOf(vector.expect)
  const stages = typeof vector.dockerfile === 'string' ? analyzeText(vector.dockerfile).stages : []
  const epoch = parseEpoch(textOf(vector, 'value'), stages)
  if ('problem' in epoch) return judgeError(epoch.problem, expected)
  return same(epoch.kind === 'seconds' ? String(epoch.seconds) : epoch.kind, expected.epoch)
}

const judgeEpochStage: Judge = (vector) => {
  const { stages } = analyzeText(textOf(vector, 'dockerfile'))
  const stage = stages.find(({ name }) => name === vector.stage)
  if (stage === undefined) throw new Error('the case has no such stage')
  return judgeError(checkSourceStage(stage)?.problem, recordOf(vector.expect))
}

const judgeHealthcheck: Judge = (vector) => {
  const { test, intervalNs, timeoutNs, startPeriodNs, startIntervalNs, retries } = recordOf(vector.healthcheck)
  const createdBy = healthcheckText({
    ...{ Test: stringsOf(test), Interval: Number(intervalNs), Timeout: Number(timeoutNs) },
    ...{ StartPeriod: Number(startPeriodNs), StartInterval: Number(startIntervalNs), Retries: Number(retries) },
  })
  return same(createdBy, recordOf(vector.expect).createdBy)
}

function argsOf(value: unknown): [string, string | undefined][] {
  if (!Array.isArray(value)) throw new Error('expected a list of arguments')
  return value.map((pair: unknown) => {
    const [name, text] = Array.isArray(pair) ? pair : []
    return [String(name), typeof text === 'string' ? text : undefined]
  })
}

function buildArgsOf(vector: VectorCase): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(recordOf(vector.buildArgs)).map(([name, value]) => [name, String(value)]))
}

const kinds: Readonly<Record<string, Judge>> = {
  dockerfileToGraph: judgeGraph,
  gitRef: judgeGitRef,
  expose: judgePorts,
  platforms: judgePlatforms,
  sourceDateEpoch: judgeEpoch,
  sourceDateEpochStage: judgeEpochStage,
  healthcheckHistory: judgeHealthcheck,
  proxyEnv: (vector) => same(proxyFromBuildArgs(buildArgsOf(vector)) ?? null, vector.expect),
  addEnv: (vector) => same(addEnv(stringsOf(vector.env), textOf(vector, 'key'), textOf(vector, 'value')), vector.expect),
  parseKeyValue: (vector) => same(parseKeyValue(textOf(vector, 'input')), vector.expect),
  argsAndEnvToMap: (vector) =>
    same(Object.fromEntries(argsAndEnvToMap(argsOf(vector.args), stringsOf(vector.env))), vector.expect),
}

/** The suite. */
export const suite: Suite = {
  files: {
    'cases.json': (vector, folder) => {
      const kind = textOf(vector, 'kind')
      return kinds[kind]?.(vector, folder) ?? skip(`the kind ${kind} is not known to the runner`)
    },
  },
}
