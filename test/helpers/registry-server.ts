/** A real `docker-registry` on a free port for the time of a callback. */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** A free TCP port on the loopback address. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

/** Starts a registry that stores below `directory`, hands its `host:port` to `work`, and ends it. */
export async function withRegistry(directory: string, work: (host: string) => Promise<void>): Promise<void> {
  mkdirSync(directory, { recursive: true })
  const host = `127.0.0.1:${await freePort()}`
  const config = join(directory, 'config.yml')
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${directory}/data } }\nhttp: { addr: ${host} }\n`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  try {
    await answers(`http://${host}/v2/`)
    await work(host)
  } finally {
    child.kill()
  }
}

/** Waits until an address answers at all; fails after 10 s. */
export async function answers(url: string): Promise<Response> {
  const end = Date.now() + 10_000
  for (;;) {
    try {
      return await fetch(url)
    } catch (error) {
      if (!(error instanceof TypeError) || Date.now() > end) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
