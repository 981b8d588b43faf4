/** Opens the places of caches: each kind is loaded with its first use. */
import type { CacheBackend } from '../cache/backend.js'
import type { S3CacheSettings } from '../cache/places.js'
import type { Platform } from '../core/platform.js'
import type { Transport } from '../registry/transport.js'
import type { Engine } from './engine.js'
import { requireReference } from './images.js'
import type { CachePlace, EngineSettings } from './options.js'

/** Opens a place; nothing is asked or read yet. */
export async function openPlace(place: CachePlace, platform: Platform, engine: Engine): Promise<CacheBackend> {
  switch (place.type) {
    case 'registry': {
      const { registryBackend } = await import('../cache/registry-backend.js')
      return registryBackend(await engine.openRegistry(), requireReference(place.ref), platform)
    }
    case 'local': {
      const { localBackend } = await import('../cache/local-backend.js')
      return localBackend(place.path, place.tag ?? 'latest')
    }
    case 's3': {
      const { s3Backend } = await import('../cache/s3-backend.js')
      const { now, env } = engine.settings
      return s3Backend(withEnvironment(place, env), await openTransport(engine), { now })
    }
    case 'gha': {
      const { ghaBackend } = await import('../cache/gha-backend.js')
      return ghaBackend(place, await openTransport(engine), {})
    }
  }
}

/**
 * Opens the place that a layer's record names, which has no credentials: those of the environment must do.
 *
 * @returns undefined where the name is not enough
 */
export async function reopenPlace(source: string, engine: Engine): Promise<CacheBackend | undefined> {
  const { env, hostPlatform } = engine.settings
  const open = (place: CachePlace): Promise<CacheBackend> => openPlace(place, hostPlatform, engine)
  const rest = source.slice(source.indexOf(':') + 1)
  if (source.startsWith('cache+local:')) return open({ type: 'local', path: rest })
  if (source.startsWith('cache+gha:')) {
    const { ACTIONS_RUNTIME_TOKEN: token = '', ACTIONS_RESULTS_URL: url } = env
    return token === '' || url !== rest ? undefined : open({ type: 'gha', url, token })
  }
  if (!source.startsWith('cache+s3:')) return undefined
  const { parseS3Source } = await import('../cache/s3-backend.js')
  const settings = parseS3Source(source)
  return settings && open({ type: 's3', ...settings })
}

/** What the SDK would find itself, if `env` were the process's. */
function withEnvironment(place: S3CacheSettings, env: EngineSettings['env']): S3CacheSettings {
  const isGiven = place.accessKeyId !== undefined
  // Elsewhere than at Amazon regions have no meaning, but the signature has one.
  const region = place.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? (place.endpointUrl && 'us-east-1')
  if (isGiven || env.AWS_PROFILE || !env.AWS_ACCESS_KEY_ID || !env.AWS_SECRET_ACCESS_KEY) return { ...place, region }
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env
  return { ...place, region, accessKeyId, secretAccessKey, sessionToken }
}

/** Connections as to registries: the same proxies and certificates. */
async function openTransport({ settings: { env } }: Engine): Promise<Transport> {
  const [{ Transport: Opened }, { proxyFromEnv }, { tlsSettingsFrom }] = await Promise.all([
    import('../registry/transport.js'),
    import('../registry/proxy.js'),
    import('../registry/tls.js'),
  ])
  return new Opened({ ...transportLimits, proxy: proxyFromEnv(env), tls: tlsSettingsFrom(env) })
}

/** A place may have some layers on their way at once, each in some parts. */
const transportLimits = {
  connectionsPerHost: 24,
  connectTimeoutMs: 15_000,
  idleTimeoutMs: 30_000,
  uploadIdleTimeoutMs: 120_000,
}
