/** Hashes of secrets for cache keys (`--secret …,cache-key=true`). They are in records on disk, hence the salt beside them. */
import { createHmac, randomBytes } from 'node:crypto'
import { linkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCode } from '../core/errors.js'
import { randomName, readBytesIfExists } from '../io/fs.js'

/** HMAC-SHA256 of a secret with the salt that is kept in `directory`; the first call makes it. */
export function hashSecret(content: Uint8Array, directory: string): string {
  return createHmac('sha256', saltIn(directory)).update(content).digest('hex')
}

function saltIn(directory: string): Uint8Array {
  const path = join(directory, 'secret-salt')
  const known = readBytesIfExists(path)
  if (known !== undefined) return known
  const unfinished = `${path}.${randomName(8)}`
  writeFileSync(unfinished, randomBytes(32), { mode: 0o600, flag: 'wx' })
  try {
    // Unlike a rename, a link does not replace the salt of a process that was faster.
    linkSync(unfinished, path)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  } finally {
    rmSync(unfinished, { force: true })
  }
  return saltIn(directory)
}
