/** Work that must fail. */
import { BuildError } from '../../src/core/errors.js'
import { within } from './within.js'

/** The error that work ends with, which is one that mille expects; any other is thrown. */
export async function failure(work: Promise<unknown>): Promise<BuildError> {
  try {
    await within(120_000, work)
  } catch (error) {
    if (error instanceof BuildError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** Work that must fail with this code. */
export async function rejects(code: BuildError['code'], work: Promise<unknown>): Promise<BuildError> {
  const error = await failure(work)
  if (error.code !== code) throw new Error(`expected ${code}, got ${error.code}: ${error.message}`)
  return error
}
