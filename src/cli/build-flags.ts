/** The flags of `mille build`, docker's and buildx's, and how they become the options of the library. */
import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { UsageError } from '../core/errors.js'
import { type Platform, parsePlatform, platformOf } from '../core/platform.js'
import type { BuildOptions, BuildOutput, SecretSource } from '../engine/options.js'
import type { SshSource } from '../ops/ssh-agent.js'
import { annotateOutputs, readAnnotations } from './annotations.js'
import { type FlagTable, type FlagValues, isOn } from './args.js'
import { readAttestations } from './attest-flags.js'
import { readBuildVolumes } from './build-volumes.js'
import { isTrueField, readAssignments, readFields } from './csv.js'
import { explainFormats } from './explain-format.js'
import { limitFlags, readLimitFlags } from './limit-flags.js'
import { progressModes } from './listener.js'
import { readOutput } from './outputs.js'
import { readHost } from './run-flags.js'
import type { Shell } from './shell.js'

/** All flags. */
export const buildFlags = {
  'add-host': { type: 'list', value: 'name:address', help: 'Add a line to /etc/hosts in RUN steps' },
  attest: {
    type: 'list',
    value: 'type=…',
    help: 'Say more of the image: type=provenance,… or type=sbom,…; index or referrers alone says how that is kept',
  },
  allow: { type: 'list', value: 'right', help: 'Give RUN steps a right: network.host or security.insecure' },
  annotation: {
    type: 'list',
    value: '[level:]key=value',
    help: "Annotate the image's manifest; the level is manifest, manifest[os/arch], index, manifest-descriptor or index-descriptor",
  },
  'build-arg': { type: 'list', value: 'name[=value]', help: 'Set an ARG; without a value, to that of the environment' },
  'build-context': { type: 'list', value: 'name=path', help: 'Another context: a directory, URL, image or layout' },
  'cache-from': {
    type: 'list',
    value: 'where',
    help: 'Look for finished steps in a cache too: a reference, or type=registry|local|s3|gha,…',
  },
  'cache-mount': {
    type: 'list',
    value: 'id=…,src=path',
    help: 'A directory that stands in for the RUN --mount=type=cache with this id',
  },
  'cache-to': {
    type: 'list',
    value: 'where',
    help: 'Write finished steps into a cache: a reference, or type=registry|local|inline|s3|gha,…',
  },
  call: {
    type: 'string',
    value: 'method',
    help: 'Answer a question instead: check, outline, targets; with ,format=json',
    defaultText: 'build',
  },
  ...limitFlags,
  check: { type: 'boolean', help: 'Check the Dockerfile and build nothing, as --call=check' },
  compress: { type: 'boolean', help: 'Accepted for docker: there is no daemon that a context is sent to' },
  'dry-run': { type: 'boolean', help: 'Say what would run and why; run, fetch and write nothing' },
  explain: {
    type: 'string',
    value: 'format',
    bare: 'text',
    choices: explainFormats,
    help: 'Print to stdout which steps ran and why',
  },
  file: {
    type: 'string',
    short: 'f',
    value: 'path',
    help: 'The Dockerfile, or its URL; - for stdin',
    defaultText: '"PATH/Dockerfile"',
  },
  'force-rm': { type: 'boolean', help: 'Accepted for docker: nothing is ever left of a step' },
  iidfile: { type: 'string', value: 'path', help: 'Write the image id to a file' },
  jobs: { type: 'integer', value: 'number', help: 'How many steps run at once', defaultText: 'the number of cores, at least 4' },
  label: { type: 'list', value: 'name=value', help: 'Set a label of the image' },
  load: { type: 'boolean', help: 'Put the image into the store, beside other outputs; without --output it always is' },
  'metadata-file': { type: 'string', value: 'path', help: 'Write what was built as JSON to a file' },
  network: { type: 'string', value: 'mode', default: 'default', help: 'The network of RUN steps: default, host or none' },
  'no-cache': { type: 'boolean', help: 'Run every step again' },
  'no-cache-filter': { type: 'list', value: 'stage', help: 'Run every step of these stages again' },
  output: {
    type: 'list',
    short: 'o',
    value: 'where',
    help: 'Where the result goes: a directory, -, or type=local|tar|oci|docker|image|registry,dest=…',
  },
  platform: {
    type: 'list',
    value: 'os/arch',
    help: 'What the image is for; with several, an image for each under one name',
    env: 'DOCKER_DEFAULT_PLATFORM',
    defaultText: "this machine's",
  },
  progress: {
    type: 'string',
    value: 'mode',
    default: 'auto',
    env: 'BUILDKIT_PROGRESS',
    choices: progressModes,
    help: 'How progress is shown on stderr',
  },
  provenance: {
    type: 'string',
    value: 'true|mode=…',
    help: 'Say how the image was built: true, or mode=min|max,version=v1|v0.2,builder-id=URI,reproducible=true',
  },
  pull: { type: 'boolean', help: 'Ask the registry for newer base images' },
  push: { type: 'boolean', help: 'Push the image to its names, as --output type=registry' },
  quiet: { type: 'boolean', short: 'q', help: 'Show no progress; print the image id' },
  rm: { type: 'boolean', default: 'true', help: 'Accepted for docker: nothing is ever left of a step' },
  sbom: { type: 'string', value: 'true|generator=…', help: 'List the packages of the image: true, or generator=IMAGE' },
  secret: {
    type: 'list',
    value: 'id=…',
    help: 'A secret for RUN --mount=type=secret: id=NAME[,src=PATH|,env=VARIABLE][,cache-key=true]',
  },
  'shm-size': { type: 'bytes', value: 'size', help: 'The size of /dev/shm in RUN steps' },
  squash: {
    type: 'string',
    value: 'stage|all|number',
    bare: 'stage',
    help: 'Make one layer of those that the build made on its base; of all; of the last so many',
  },
  ssh: {
    type: 'list',
    value: 'id',
    help: 'For RUN --mount=type=ssh: default for the agent in use, or id=SOCKET, id=KEYFILE[,KEYFILE]',
  },
  tag: { type: 'list', short: 't', value: 'name[:tag]', help: 'A name for the image' },
  volume: {
    type: 'list',
    short: 'v',
    value: 'source:target[:options]',
    help: 'Mount into RUN steps: a path or volume name, with ro, rw, O (changes vanish), U (give to the user), cacheable',
  },
  target: { type: 'string', value: 'stage', help: 'The stage to build', defaultText: 'the last one' },
  'verify-reproducible': {
    type: 'boolean',
    help: 'Build twice without the cache; exit code 1, and the first difference, when the images differ',
  },
} as const satisfies FlagTable

