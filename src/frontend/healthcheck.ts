/** HEALTHCHECK: flags and command as the config has them (semantics.md 60). */
import type { CommandLine, HealthcheckInstruction } from '../../grammar/ast.js'
import { parseDuration } from '../../grammar/duration.js'
import type { HealthConfig } from '../core/image.js'
import { findFlag } from './expand.js'

/** The config of a HEALTHCHECK. The parser has checked the flags; zero stands for "the default" and is left out. */
export function healthConfig(instruction: HealthcheckInstruction): HealthConfig {
  if (instruction.command === undefined) return { Test: ['NONE'] }
  const durations = {
    ...setting('Interval', durationOf(instruction, 'interval')),
    ...setting('Timeout', durationOf(instruction, 'timeout')),
    ...setting('StartPeriod', durationOf(instruction, 'start-period')),
    ...setting('StartInterval', durationOf(instruction, 'start-interval')),
    ...setting('Retries', Number(findFlag(instruction, 'retries')?.value ?? 0)),
  }
  return { Test: testOf(instruction.command), ...durations }
}

function testOf(command: CommandLine): readonly string[] {
  return command.form === 'exec' ? ['CMD', ...command.argv] : ['CMD-SHELL', command.text]
}

function durationOf(instruction: HealthcheckInstruction, flag: string): number {
  const text = findFlag(instruction, flag)?.value ?? ''
  return text === '' ? 0 : (parseDuration(text) ?? 0)
}

function setting(name: keyof HealthConfig, value: number): HealthConfig {
  return value === 0 ? {} : { [name]: value }
}
