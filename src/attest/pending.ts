/** Attestations of one build: what is said about each image, and where it is kept. */
import type { Descriptor } from '../core/descriptor.js'
import type { DiffID, Digest } from '../core/digest.js'
import type { AttestationOptions } from './options.js'
import type { Attestation } from './statement.js'

/** The blob of a layer, where one is known. */
export type BlobOf = (diffId: DiffID) => Descriptor | undefined

/** A statement whose predicate may name the blobs of the image's layers: they are known once they are made. */
export type PendingAttestation = Omit<Attestation, 'predicate'> & { readonly predicate: (blobOf: BlobOf) => unknown }

/** What outputs need. */
export interface BuildAttestations {
  readonly storage: AttestationOptions['storage']
  /** By image id. */
  readonly of: ReadonlyMap<Digest, readonly PendingAttestation[]>
}
