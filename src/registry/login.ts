/**
 * `login` and `logout`: checks credentials with the registry, and keeps them where docker does.
 *
 * All other fields of the config file stay as they are; the file is replaced whole, readable by its owner only. Where the
 * file names a credential helper, the secret goes to the helper and not into the file.
 */
import { realpathSync } from 'node:fs'
import type { Context } from '../core/context.js'
import { systemCode } from '../core/errors.js'
import { writeFileAtomic } from '../io/fs.js'
import type { RegistryClient } from './client.js'
import {
  type AuthFile,
  type CredentialSettings,
  type Credentials,
  callHelper,
  helperFailed,
  helperFor,
  hubKey,
  keysOf,
  loginFile,
  loginFileError,
  parseAuthFile,
  readLogins,
} from './credentials.js'
import { isRecord } from './errors.js'

/** A user and password. */
export type PasswordCredentials = Extract<Credentials, { kind: 'password' }>

/** Where a login was put. */
export interface SavedLogin {
  readonly file: string
  /** The credential helper that has the secret; without one it is in the file, in base64. */
  readonly helper: string | undefined
}

/**
 * Asks the registry whether it accepts the credentials.
 *
 * @param client whatever credentials it has are not used
 * @throws RegistryError REGISTRY_UNAUTHORIZED when it does not, REGISTRY_UNREACHABLE, REGISTRY_TLS
 */
export async function checkLogin(
  client: RegistryClient,
  registry: string,
  credentials: Credentials,
  ctx: Context,
): Promise<void> {
  await using own = client.withCredentials(async () => credentials)
  await own.fetch(
    { registry, repository: '', method: 'GET', target: '/v2/', scopes: [], accept: [200], subject: 'this login' },
    64 * 1024,
    ctx,
  )
}

/** Keeps a login. `registry` is the host of a `Reference`; Docker Hub's is `docker.io`. */
export async function saveLogin(
  registry: string,
  credentials: PasswordCredentials,
  settings: CredentialSettings,
  signal: AbortSignal,
): Promise<SavedLogin> {
  const { path, file } = openLoginFile(settings)
  const key = keyOf(registry)
  const helper = helperFor(file, registry)
  if (helper !== undefined) {
    const named = { ...helper, origin: path }
    const secret = JSON.stringify({ ServerURL: key, Username: credentials.username, Secret: credentials.password })
    const result = await callHelper(named, 'store', secret, settings, signal)
    if (result.exitCode !== 0) throw helperFailed(named, result)
  }
  const auth = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')
  const auths = isRecord(file.content.auths) ? file.content.auths : {}
  writeLoginFile(path, { ...file.content, auths: { ...auths, [key]: helper === undefined ? { auth } : {} } })
  return { file: path, helper: helper?.name }
}

/** Forgets a login under all names it may have. False when there was none. */
export async function removeLogin(registry: string, settings: CredentialSettings, signal: AbortSignal): Promise<boolean> {
  const { path, file } = openLoginFile(settings)
  const helper = helperFor(file, registry)
  let removed = false
  if (helper !== undefined) {
    const named = { ...helper, origin: path }
    const result = await callHelper(named, 'erase', keyOf(registry), settings, signal)
    removed = result.exitCode === 0
    if (!removed && !/credentials not found/i.test(result.stdout + result.stderr)) throw helperFailed(named, result)
  }
  const { auths } = file.content
  if (!isRecord(auths)) return removed
  const rest = Object.fromEntries(Object.entries(auths).filter(([key]) => !keysOf(registry).includes(key)))
  if (Object.keys(rest).length === Object.keys(auths).length) return removed
  writeLoginFile(path, { ...file.content, auths: rest })
  return true
}

function keyOf(registry: string): string {
  return registry === 'docker.io' ? hubKey : registry
}

function openLoginFile(settings: CredentialSettings): { readonly path: string; readonly file: AuthFile } {
  const path = throughLinks(loginFile(settings))
  const text = readLogins(path)
  return { path, file: text === undefined || text.trim() === '' ? { origin: path, content: {} } : parseAuthFile(path, text) }
}

/** People keep this file in a repository and link to it: the link must stay one. */
function throughLinks(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return path
    throw loginFileError(path, 'read', error)
  }
}

function writeLoginFile(path: string, content: Readonly<Record<string, unknown>>): void {
  try {
    writeFileAtomic(path, `${JSON.stringify(content, undefined, '\t')}\n`, { mode: 0o600, sync: true })
  } catch (error) {
    throw loginFileError(path, 'written', error)
  }
}
