/** `mille run`. */
import { join, resolve } from 'node:path'
import type { RunOptions } from '../../container/options.js'
import { BuildError, UsageError } from '../../core/errors.js'
import { formatPlatform, parsePlatform, platformMatches } from '../../core/platform.js'
import type { Engine } from '../../engine/engine.js'
import type { StoredImage } from '../../store/types.js'
import type { FlagTable, FlagValues } from '../args.js'
import { defineCommand } from '../command.js'
import { engineOptions } from '../engine-options.js'
import { exitCodeOf, exitCodes } from '../exit.js'
import { checkLimits } from '../limit-flags.js'
import { openListener } from '../listener.js'
import { readEnv, readEnvFile, readHost, readMount, readNetwork, readTmpfs, readVolume } from '../run-flags.js'
import type { Shell } from '../shell.js'
import { lookUpImage } from '../stores.js'

const flags = {
  'add-host': { type: 'list', value: 'name:address', help: 'Add a line to /etc/hosts' },
  'cpu-shares': { type: 'integer', short: 'c', value: 'number', help: 'Weight of CPU time against other containers' },
  cpus: { type: 'decimal', value: 'number', help: 'How many CPUs it may use' },
  'cpuset-cpus': { type: 'string', value: 'list', help: 'The CPUs it may run on: 0-3, or 0,1' },
  entrypoint: { type: 'string', value: 'program', help: "Replaces the image's ENTRYPOINT; empty for none" },
  env: { type: 'list', short: 'e', value: 'name[=value]', help: 'Set a variable; without a value, to that of the environment' },
  'env-file': { type: 'list', value: 'path', help: 'Set variables from lines of a file' },
  hostname: { type: 'string', short: 'h', value: 'name', help: 'The host name of the container' },
  interactive: { type: 'boolean', short: 'i', help: 'Connect stdin' },
  memory: { type: 'bytes', short: 'm', value: 'size', help: 'The memory it may use' },
  'memory-swap': { type: 'bytes', unlimited: true, value: 'size', help: 'Memory and swap together; -1 for unlimited swap' },
  mount: { type: 'list', value: 'fields', help: 'Mount: type=bind|volume|tmpfs,source=…,target=…[,readonly]' },
  name: { type: 'string', value: 'name', help: 'A name that no other running container has' },
  net: { type: 'string', value: 'mode', help: 'The same as --network' },
  network: { type: 'string', value: 'mode', default: 'default', help: 'The network: default, host or none' },
  'pids-limit': { type: 'integer', value: 'number', help: 'How many processes it may have; -1 for unlimited' },
  platform: { type: 'string', value: 'os/arch', help: 'The platform of the image', env: 'DOCKER_DEFAULT_PLATFORM' },
  privileged: { type: 'boolean', help: 'Give it all capabilities and devices' },
  pull: {
    type: 'string',
    value: 'policy',
    default: 'missing',
    choices: ['always', 'missing', 'never'],
    help: 'When to pull the image',
  },
  quiet: { type: 'boolean', short: 'q', help: 'Show no progress of a pull' },
  'read-only': { type: 'boolean', help: 'Mount the root filesystem read-only' },
  rm: { type: 'boolean', help: 'Remove the container when it ends; without -d mille always does' },
  'shm-size': { type: 'bytes', value: 'size', help: 'The size of /dev/shm' },
  'sig-proxy': { type: 'boolean', default: 'true', help: 'Hand SIGINT, SIGTERM and SIGHUP to the command (not with -t)' },
  tmpfs: { type: 'list', value: 'path[:options]', help: 'Mount an empty filesystem in memory' },
  tty: { type: 'boolean', short: 't', help: 'Give it a terminal' },
  user: { type: 'string', short: 'u', value: 'user[:group]', help: 'Run as this user, by name or number' },
  volume: {
    type: 'list',
    short: 'v',
    value: 'volume',
    help: 'Mount: /host:/container[:ro], NAME:/container[:ro], or /container',
  },
  workdir: { type: 'string', short: 'w', value: 'path', help: 'The working directory' },
} as const satisfies FlagTable

