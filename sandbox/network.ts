/**
 * The network of a container: the host's, none, or a private one of the pool.
 *
 * A private network is a network namespace held by a bind mount in the private mount namespace, and a `pasta` that passes its
 * traffic to the host's sockets. Starting one takes some 40 ms, so containers that run one after the other use the same;
 * those that run at once have one each. All end with the sandbox.
 */

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { endianness } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { awaitedLater, ifFulfilled } from '../src/core/awaited.js'
import { SandboxError, systemCode } from '../src/core/errors.js'
import { readTextIfExists } from '../src/io/fs.js'
import { mount, mountFlags, unmount } from '../src/io/sys.js'
import { inNewNetwork } from './mounts.js'
import type { NetworkMode } from './plan.js'
import { findProgram } from './runtime.js'
import { type RunningProcess, startProcess } from './spawn.js'

/** A network that a container joins. */
export interface JoinedNetwork {
  /** What it really is: `default` falls back to `host` where no private network can be made. */
  readonly mode: NetworkMode
  /** The network namespace to join; undefined: the host's own, or a new empty one. */
  readonly path: string | undefined
  /** Where a command in it finds this machine. */
  readonly hostAddress: string
  /** Gives it back. With `reusable: false` it is ended: a privileged command may have changed it. */
  release(options: { readonly reusable: boolean }): Promise<void>
}

/** What the pool needs of the sandbox. */
export interface NetworkPoolHost {
  /** A directory of this process in its private tmpfs. */
  readonly directory: string
  readonly searchPath: string
  readonly env: Readonly<Record<string, string>>
  /** Where the number of each helper is noted, for whoever cleans up after a mille that was killed with its guardian. */
  readonly noteDirectory: string
  /** Told of each helper process as it starts and when it has ended, so that it dies with mille. */
  readonly watch: (pid: number) => void
  readonly forget: (pid: number) => void
  /** Told once when there is no private network. */
  readonly warn: (message: string, hint: string | undefined) => void
}

interface PrivateNetwork {
  readonly path: string
  readonly hostAddress: string | undefined
  readonly helper: RunningProcess
  readonly isAlive: () => boolean
}

/** The private networks of one mille process. */
export class NetworkPool implements AsyncDisposable {
  readonly #host: NetworkPoolHost
  readonly #idle: PrivateNetwork[] = []
  readonly #ending: Promise<void>[] = []
  #warming: Promise<PrivateNetwork> | undefined
  #problem: SandboxError | undefined
  #count = 0

  constructor(host: NetworkPoolHost) {
    this.#host = host
  }

  /** Starts a private network that the first `acquire` will find. */
  warmUp(): void {
    // Whoever takes it gets the error.
    this.#warming ??= awaitedLater(this.#open())
  }

  /** The network for one container. */
  async acquire(mode: NetworkMode, { reachHost }: { readonly reachHost: boolean }): Promise<JoinedNetwork> {
    const own = { path: undefined, hostAddress: '127.0.0.1', release: async () => undefined }
    if (mode !== 'default') return { mode, ...own }
    const network = await this.#take(reachHost)
    if (network === undefined) return { mode: 'host', ...own }
    const release = async ({ reusable }: { readonly reusable: boolean }): Promise<void> => {
      if (reusable && network.isAlive() && !reachHost) this.#idle.push(network)
      else await this.#end(network)
    }
    return { mode, path: network.path, hostAddress: network.hostAddress ?? own.hostAddress, release }
  }

