/** A registry client without a store, for `login` and `logout`, which need no rights to one. */
import { homedir } from 'node:os'
import { UsageError } from '../core/errors.js'
import { isReference, parseReference } from '../core/reference.js'
import { createRegistryClient, type RegistryClient } from '../registry/client.js'
import { proxyFromEnv } from '../registry/proxy.js'
import { systemCaFiles } from '../registry/tls.js'
import type { Shell } from './shell.js'

/** Opens a client that has no credentials of its own. */
export function openAnonymousClient(shell: Shell): RegistryClient {
  return createRegistryClient({
    credentials: async () => undefined,
    proxy: proxyFromEnv(shell.env),
    insecureRegistries: shell.globals.insecureRegistries,
    tls: { certsDirectories: ['/etc/containers/certs.d', '/etc/docker/certs.d'], caFiles: systemCaFiles(shell.env) },
  })
}

/** Where logins are kept: the environment, with `--config` in it. */
export function credentialSettings(shell: Shell): {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
} {
  const { env, globals } = shell
  return {
    env: globals.configDir === undefined ? env : { ...env, DOCKER_CONFIG: globals.configDir },
    home: env.HOME || homedir(),
  }
}

/**
 * The registry host that people mean by a server: no scheme, no path, Docker Hub under its one name.
 *
 * @throws UsageError
 */
export function registryHost(server: string | undefined): string {
  const host = (server ?? 'docker.io').replace(/^https?:\/\//, '').replace(/\/.*$/, '')
  // Anything that can be the host of an image's name.
  if (!isReference(parseReference(`${host}/x`)) || !/[.:]|^localhost$/.test(host)) {
    throw new UsageError('USAGE_BAD_ARGUMENT', `"${server}" is no registry host`, {
      hint: 'for example ghcr.io or localhost:5000',
    })
  }
  return ['index.docker.io', 'registry-1.docker.io', 'hub.docker.com'].includes(host) ? 'docker.io' : host
}
