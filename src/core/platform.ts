/**
 * Platforms (`os/architecture[/variant]`), normalised once, here.
 *
 * Spec: OCI image-spec image-index.md; the normalisation is containerd's (arm64 `v8` is dropped, arm defaults to v7),
 * see semantics.md 38.
 */

/** A platform; `architecture` uses Go's names. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
}

const architectureAliases: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  x64: 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  armel: 'arm',
  i386: '386',
  ia32: '386',
  ppc64el: 'ppc64le',
  loong64: 'loong64',
}

/** The same platform with containerd's spelling: aliases resolved, implied variants dropped or added. */
export function normalizePlatform(platform: Platform): Platform {
  const lower = platform.architecture.toLowerCase()
  const architecture = architectureAliases[lower] ?? lower
  const os = platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase()
  const variant = normalizeVariant(architecture, lower, platform.variant?.toLowerCase())
  const { variant: _dropped, ...rest } = platform
  return variant === undefined ? { ...rest, os, architecture } : { ...rest, os, architecture, variant }
}

function normalizeVariant(architecture: string, written: string, variant: string | undefined): string | undefined {
  if (architecture === 'arm64') return variant === '8' || variant === 'v8' ? undefined : variant
  if (architecture === 'amd64') return variant === 'v1' ? undefined : variant
  if (architecture !== 'arm') return variant
  if (written === 'armel') return 'v6'
  if (variant === undefined || variant === '' || variant === '7') return 'v7'
  return /^[5-8]$/.test(variant) ? `v${variant}` : variant
}

/**
 * Reads `os/arch[/variant]`, `arch` or `os` alone (the missing half comes from `host`); `os(version)` has a version.
 *
 * @returns the normalised platform, or undefined when the text has not that form
 */
export function parsePlatform(text: string, host: Platform): Platform | undefined {
  if (!/^[A-Za-z0-9_.()-]+(\/[A-Za-z0-9_.-]+){0,2}$/.test(text)) return undefined
  const [written = '', second, third] = text.split('/')
  const [, first = '', version = ''] = /^([^()]*)(?:\(([^()]*)\))?$/.exec(written) ?? []
  if (first === '') return undefined
  const ofVersion = version === '' ? {} : { 'os.version': version }
  if (second !== undefined) {
    const platform = { os: first, architecture: second, ...ofVersion }
    return normalizePlatform(third === undefined ? platform : { ...platform, variant: third })
  }
  const name = first.toLowerCase()
  if (knownSystems.has(name)) return normalizePlatform({ ...host, os: name, ...ofVersion })
  const architecture = architectureAliases[name] ?? name
  return knownArchitectures.has(architecture) ? normalizePlatform({ os: host.os, architecture: name }) : undefined
}

const knownSystems = new Set(['linux', 'windows', 'darwin', 'macos', 'freebsd', 'wasi', 'wasip1', 'js'])
const knownArchitectures = new Set(
  '386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm'.split(' '),
)

/** `os/architecture[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const base = `${platform.os}/${platform.architecture}`
  return platform.variant ? `${base}/${platform.variant}` : base
}

/** A platform as the name of a directory: `linux_arm_v7`. */
export function platformFolder(platform: Platform): string {
  return formatPlatform(platform).replaceAll('/', '_')
}

/** Reads the platform of this machine from Node's names (`process.platform`, `process.arch`). */
export function platformOf(nodePlatform: string, nodeArch: string): Platform {
  return normalizePlatform({ os: nodePlatform === 'win32' ? 'windows' : nodePlatform, architecture: nodeArch })
}

/** True when an image for `offered` runs as `wanted`: same os and architecture, and the variant equal where both say one. */
export function platformMatches(offered: Platform, wanted: Platform): boolean {
  const a = normalizePlatform(offered)
  const b = normalizePlatform(wanted)
  if (a.os !== b.os || a.architecture !== b.architecture) return false
  return a.variant === undefined || b.variant === undefined || a.variant === b.variant
}

/**
 * Which of the offered platforms serves `wanted` best: the same one, else a variant that `wanted` can run (arm v7 runs
 * v6 and v5, amd64 v3 runs v2 and v1), the nearest first.
 *
 * @returns its position in `offered`, or -1 when none will do; an undefined entry is never chosen
 */
export function bestPlatform(offered: readonly (Platform | undefined)[], wanted: Platform): number {
  const want = normalizePlatform(wanted)
  let best = -1
  let bestDistance = Number.POSITIVE_INFINITY
  offered.forEach((candidate, position) => {
    const distance = candidate === undefined ? undefined : platformDistance(normalizePlatform(candidate), want)
    if (distance === undefined || distance >= bestDistance) return
    best = position
    bestDistance = distance
  })
  return best
}

/** 0 for equal, more for an older variant, undefined when `offered` does not run as `wanted`. */
function platformDistance(offered: Platform, wanted: Platform): number | undefined {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return undefined
  if (offered.variant === wanted.variant) return 0
  const from = variantNumber(offered)
  const to = variantNumber(wanted)
  if (from === undefined || to === undefined) return wanted.variant === undefined ? 100 : undefined
  return from < to ? to - from : undefined
}

/** `v7` → 7; the variant that normalising dropped counts as its number. */
function variantNumber(platform: Platform): number | undefined {
  if (platform.variant !== undefined) return /^v\d+$/.test(platform.variant) ? Number(platform.variant.slice(1)) : undefined
  return platform.architecture === 'arm64' ? 8 : 1
}
