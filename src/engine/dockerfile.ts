/** Finds and reads the build file, its ignore file and the context directories. */
import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { BuildError, systemCode } from '../core/errors.js'
import type { SourceFile } from '../core/span.js'
import { readIgnoreFile } from '../frontend/dockerignore.js'
import type { NamedContext } from '../frontend/options.js'
import { readTextIfExists } from '../io/fs.js'
import type { BuildOptions } from './options.js'

/** What is read of the context's directory before anything is built. */
export interface BuildFiles {
  readonly source: SourceFile
  /** The absolute path of the context. */
  readonly root: string
  /** The directory of the Dockerfile in the context; empty for its top, and for a Dockerfile from elsewhere. */
  readonly directory: string
  readonly ignore: readonly string[]
  /** Directories of `--build-context` by name. */
  readonly directories: Readonly<Record<string, string>>
  readonly contexts: Readonly<Record<string, NamedContext>>
}

/** Reads all of it. Throws CONTEXT_NOT_FOUND, DOCKERFILE_NOT_FOUND. */
export function readBuildFiles({ context, dockerfile, buildContexts = {} }: BuildOptions): BuildFiles {
  const root = contextDirectory(context)
  const { source, path } = readDockerfile(root, context, dockerfile)
  const contexts: Record<string, NamedContext> = {}
  const directories: Record<string, string> = { context: root }
  for (const [name, value] of Object.entries(buildContexts)) {
    const named = namedContext(name, value)
    contexts[name] = named.context
    if (named.directory !== undefined) directories[name] = named.directory
  }
  return { source, root, directory: directoryIn(root, path), ignore: ignorePatterns(root, path), directories, contexts }
}

/** Where a Dockerfile is in a context. */
export function directoryIn(root: string, dockerfile: string | undefined): string {
  const directory = dockerfile === undefined ? '' : relative(root, dirname(resolve(dockerfile)))
  return directory.startsWith('..') || isAbsolute(directory) ? '' : directory
}

function contextDirectory(path: string): string {
  const root = resolve(path)
  const stats = statSync(root, { throwIfNoEntry: false })
  if (stats === undefined) {
    throw new BuildError('CONTEXT_NOT_FOUND', `there is no directory ${path} to take as the context`)
  }
  if (!stats.isDirectory()) {
    throw new BuildError('CONTEXT_NOT_FOUND', `the context ${path} is not a directory`, {
      hint: `give the directory that the Dockerfile copies from, and the Dockerfile with -f ${path}`,
    })
  }
  return root
}

function readDockerfile(
  root: string,
  context: string,
  given: BuildOptions['dockerfile'],
): { readonly source: SourceFile; readonly path: string | undefined } {
  if (given !== undefined && 'text' in given) return { source: { name: given.name, text: given.text }, path: undefined }
  if (given !== undefined) {
    const path = isAbsolute(given.path) ? given.path : findGiven(root, given.path)
    const text = readDockerfileText(path)
    if (text === undefined) throw new BuildError('DOCKERFILE_NOT_FOUND', `there is no file ${given.path}`)
    return { source: { name: given.path, text }, path }
  }
  for (const name of ['Dockerfile', 'dockerfile', 'Containerfile']) {
    const path = join(root, name)
    const text = readDockerfileText(path)
    if (text !== undefined) return { source: { name: shownName(context, name), text }, path }
  }
  throw new BuildError('DOCKERFILE_NOT_FOUND', `there is no Dockerfile in ${context}`, { hint: 'name one with -f' })
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
    if (code === 'EACCES') throw new BuildError('DOCKERFILE_NOT_FOUND', `not allowed to read ${path}`, { cause: error })
    throw error
  }
}

/** `<Dockerfile>.dockerignore` stands in for `.dockerignore` (semantics.md 85). */
export function ignorePatterns(root: string, dockerfile: string | undefined): readonly string[] {
  const own =
    dockerfile === undefined ? undefined : readTextIfExists(join(dirname(dockerfile), `${basename(dockerfile)}.dockerignore`))
  return readIgnoreFile(own ?? readTextIfExists(join(root, '.dockerignore')) ?? '')
}

function namedContext(name: string, value: string): { readonly context: NamedContext; readonly directory?: string } {
  // `context` would take the place of the build's own context, `scratch` would never be found (semantics.md 54).
  if (/^(context|scratch)(:latest|::.*)?$/.test(name)) {
    throw new BuildError('CONTEXT_UNSUPPORTED', `the name of the build context ${name}=${value} is reserved`, {
      hint: 'give it another name',
    })
  }
  const image = /^docker-image:\/\/(.+)$/.exec(value)?.[1]
  if (image !== undefined) return { context: { kind: 'image', reference: image } }
  if (/^[a-z][a-z0-9+-]*:\/\//.test(value) || value.startsWith('git@')) {
    throw new BuildError('CONTEXT_UNSUPPORTED', `the build context ${name}=${value} is of a kind that cannot be used yet`, {
      hint: 'give a directory, or docker-image://NAME',
    })
  }
  const directory = contextDirectory(value)
  const ignore = readIgnoreFile(readTextIfExists(join(directory, '.dockerignore')) ?? '')
  return { context: { kind: 'context', name, ignore }, directory }
}
