/**
 * Finds and reads what a build begins with: the build file, its ignore file, the contexts.
 *
 * Where all of it is on this machine, it is read here, synchronously and with nothing else loaded: the warm path. What has
 * to be fetched first is in fetched-files.ts.
 */
import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { BuildError, systemCode } from '../core/errors.js'
import type { SourceFile } from '../core/span.js'
import { readIgnoreFile } from '../frontend/dockerignore.js'
import type { NamedContext } from '../frontend/options.js'
import { isStreamFile, readTextIfExists } from '../io/fs.js'
import type { ContextDirectories, ContextDirectory } from '../ops/context.js'
import { type ContextReference, parseContextReference, withoutCredentials } from './context-reference.js'
import { type FetchedReference, openDirectory } from './contexts.js'
import type { BuildOptions } from './options.js'

/** What is read before anything is built. */
export interface BuildFiles {
  readonly source: SourceFile
  /** A text that names the context from build to build. */
  readonly place: string
  /** The directory of the Dockerfile in the context; empty for its top, and for a Dockerfile from elsewhere. */
  readonly includesFrom: string
  readonly ignore: readonly string[]
  readonly directories: ContextDirectories
  readonly contexts: Readonly<Record<string, NamedContext>>
  /** Set when the main context is an image. */
  readonly contextImage?: string
}

/** What a context argument and its name stand for. */
export type References = Readonly<Record<string, { readonly reference: ContextReference; readonly what: string }>>

/** The contexts of a build that are given by name, understood. Throws CONTEXT_UNSUPPORTED. */
export function namedReferences({ buildContexts = {} }: BuildOptions): References {
  return Object.fromEntries(
    Object.entries(buildContexts).map(([name, value]) => {
      const what = `the build context ${name}=${withoutCredentials(value)}`
      checkName(name, what)
      const reference = parseContextReference(value, what)
      if (reference.kind !== 'stdin') return [name, { reference, what }]
      throw new BuildError('CONTEXT_UNSUPPORTED', `${what} is stdin, which only the main context can be`)
    }),
  )
}

/** True for a Dockerfile that is not a file of this machine or of the context. */
export function isFetchedPath(path: string): boolean {
  return path === '-' || /^https?:\/\//.test(path)
}

/**
 * Reads all of it where nothing has to be fetched; undefined where something has.
 *
 * @throws BuildError CONTEXT_NOT_FOUND, CONTEXT_UNSUPPORTED, DOCKERFILE_NOT_FOUND
 */
export function readLocalFiles(options: BuildOptions): BuildFiles | undefined {
  const main = readLocalMain(options)
  const named = main && describeNamed(namedReferences(options), undefined)
  return named && joinFiles(main, named)
}

/** The main context and the build file. */
export interface MainFiles {
  readonly source: SourceFile
  readonly place: string
  /** See `BuildFiles`. */
  readonly includesFrom: string
  readonly ignore: readonly string[]
  /** Undefined for an image. */
  readonly directory: ContextDirectory | undefined
  readonly contextImage?: string
}

/** The main context, where it is a directory, with a build file that is a plain file of this machine. */
export function readLocalMain({ context, dockerfile }: BuildOptions): MainFiles | undefined {
  const reference = parseContextReference(context, `the context ${withoutCredentials(context)}`)
  if (reference.kind !== 'directory') return undefined
  if (dockerfile !== undefined && 'path' in dockerfile && isFetchedPath(dockerfile.path)) return undefined
  const { directory } = openDirectory(reference.path)
  const found = readDockerfile(directory, context, dockerfile)
  if (found === undefined) return undefined
  const { source, path } = found
  const ignore = ignorePatterns(directory, path)
  return { source, place: directory, includesFrom: directoryIn(directory, path), ignore, directory: { path: directory } }
}

/** Where a Dockerfile is in a context; empty for its top, and for a Dockerfile from elsewhere. */
export function directoryIn(root: string, dockerfile: string | undefined): string {
  const directory = dockerfile === undefined ? '' : relative(root, dirname(resolve(dockerfile)))
  return directory.startsWith('..') || isAbsolute(directory) ? '' : directory
}

/** The main context and the named ones. */
export function joinFiles({ directory, ...main }: MainFiles, named: Pick<BuildFiles, 'contexts' | 'directories'>): BuildFiles {
  const { contexts, directories } = named
  if (directory === undefined) return { ...main, contexts, directories }
  return { ...main, contexts, directories: new Map([...directories, ['context', () => directory]]) }
}

/** How named contexts are fetched: where the files are then. */
export type FetchNamed = (reference: FetchedReference, what: string) => Promise<ContextDirectory>

