/** Build arguments that need no ARG: proxies and settings; and the warning for those that nothing uses. */
import type { Diagnostic } from '../core/diagnostic.js'
import { didYouMean } from '../core/suggest.js'

/** Proxy settings of a build: in every RUN's environment, never in a key or in the history (semantics.md 36). */
export interface ProxyEnv {
  readonly httpProxy?: string
  readonly httpsProxy?: string
  readonly ftpProxy?: string
  readonly noProxy?: string
  readonly allProxy?: string
}

const proxyNames: Readonly<Record<string, keyof ProxyEnv>> = {
  http_proxy: 'httpProxy',
  https_proxy: 'httpsProxy',
  ftp_proxy: 'ftpProxy',
  no_proxy: 'noProxy',
  all_proxy: 'allProxy',
}

/** Arguments that mean something to the builder itself. */
const builderArgs = new Set([
  'BUILDKIT_BUILD_NAME',
  'BUILDKIT_CACHE_MOUNT_NS',
  'BUILDKIT_CONTEXT_KEEP_GIT_DIR',
  'BUILDKIT_DOCKERFILE_CHECK',
  'BUILDKIT_INLINE_CACHE',
  'BUILDKIT_MULTI_PLATFORM',
  'BUILDKIT_SANDBOX_HOSTNAME',
  'BUILDKIT_SBOM_SCAN_CONTEXT',
  'BUILDKIT_SBOM_SCAN_STAGE',
  'BUILDKIT_SYNTAX',
  'SOURCE_DATE_EPOCH',
])

/** The proxy settings among the build arguments, in either case; the lower-case spelling wins. Undefined: none. */
export function proxyFromBuildArgs(buildArgs: Readonly<Record<string, string>>): ProxyEnv | undefined {
  const found: { -readonly [K in keyof ProxyEnv]: string } = {}
  // Upper case sorts before lower case, so a lower-case name overwrites its twin.
  for (const name of Object.keys(buildArgs).sort()) {
    const field = proxyNames[name.toLowerCase()]
    const value = buildArgs[name]
    if (field !== undefined && value !== undefined) found[field] = value
  }
  return Object.keys(found).length === 0 ? undefined : found
}

/** The variables a process gets for proxy settings, `NAME=value`, each in both cases. */
export function proxyVariables(proxy: ProxyEnv): string[] {
  return Object.entries(proxyNames).flatMap(([name, field]) => {
    const value = proxy[field]
    return value === undefined ? [] : [`${name.toUpperCase()}=${value}`, `${name}=${value}`]
  })
}

/** One warning for each build argument that no ARG declares and that is not the builder's own. */
export function unusedBuildArgs(
  buildArgs: Readonly<Record<string, string>>,
  declared: ReadonlySet<string>,
  predefined: Iterable<string>,
): Diagnostic[] {
  const known = new Set([...declared, ...predefined, ...builderArgs])
  return Object.keys(buildArgs)
    .filter((name) => !known.has(name) && proxyNames[name.toLowerCase()] === undefined)
    .map((name) => ({
      severity: 'warning' as const,
      code: 'UnusedBuildArg',
      message: `the build argument "${name}" is not used: no ARG declares it`,
      hint: didYouMean(name, declared) ?? `add "ARG ${name}" to the stage that needs it`,
    }))
}
