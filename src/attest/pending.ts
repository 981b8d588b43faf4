/** Attestations of one build: what is said about each image, and where it is kept. */
import type { Descriptor } from '../core/descriptor.js'
import type { AttestationOptions } from './options.js'
import type { Attestation } from './statement.js'

/** A statement whose predicate may name the blobs of the image's layers, bottom first: they are known once they are made. */
export type PendingAttestation = Omit<Attestation, 'predicate'> & {
  readonly predicate: (layers: readonly Descriptor[]) => unknown
}

/** What outputs need. */
export interface BuildAttestations {
  readonly storage: AttestationOptions['storage']
  /** By platform, `os/architecture`. */
  readonly of: ReadonlyMap<string, readonly PendingAttestation[]>
}
