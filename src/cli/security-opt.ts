/** `--security-opt` of `build` and `run`. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemCode, UsageError } from '../core/errors.js'
import type { Confinement } from '../graph/op.js'
import type { FlagSpec } from './args.js'
import { isTrueField } from './csv.js'

/** How the flag is parsed and what `--help` says. */
export const securityFlag = {
  type: 'list',
  value: 'option',
  help: "How commands are confined: no-new-privileges, seccomp=unconfined, or seccomp=FILE with a profile in docker's form",
} as const satisfies FlagSpec

/**
 * Reads its values. Labels of SELinux and profiles of AppArmor are not set by mille: asking for none of them is granted, for
 * others it is not.
 *
 * @throws UsageError; what a profile says is looked at by whoever uses it
 */
export function readSecurity(texts: readonly string[], cwd: string): Pick<Confinement, 'noNewPrivileges' | 'seccomp'> {
  const found: { noNewPrivileges?: boolean; seccomp?: NonNullable<Confinement['seccomp']> } = {}
  for (const text of texts) {
    const [key = '', value = ''] = text.split(/[=:](.*)/s)
    if (key === 'no-new-privileges') {
      if (isTrueField(value || 'true', `--security-opt ${text}`)) found.noNewPrivileges = true
    } else if (key === 'seccomp' && value !== '') {
      delete found.seccomp
      if (value === 'unconfined') found.seccomp = value
      else if (value !== 'builtin' && value !== 'default') found.seccomp = { profile: readProfile(value, cwd) }
    } else if (!['apparmor=unconfined', 'label=disable'].includes(`${key}=${value}`)) {
      throw new UsageError('USAGE_BAD_FLAG', `--security-opt ${text} is not supported`, {
        hint: 'known are no-new-privileges, seccomp=FILE, seccomp=unconfined, apparmor=unconfined and label=disable',
      })
    }
  }
  return found
}

function readProfile(path: string, cwd: string): string {
  try {
    return readFileSync(resolve(cwd, path), 'utf8')
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    throw new UsageError('USAGE_BAD_FLAG', `--security-opt seccomp=${path}: the profile cannot be read (${code})`, {
      cause: error,
    })
  }
}
