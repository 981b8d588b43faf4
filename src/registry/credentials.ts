/**
 * Finds the credentials for a registry in docker's and podman's files, and in the helpers that they name.
 *
 * Order (docker's): a helper for just this host, then `credsStore`, then `auths`. Docker Hub's key is
 * `https://index.docker.io/v1/`. Spec: docker `config.json`, containers-auth.json(5), the credential helper protocol.
 */
import { join } from 'node:path'
import { RegistryError, systemCode } from '../core/errors.js'
import { readTextIfExists } from '../io/fs.js'
import { type ProcessOptions, type ProcessResult, runProcess } from '../io/process.js'
import { isRecord, parseJson } from './errors.js'

/** How to prove who we are: a user, a refresh token for the token server, or a bearer token for the registry itself. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity'; readonly token: string }
  | { readonly kind: 'token'; readonly token: string }

/** The credentials for a repository of a registry, or undefined. `registry` is the host of a `Reference`. */
export type FindCredentials = (registry: string, repository: string, signal: AbortSignal) => Promise<Credentials | undefined>

/** Starts a credential helper. */
export type RunHelper = (file: string, args: readonly string[], options: ProcessOptions) => Promise<ProcessResult>

/** Where credentials may be. */
export interface CredentialSettings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** The user's home directory, where `HOME` is not set. */
  readonly home: string
  readonly runHelper?: RunHelper
}

/** One config file (or `DOCKER_AUTH_CONFIG`) as JSON. `origin` names it in errors. */
export interface AuthFile {
  readonly origin: string
  readonly content: Readonly<Record<string, unknown>>
}

/** The key under which Docker Hub's credentials are kept. */
export const hubKey = 'https://index.docker.io/v1/'
const helperTimeoutMs = 60_000

/** Finds credentials as the environment says. Files are read at the first question, then remembered. */
export function loadCredentials(settings: CredentialSettings): FindCredentials {
  let files: readonly AuthFile[] | undefined
  return async (registry, repository, signal) => {
    files ??= readAuthFiles(settings)
    for (const file of files) {
      const found = await findInFile(file, registry, repository, settings, signal)
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** Docker's config file: `DOCKER_CONFIG` or `~/.docker`. `REGISTRY_AUTH_FILE` (podman's, skopeo's) goes before. */
export function loginFile(settings: Pick<CredentialSettings, 'env' | 'home'>): string {
  const { env, home } = settings
  return env.REGISTRY_AUTH_FILE || join(env.DOCKER_CONFIG || join(env.HOME || home, '.docker'), 'config.json')
}

function readAuthFiles(settings: CredentialSettings): AuthFile[] {
  const { env, home } = settings
  const files: AuthFile[] = []
  if (env.DOCKER_AUTH_CONFIG) files.push(parseAuthFile('DOCKER_AUTH_CONFIG', env.DOCKER_AUTH_CONFIG))
  const own = env.HOME || home
  const paths = [
    loginFile(settings),
    join(env.DOCKER_CONFIG || join(own, '.docker'), 'config.json'),
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'containers/auth.json')] : []),
    join(env.XDG_CONFIG_HOME || join(own, '.config'), 'containers/auth.json'),
  ]
  for (const path of new Set(paths)) {
    const text = readLogins(path)
    if (text !== undefined && text.trim() !== '') files.push(parseAuthFile(path, text))
  }
  return files
}

/** Reads the JSON of a config file. Throws REGISTRY_CREDENTIALS, without any of its text. */
export function parseAuthFile(origin: string, text: string): AuthFile {
  const content = parseJson(text)
  if (!isRecord(content))
    throw new RegistryError('REGISTRY_CREDENTIALS', `${origin} is not a JSON object`, { hint: `correct ${origin}` })
  return { origin, content }
}

async function findInFile(
  file: AuthFile,
  registry: string,
  repository: string,
  settings: CredentialSettings,
  signal: AbortSignal,
): Promise<Credentials | undefined> {
  const keys = keysOf(registry)
  const helper = helperFor(file, registry)
  if (helper !== undefined) {
    for (const key of keys.slice(0, 2)) {
      const found = await askHelper({ ...helper, origin: file.origin }, key, settings, signal)
      if (found !== undefined) return found
    }
  }
  const { auths } = file.content
  if (!isRecord(auths)) return undefined
  const key =
    [...namespaceKeys(registry, repository), ...keys].find((name) => isRecord(auths[name])) ??
    Object.keys(auths).find((name) => hostOfKey(name) === registry)
  const entry = key === undefined ? undefined : auths[key]
  return isRecord(entry) && key !== undefined ? readAuthEntry(entry, key, file.origin) : undefined
}

/** The helper that a file names for a host, if any. */
export function helperFor(file: AuthFile, registry: string): { readonly name: string } | undefined {
  const { credHelpers, credsStore } = file.content
  const own = isRecord(credHelpers)
    ? keysOf(registry)
        .map((key) => credHelpers[key])
        .find((name) => typeof name === 'string')
    : undefined
  const name = own ?? credsStore
  return typeof name === 'string' && name !== '' ? { name } : undefined
}

