/** Package URLs (purl-spec): how attestations name images and packages. Pure. */
import { formatPlatform, type Platform } from '../core/platform.js'
import { familiarRepository, type Reference } from '../core/reference.js'

/** The parts of a package URL; `namespace` may have slashes. */
export interface PackageUrl {
  readonly type: string
  readonly namespace?: string | undefined
  readonly name: string
  readonly version?: string | undefined
  readonly qualifiers?: Readonly<Record<string, string | undefined>> | undefined
}

/** `pkg:deb/debian/bash@5.2.15-2?arch=amd64`. */
export function formatPackageUrl({ type, namespace, name, version, qualifiers = {} }: PackageUrl): string {
  const path = [...(namespace === undefined ? [] : namespace.split('/')), name].filter((part) => part !== '').map(encode)
  const pairs = Object.entries(qualifiers)
    .flatMap(([key, value]) => (value === undefined || value === '' ? [] : [`${key}=${encode(value)}`]))
    .sort()
  const suffix = `${version === undefined ? '' : `@${encode(version)}`}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`
  return `pkg:${type}/${path.join('/')}${suffix}`
}

/** Percent-encodes all but what the spec leaves as it is; `:` stays. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll('%3A', ':')
}

/** `pkg:docker/team/app@1.2?platform=linux%2Famd64`; a digest in the name is a qualifier. */
export function imagePackageUrl(reference: Reference, platform: Platform): string {
  const full = familiarRepository(reference)
  const slash = full.lastIndexOf('/')
  return formatPackageUrl({
    type: 'docker',
    namespace: slash < 0 ? undefined : full.slice(0, slash),
    name: full.slice(slash + 1),
    version: reference.tag ?? (reference.digest === undefined ? 'latest' : undefined),
    qualifiers: { digest: reference.digest, platform: formatPlatform(platform) },
  })
}
