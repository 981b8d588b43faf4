/** The servers a benchmark needs: a registry for the base images, and dockerd where docker is installed. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
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

/** Asks every 100 ms, for 20 s at most. */
export async function waitFor(what: string, isReady: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await isReady()) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${what} was not ready within 20 s`)
}

/** Ends a process, by force after 20 s. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  await ended
  clearTimeout(timer)
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
  return { host, [Symbol.asyncDispose]: () => stopProcess(child) }
}

/** How dockerd keeps images: its own graph driver (the default up to version 28), or containerd's store. */
export type DockerStore = 'overlay2' | 'containerd'

/** A dockerd, or why there is none. */
export type Docker = AsyncDisposable & ({ readonly host: string } | { readonly missing: string })

/** Starts a dockerd of its own. `enter` leads to where it is installed. */
export async function startDocker(scratch: string, enter: string, store: DockerStore): Promise<Docker> {
  const without = (missing: string): Docker => ({ missing, [Symbol.asyncDispose]: async () => undefined })
  if (spawnSync('sh', ['-c', `${enter}dockerd --version`]).status !== 0) return without('dockerd is not installed')
  const directory = join(scratch, `docker-${store}`)
  mkdirSync(directory, { recursive: true })
  const host = `unix://${directory}/docker.sock`
  const logFile = join(scratch, `dockerd-${store}.log`)
  const log = openSync(logFile, 'w')
  const places = `--data-root ${directory}/data --exec-root ${directory}/exec --pidfile ${directory}/pid`
  const feature = store === 'containerd' ? '--feature containerd-snapshotter=true' : ''
  const argv = ['-c', `exec ${enter}dockerd -H ${host} ${places} ${feature}`]
  const child = spawn('sh', argv, { stdio: ['ignore', log, log] })
  try {
    await waitFor('dockerd', () => {
      if (child.exitCode !== null) throw new Error(`dockerd ended with exit code ${child.exitCode}`)
      return spawnSync('sh', ['-c', `${enter}docker -H ${host} info`]).status === 0
    })
  } catch (error) {
    await stopProcess(child)
    const last = readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1) ?? ''
    return without(`${error instanceof Error ? error.message : error}: ${last}`)
  }
  return { host, [Symbol.asyncDispose]: () => stopProcess(child) }
}