  /** One that reaches the host is only for the step that asked for it. */
  async #take(reachHost: boolean): Promise<PrivateNetwork | undefined> {
    if (this.#problem !== undefined) return undefined
    const idle = reachHost ? undefined : this.#idle.pop()
    if (idle !== undefined) return idle
    const opening = reachHost ? this.#open({ reachHost }) : (this.#warming ?? this.#open())
    if (!reachHost) this.#warming = undefined
    try {
      return await opening
    } catch (error) {
      if (!(error instanceof SandboxError)) throw error
      if (this.#problem === undefined) this.#host.warn(error.message, error.hint)
      this.#problem = error
      return undefined
    }
  }

  async #open({ reachHost } = { reachHost: false }): Promise<PrivateNetwork> {
    const pasta = findProgram('pasta', this.#host.searchPath)
    if (pasta === undefined) {
      throw new SandboxError('SANDBOX_NETWORK_FAILED', 'there is no private network: pasta is not installed', {
        hint: 'install the package passt, or ask for the host network with --network=host',
      })
    }
    const directory = join(this.#host.directory, `network-${++this.#count}`)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const path = join(directory, 'namespace')
    writeFileSync(path, '')
    makeNamespace(path)
    const network = startPasta(pasta, directory, path, reachHost ? gatewayOfHost() : undefined, this.#host.env)
    if (network.helper.pid !== undefined) {
      this.#host.watch(network.helper.pid)
      writeFileSync(join(this.#host.noteDirectory, String(network.helper.pid)), '')
    }
    try {
      await isReady(network, join(directory, 'pid'))
    } catch (error) {
      await this.#end(network)
      throw error
    }
    return network
  }

  /** Ends what waits for a container. The helpers have their signal when this returns. */
  rest(): void {
    for (const network of this.#idle.splice(0)) {
      this.#ending.push(awaitedLater(this.#end(network)))
    }
  }

  async #end(network: PrivateNetwork): Promise<void> {
    network.helper.ref()
    network.helper.kill('SIGKILL')
    await ifFulfilled(network.helper.ended)
    if (network.helper.pid !== undefined) {
      this.#host.forget(network.helper.pid)
      rmSync(join(this.#host.noteDirectory, String(network.helper.pid)), { force: true })
    }
    unmount(network.path, { detach: true })
    rmSync(join(network.path, '..'), { recursive: true })
  }

  /** The same for one that is still being started. */
  async stop(): Promise<void> {
    const warming = await ifFulfilled(this.#warming)
    this.#warming = undefined
    if (warming !== undefined) this.#idle.push(warming)
    this.rest()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await Promise.all(this.#ending)
  }
}

function makeNamespace(path: string): void {
  try {
    inNewNetwork(() => mount('/proc/thread-self/ns/net', path, '', mountFlags.bind, ''))
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    throw new SandboxError('SANDBOX_NETWORK_FAILED', `no private network can be made: ${code} from the kernel`, { cause: error })
  }
}

/**
 * Starts pasta for the namespace at `path`. It keeps two capabilities only and confines itself with seccomp; as "nobody" it could
 * not join a namespace of root. No port is forwarded in either direction. `hostAddress` is the gateway's address where that is to
 * lead to the host; otherwise it does not.
 */
function startPasta(
  pasta: string,
  directory: string,
  path: string,
  hostAddress: string | undefined,
  env: Readonly<Record<string, string>>,
): PrivateNetwork {
  const helper = startProcess(
    [
      pasta,
      ...['--foreground', '--quiet', '--runas', '0:0', '--config-net', ...(hostAddress === undefined ? ['--no-map-gw'] : [])],
      ...['-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none'],
      ...['--log-file', join(directory, 'log'), '--pid', join(directory, 'pid'), '--netns', path],
    ],
    { env, stdin: 'ignore', stdout: 'ignore', stderr: 'ignore', ownSession: true },
  )
  let alive = true
  const note = (): void => {
    alive = false
  }
  helper.ended.then(note, note)
  helper.unref()
  return { path, hostAddress, helper, isAlive: () => alive }
}

/** The IPv4 gateway of the default route (/proc/net/route: hexadecimal, in the machine's byte order). */
function gatewayOfHost(): string {
  for (const line of (readTextIfExists('/proc/net/route') ?? '').split('\n').slice(1)) {
    const [, destination, gateway = ''] = line.split('\t')
    if (destination !== '00000000' || !/^[0-9A-F]{8}$/.test(gateway) || gateway === '00000000') continue
    const bytes = Buffer.from(gateway, 'hex')
    return (endianness() === 'LE' ? bytes.reverse() : bytes).join('.')
  }
  throw new SandboxError('SANDBOX_NETWORK_FAILED', 'host-gateway needs a default route, and this machine has none', {
    hint: 'use --network=host and the address 127.0.0.1',
  })
}

const startLimitMs = 5_000

/** Waits until pasta has configured the namespace: it writes its pid file then. */
async function isReady(network: PrivateNetwork, pidFile: string): Promise<void> {
  for (const deadline = performance.now() + startLimitMs; performance.now() < deadline; await sleep(2)) {
    if (!network.isAlive()) break
    if (existsSync(pidFile) && readTextIfExists(pidFile) !== '') return
  }
  const log = readTextIfExists(join(network.path, '..', 'log')) ?? ''
  const reason = /ERROR:\s*(.+)/.exec(log)?.[1] ?? (network.isAlive() ? 'it did not start within 5 s' : 'it ended at once')
  throw new SandboxError('SANDBOX_NETWORK_FAILED', `there is no private network: pasta does not work here (${reason})`, {
    hint: 'see "mille doctor"; --network=host asks for the host\'s network without this warning',
  })
}
