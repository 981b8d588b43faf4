/**
 * What a source of COPY or ADD selects in a view.
 *
 * Wildcards are Go's `filepath.Match`, component by component; the path itself is followed through symlinks inside the
 * view, symlinks below a selected directory are entries of their own. Paths that lead above the root stop at the root.
 */
import { BuildError } from '../core/errors.js'
import { hasWildcard, matchGlob, parseGlob } from '../core/glob.js'
import { nearestWord } from '../core/suggest.js'
import type { FileEntry, FileView } from '../core/view.js'
import { resolvePath } from '../layer/stack.js'
import type { PathFilter } from './filter.js'
import { ContextEntry, ContextTree } from './tree.js'

/** One source path and what narrows it. */
export interface SelectionSource {
  /** Relative, cleaned; `.` for all. */
  readonly path: string
  readonly wildcard: boolean
  /** Left out, by paths relative to the selected directory. */
  readonly exclude: PathFilter
  /** With `--parents`: what is taken below `path`; everything else is only walked through. */
  readonly include: PathFilter | undefined
}

/** Something that a source path led to. */
export interface SelectedRoot {
  /** The name it was selected by: what it is called inside a destination directory. Empty for the root of the view. */
  readonly name: string
  /** Where it really is: absolute in the view, no symlink in it. */
  readonly viewPath: string
  readonly entry: FileEntry
}

/** One file or directory that is selected. */
export interface SelectedEntry {
  /** Relative to the selected root, without `/` at either end; empty for a root that is not a directory. */
  readonly path: string
  readonly viewPath: string
  readonly entry: FileEntry
  /** A directory that is there only for what is below it (`--parents`). */
  readonly isParent: boolean
}

/**
 * Finds what `source` names. A literal name that is missing is an error, also before a wildcard; a wildcard without a match
 * is not.
 */
export function selectRoots(view: FileView, source: SelectionSource): SelectedRoot[] {
  const parts = source.path.split('/').filter((part) => part !== '' && part !== '.')
  const first = source.wildcard ? parts.findIndex(hasWildcard) : -1
  if (first < 0) return [rootAt(view, parts.join('/'))]
  const base = follow(view, parts.slice(0, first).join('/'))
  if (base.entry === undefined) throw missingSource(view, parts.slice(0, first).join('/'))
  if (base.entry?.type !== 'directory') return []
  const roots = matchParts(view, base.path, parts.slice(first)).map((path) => rootAt(view, path.slice(1)))
  // Below a pivot there is something only where it is a directory.
  return source.include === undefined ? roots : roots.filter(({ entry }) => entry.type === 'directory')
}

function rootAt(view: FileView, path: string): SelectedRoot {
  const { path: viewPath, entry } = follow(view, path)
  if (entry === undefined) throw missingSource(view, path)
  return { name: path.slice(path.lastIndexOf('/') + 1), viewPath, entry }
}

function follow(view: FileView, path: string): ReturnType<typeof resolvePath> {
  return resolvePath(view, path, { followLast: true })
}

/** Absolute paths below `directory` that match, in the order of a walk. A matched directory is not searched further. */
function matchParts(view: FileView, directory: string, patterns: readonly string[]): string[] {
  const [pattern, ...rest] = patterns
  if (pattern === undefined) return [directory]
  const base = directory === '/' ? '' : directory
  const names = hasWildcard(pattern) ? matchingNames(view, directory, pattern) : [pattern]
  return names.flatMap((name) => {
    const path = `${base}/${name}`
    const entry = view.lstat(path)
    if (entry === undefined) return []
    if (rest.length === 0) return [path]
    return entry.type === 'directory' ? matchParts(view, path, rest) : []
  })
}

function matchingNames(view: FileView, directory: string, pattern: string): readonly string[] {
  const elements = parseGlob(pattern)
  if (elements === undefined) {
    throw new BuildError('COPY_SOURCE_NOT_FOUND', `"${pattern}" is no valid pattern`, {
      hint: 'close each "[" with "]", and write "\\[" where it stands for itself',
    })
  }
  return view.readdir(directory).filter((name) => matchGlob(elements, name))
}

