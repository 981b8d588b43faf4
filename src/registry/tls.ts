/**
 * The certificates for one registry host: docker's `certs.d/<host:port>/` (`*.crt` authorities, `*.cert` with `*.key` for
 * the client) and the system's bundle, which Node by itself does not read.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RegistryError, systemCode } from '../core/errors.js'
import { readTextIfExists } from '../io/fs.js'

/** Where certificates are looked for. */
export interface TlsSettings {
  /** Directories like `/etc/docker/certs.d`; a later one wins for the client's certificate. */
  readonly certsDirectories: readonly string[]
  /** Bundles of authorities (PEM); the first that exists is used in place of Node's built-in ones. */
  readonly caFiles: readonly string[]
  /** A bundle that is added to whichever was found; the value of NODE_EXTRA_CA_CERTS. */
  readonly extraCaFile?: string | undefined
  /** More authorities as PEM texts. */
  readonly ca: readonly string[]
}

/** What a host has of its own; its authorities come on top of the others. */
export interface TlsMaterial {
  readonly ca: readonly string[]
  readonly cert?: string
  readonly key?: string
}

/** The bundles of the common distributions, for `TlsSettings.caFiles`; `SSL_CERT_FILE` comes first. */
export function systemCaFiles(env: Readonly<Record<string, string | undefined>>): string[] {
  const own = env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : []
  return [
    ...own,
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/pki/tls/certs/ca-bundle.crt',
    '/etc/ssl/ca-bundle.pem',
    '/etc/ssl/cert.pem',
  ]
}

/** The TLS settings that a machine's files and environment ask for. */
export function tlsSettingsFrom(env: Readonly<Record<string, string | undefined>>): TlsSettings {
  return {
    certsDirectories: ['/etc/docker/certs.d', '/etc/containers/certs.d'],
    caFiles: systemCaFiles(env),
    extraCaFile: env.NODE_EXTRA_CA_CERTS,
    ca: [],
  }
}

/** The authorities for hosts without certificates of their own; none means Node's defaults. */
export async function loadRoots(settings: TlsSettings): Promise<readonly string[] | undefined> {
  const found = settings.caFiles.find((path) => (readTextIfExists(path) ?? '') !== '')
  const bundle = found === undefined ? undefined : readTextIfExists(found)
  const extra = settings.extraCaFile === found || !settings.extraCaFile ? undefined : readTextIfExists(settings.extraCaFile)
  const own = extra ? [...settings.ca, extra] : settings.ca
  if (bundle !== undefined) return [...own, bundle]
  return own.length === 0 ? undefined : [...own, ...(await import('node:tls')).rootCertificates]
}

/** Reads what there is for `host` (with its port, as in a `URL`) alone; undefined when there is nothing. */
export function loadHostMaterial(host: string, settings: TlsSettings): TlsMaterial | undefined {
  const ca: string[] = []
  let client: { cert: string; key: string } | undefined
  for (const parent of settings.certsDirectories) {
    const directory = join(parent, host)
    const names = listIfExists(directory)
    for (const name of names.filter((entry) => entry.endsWith('.crt'))) ca.push(readFileSync(join(directory, name), 'utf8'))
    client = readClientPair(directory, names) ?? client
  }
  return ca.length === 0 && client === undefined ? undefined : { ca, ...client }
}

function readClientPair(directory: string, names: readonly string[]): { cert: string; key: string } | undefined {
  const certName = names.find((name) => name.endsWith('.cert'))
  if (certName === undefined) return undefined
  const keyName = certName.replace(/\.cert$/, '.key')
  if (!names.includes(keyName)) {
    throw new RegistryError('REGISTRY_TLS', `${join(directory, certName)} has no key beside it: ${keyName} is missing`)
  }
  return { cert: readFileSync(join(directory, certName), 'utf8'), key: readFileSync(join(directory, keyName), 'utf8') }
}

function listIfExists(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw error
  }
}