/** docker's and buildx's flags that are not here yet. */
export const unsupportedBuildFlags: readonly string[] = [...['builder', 'debug|D', 'disable-content-trust', 'policy']]

type Values = FlagValues<typeof buildFlags>

type ReadElsewhere = 'context' | 'dockerfile' | 'buildContexts' | 'cacheFrom' | 'cacheTo'

/** The options that the flags alone decide: all but contexts, Dockerfile, caches and the engine's. */
export function readBuildFlags(values: Values, shell: Shell): Omit<BuildOptions, ReadElsewhere> {
  refuse(values)
  const buildArgs = { ...epochIn(shell.env), ...readAssignments(values['build-arg'], shell.env, '--build-arg') }
  const platforms = readPlatforms(values.platform)
  return {
    tags: values.tag,
    buildArgs,
    labels: readLabels(values.label),
    target: values.target,
    platforms,
    noCache: values['no-cache'] || (values['no-cache-filter'].length > 0 ? words(values['no-cache-filter']) : false),
    pull: values.pull ? 'always' : 'missing',
    network: readBuildNetwork(values.network),
    addHosts: values['add-host'].map(readHost),
    secrets: Object.fromEntries(values.secret.map((text) => readSecret(text, shell))),
    ssh: Object.fromEntries(values.ssh.map((text) => readSsh(text, shell))),
    cacheMounts: Object.fromEntries(values['cache-mount'].map((text) => readCacheMount(text, shell))),
    squash: readSquash(values.squash),
    volumes: readBuildVolumes(values.volume, shell.cwd),
    proxyEnv: proxyEnv(shell.env),
    allow: readAllow(values.allow),
    shmSizeBytes: values['shm-size'],
    ...readLimitFlags(values, shell.cwd),
    jobs: readJobs(values.jobs),
    history: isOn(shell.env, 'MILLE_HISTORY'),
    outputs: annotateOutputs(readOutputs(values, shell), readAnnotations(values.annotation, hostPlatform())),
    push: values.push,
    attestations: readAttestations(values),
    verifyReproducible: values['verify-reproducible'],
  }
}

