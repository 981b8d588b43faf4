/** Packages → an SPDX 2.3 document (spdx.github.io/spdx-spec/v2.3), the predicate of an SBOM attestation. Pure. */
import { digestOf, hexOf } from '../core/digest.js'
import type { FoundPackage } from './package.js'

/** What a document is about and when it was made. */
export interface SpdxSubject {
  /** `sbom`, `sbom-STAGE`. */
  readonly name: string
  /** `mille-0.1.0`. */
  readonly tool: string
  /** ms since 1970. */
  readonly createdAt: number
}

const rootId = 'SPDXRef-DocumentRoot'

/** The document. The same packages, name and time give the same bytes. */
export function spdxDocument(packages: readonly FoundPackage[], { name, tool, createdAt }: SpdxSubject): object {
  const ids = packages.map(({ purl }) => `SPDXRef-Package-${hexOf(digestOf(purl)).slice(0, 16)}`)
  const identity = digestOf(JSON.stringify([name, packages, createdAt]))
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name,
    documentNamespace: `urn:mille:sbom:${hexOf(identity)}`,
    creationInfo: {
      created: new Date(createdAt).toISOString().replace(/\.\d+Z$/, 'Z'),
      creators: [`Tool: ${tool}`],
    },
    packages: [rootPackage(name), ...packages.map((found, i) => spdxPackage(found, ids[i] ?? ''))],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: rootId },
      ...ids.map((id) => ({ spdxElementId: rootId, relationshipType: 'CONTAINS', relatedSpdxElement: id })),
    ],
  }
}

const unknown = {
  downloadLocation: 'NOASSERTION',
  filesAnalyzed: false,
  licenseConcluded: 'NOASSERTION',
  copyrightText: 'NOASSERTION',
}

/** What the packages are in: the root filesystem that was scanned. */
function rootPackage(name: string): object {
  return { ...{ name, SPDXID: rootId }, ...unknown, licenseDeclared: 'NOASSERTION', primaryPackagePurpose: 'CONTAINER' }
}

function spdxPackage({ name, version, purl, source, license, supplier }: FoundPackage, id: string): object {
  return {
    ...{ name, SPDXID: id, versionInfo: version },
    ...(supplier === undefined
      ? {}
      : { supplier: `${/^.+<[^>]+>$/.test(supplier) ? 'Person' : 'Organization'}: ${person(supplier)}` }),
    ...unknown,
    licenseDeclared: license !== undefined && isExpression(license) ? license : 'NOASSERTION',
    sourceInfo: `found in ${source}`,
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }],
  }
}

/** `Name <mail>` is `Name (mail)` in SPDX. */
function person(text: string): string {
  return text.replace(/\s*<([^>]+)>$/, ' ($1)')
}

/** An SPDX license expression by its form: ids, AND, OR, WITH, parentheses. Anything else would make the document invalid. */
function isExpression(text: string): boolean {
  const id = String.raw`\(*[A-Za-z0-9][A-Za-z0-9.-]*\+?\)*`
  return new RegExp(`^${id}(?: (?:AND|OR|WITH) ${id})*$`).test(text) && !/^(?:custom|unknown|none|unlicensed)$/i.test(text)
}
