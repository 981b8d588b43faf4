/** Checks of flags whose values need no expansion → diagnostics. */
import { didYouMean } from '../src/core/suggest.js'
import type { Flag } from './ast.js'
import { parseDevice } from './device.js'
import { parseDuration } from './duration.js'
import { checkFlags, flagsOf } from './flags.js'
import type { Reporter } from './messages.js'

/** Reports unknown, repeated and malformed flags of an instruction. */
export function checkKnownFlags(kind: string, flags: readonly Flag[], report: Reporter): void {
  const table = flagsOf(kind)
  const names = Object.keys(table)
  const keyword = kind.toUpperCase()
  for (const { problem, index } of checkFlags(flags, table)) {
    const flag = flags[index]
    if (flag === undefined) continue
    const name = `--${flag.name}`
    if (problem === 'unknown') {
      const known =
        names.length === 0 ? `${keyword} has no flags` : `${keyword} knows ${names.map((each) => `--${each}`).join(', ')}`
      const near = didYouMean(
        name,
        names.map((each) => `--${each}`),
      )
      report.error('DOCKERFILE_UNKNOWN_FLAG', `unknown flag ${name} of ${keyword}`, flag.span, near ?? known)
    } else if (problem === 'repeated') {
      report.error('DOCKERFILE_BAD_FLAG', `${name} is given twice`, flag.span, 'remove one of them')
    } else if (problem === 'missing-value') {
      report.error('DOCKERFILE_BAD_FLAG', `${name} has no value`, flag.span, `write ${name}=VALUE`)
    } else {
      report.error('DOCKERFILE_BAD_FLAG', `${name} is "${flag.value}", expected true or false`, flag.span)
    }
  }
}

/** Checks the values of RUN's --network, --security and --device; --mount may hold variables and is checked later. */
export function checkRunFlags(flags: readonly Flag[], report: Reporter): void {
  checkChoice(flags, 'network', ['default', 'none', 'host'], report)
  checkChoice(flags, 'security', ['sandbox', 'insecure'], report)
  checkDevices(flags, report)
}

function checkDevices(flags: readonly Flag[], report: Reporter): void {
  for (const { name, value, span } of flags) {
    const device = name === 'device' && value !== undefined ? parseDevice(value) : undefined
    if (device !== undefined && 'problem' in device) report.error('DOCKERFILE_BAD_FLAG', device.problem, span, device.hint)
  }
}

function checkChoice(flags: readonly Flag[], name: string, choices: readonly string[], report: Reporter): void {
  const flag = flags.find((candidate) => candidate.name === name)
  if (flag?.value === undefined || choices.includes(flag.value)) return
  const message = `--${name} is "${flag.value}", expected ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`
  report.error('DOCKERFILE_BAD_FLAG', message, flag.span, didYouMean(flag.value, choices))
}

const millisecond = 1_000_000

/** Checks HEALTHCHECK's durations and --retries. */
export function checkHealthFlags(flags: readonly Flag[], report: Reporter): void {
  for (const { name, value, span } of flags) {
    if (value === undefined || value === '' || flagsOf('healthcheck')[name] === undefined) continue
    if (name === 'retries') {
      const count = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN
      if (count >= 0 && count < 2 ** 31) continue
      const problem = count < 0 ? `--retries cannot be negative, found ${value}` : `--retries is "${value}", expected a number`
      report.error('DOCKERFILE_BAD_FLAG', problem, span, 'write a whole number like --retries=3')
      continue
    }
    const duration = parseDuration(value)
    if (duration === undefined) {
      report.error(
        'DOCKERFILE_BAD_FLAG',
        `--${name} is "${value}", expected a duration`,
        span,
        `write a duration like --${name}=1m30s`,
      )
    } else if (duration !== 0 && duration < millisecond) {
      report.error('DOCKERFILE_BAD_FLAG', `--${name} is ${value}, it cannot be less than 1ms`, span, 'write 0 for the default')
    }
  }
}