/** SOURCE_DATE_EPOCH of the environment is a build argument, as buildx has it. */
function epochIn({ SOURCE_DATE_EPOCH: epoch }: Shell['env']): Record<string, string> {
  return epoch ? { SOURCE_DATE_EPOCH: epoch } : {}
}

function refuse(values: Values): void {
  if (values.explain !== undefined && (values.quiet || values.output.some(writesToStdout))) {
    throw new UsageError('USAGE_BAD_FLAG', '--explain prints to stdout, and so does this output or --quiet', {
      hint: 'leave one out; "mille history inspect" says the same afterwards',
    })
  }
  if (!values.rm) throw new UsageError('USAGE_BAD_FLAG', '--rm=false is not supported: nothing is left of a step')
  if (values.push && values.output.some((text) => !/type=(image|registry)/.test(text))) {
    throw new UsageError('USAGE_BAD_FLAG', '--push and --output of another type cannot be given together')
  }
}

/** True for an `--output` that goes to stdout. */
export function writesToStdout(output: string): boolean {
  return output === '-' || /(^|,)dest=-(,|$)/.test(output) || /^type=(tar|oci|docker)$/.test(output)
}

/** Repeated, or several with commas between them. */
function words(texts: readonly string[]): string[] {
  return texts.flatMap((text) => text.split(',')).filter((word) => word !== '')
}

function readLabels(texts: readonly string[]): Record<string, string> {
  return readAssignments(
    texts.map((text) => (text.includes('=') ? text : `${text}=`)),
    {},
    '--label',
  )
}

function hostPlatform(): Platform {
  return platformOf(process.platform, process.arch)
}

/** One or several; undefined: none was given. */
function readPlatforms(texts: readonly string[]): Platform[] | undefined {
  const host = hostPlatform()
  const platforms = words(texts).map((text) => {
    const platform = text === 'local' ? host : parsePlatform(text, host)
    if (platform !== undefined) return platform
    throw new UsageError('USAGE_BAD_FLAG', `--platform "${text}" is no platform`, {
      hint: 'for example linux/amd64 or linux/arm64',
    })
  })
  return platforms.length === 0 ? undefined : platforms
}

function readBuildNetwork(text: string): 'default' | 'host' | 'none' {
  if (text === 'default' || text === 'host' || text === 'none') return text
  throw new UsageError('USAGE_BAD_FLAG', `--network is "${text}", expected default, host or none`)
}

/** docker's form is the bare flag, or true and false. */
function readSquash(text: string | undefined): BuildOptions['squash'] {
  if (text === undefined || /^(0|f|false)$/i.test(text)) return undefined
  if (text === 'stage' || /^(t|true)$/i.test(text)) return 'stage'
  if (text === 'all') return 'all'
  if (/^\d{1,3}$/.test(text) && Number(text) >= 2) return Number(text)
  throw new UsageError('USAGE_BAD_FLAG', `--squash is "${text}", expected stage, all or a number from 2 on`)
}

function readAllow(texts: readonly string[]): ('network.host' | 'security.insecure')[] {
  return words(texts).map((text) => {
    if (text === 'network.host' || text === 'security.insecure') return text
    throw new UsageError('USAGE_BAD_FLAG', `--allow "${text}" is not known, expected network.host or security.insecure`)
  })
}

function readJobs(jobs: number | undefined): number | undefined {
  if (jobs === undefined || jobs >= 1) return jobs
  throw new UsageError('USAGE_BAD_FLAG', `--jobs is ${jobs}, expected at least 1`)
}

const secretKeys = { id: [], src: ['source'], env: [], type: [], 'cache-key': [] } as const

function readSsh(text: string, shell: Shell): [string, SshSource] {
  const at = text.indexOf('=')
  const id = at < 0 ? text : text.slice(0, at)
  const given = at < 0 ? [] : text.slice(at + 1).split(',')
  if (id === '' || given.includes('')) throw new UsageError('USAGE_BAD_FLAG', `--ssh ${text} has not the form id or id=PATH`)
  const socket = shell.env.SSH_AUTH_SOCK
  if (given.length === 0 && !socket) {
    throw new UsageError('USAGE_BAD_FLAG', `--ssh ${text}: SSH_AUTH_SOCK is not set`, {
      hint: 'start an ssh-agent, or name a key',
    })
  }
  const paths = (given.length === 0 ? [socket ?? ''] : given).map((path) => resolve(shell.cwd, path))
  const isSocket = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isSocket() === true
  const [first = '', ...more] = paths
  if (isSocket(first) && more.length === 0) return [id, { agent: first }]
  const missing = paths.find((path) => !existsSync(path))
  if (missing !== undefined) throw new UsageError('USAGE_BAD_FLAG', `--ssh ${text}: there is no ${missing}`)
  if (paths.some(isSocket)) throw new UsageError('USAGE_BAD_FLAG', `--ssh ${text}: a socket stands alone`)
  return [id, { keys: paths }]
}