/** The names under which a host's credentials are kept, the usual one first. */
export function keysOf(registry: string): string[] {
  if (registry === 'docker.io') return [hubKey, 'docker.io', 'index.docker.io', 'registry-1.docker.io']
  return [registry, `https://${registry}`]
}

/** containers-auth.json: `host/team/app`, `host/team` go before `host`. */
function namespaceKeys(registry: string, repository: string): string[] {
  const parts = repository.split('/')
  return parts.map((_, index) => `${registry}/${parts.slice(0, parts.length - index).join('/')}`)
}

/** `https://host/v1/` → `host`, as docker reads old keys. */
function hostOfKey(key: string): string {
  return /^(?:https?:\/\/)?([^/]+)(?:\/v[12])?\/?$/.exec(key)?.[1] ?? ''
}

function readAuthEntry(entry: Record<string, unknown>, key: string, origin: string): Credentials | undefined {
  const text = (name: string): string | undefined =>
    typeof entry[name] === 'string' && entry[name] !== '' ? (entry[name] as string) : undefined
  const identity = text('identitytoken')
  if (identity !== undefined) return { kind: 'identity', token: identity }
  const registryToken = text('registrytoken')
  if (registryToken !== undefined) return { kind: 'token', token: registryToken }
  const auth = text('auth')
  if (auth !== undefined) {
    const pair = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '')
    const colon = pair.indexOf(':')
    if (colon <= 0)
      throw new RegistryError('REGISTRY_CREDENTIALS', `the auth of "${key}" in ${origin} is not base64 of user:password`)
    return { kind: 'password', username: pair.slice(0, colon), password: pair.slice(colon + 1) }
  }
  const username = text('username')
  const password = text('password')
  return username === undefined || password === undefined ? undefined : { kind: 'password', username, password }
}

/** A helper and the file that names it. */
export interface NamedHelper {
  readonly name: string
  readonly origin: string
}

async function askHelper(
  helper: NamedHelper,
  key: string,
  settings: CredentialSettings,
  signal: AbortSignal,
): Promise<Credentials | undefined> {
  const result = await callHelper(helper, 'get', key, settings, signal)
  if (result.exitCode !== 0) {
    // The helper protocol has no code for this: the sentence is part of it.
    if (/credentials not found/i.test(result.stdout + result.stderr)) return undefined
    throw helperFailed(helper, result)
  }
  const answer = parseJson(result.stdout)
  if (!isRecord(answer) || typeof answer.Username !== 'string' || typeof answer.Secret !== 'string') {
    throw new RegistryError(
      'REGISTRY_CREDENTIALS',
      `docker-credential-${helper.name} (named in ${helper.origin}) gave no user and secret`,
    )
  }
  if (answer.Username === '<token>') return { kind: 'identity', token: answer.Secret }
  return answer.Username === '' ? undefined : { kind: 'password', username: answer.Username, password: answer.Secret }
}

/** Runs `docker-credential-NAME VERB`. Throws REGISTRY_CREDENTIALS when there is no such program. */
export async function callHelper(
  helper: NamedHelper,
  verb: 'get' | 'store' | 'erase',
  input: string,
  settings: CredentialSettings,
  signal: AbortSignal,
): Promise<ProcessResult> {
  const program = `docker-credential-${helper.name}`
  if (!/^[A-Za-z0-9._-]+$/.test(helper.name)) {
    throw new RegistryError(
      'REGISTRY_CREDENTIALS',
      `"${helper.name}", named in ${helper.origin}, is no name of a credential helper`,
    )
  }
  try {
    return await (settings.runHelper ?? runProcess)(program, [verb], {
      input,
      env: settings.env,
      timeoutMs: helperTimeoutMs,
      signal,
    })
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    throw new RegistryError(
      'REGISTRY_CREDENTIALS',
      `${helper.origin} names the credential helper ${program}, which is not installed`,
      {
        hint: `install ${program}, or take it out of ${helper.origin} and log in again`,
        cause: error,
      },
    )
  }
}

/** The error of a helper that ended badly: its own words are kept, they hold no secret but may name the way out. */
export function helperFailed(helper: NamedHelper, result: ProcessResult): RegistryError {
  const said = (result.stderr.trim() || result.stdout.trim()).split('\n')[0] ?? ''
  const message = `docker-credential-${helper.name} (named in ${helper.origin}) ended with code ${result.exitCode}`
  return new RegistryError('REGISTRY_CREDENTIALS', said === '' ? message : `${message}: ${said.slice(0, 200)}`)
}

/** The text of a file with logins; undefined when there is none. @throws RegistryError REGISTRY_CREDENTIALS */
export function readLogins(path: string): string | undefined {
  try {
    return readTextIfExists(path)
  } catch (error) {
    throw loginFileError(path, 'read', error)
  }
}

/** What is wrong with a file of logins, in place of the system's error. */
export function loginFileError(path: string, verb: 'read' | 'written', error: unknown): unknown {
  const code = systemCode(error)
  if (code === undefined) return error
  return new RegistryError('REGISTRY_CREDENTIALS', `the logins in ${path} cannot be ${verb} (${code})`, {
    cause: error,
    hint: 'check whose the file is, or name another directory with --config or DOCKER_CONFIG',
  })
}
