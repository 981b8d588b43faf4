/**
 * The `commitChanges` cases of suite `conformance`. mille has no command that commits a container; what a case says about the
 * config can be said in a Dockerfile: the base, the fields of `config` as instructions, then `changes`. Upstream compares
 * with `docker commit`, whose rule is written down here on its own: a change replaces a field, and environment, labels,
 * ports, volumes and triggers are united. Only the fields that a case names are looked at.
 */
import type { ImageConfig } from '../../src/core/image.js'
import { openStore } from '../../src/store/store.js'
import type { BuildBench } from './bench.js'
import { type Outcome, passed, recordOf, same, skip, type VectorCase } from './frame.js'

type Fields = Record<string, unknown>

/** Builds what the case commits, and what it derives from that. */
export async function judgeCommit(vector: VectorCase, bench: BuildBench): Promise<Outcome> {
  const levels = [
    { config: recordOf(vector.config ?? {}), changes: linesOf(vector.changes) },
    ...('derivedConfig' in vector || 'derivedChanges' in vector
      ? [{ config: recordOf(vector.derivedConfig ?? {}), changes: linesOf(vector.derivedChanges) }]
      : []),
  ]
  const strange = levels.flatMap(({ config }) => Object.keys(config)).find((field) => !(field in written))
  if (strange !== undefined) return skip(`no instruction of a Dockerfile sets ${strange}`)
  let from = 'busybox'
  let wanted: Fields = {}
  const base = await configOf(from, [], bench)
  for (const [index, { config, changes }] of levels.entries()) {
    const triggers = Array.isArray(wanted.OnBuild) ? wanted.OnBuild.map(String) : []
    wanted = [...triggers, ...instructionsOf(config), ...changes].reduce(change, {
      ...wanted,
      ...(triggers.length > 0 && { OnBuild: [] }),
    })
    const tag = `localhost/commit/${vector.id.replaceAll('/', '-').toLowerCase()}:${index}`
    const found: Fields = { ...(await configOf(from, [...instructionsOf(config), ...changes], bench, tag)) }
    // Ids of users and the like are as in the base where nothing was said.
    const expected = { ...base, ...wanted }
    const compared = Object.keys(wanted).length === 0 ? Object.keys(base) : Object.keys(wanted)
    const outcome = same(pick(found, compared), pick(expected, compared), 'the config')
    if (outcome.status !== 'passed') return outcome
    from = tag
  }
  return passed
}

function linesOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String).filter((line) => line !== '') : []
}

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.map((name) => [name, isEmpty(fields[name]) ? undefined : fields[name]]))
}

function isEmpty(value: unknown): boolean {
  return value === null || value === '' || (typeof value === 'object' && Object.keys(value).length === 0)
}

async function configOf(from: string, lines: readonly string[], bench: BuildBench, tag?: string): Promise<Fields> {
  const text = [`FROM ${from}`, ...lines, ''].join('\n')
  const tags = tag === undefined ? [] : [tag]
  const built = await bench.build({
    context: bench.directory(),
    dockerfile: { name: 'Dockerfile', text },
    tags,
    outputs: [{ type: 'image' }],
  })
  if (built.result === undefined) throw new Error(`${text}: ${built.error?.message}`)
  await using store = await openStore(bench.options.root)
  const config = JSON.parse(String(await store.blobs.read({ digest: built.result.imageId }, 1 << 20))) as ImageConfig
  return { ...config.config }
}

/** How an instruction says a field of a config. */
const written: Readonly<Record<string, (value: unknown) => readonly string[]>> = {
  Cmd: (value) => [`CMD ${JSON.stringify(value)}`],
  Entrypoint: (value) => [`ENTRYPOINT ${JSON.stringify(value)}`],
  Env: (value) => linesOf(value).map((pair) => `ENV ${pair}`),
  ExposedPorts: (value) => Object.keys(recordOf(value)).map((port) => `EXPOSE ${port}`),
  Healthcheck: (value) => [healthcheckLine(recordOf(value))],
  Labels: (value) => Object.entries(recordOf(value)).map(([name, text]) => `LABEL ${name}=${String(text)}`),
  OnBuild: (value) => linesOf(value).map((trigger) => `ONBUILD ${trigger}`),
  Shell: (value) => [`SHELL ${JSON.stringify(value)}`],
  StopSignal: (value) => [`STOPSIGNAL ${String(value)}`],
  User: (value) => [`USER ${String(value)}`],
  Volumes: (value) => [`VOLUME ${JSON.stringify(Object.keys(recordOf(value)))}`],
  WorkingDir: (value) => [`WORKDIR ${String(value)}`],
}

