/**
 * Digests: the identities of blobs, layers and stacks of layers.
 *
 * Three branded strings with the same text form keep bytes as stored (`Digest`), the uncompressed tar of a layer
 * (`DiffID`) and a stack of layers (`ChainID`) from being mixed up. Spec: OCI image-spec, descriptor.md "Digests" and
 * config.md "Layer ChainID". Only sha256 is produced; what lies in a registry may be named by sha512, too.
 */
import { createHash, type Hash } from 'node:crypto'

declare const digestBrand: unique symbol
declare const diffIdBrand: unique symbol
declare const chainIdBrand: unique symbol

/** `sha256:<64 hex>` of bytes as they are stored or sent. */
export type Digest = string & { readonly [digestBrand]: true }
/** `sha256:<64 hex>` of a layer's uncompressed tar. */
export type DiffID = string & { readonly [diffIdBrand]: true }
/** `sha256:<64 hex>` that names a stack of layers, bottom first. */
export type ChainID = string & { readonly [chainIdBrand]: true }

const sha256Pattern = /^sha256:[0-9a-f]{64}$/
const sha512Pattern = /^sha512:[0-9a-f]{128}$/

/** True when `text` is `sha256:` and 64 lower-case hex digits. */
export function isDigest(text: string): text is Digest {
  return sha256Pattern.test(text)
}

/** The digest in `text`, or undefined when it is not a sha256 digest. */
export function parseDigest(text: string): Digest | undefined {
  return isDigest(text) ? text : undefined
}

/** Reads a DiffID from text, or undefined when it is not a sha256 digest. */
export function parseDiffId(text: string): DiffID | undefined {
  return sha256Pattern.test(text) ? (text as DiffID) : undefined
}

/** True for what the specification lets a registry name content by: a sha256 or a sha512 digest. */
export function isContentDigest(text: string): text is Digest {
  return sha256Pattern.test(text) || sha512Pattern.test(text)
}

/** A hash of the kind that `digest` is. */
export function hashLike(digest: Digest): Hash {
  return createHash(digest.slice(0, digest.indexOf(':')))
}

/** The digest of bytes, of the kind that `digest` is: to compare the two. */
export function digestLike(digest: Digest, bytes: Uint8Array): Digest {
  return finishLike(digest, hashLike(digest).update(bytes))
}

/** What a hash of `hashLike` came to, as a digest. */
export function finishLike(digest: Digest, hash: Hash): Digest {
  return `${digest.slice(0, digest.indexOf(':'))}:${hash.digest('hex')}` as Digest
}

/** True for two digests of the same kind that are not the same: what has one of them does not have the other. */
export function contradicts(said: string, digest: Digest): boolean {
  return said !== digest && isContentDigest(said) && said.length === digest.length
}

/** The digest of bytes or of UTF-8 text. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
}

/** Names a finished sha256 hex as a digest. `hex` must be 64 lower-case hex digits. */
export function digestFromHex(hex: string): Digest {
  return `sha256:${hex}` as Digest
}

/** Names a finished sha256 hex of an uncompressed layer tar. */
export function diffIdFromHex(hex: string): DiffID {
  return `sha256:${hex}` as DiffID
}

/** The 64 hex digits of a digest of any kind. */
export function hexOf(digest: Digest | DiffID | ChainID): string {
  return digest.slice('sha256:'.length)
}

/** The first 12 hex digits: what people read. */
export function shortHex(digest: Digest | DiffID | ChainID): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12)
}

/** The ChainID of a stack of layers, bottom first; undefined for an empty stack (image-spec, config.md). */
export function chainIdOf(diffIds: readonly DiffID[]): ChainID | undefined {
  let chain: string | undefined
  for (const diffId of diffIds) chain = chain === undefined ? diffId : digestOf(`${chain} ${diffId}`)
  return chain as ChainID | undefined
}