function readCacheMount(text: string, shell: Shell): [string, string] {
  const fields = readFields(text, '--cache-mount', { id: [], src: ['source'] })
  const [id, source] = [fields.get('id'), fields.get('src')]
  if (!id || !source) throw new UsageError('USAGE_BAD_FLAG', `--cache-mount ${text} has not the form id=NAME,src=DIRECTORY`)
  const path = resolve(shell.cwd, source)
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [id, path]
  throw new UsageError('USAGE_BAD_FLAG', `--cache-mount ${text}: there is no directory ${source}`, { hint: 'make it first' })
}

function readSecret(text: string, shell: Shell): [string, SecretSource] {
  const [id, source] = readSecretSource(text, shell)
  const inKey = isTrueField(readFields(text, '--secret', secretKeys).get('cache-key'), '--secret')
  return [id, inKey ? { ...source, inKey } : source]
}

function readSecretSource(text: string, shell: Shell): [string, SecretSource] {
  const fields = readFields(text, '--secret', secretKeys)
  const id = fields.get('id')
  if (id === undefined || id === '') throw new UsageError('USAGE_BAD_FLAG', `--secret ${text} has no id`)
  const type = fields.get('type')
  if (type !== undefined && type !== 'file' && type !== 'env') {
    throw new UsageError('USAGE_BAD_FLAG', `--secret ${text} has the unknown type "${type}"`, { hint: 'types are file and env' })
  }
  const source = fields.get('src')
  const variable = fields.get('env') ?? (type === 'env' ? (source ?? id) : undefined)
  if (variable !== undefined) return [id, fromVariable(variable, text, shell)]
  if (source !== undefined) return [id, fromFile(source.replace(/^~(?=\/)/, shell.env.HOME ?? '~'), text, shell)]
  if (type === undefined && shell.env[id] !== undefined) return [id, fromVariable(id, text, shell)]
  return [id, fromFile(id, text, shell)]
}

/** The file is read when a step asks for it; that it is missing is said at once, as docker does, also where all is cached. */
function fromFile(name: string, text: string, shell: Shell): SecretSource {
  const file = resolve(shell.cwd, name)
  const found = statSync(file, { throwIfNoEntry: false })
  if (found !== undefined && !found.isDirectory()) return { file }
  const what = found === undefined ? `there is no file ${name}` : `${name} is a directory, not a file`
  throw new UsageError('USAGE_BAD_FLAG', `--secret ${text}: ${what}`, {
    hint: 'give a file with src=, or a variable of the environment with env=',
  })
}

function fromVariable(name: string, text: string, shell: Shell): SecretSource {
  const value = shell.env[name]
  if (value !== undefined) return { value }
  throw new UsageError('USAGE_BAD_FLAG', `--secret ${text}: the environment variable ${name} is not set`)
}

const proxyNames = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY']

/** Proxies of this machine for RUN steps, as docker hands them on. */
function proxyEnv(env: Readonly<Record<string, string | undefined>>): string[] {
  return proxyNames
    .flatMap((name) => [name, name.toLowerCase()])
    .flatMap((name) => (env[name] === undefined ? [] : [`${name}=${env[name]}`]))
}

function readOutputs(values: Values, shell: Shell): BuildOutput[] | undefined {
  const around = {
    cwd: shell.cwd,
    stdout: () => shell.stdoutStream,
    stdoutIsTerminal: shell.stdout.isTTY === true,
  }
  const outputs = values.output.map((text) => readOutput(text, around))
  if (outputs.length === 0) return undefined
  const hasImage = outputs.some((output) => output.type === 'image')
  return values.load && !hasImage ? [...outputs, { type: 'image' }] : outputs
}

/** Reads `--build-context`: what a value stands for is the engine's affair. */
export function readBuildContexts(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      if (at >= 1 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)]
      throw new UsageError('USAGE_BAD_FLAG', `--build-context "${text}" has not the form name=path`)
    }),
  )
}
