/** Names of running containers: a flocked file each, so that a name is free again the moment its process ends. */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { BuildError } from '../core/errors.js'
import { tryLock } from '../io/sys.js'

/** Takes a name until it is disposed. @throws BuildError CONTAINER_NAME_IN_USE */
export function holdName(directory: string, name: string): Disposable {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw new BuildError('CONTAINER_NAME_IN_USE', `"${name}" is no container name: letters, digits, and _ . - after the first`)
  }
  mkdirSync(directory, { recursive: true })
  const fd = openSync(join(directory, name), 'a', 0o600)
  if (tryLock(fd, 'exclusive')) return { [Symbol.dispose]: () => closeSync(fd) }
  closeSync(fd)
  throw new BuildError('CONTAINER_NAME_IN_USE', `a running container has the name "${name}"`, {
    hint: 'choose another --name, or wait until it ends',
  })
}