const unsupported: readonly string[] = [
  ...['annotation', 'attach|a', 'blkio-weight', 'blkio-weight-device', 'cap-add', 'cap-drop', 'cgroup-parent', 'cgroupns'],
  ...[
    'cidfile',
    'cpu-period',
    'cpu-quota',
    'cpu-rt-period',
    'cpu-rt-runtime',
    'cpuset-mems',
    'detach|d',
    'detach-keys',
    'device',
  ],
  ...['device-cgroup-rule', 'device-read-bps', 'device-read-iops', 'device-write-bps', 'device-write-iops', 'dns', 'dns-option'],
  ...['dns-search', 'domainname', 'expose', 'gpus', 'group-add', 'health-cmd', 'health-interval', 'health-retries'],
  ...['health-start-interval', 'health-start-period', 'health-timeout', 'init', 'ip', 'ip6', 'ipc', 'isolation', 'label|l'],
  ...['label-file', 'link', 'link-local-ip', 'log-driver', 'log-opt', 'mac-address', 'memory-reservation', 'memory-swappiness'],
  ...[
    'network-alias',
    'no-healthcheck',
    'oom-kill-disable',
    'oom-score-adj',
    'pid',
    'publish|p',
    'publish-all|P',
    'restart',
    'runtime',
  ],
  ...['security-opt', 'stop-signal', 'stop-timeout', 'storage-opt', 'sysctl', 'ulimit', 'use-api-socket', 'userns'],
  ...['uts', 'volume-driver', 'volumes-from'],
]

type Values = FlagValues<typeof flags>

/** docker's exit codes of `run` for what is not the container's own. */
const notStarted = 125
const notExecutable = 126
const notFound = 127

/** The verb `run`. */
export const command = defineCommand({
  name: 'run',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Run a command in a new container of an image',
  notes: [
    "The exit code is the command's own; 125 when mille could not start it, 126 when it is not executable, 127 when there is no such command.",
    'Without -t it gets the SIGINT, SIGTERM and SIGHUP that mille gets, and mille waits for it; a second Ctrl-C kills it.',
  ],
  flags,
  unsupported,
  interspersed: false,
  arguments: [1, Infinity],
  exitCodeOf: runExitCode,
  async run({ values, positionals }, shell) {
    const [name = '', ...words] = positionals
    const options = readRunOptions(values, words, shell)
    if (options.terminal && options.interactive && !shell.stdin.isTTY) {
      throw new UsageError('USAGE_BAD_FLAG', 'stdin is not a terminal, so -i and -t cannot go together', { hint: 'leave -t out' })
    }
    return runImage(name, options, values, shell)
  },
})

function runExitCode(error: unknown): number {
  const code = exitCodeOf(error)
  if (code === exitCodes.bug || code === exitCodes.cancelled || !(error instanceof BuildError)) return code
  if (error.code === 'SANDBOX_COMMAND_NOT_FOUND') return notFound
  return error.code === 'SANDBOX_COMMAND_NOT_EXECUTABLE' ? notExecutable : notStarted
}

async function runImage(name: string, options: RunOptions, values: Values, shell: Shell): Promise<number> {
  const [{ withEngine }, { runContainer }, { layerStack }] = await Promise.all([
    import('../../engine/engine.js'),
    import('../../container/run.js'),
    import('../../layer/stack.js'),
  ])
  const listener = await openListener(values.quiet ? 'quiet' : 'auto', 'Pulling', shell)
  try {
    const status = await withEngine(engineOptions(shell, listener.handle), async (engine) => {
      const { createLayers } = await import('../../engine/layers.js')
      const image = await findOrPull(name, values, engine)
      warnOfPlatform(name, image, values, engine)
      return runContainer(
        image,
        options,
        {
          store: engine.store,
          sandbox: await engine.openSandbox(),
          bringHere: (diffIds, ctx) => createLayers(engine).unpack(diffIds, 'pull', ctx),
          viewLayers: layerStack,
          namesDirectory: join(engine.settings.stateDirectory, 'names'),
          onStarted: (kill) => {
            if (values['sig-proxy'] && !values.tty) shell.takeSignals(proxy(kill))
          },
          stdout: (data) => shell.stdout.write(data),
          stderr: (data) => shell.stderr.write(data),
        },
        engine.ctx,
      )
    })
    if (status.outOfMemory) shell.note('the container was killed: it needed more memory than --memory allows')
    return status.exitCode
  } finally {
    listener.close()
  }
}

