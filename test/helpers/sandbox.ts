/** Real root filesystems and containers for the tests of the sandbox. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSandbox, type SandboxOptions } from '../../sandbox/open.js'
import type { ExitStatus, Sandbox, SandboxPlan } from '../../sandbox/plan.js'

const applets = `sh true false cat ls id mount sleep env echo touch mkdir rm mv ps kill stat hostname chmod chown wget nslookup
  ip mknod dd test head umount unshare find wc tr grep nc killall su chroot tail seq date readlink ln rmdir`

/** A temporary place with a base layer of busybox, and a sandbox. */
export interface SandboxBench extends AsyncDisposable {
  readonly directory: string
  readonly base: string
  readonly stateDirectory: string
  readonly sandbox: Sandbox
  /** A plan on fresh upper and work directories. */
  plan(overrides?: Partial<SandboxPlan>): SandboxPlan
  /** Runs a command and returns what it wrote. */
  run(
    command: readonly string[] | string,
    overrides?: Partial<SandboxPlan>,
    signal?: AbortSignal,
  ): Promise<ExitStatus & { readonly stdout: string; readonly stderr: string; readonly upper: string }>
}

/** Why no container can be run here, or undefined. */
export function sandboxProblem(): string | undefined {
  if (process.getuid?.() !== 0) return 'running containers needs root here'
  if (!existsSync('/bin/busybox')) return 'busybox-static is not installed'
  return undefined
}

/** Prints why a test is skipped. True when it is. */
export function skipped(problem = sandboxProblem()): boolean {
  if (problem !== undefined) console.log(`SKIP: ${problem}`)
  return problem !== undefined
}

/** Makes the bench; everything is removed with it. */
export function sandboxBench(options: Partial<SandboxOptions> = {}): SandboxBench {
  const directory = mkdtempSync(join(tmpdir(), 'mille-sandbox-'))
  const base = join(directory, 'base')
  makeBusybox(base)
  const stateDirectory = options.stateDirectory ?? join(directory, 'state')
  const sandbox = openSandbox({ ...options, stateDirectory })
  let count = 0
  const plan = (overrides: Partial<SandboxPlan> = {}): SandboxPlan => {
    const pair = join(directory, `step-${++count}`)
    const [hostUpper, hostWork] = [join(pair, 'fs'), join(pair, 'work')]
    mkdirSync(hostUpper, { recursive: true, mode: 0o755 })
    mkdirSync(hostWork)
    return {
      argv: ['/bin/true'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'],
      cwd: '/',
      user: { uid: 0, gid: 0, additionalGids: [] },
      hostname: 'buildkitsandbox',
      rootfs: { hostLowers: [base], hostUpper, hostWork },
      mounts: [],
      network: 'host',
      extraHosts: [],
      security: 'sandbox',
      readonlyRootfs: false,
      terminal: false,
      limits: {},
      ...overrides,
    }
  }
  return {
    directory,
    base,
    stateDirectory,
    sandbox,
    plan,
    run: async (command, overrides = {}, signal = new AbortController().signal) => {
      const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : command
      const wanted = plan({ ...overrides, argv })
      const out: Uint8Array[] = []
      const err: Uint8Array[] = []
      const io = {
        stdin: 'ignore' as const,
        onStdout: (data: Uint8Array) => void out.push(data),
        onStderr: (data: Uint8Array) => void err.push(data),
      }
      const status = await sandbox.run(wanted, io, signal)
      const text = (chunks: Uint8Array[]): string => Buffer.concat(chunks).toString()
      return { ...status, stdout: text(out), stderr: text(err), upper: wanted.rootfs.hostUpper }
    },
    async [Symbol.asyncDispose]() {
      await sandbox[Symbol.asyncDispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function makeBusybox(base: string): void {
  for (const path of ['bin', 'etc', 'root', 'tmp', 'home/user']) mkdirSync(join(base, path), { recursive: true })
  copyFileSync('/bin/busybox', join(base, 'bin/busybox'))
  for (const name of applets.split(/\s+/)) symlinkSync('busybox', join(base, 'bin', name))
  writeFileSync(join(base, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n')
  writeFileSync(join(base, 'etc/group'), 'root:x:0:\nuser:x:1000:\nstaff:x:50:user\n')
}

/** Lines of a process's mount table (this one's main thread) that name `part`. */
export function mountsWith(part: string, pid = 'self'): string[] {
  return readFileSync(`/proc/${pid}/mounts`, 'utf8')
    .split('\n')
    .filter((line) => line.includes(part))
}