function instructionsOf(config: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(config).flatMap(([field, value]) => written[field]?.(value) ?? [])
}

function healthcheckLine(check: Readonly<Record<string, unknown>>): string {
  const test = linesOf(check.Test)
  if (test[0] === 'NONE') return 'HEALTHCHECK NONE'
  const seconds = (name: string, field: string): string =>
    check[field] === undefined ? '' : `--${name}=${Number(check[field]) / 1e9}s `
  const times = [seconds('interval', 'Interval'), seconds('timeout', 'Timeout'), seconds('start-period', 'StartPeriod')].join('')
  const retries = check.Retries === undefined ? '' : `--retries=${String(check.Retries)} `
  const command = test[0] === 'CMD-SHELL' ? test[1] : JSON.stringify(test[0] === 'CMD' ? test.slice(1) : test)
  return `HEALTHCHECK ${times}${retries}CMD ${command}`
}

/** The fields after one instruction. The cases have no quotes, no continuations and no variables. */
function change(fields: Fields, line: string): Fields {
  const [, word = '', rest = ''] = /^(\w+)\s+(.*)$/s.exec(line) ?? []
  switch (word.toUpperCase()) {
    case 'CMD':
      return { ...fields, Cmd: commandOf(rest) }
    case 'ENTRYPOINT':
      return { ...fields, Entrypoint: commandOf(rest) }
    case 'SHELL':
      return { ...fields, Shell: commandOf(rest) }
    case 'ENV': {
      const [name] = rest.split('=')
      const others = linesOf(fields.Env ?? defaultEnv).filter((pair) => !pair.startsWith(`${name}=`))
      const known = linesOf(fields.Env ?? defaultEnv)
      const at = known.findIndex((pair) => pair.startsWith(`${name}=`))
      return { ...fields, Env: at < 0 ? [...others, rest] : known.with(at, rest) }
    }
    case 'EXPOSE': {
      const ports = rest.split(/\s+/).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}])
      return { ...fields, ExposedPorts: { ...recordOf(fields.ExposedPorts ?? {}), ...Object.fromEntries(ports) } }
    }
    case 'HEALTHCHECK':
      return { ...fields, Healthcheck: healthcheckOf(rest) }
    case 'LABEL': {
      const pairs = rest.split(/\s+/).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)])
      return { ...fields, Labels: { ...recordOf(fields.Labels ?? {}), ...Object.fromEntries(pairs) } }
    }
    case 'ONBUILD':
      return { ...fields, OnBuild: [...linesOf(fields.OnBuild), rest] }
    case 'STOPSIGNAL':
      return { ...fields, StopSignal: rest }
    case 'USER':
      return { ...fields, User: rest }
    case 'VOLUME': {
      const places = rest.startsWith('[') ? commandOf(rest) : rest.split(/\s+/)
      return {
        ...fields,
        Volumes: { ...recordOf(fields.Volumes ?? {}), ...Object.fromEntries(places.map((place) => [place, {}])) },
      }
    }
    case 'WORKDIR':
      return { ...fields, WorkingDir: rest }
    default:
      throw new Error(`the change "${line}" is not known to the runner`)
  }
}

/** What BuildKit and docker give an image without a PATH. */
const defaultEnv = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']

function commandOf(text: string): readonly string[] {
  return text.startsWith('[') ? linesOf(JSON.parse(text)) : ['/bin/sh', '-c', text]
}

function healthcheckOf(text: string): Fields {
  if (text === 'NONE') return { Test: ['NONE'] }
  const flags = Object.fromEntries([...text.matchAll(/--([a-z-]+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]))
  const command = text.slice(text.indexOf('CMD') + 4)
  const time = (name: string): number | undefined =>
    flags[name] === undefined ? undefined : Number(flags[name].replace(/s$/, '')) * 1e9
  return {
    Test: command.startsWith('[') ? ['CMD', ...commandOf(command)] : ['CMD-SHELL', command],
    ...{ Interval: time('interval'), Timeout: time('timeout'), StartPeriod: time('start-period') },
    Retries: flags.retries === undefined ? undefined : Number(flags.retries),
  }
}