/** What the frontend and the runner of contexts know of named contexts; undefined when one has to be fetched and nothing can. */
export function describeNamed(
  references: References,
  fetchNamed: FetchNamed | undefined,
): Pick<BuildFiles, 'contexts' | 'directories'> | undefined {
  const contexts: Record<string, NamedContext> = {}
  const directories = new Map<string, () => ContextDirectory | Promise<ContextDirectory>>()
  for (const [name, { reference, what }] of Object.entries(references)) {
    if (reference.kind === 'image') {
      contexts[name] = { kind: 'image', reference: reference.reference }
    } else if (reference.kind === 'directory') {
      const { directory } = openDirectory(reference.path)
      const ignore = readIgnoreFile(readIgnoreText(join(directory, '.dockerignore')) ?? '')
      contexts[name] = { kind: 'context', name, ignore }
      directories.set(name, () => ({ path: directory }))
    } else {
      if (fetchNamed === undefined) return undefined
      let fetched: Promise<ContextDirectory> | undefined
      contexts[name] = { kind: 'context', name, ignore: [] }
      directories.set(name, () => {
        fetched ??= fetchNamed(reference, what)
        return fetched
      })
    }
  }
  return { contexts, directories }
}

/** `context` would take the place of the build's own context, `scratch` would never be found (semantics.md 54). */
function checkName(name: string, what: string): void {
  if (!/^(context|scratch)(:latest|::.*)?$/.test(name)) return
  throw new BuildError('CONTEXT_UNSUPPORTED', `the name of ${what} is reserved`, { hint: 'give it another name' })
}

/** Undefined for a stream, which is not to be waited for here. */
function readDockerfile(
  root: string,
  context: string,
  given: BuildOptions['dockerfile'],
): { readonly source: SourceFile; readonly path: string | undefined } | undefined {
  if (given !== undefined && 'text' in given) return { source: { name: given.name, text: given.text }, path: undefined }
  if (given !== undefined) {
    const path = isAbsolute(given.path) ? given.path : findGiven(root, given.path)
    if (isStreamFile(path)) return undefined
    return { source: { name: given.path, text: requireDockerfile(path, given.path) }, path }
  }
  for (const name of dockerfileNames) {
    const path = join(root, name)
    if (isStreamFile(path)) return undefined
    const text = readDockerfileText(path)
    if (text !== undefined) return { source: { name: shownName(context, name), text }, path }
  }
  throw noDockerfile(context)
}

/** The names that a build file is looked for under, in this order. */
export const dockerfileNames: readonly string[] = ['Dockerfile', 'dockerfile', 'Containerfile']

/** The error for a context without a build file. */
export function noDockerfile(context: string): BuildError {
  return new BuildError('DOCKERFILE_NOT_FOUND', `there is no Dockerfile in ${context}`, { hint: 'name one with -f' })
}

/** The text of a file of this machine that was named. Throws DOCKERFILE_NOT_FOUND. */
export function requireDockerfile(path: string, given: string): string {
  const text = readDockerfileText(path)
  if (text !== undefined) return text
  throw new BuildError('DOCKERFILE_NOT_FOUND', `there is no file ${given}`)
}

/** A relative `-f` is looked for where the user stands, as docker does, then in the context. */
function findGiven(root: string, path: string): string {
  const here = resolve(path)
  return statSync(here, { throwIfNoEntry: false }) === undefined ? join(root, path) : here
}

function shownName(context: string, name: string): string {
  return context === '.' || relative('.', context) === '' ? name : join(context, name)
}

function readDockerfileText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'EISDIR') throw new BuildError('DOCKERFILE_NOT_FOUND', `${path} is a directory, not a Dockerfile`)
    if (code === 'ENXIO') throw new BuildError('DOCKERFILE_NOT_FOUND', `${path} is a socket, not a Dockerfile`)
    if (code === 'EACCES') throw new BuildError('DOCKERFILE_NOT_FOUND', `not allowed to read ${path}`, { cause: error })
    if (code === 'ELOOP') throw new BuildError('DOCKERFILE_NOT_FOUND', `${path} is a link that leads to itself`, { cause: error })
    throw error
  }
}

/** `<Dockerfile>.dockerignore` stands in for `.dockerignore` (semantics.md 85). */
export function ignorePatterns(root: string, dockerfile: string | undefined): readonly string[] {
  const own =
    dockerfile === undefined ? undefined : readIgnoreText(join(dirname(dockerfile), `${basename(dockerfile)}.dockerignore`))
  return readIgnoreFile(own ?? readIgnoreText(join(root, '.dockerignore')) ?? '')
}

/** Not to read an ignore file that is there would put files into an image that nobody wants there. */
function readIgnoreText(path: string): string | undefined {
  try {
    refusePipe(path)
    return readTextIfExists(path)
  } catch (error) {
    const code = systemCode(error)
    if (error instanceof BuildError || code === undefined) throw error
    const why = code === 'EISDIR' ? 'it is a directory' : code
    throw new BuildError('CONTEXT_UNREADABLE', `the ignore file ${path} cannot be read: ${why}`, { cause: error })
  }
}

/** Nobody may ever write to it. */
function refusePipe(path: string): void {
  if (!statSync(path, { throwIfNoEntry: false })?.isFIFO()) return
  throw new BuildError('CONTEXT_UNREADABLE', `the ignore file ${path} cannot be read: it is a pipe`, {
    hint: 'make it a file',
  })
}
