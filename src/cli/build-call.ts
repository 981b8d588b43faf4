/** `mille build --check` and `--call=…`: what a build answers instead of building. */
import { UsageError } from '../core/errors.js'
import type { BuildOptions } from '../engine/options.js'
import type { Shell } from './shell.js'

/** The calls, as `--call` names them, and what they are for. */
const calls = {
  build: 'Build the image',
  check: 'Check the Dockerfile; exit code 1 when there is a warning',
  outline: 'List the build arguments, secrets, ssh agents and caches of a target',
  targets: 'List the stages',
  'subrequests.describe': 'List the calls',
} as const

/** A call and the format of its answer. */
export interface BuildCall {
  readonly name: keyof typeof calls
  readonly json: boolean
}

/** Reads `--call` and `--check`. @throws UsageError for a call or format that is not known */
export function readBuildCall(text: string | undefined, check: boolean): BuildCall {
  const [name = '', ...fields] = (text ?? (check ? 'check' : 'build')).split(',')
  const wanted = name === 'lint' ? 'check' : name
  const format = fields.find((field) => field.startsWith('format='))?.slice('format='.length) ?? 'text'
  const other = fields.find((field) => !/^format=(text|json)$/.test(field))
  if (!isCall(wanted)) {
    throw new UsageError('USAGE_BAD_FLAG', `--call "${name}" is not known`, {
      hint: `calls are ${Object.keys(calls).join(', ')}`,
    })
  }
  if (other !== undefined)
    throw new UsageError('USAGE_BAD_FLAG', `--call has the unknown option "${other}", expected format=json or format=text`)
  if (check && wanted !== 'check') throw new UsageError('USAGE_BAD_FLAG', `--check and --call=${name} contradict each other`)
  return { name: wanted, json: format === 'json' }
}

function isCall(name: string): name is keyof typeof calls {
  return Object.hasOwn(calls, name)
}

/** Answers a call that is not `build`; the result is the exit code. */
export async function runBuildCall({ name, json }: BuildCall, options: BuildOptions, shell: Shell): Promise<number> {
  if (name === 'subrequests.describe') return describe(json, shell)
  const [{ check, outline, targets }, { jsonOf, textOf }, { outlineText, targetsText }] = await Promise.all([
    import('../check.js'),
    import('./lint-report.js'),
    import('./outline-text.js'),
  ])
  if (name === 'outline') {
    const found = await outline(options)
    shell.print(json ? asJson(found) : outlineText(found))
    return 0
  }
  if (name === 'targets') {
    const found = await targets(options)
    shell.print(json ? asJson(found) : targetsText(found))
    return 0
  }
  const result = await check(options)
  shell.print(json ? asJson(jsonOf(result)) : textOf(result, shell.color && shell.stdout.isTTY === true))
  return result.findings.length + result.errors.length > 0 ? 1 : 0
}

function describe(json: boolean, shell: Shell): number {
  const list = Object.entries(calls).map(([name, description]) => ({ name, description }))
  const width = Math.max(...list.map(({ name }) => name.length))
  shell.print(json ? asJson(list) : list.map(({ name, description }) => `${name.padEnd(width)}   ${description}\n`).join(''))
  return 0
}

function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
