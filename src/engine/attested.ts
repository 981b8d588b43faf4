/** Attestations on their way: into the store and out of it, into manifests, into files. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { imagePackageUrl } from '../attest/package-url.js'
import type { PendingAttestation } from '../attest/pending.js'
import { type Subject, statementText } from '../attest/statement.js'
import { hexOf } from '../core/digest.js'
import { BuildError } from '../core/errors.js'
import { platformFolder } from '../core/platform.js'
import type { Reference } from '../core/reference.js'
import type { AssembledImage } from '../exporter/assemble.js'
import { type AttestationForm, type DescribedAttestation, describeAttestation } from '../exporter/attestation.js'
import type { DescribedImage } from '../exporter/manifest.js'
import type { StoredAttestations, StoredImage } from '../store/types.js'
import type { Engine } from './engine.js'

const predicateLimitBytes = 256 << 20

/** Puts predicates into the store, so that a later push or save has them. Whom they are about is only known then. */
export function keepAttestations(
  pending: readonly PendingAttestation[],
  storage: StoredAttestations['storage'],
  { store }: Engine,
): StoredAttestations {
  const items = pending.map(({ predicateType, predicate, fileName, inlineOnly }) => {
    const text = JSON.stringify(predicate([]))
    const blob = { mediaType: 'application/json', digest: store.blobs.writeBytes(text), size: Buffer.byteLength(text) }
    return { predicateType, fileName, inlineOnly, predicate: blob }
  })
  return { storage, items }
}

/** What is said about an image of the store. */
export async function storedAttestations({ attestations }: StoredImage, { store }: Engine): Promise<PendingAttestation[]> {
  const read = async ({ predicate: blob, ...item }: StoredAttestations['items'][number]): Promise<PendingAttestation> => {
    const predicate: unknown = JSON.parse((await store.blobs.read(blob, predicateLimitBytes)).toString('utf8'))
    return { ...item, predicate: () => predicate }
  }
  return Promise.all((attestations?.items ?? []).map(read))
}

/** The attestation manifest of an image whose manifest is known. `names` are those that it is pushed or saved under. */
export function attestManifest(
  pending: readonly PendingAttestation[],
  image: AssembledImage,
  described: DescribedImage,
  names: readonly Reference[],
  form: AttestationForm,
): DescribedAttestation {
  const digest = { sha256: hexOf(described.descriptor.digest) }
  const full = names.map((name) => imagePackageUrl(name, image.platform))
  const subjects: Subject[] = (full.length === 0 ? ['_'] : full).map((name) => ({ name, digest }))
  const statements = pending.map((each) => ({
    predicateType: each.predicateType,
    text: statementText({ ...each, predicate: each.predicate(described.manifest.layers) }, subjects),
  }))
  return describeAttestation(described.descriptor, statements, form)
}

/** What statements are called in a `local` or `tar` output. */
export interface StatementNames {
  /** Before each name. */
  readonly prefix: string
  /** Several platforms in one directory: then names have the platform in them. */
  readonly isShared: boolean
}

/**
 * Writes statements as files into a new directory that lives as long as this process.
 *
 * @param subjects all files of the output that they are about
 * @returns the directory; undefined when none of them is for files
 */
export function writeStatementFiles(
  pending: readonly PendingAttestation[],
  { platform }: AssembledImage,
  subjects: readonly Subject[],
  { prefix, isShared }: StatementNames,
  { store }: Engine,
): string | undefined {
  const wanted = pending.filter(({ inlineOnly }) => !inlineOnly)
  if (wanted.length === 0) return undefined
  const directory = store.blobs.temporaryPath()
  mkdirSync(directory)
  for (const each of wanted) {
    const name = `${prefix}${isShared ? withPlatform(each.fileName, platformFolder(platform)) : each.fileName}`
    if (name.includes('/')) {
      throw new BuildError('EXPORT_UNSUPPORTED', `attestation-prefix is "${prefix}", expected a text without slashes`)
    }
    if (subjects.some((subject) => subject.name === name)) {
      throw new BuildError('EXPORT_FAILED', `the image has a file "${name}" of its own, where its attestation would be`, {
        hint: 'give attestations other names with attestation-prefix=TEXT',
      })
    }
    const text = statementText({ ...each, predicate: each.predicate([]) }, subjects)
    writeFileSync(join(directory, name), `${text}\n`, { mode: 0o644, flag: 'wx' })
  }
  return directory
}

/** `provenance.json` → `provenance.linux_amd64.json`. */
function withPlatform(name: string, platform: string): string {
  const dot = name.lastIndexOf('.')
  return dot <= 0 ? `${name}.${platform}` : `${name.slice(0, dot)}.${platform}${name.slice(dot)}`
}
