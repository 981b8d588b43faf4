/** Temporary directories and stores that remove themselves. */
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OpenedStore, type OpenStoreOptions, openStore } from '../../src/store/store.js'

/** A directory of its own for one test. */
export interface TempDirectory extends AsyncDisposable {
  readonly path: string
}

/** Makes an empty directory; it is removed with the scope it is in. */
export function tempDirectory(name = 'mille-test'): TempDirectory {
  const path = mkdtempSync(join(tmpdir(), `${name}-`))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A store in a directory of its own. */
export async function tempStore(options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const directory = tempDirectory('mille-store')
  const store = await openStore(directory.path, options)
  return {
    ...store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await directory[Symbol.asyncDispose]()
    },
  }
}
