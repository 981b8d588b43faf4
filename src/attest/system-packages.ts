/** Reads the databases of dpkg and apk: texts of `Key: value` paragraphs. Pure. */
import { type Distribution, distroOf, type FoundPackage } from './package.js'
import { formatPackageUrl } from './package-url.js'

/** Packages of dpkg's `status` (deb822) that are installed. */
export function readDpkgStatus(text: string, source: string, distribution: Distribution): FoundPackage[] {
  return text.split(/\n\n+/).flatMap((paragraph) => {
    const field = fieldsOf(paragraph, /^([A-Za-z-]+):[ \t]*(.*)$/)
    const [name, version] = [field.get('Package'), field.get('Version')]
    // Files of distroless images have no Status: what is there is installed.
    const status = field.get('Status') ?? 'install ok installed'
    if (name === undefined || version === undefined || !status.endsWith(' installed')) return []
    const purl = formatPackageUrl({
      ...{ type: 'deb', namespace: distribution.id || 'debian', name, version },
      qualifiers: { arch: field.get('Architecture'), distro: distroOf(distribution) },
    })
    return [{ name, version, purl, source, supplier: field.get('Maintainer') }]
  })
}

/** Packages of apk's `installed` (one letter for each field). */
export function readApkInstalled(text: string, source: string, distribution: Distribution): FoundPackage[] {
  return text.split(/\n\n+/).flatMap((paragraph) => {
    const field = fieldsOf(paragraph, /^([A-Za-z]):(.*)$/)
    const [name, version] = [field.get('P'), field.get('V')]
    if (name === undefined || version === undefined) return []
    const purl = formatPackageUrl({
      ...{ type: 'apk', namespace: distribution.id || 'alpine', name, version },
      qualifiers: { arch: field.get('A'), distro: distroOf(distribution) },
    })
    return [{ name, version, purl, source, license: field.get('L'), supplier: field.get('m') }]
  })
}

/** The first of each field; lines that continue one are not needed. */
function fieldsOf(paragraph: string, pattern: RegExp): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const line of paragraph.split('\n')) {
    const [, name, value] = pattern.exec(line) ?? []
    if (name !== undefined && value !== undefined && !fields.has(name)) fields.set(name, value.trim())
  }
  return fields
}
