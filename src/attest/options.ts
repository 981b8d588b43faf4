/** What is asked of attestations: statements about an image that travel beside it. Every default is filled in by the caller. */

/** How provenance is made. */
export interface ProvenanceOptions {
  /** `min`: what went in, no values of arguments. `max`: arguments, secrets by id, steps, the Dockerfile, layers. */
  readonly mode: 'min' | 'max'
  /** The version of SLSA's predicate. */
  readonly version: 'v0.2' | 'v1'
  /** Who built, as a URI; empty: nobody says. */
  readonly builderId: string
  /** The builder claims that the same inputs give the same bytes. */
  readonly reproducible: boolean
  /** Only images get it, `local` and `tar` outputs do not. */
  readonly inlineOnly: boolean
  /** Its name in `local` and `tar` outputs. */
  readonly fileName: string
}

/** How a list of packages is made. */
export interface SbomOptions {
  /** An image that follows BuildKit's scanner protocol; undefined: mille's own scanner. */
  readonly generator: string | undefined
  /** Further `BUILDKIT_SCAN_*` variables for the generator. */
  readonly parameters: Readonly<Record<string, string>>
  readonly inlineOnly: boolean
}

/** All that is asked for. */
export interface AttestationOptions {
  readonly provenance?: ProvenanceOptions | undefined
  readonly sbom?: SbomOptions | undefined
  /**
   * `index`: a pushed or exported image becomes an index of the image and its attestations, as BuildKit does. `referrers`:
   * it stays a plain manifest, the attestations are pushed beside it and refer to it (distribution-spec, "Referrers").
   */
  readonly storage: 'index' | 'referrers'
}

/** Provenance with all defaults. */
export const defaultProvenance: ProvenanceOptions = {
  mode: 'max',
  version: 'v1',
  builderId: '',
  reproducible: false,
  inlineOnly: false,
  fileName: 'provenance.json',
}

/** A list of packages with all defaults. */
export const defaultSbom: SbomOptions = { generator: undefined, parameters: {}, inlineOnly: false }
