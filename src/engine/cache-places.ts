/** Opens the places of caches: each kind is loaded with its first use. */
import type { CacheBackend } from '../cache/backend.js'
import type { Platform } from '../core/platform.js'
import type { Engine } from './engine.js'
import { requireReference } from './images.js'
import type { CachePlace } from './options.js'

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
  }
}
