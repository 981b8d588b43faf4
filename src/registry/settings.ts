/** What a machine's files and environment variables say about registries, as options of a client. */
import type { RegistryClientOptions } from './client.js'
import { type CredentialSettings, loadCredentials } from './credentials.js'
import { proxyFromEnv } from './proxy.js'
import { tlsSettingsFrom } from './tls.js'

/** The options that docker's and podman's users expect; see docs/registries.md. No file is read before it is needed. */
export function clientOptionsFrom(settings: CredentialSettings): RegistryClientOptions {
  return {
    credentials: loadCredentials(settings),
    proxy: proxyFromEnv(settings.env),
    tls: tlsSettingsFrom(settings.env),
  }
}
