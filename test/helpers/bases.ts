/** Base images made from the distribution's packages; the tars are kept in `.cache/bases` between runs. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { milleOk, mustRun, projectRoot, runProgram } from './cli.js'

/** The bases that `fixtures/bases/make` knows. */
export type BaseName = 'busybox' | 'debian' | 'node' | 'gcc'

/** The path of a base's rootfs tar, made first where it is missing. */
export async function baseTar(name: BaseName): Promise<string> {
  const tar = join(projectRoot, '.cache/bases', `${name}.tar`)
  if (!existsSync(tar)) await mustRun(join(projectRoot, 'fixtures/bases/make'), [name, tar], { timeoutMs: 600_000 })
  return tar
}

/** Imports a base into a store as `localhost/base/NAME:latest`. */
export async function importBase(root: string, name: BaseName): Promise<string> {
  const reference = `localhost/base/${name}:latest`
  await milleOk(root, ['import', await baseTar(name), reference])
  return reference
}

/** Why a base cannot be made here, or undefined when it can. */
export async function whyNoBase(name: BaseName): Promise<string | undefined> {
  if (existsSync(join(projectRoot, '.cache/bases', `${name}.tar`))) return undefined
  const program = name === 'busybox' ? 'busybox' : 'mmdebstrap'
  const found = await runProgram('sh', ['-c', `command -v ${program}`])
  return found.code === 0 ? undefined : `${program} is not installed, so the base ${name} cannot be made`
}
