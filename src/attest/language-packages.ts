/** Reads what npm and pip leave beside installed packages, and npm's lock files. Pure. */
import type { FoundPackage } from './package.js'
import { formatPackageUrl } from './package-url.js'

type Json = Readonly<Record<string, unknown>>

/** A `package.json` in `node_modules`; undefined when it is no package (a folder of sub-modules has none of its own). */
export function readNodePackage(text: string, source: string): FoundPackage | undefined {
  const found = parseObject(text)
  const { name, version, license } = found ?? {}
  if (typeof name !== 'string' || typeof version !== 'string' || name === '' || version === '') return undefined
  return npmPackage(name, version, source, typeof license === 'string' ? license : undefined)
}

/** All packages of a `package-lock.json`, of any version of that format. */
export function readPackageLock(text: string, source: string): FoundPackage[] {
  const { packages, dependencies } = parseObject(text) ?? {}
  if (isObject(packages)) {
    return Object.entries(packages).flatMap(([path, entry]) => {
      if (path === '' || !isObject(entry) || entry.link === true || typeof entry.version !== 'string') return []
      const name =
        typeof entry.name === 'string' ? entry.name : path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
      if (!path.includes('node_modules/')) return []
      return [npmPackage(name, entry.version, source, typeof entry.license === 'string' ? entry.license : undefined)]
    })
  }
  return isObject(dependencies) ? lockedDependencies(dependencies, source) : []
}

/** The nested form of lock files before npm 7. */
function lockedDependencies(dependencies: Json, source: string): FoundPackage[] {
  return Object.entries(dependencies).flatMap(([name, entry]) => {
    if (!isObject(entry)) return []
    const own = typeof entry.version === 'string' ? [npmPackage(name, entry.version, source, undefined)] : []
    return [...own, ...(isObject(entry.dependencies) ? lockedDependencies(entry.dependencies, source) : [])]
  })
}

function npmPackage(name: string, version: string, source: string, license: string | undefined): FoundPackage {
  const slash = name.indexOf('/')
  const purl = formatPackageUrl({
    ...{ type: 'npm', version },
    namespace: slash < 0 ? undefined : name.slice(0, slash),
    name: name.slice(slash + 1),
  })
  return { name, version, purl, source, license }
}

/** `METADATA` of a `*.dist-info` directory, or `PKG-INFO` of a `*.egg-info`. */
export function readPythonMetadata(text: string, source: string): FoundPackage | undefined {
  const head = text.split(/\r?\n\r?\n/, 1)[0] ?? ''
  const field = (key: string): string | undefined => new RegExp(`^${key}:[ \\t]*(.+?)\\r?$`, 'mi').exec(head)?.[1]
  const [name, version] = [field('Name'), field('Version')]
  if (name === undefined || version === undefined) return undefined
  // Names of Python packages are compared without case, with `-` for `_` and `.` (PEP 503).
  const purl = formatPackageUrl({ type: 'pypi', name: name.toLowerCase().replace(/[-_.]+/g, '-'), version })
  return { name, version, purl, source, license: field('License-Expression') ?? field('License') }
}

function parseObject(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch (error) {
    // Fixtures of tests in node_modules are often broken on purpose.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