/** Hands signals on. Whoever asks a second time for the end gets it: SIGKILL. SIGHUP may mean anything, as often as it comes. */
function proxy(kill: (signal: NodeJS.Signals) => void): (signal: NodeJS.Signals) => void {
  let asked = false
  return (signal) => {
    kill(asked && signal !== 'SIGHUP' ? 'SIGKILL' : signal)
    asked ||= signal !== 'SIGHUP'
  }
}

/** The image in the store, or else the registry's. */
async function findOrPull(name: string, values: Values, engine: Engine): Promise<StoredImage> {
  const host = engine.settings.hostPlatform
  const platform = values.platform === undefined ? undefined : parsePlatform(values.platform, host)
  if (values.platform !== undefined && platform === undefined) {
    throw new UsageError('USAGE_BAD_FLAG', `--platform "${values.platform}" is no platform`, { hint: 'for example linux/arm64' })
  }
  const local = values.pull === 'always' ? undefined : lookUpImage(engine.store, name)?.image
  if (local !== undefined && (platform === undefined || platformMatches(local.platform, platform))) return local
  const { findImage } = await import('../../engine/images.js')
  const policy = values.pull === 'always' || values.pull === 'never' ? values.pull : 'missing'
  const found = await findImage(name, platform ?? host, policy, engine, engine.ctx)
  const image = engine.store.images.get(found.configDigest)
  if (image === undefined) throw new Error(`the image ${found.configDigest} was saved and is not there`)
  return image
}

/** An image that is for one platform only is taken whatever was asked for, as docker does: registries have many that lie about it. */
function warnOfPlatform(name: string, image: StoredImage, values: Values, engine: Engine): void {
  const host = engine.settings.hostPlatform
  const wanted = values.platform === undefined ? host : parsePlatform(values.platform, host)
  if (wanted === undefined || platformMatches(image.platform, wanted)) return
  const asked = values.platform === undefined ? 'this machine is' : '--platform asks for'
  const message = `${name} is for ${formatPlatform(image.platform)}, and ${asked} ${formatPlatform(wanted)}`
  engine.ctx.emit({ type: 'warning', diagnostic: { severity: 'warning', code: 'PlatformMismatch', message } })
}

function readRunOptions(values: Values, command: readonly string[], shell: Shell): RunOptions {
  const fromFiles = values['env-file'].flatMap((path) => readEnvFile(resolve(shell.cwd, path), shell.env))
  const { entrypoint } = values
  return {
    command,
    entrypoint: entrypoint === undefined ? undefined : entrypoint === '' ? [] : [entrypoint],
    env: [...fromFiles, ...values.env.flatMap((word) => readEnv(word, shell.env, '-e'))],
    workdir: readWorkdir(given(values.workdir)),
    user: given(values.user),
    hostname: given(values.hostname),
    name: given(values.name),
    network: readNetwork(values.net ?? values.network),
    mounts: [
      ...values.volume.map((text) => readVolume(text, shell.cwd)),
      ...values.mount.map((text) => readMount(text, shell.cwd)),
      ...values.tmpfs.map(readTmpfs),
    ],
    extraHosts: values['add-host'].map(readHost),
    readonlyRootfs: values['read-only'],
    privileged: values.privileged,
    interactive: values.interactive,
    terminal: values.tty,
    shmSizeBytes: values['shm-size'] === 0 ? undefined : values['shm-size'],
    limits: readLimits(values),
  }
}

/** An empty text is what a script writes whose variable is not set: as docker has it, the flag was not given then. */
function given(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

function readWorkdir(path: string | undefined): string | undefined {
  if (path === undefined || path.startsWith('/')) return path
  throw new UsageError('USAGE_BAD_FLAG', `--workdir "${path}" is not an absolute path`)
}

function readLimits(values: Values): RunOptions['limits'] {
  const { memory, cpus } = values
  const swap = values['memory-swap']
  const shares = values['cpu-shares']
  const cpuset = values['cpuset-cpus']
  const pids = values['pids-limit']
  const limits = {
    ...(memory === undefined || memory === 0 ? {} : { memoryBytes: memory }),
    ...(swap === undefined || swap === 0 ? {} : { memorySwapBytes: swap }),
    ...(cpus === undefined || cpus === 0 ? {} : { cpus }),
    ...(shares === undefined || shares === 0 ? {} : { cpuShares: shares }),
    ...(cpuset === undefined || cpuset === '' ? {} : { cpusetCpus: cpuset }),
    ...(pids === undefined || pids <= 0 ? {} : { pids }),
  }
  checkLimits(limits)
  return limits
}
