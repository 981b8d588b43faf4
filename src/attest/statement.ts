/** in-toto statements: a predicate, and the things that it is said of (in-toto attestation spec, "Statement"). Pure. */

/** One thing that a statement is about. */
export interface Subject {
  readonly name: string
  /** Hex by algorithm. */
  readonly digest: Readonly<Record<string, string>>
}

/** What is said, before it is known of what: subjects come with the manifest of each output. */
export interface Attestation {
  readonly predicateType: string
  readonly predicate: unknown
  /** Its name in `local` and `tar` outputs. */
  readonly fileName: string
  /** `local` and `tar` outputs do not get it. */
  readonly inlineOnly: boolean
  /** Subjects that are said beside those of the output. */
  readonly subjects?: readonly Subject[]
}

/** The media type of a statement in an attestation manifest. */
export const statementMediaType = 'application/vnd.in-toto+json'
/** The predicate type of lists of packages. */
export const spdxPredicateType = 'https://spdx.dev/Document'

/** The text of a statement. */
export function statementText({ predicateType, predicate, subjects = [] }: Attestation, about: readonly Subject[]): string {
  const statement = { _type: 'https://in-toto.io/Statement/v1', predicateType, subject: [...about, ...subjects], predicate }
  return JSON.stringify(statement, undefined, 2)
}