/** The error for a source that is not there: why, and what may have been meant. */
function missingSource(view: FileView, path: string): BuildError {
  const parts = path.split('/')
  const missing = parts.findIndex((_, i) => follow(view, parts.slice(0, i + 1).join('/')).entry === undefined)
  const parent = follow(view, parts.slice(0, missing).join('/'))
  const where = view instanceof ContextTree ? ` in the build context "${view.shown}"` : ''
  if (view instanceof ContextTree && view.isIgnored(path)) {
    return new BuildError('COPY_SOURCE_NOT_FOUND', `"${path}" is excluded by .dockerignore${where}`, {
      hint: `add a line "!${path}" to the ignore file to include it again`,
    })
  }
  const link = view.lstat(`${parent.path === '/' ? '' : parent.path}/${parts[missing] ?? ''}`)
  if (link?.type === 'symlink') {
    const target = view.readlink(`${parent.path === '/' ? '' : parent.path}/${parts[missing] ?? ''}`)
    return new BuildError('COPY_SOURCE_NOT_FOUND', `"${path}" is a symlink to "${target}", which does not exist${where}`)
  }
  const names = parent.entry?.type === 'directory' ? view.readdir(parent.path) : []
  const near = nearestWord(parts[missing] ?? '', names)
  const full = near === undefined ? undefined : [...parts.slice(0, missing), near, ...parts.slice(missing + 1)].join('/')
  return new BuildError('COPY_SOURCE_NOT_FOUND', `"${path}" does not exist${where || ' in what is copied from'}`, {
    hint: full === undefined ? undefined : `did you mean ${full}?`,
  })
}

/** Everything that is copied for one root, parents before children, siblings by the bytes of their names. */
export function selectEntries(view: FileView, root: SelectedRoot, source: SelectionSource): SelectedEntry[] {
  if (root.entry.type !== 'directory') {
    return [{ path: '', viewPath: root.viewPath, entry: root.entry, isParent: false }]
  }
  const found: SelectedEntry[] = []
  if (source.exclude.isEmpty && source.include === undefined) collectAll(view, root, found)
  else collectFiltered(view, source, { path: '', viewPath: root.viewPath, entry: root.entry }, outermost, found)
  return found
}

/** The common case, made for speed: no filter asked. */
function collectAll(view: FileView, root: SelectedRoot, found: SelectedEntry[]): void {
  const visit = (path: string, viewPath: string, entry: FileEntry): void => {
    const prefix = path === '' ? '' : `${path}/`
    const viewPrefix = viewPath === '/' ? '/' : `${viewPath}/`
    const add = (name: string, child: FileEntry): void => {
      const item = { path: prefix + name, viewPath: viewPrefix + name, entry: child, isParent: false }
      found.push(item)
      if (child.type === 'directory') visit(item.path, item.viewPath, child)
    }
    const known = knownChildren(view, entry)
    if (known !== undefined) for (const child of known) add(child.name, child)
    else for (const { name, entry: child } of namedEntries(view, viewPath, entry)) add(name, child)
  }
  visit('', root.viewPath, root.entry)
}

interface FilterStates {
  readonly exclude: number
  readonly include: number
}

const outermost: FilterStates = { exclude: -1, include: -1 }

type Directory = Omit<SelectedEntry, 'isParent'>

/** Adds what is selected below `directory`; true when that was anything. */
function collectFiltered(
  view: FileView,
  source: SelectionSource,
  directory: Directory,
  states: FilterStates,
  found: SelectedEntry[],
): boolean {
  const before = found.length
  const { exclude, include } = source
  for (const { name, entry } of childrenOf(view, directory.viewPath, directory.entry)) {
    const path = directory.path === '' ? name : `${directory.path}/${name}`
    const viewPath = `${directory.viewPath === '/' ? '' : directory.viewPath}/${name}`
    const next = { exclude: exclude.enter(path, states.exclude), include: include?.enter(path, states.include) ?? -1 }
    const excluded = exclude.isExcluded(next.exclude)
    const wanted = !excluded && (include === undefined || include.isExcluded(next.include))
    const item = { path, viewPath, entry, isParent: !wanted }
    const at = found.length
    if (entry.type !== 'directory') {
      if (wanted) found.push(item)
      continue
    }
    if (excluded && exclude.canPruneAt(path, next.exclude)) continue
    if (!wanted && !excluded && include?.canMatchBelow(path) === false) continue
    found.push(item)
    const any = collectFiltered(view, source, item, next, found)
    if (!any && !wanted) found.length = at
  }
  return found.length > before
}

/** The children of a directory of a context, which need no look-up by name. */
function knownChildren(view: FileView, entry: FileEntry): readonly ContextEntry[] | undefined {
  return view instanceof ContextTree && entry instanceof ContextEntry ? view.children(entry) : undefined
}

function childrenOf(
  view: FileView,
  path: string,
  entry: FileEntry,
): Iterable<{ readonly name: string; readonly entry: FileEntry }> {
  const known = knownChildren(view, entry)
  if (known !== undefined) return known.map((child) => ({ name: child.name, entry: child }))
  return namedEntries(view, path, entry)
}

function* namedEntries(view: FileView, path: string, entry: FileEntry): Generator<{ name: string; entry: FileEntry }> {
  if (entry.type !== 'directory') return
  for (const name of view.readdir(path)) {
    const child = view.lstat(path === '/' ? `/${name}` : `${path}/${name}`)
    if (child !== undefined) yield { name, entry: child }
  }
}
