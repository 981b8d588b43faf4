/**
 * mille's own scanner: finds installed packages in a tree of files, without starting anything of it. Reads the databases of
 * dpkg and apk, and what npm and pip install. Synchronous, and walks every directory: only for builds that ask for an SBOM.
 */
import { readFileSync } from 'node:fs'
import { fsPath } from '../core/path-bytes.js'
import type { FileView } from '../core/view.js'
import { resolvePath } from '../layer/stack.js'
import { readNodePackage, readPackageLock, readPythonMetadata } from './language-packages.js'
import { type Distribution, type FoundPackage, readDistribution } from './package.js'
import { readApkInstalled, readDpkgStatus } from './system-packages.js'

/** What a scan found. */
export interface Scan {
  /** In the order of their package URLs, each once. */
  readonly packages: readonly FoundPackage[]
  /** What is there and cannot be read: an rpm database. */
  readonly unread: readonly string[]
}

const limitBytes = 64 << 20
const rpmDatabases = ['/var/lib/rpm', '/usr/lib/sysimage/rpm']

/** Scans all of a view. */
export function scanPackages(view: FileView): Scan {
  const distribution = distributionOf(view)
  const found = [...systemPackages(view, distribution), ...walk(view, '', false)]
  const distinct = new Map(found.map((each) => [each.purl, each]))
  const packages = [...distinct.values()].sort((a, b) => (a.purl < b.purl ? -1 : 1))
  return { packages, unread: rpmDatabases.filter((path) => hasFiles(view, path)) }
}

function distributionOf(view: FileView): Distribution {
  return readDistribution(readText(view, '/etc/os-release') ?? readText(view, '/usr/lib/os-release') ?? '')
}

function systemPackages(view: FileView, distribution: Distribution): FoundPackage[] {
  const dpkg = ['/var/lib/dpkg/status', ...filesIn(view, '/var/lib/dpkg/status.d')].filter((path) => !path.endsWith('.md5sums'))
  const apk = ['/lib/apk/db/installed', '/usr/lib/apk/db/installed']
  return [
    ...dpkg.flatMap((path) => readDpkgStatus(readText(view, path) ?? '', path, distribution)),
    ...apk.flatMap((path) => readApkInstalled(readText(view, path) ?? '', path, distribution)),
  ]
}

const skipped = new Set(['/proc', '/sys', '/dev'])

function* walk(view: FileView, directory: string, inModules: boolean): Generator<FoundPackage, void, void> {
  for (const name of view.readdir(directory === '' ? '/' : directory)) {
    const path = `${directory}/${name}`
    const entry = view.lstat(path)
    if (entry?.type === 'directory') {
      if (!skipped.has(path)) yield* walk(view, path, inModules || name === 'node_modules')
    } else if (entry?.type === 'file') yield* packagesIn(view, path, name, inModules)
  }
}

function packagesIn(view: FileView, path: string, name: string, inModules: boolean): readonly FoundPackage[] {
  const read = (): string => readText(view, path) ?? ''
  if (name === 'package.json' && inModules) return listOf(readNodePackage(read(), path))
  if (name === 'package-lock.json' && !inModules) return readPackageLock(read(), path)
  if (/\.dist-info\/METADATA$|\.egg-info\/PKG-INFO$/.test(path)) return listOf(readPythonMetadata(read(), path))
  return []
}

function listOf<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value]
}

function readText(view: FileView, path: string): string | undefined {
  const { entry } = resolvePath(view, path, { followLast: true })
  return entry?.type === 'file' && entry.size <= limitBytes ? readFileSync(fsPath(entry.hostPath), 'utf8') : undefined
}

function filesIn(view: FileView, path: string): string[] {
  const { entry } = resolvePath(view, path, { followLast: true })
  return entry?.type === 'directory' ? view.readdir(path).map((name) => `${path}/${name}`) : []
}

function hasFiles(view: FileView, path: string): boolean {
  return filesIn(view, path).length > 0
}
