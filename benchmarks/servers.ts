/** The servers a benchmark needs: a registry for the base images, and dockerd where docker is installed. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, openSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** A free TCP port on the loopback address. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

async function waitFor(what: string, isReady: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await isReady()) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${what} did not start within 20 s`)
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

/** A `docker-registry` with an empty store. */
export async function startRegistry(scratch: string): Promise<AsyncDisposable & { readonly host: string }> {
  const host = `127.0.0.1:${await freePort()}`
  const config = join(scratch, 'registry.yml')
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${scratch}/registry }, delete: { enabled: true } }\nhttp: { addr: ${host} }\n`,
  )
  const log = openSync(join(scratch, 'registry.log'), 'w')
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', log, log] })
  await waitFor('docker-registry', async () => {
    try {
      return (await fetch(`http://${host}/v2/`)).ok
    } catch (error) {
      if (error instanceof TypeError) return false
      throw error
    }
  })
  return { host, [Symbol.asyncDispose]: () => stop(child) }
}

/** A dockerd of its own, or none where docker is not installed or does not start. */
export async function startDocker(scratch: string): Promise<AsyncDisposable & { readonly host: string | undefined }> {
  const none = { host: undefined, [Symbol.asyncDispose]: async () => undefined }
  if (spawnSync('dockerd', ['--version']).status !== 0) return none
  const directory = join(scratch, 'docker')
  mkdirSync(directory, { recursive: true })
  const host = `unix://${directory}/docker.sock`
  const log = openSync(join(scratch, 'dockerd.log'), 'w')
  const child = spawn(
    'dockerd',
    ['-H', host, '--data-root', `${directory}/data`, '--exec-root', `${directory}/exec`, '--pidfile', `${directory}/pid`],
    { stdio: ['ignore', log, log] },
  )
  try {
    await waitFor('dockerd', () => spawnSync('docker', ['-H', host, 'info']).status === 0)
  } catch (error) {
    process.stderr.write(`docker is left out: ${error instanceof Error ? error.message : error}; see ${scratch}/dockerd.log\n`)
    await stop(child)
    return none
  }
  return { host, [Symbol.asyncDispose]: () => stop(child) }
}
