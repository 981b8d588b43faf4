/** A package that a scan found, whatever manages it. */

/** One installed package. */
export interface FoundPackage {
  readonly name: string
  readonly version: string
  readonly purl: string
  /** The file that says so, as a path in what was scanned. */
  readonly source: string
  /** As it is written there: often an SPDX expression, not always. */
  readonly license?: string | undefined
  readonly supplier?: string | undefined
}

/** The fields of `/etc/os-release` that package URLs name. */
export interface Distribution {
  readonly id: string
  readonly versionId: string
}

/** Reads os-release (freedesktop.org, os-release). */
export function readDistribution(text: string): Distribution {
  const value = (name: string): string => new RegExp(`^${name}=(["']?)(.*)\\1$`, 'm').exec(text)?.[2] ?? ''
  return { id: value('ID'), versionId: value('VERSION_ID') }
}

/** `debian-12`; undefined when the system does not say what it is. */
export function distroOf({ id, versionId }: Distribution): string | undefined {
  return id === '' ? undefined : [id, versionId].filter((part) => part !== '').join('-')
}
