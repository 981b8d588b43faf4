/**
 * Builds cases with docker's BuildKit. A daemon is started with everything it keeps in one directory; with
 * `DIFFERENTIAL_DOCKER=unix:///PATH` one that runs already is used: it must see the same paths as this process.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { mount, unmount } from '../../src/io/sys.js'
import { baseTar } from '../helpers/bases.js'
import { mustRun, runProgram } from '../helpers/cli.js'
import { describeTree, type TreeDescription } from '../helpers/rootfs.js'
import { type Builder, isNoise, pickConfig } from './built.js'
import type { CommandLine } from './case.js'
import { type Abilities, base, configuredBase, configuredDockerfile } from './generate.js'

/** A daemon that builds. */
export interface Docker extends AsyncDisposable {
  readonly build: Builder
  readonly version: string
  readonly abilities: Abilities
}

interface Inspected {
  readonly Config: Readonly<Record<string, unknown>>
  readonly GraphDriver: {
    readonly Name: string
    readonly Data: { readonly UpperDir?: string; readonly LowerDir?: string } | null
  }
}

/** `DIFFERENTIAL_CLIENT`, or the distribution's: one that needs no plugin buildx. */
function client(): string {
  return process.env.DIFFERENTIAL_CLIENT ?? (existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker')
}

/** Why there is no docker here. */
export async function whyNoDocker(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'a docker daemon needs root'
  if (process.env.DIFFERENTIAL_DOCKER !== undefined) return undefined
  const found = await runProgram('sh', ['-c', 'command -v dockerd && command -v runc'])
  return found.code === 0 ? undefined : 'dockerd is not installed (Debian: docker.io)'
}

/** Starts a daemon below `directory`, or connects to the one that the environment names. */
export async function openDocker(directory: string): Promise<Docker> {
  const given = process.env.DIFFERENTIAL_DOCKER
  const host = given ?? `unix://${join(directory, 'docker.sock')}`
  const daemon = given === undefined ? startDaemon(directory, host) : undefined
  const socket = host.slice('unix://'.length)
  const { Version: version } = (await patiently(() => ask(socket, '/version'), join(directory, 'dockerd.log'))) as {
    Version: string
  }
  const env = { DOCKER_HOST: host, DOCKER_BUILDKIT: '1', DOCKER_CONFIG: writeConfig(directory) }
  await mustRun(client(), ['import', await baseTar('busybox'), base], { env })
  writeFileSync(join(directory, 'configured'), configuredDockerfile)
  await mustRun(client(), ['build', '-q', '-t', configuredBase, '-f', join(directory, 'configured'), writeConfig(directory)], {
    env,
  })
  const modern = Number(version.split('.')[0]) >= 26
  const exclude = Number(version.split('.')[0]) >= 28
  const negations = process.env.DIFFERENTIAL_CLIENT !== undefined
  let count = 0
  return {
    version,
    abilities: { heredocs: modern, patterns: modern, link: modern, chmod: modern, mounts: modern, exclude, negations },
    async build(context, commandLine) {
      const id = join(directory, `docker-id-${count++}`)
      const args = argumentsOf(commandLine, id)
      const ended = await runProgram(client(), ['build', '-q', '--network', 'host', '--iidfile', id, ...args, context], { env })
      if (ended.code !== 0) return { refused: ended.stderr.trim().slice(-600) }
      const image = (await ask(socket, `/images/${readFileSync(id, 'utf8').trim()}/json`)) as Inspected
      return { config: pickConfig(image.Config), tree: readLayers(image, join(directory, `docker-out-${count++}`)) }
    },
    async [Symbol.asyncDispose]() {
      if (daemon === undefined) return
      await stopDaemon(daemon)
      unmountBelow(directory)
    },
  }
}

/** The client's directory; `DIFFERENTIAL_PLUGINS` is one that has the plugin buildx. */
function writeConfig(directory: string): string {
  const config = join(directory, 'docker-config')
  mkdirSync(config, { recursive: true })
  writeFileSync(
    join(config, 'config.json'),
    JSON.stringify({ cliPluginsExtraDirs: [process.env.DIFFERENTIAL_PLUGINS ?? config] }),
  )
  return config
}

/** The flags of a case; `beside` begins the names of the files with secrets. */
function argumentsOf({ buildArgs, target, secrets }: CommandLine, beside: string): readonly string[] {
  const files = Object.entries(secrets).map(([id, value]) => {
    writeFileSync(`${beside}-${id}`, value)
    return `id=${id},src=${beside}-${id}`
  })
  return [
    ...Object.entries(buildArgs).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    ...files.flatMap((secret) => ['--secret', secret]),
    ...(target === undefined ? [] : ['--target', target]),
  ]
}

function startDaemon(directory: string, host: string): ChildProcess {
  const at = (name: string): string => join(directory, name)
  const places = ['--data-root', at('docker'), '--exec-root', at('docker-run'), '--pidfile', at('docker.pid')]
  const args = ['-H', host, ...places, '--iptables=false', '--bridge=none', '--ip-forward=false', '--storage-driver', 'overlay2']
  const log = openSync(at('dockerd.log'), 'w')
  return spawn('dockerd', args, {
    stdio: ['ignore', log, log],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return
  const ended = new Promise((resolve) => daemon.once('exit', resolve))
  daemon.kill('SIGTERM')
  await ended
}

/** The daemon's own mounts are still in our mount namespace when mille made one of its own. */
function unmountBelow(directory: string): void {
  const points = readFileSync('/proc/thread-self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((point) => point.startsWith(`${directory}/`))
  for (const point of points.reverse()) unmount(point, { detach: true })
}

/** Asks until there is an answer, for at most 30 seconds. */
async function patiently<T>(ask: () => Promise<T>, log: string): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error
      if (tries === 150) throw new Error(`the docker daemon does not answer\n${existsSync(log) ? readFileSync(log, 'utf8') : ''}`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

function ask(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        if (response.statusCode === 200) resolve(JSON.parse(text))
        else reject(new Error(`docker answers ${response.statusCode} to ${path}: ${text}`))
      })
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** The image's files, straight from the daemon's layers: an overlay mount where there are several. */
function readLayers({ GraphDriver: driver }: Inspected, target: string): TreeDescription {
  if (driver.Name !== 'overlay2') throw new Error(`docker's storage driver is ${driver.Name}, not overlay2`)
  const layers = [driver.Data?.UpperDir, ...(driver.Data?.LowerDir?.split(':') ?? [])].filter((path) => path !== undefined)
  const [only, second] = layers
  if (only === undefined) return new Map([['/', 'directory 755 0:0']])
  if (second === undefined) return describeTree(only, isNoise)
  mkdirSync(target)
  mount('overlay', target, 'overlay', 1, `lowerdir=${layers.join(':')}`)
  try {
    return describeTree(target, isNoise)
  } finally {
    unmount(target, { detach: true })
    rmSync(target, { recursive: true })
  }
}
