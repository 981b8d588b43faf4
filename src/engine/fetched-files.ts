/**
 * What a build begins with where a part of it has to be fetched: contexts from stdin, the network or an image, and
 * Dockerfiles from there.
 *
 * Ignore files count only in directories of the user's (semantics.md 85). Of a context that was fetched nothing is read
 * through links that lead out of it.
 */
import { readFileSync } from 'node:fs'
import { isAbsolute, join, posix } from 'node:path'
import { ContextTree } from '../context/tree.js'
import { BuildError, UsageError } from '../core/errors.js'
import { fsPath } from '../core/path-bytes.js'
import type { Platform } from '../core/platform.js'
import type { SourceFile } from '../core/span.js'
import type { FileView } from '../core/view.js'
import { compileIgnore } from '../frontend/dockerignore.js'
import type { Scope } from '../io/scope.js'
import { layerStack, resolvePath } from '../layer/stack.js'
import type { ContextDirectory } from '../ops/context.js'
import { layerDirectories } from '../ops/stack.js'
import { type ContextReference, parseContextReference, withoutCredentials } from './context-reference.js'
import { type ContextWorld, type FilesContext, fetchContext, makeScratch, openDirectory } from './contexts.js'
import {
  type BuildFiles,
  describeNamed,
  dockerfileNames,
  ignorePatterns,
  isFetchedPath,
  joinFiles,
  type MainFiles,
  namedReferences,
  noDockerfile,
  readLocalMain,
  requireDockerfile,
} from './dockerfile.js'
import type { Engine } from './engine.js'
import { findImage } from './images.js'
import { createLayers } from './layers.js'
import type { BuildOptions } from './options.js'
import { secretFinder } from './runners.js'
import { withStreamRead } from './stream-file.js'
import { dockerfileLimit, readText, requireStdin } from './tar-context.js'

/** The main context, opened. */
type MainContext = FilesContext | { readonly kind: 'image'; readonly reference: string }

/** Fetches what has to be fetched before the Dockerfile is known. Named contexts wait until they are used. */
export async function fetchBuildFiles(given: BuildOptions, engine: Engine, scope: Scope): Promise<BuildFiles> {
  const options = await withStreamRead(given, engine.ctx.signal)
  const world: ContextWorld = {
    ...{ engine, scope, stdin: options.stdin, findSecret: secretFinder(options.secrets ?? {}), ssh: options.ssh ?? {} },
    keepGitDir: keepsGitDir(options),
  }
  const references = namedReferences(options)
  const main = readLocalMain(options) ?? (await fetchMain(options, world))
  const named = describeNamed(references, async (reference, what) => {
    return directoryOf(await fetchContext(reference, 'named', what, world), reference.text, world)
  })
  if (named === undefined) throw new Error('named contexts can be fetched here')
  return joinFiles(main, named)
}

const keepGitDirArg = 'BUILDKIT_CONTEXT_KEEP_GIT_DIR'

function keepsGitDir({ buildArgs = {} }: BuildOptions): boolean {
  const value = buildArgs[keepGitDirArg] ?? ''
  if (/^(1|t|true|0|f|false|)$/i.test(value)) return /^[1t]/i.test(value)
  throw new UsageError('USAGE_BAD_ARGUMENT', `--build-arg ${keepGitDirArg}=${value} is neither true nor false`)
}

async function fetchMain(options: BuildOptions, world: ContextWorld): Promise<MainFiles> {
  const { context } = options
  const reference = parseContextReference(context, `the context ${withoutCredentials(context)}`)
  checkStdin(reference, options)
  const main = await openMain(reference, world)
  const common = { source: await readSource(main, options, world), place: context, includesFrom: includesFrom(options) }
  if (main.kind === 'image') return { ...common, ignore: [], directory: undefined, contextImage: main.reference }
  const { directory: path, origin } = main
  if (origin === 'local') return { ...common, ignore: ignorePatterns(path, undefined), directory: { path } }
  return { ...common, ignore: [], directory: directoryOf(main, context, world) }
}

/** What is remembered of files that are gone after this would only fill the store: it goes with them. */
function directoryOf(
  { directory: path, timeSeconds, pinned }: FilesContext,
  text: string,
  world: ContextWorld,
): ContextDirectory {
  return { path, memos: makeScratch(world), shown: withoutCredentials(text), timeSeconds, pinned }
}

/** A Dockerfile that is named is in the context, unless it comes from elsewhere. */
function includesFrom({ dockerfile }: BuildOptions): string {
  if (dockerfile === undefined || !('path' in dockerfile) || isFetchedPath(dockerfile.path)) return ''
  const directory = posix.normalize(posix.dirname(dockerfile.path))
  return directory === '.' || directory.startsWith('..') || directory.startsWith('/') ? '' : directory
}

function checkStdin({ kind }: ContextReference, { dockerfile }: BuildOptions): void {
  if (kind !== 'stdin' || dockerfile === undefined || !('path' in dockerfile) || dockerfile.path !== '-') return
  throw new UsageError('USAGE_BAD_ARGUMENT', 'stdin cannot be both the context and the Dockerfile')
}

async function openMain(reference: ContextReference, world: ContextWorld): Promise<MainContext> {
  if (reference.kind === 'directory') return openDirectory(reference.path)
  if (reference.kind === 'image') return reference
  const what = reference.kind === 'stdin' ? 'the context' : `the context ${withoutCredentials(reference.text)}`
  const main = await fetchContext(reference, 'main', what, world)
  warnOfIgnoreFile(main, what, world)
  return main
}

/** BuildKit passes over it in silence, and then files are in the image that nobody wanted there. */
function warnOfIgnoreFile({ directory }: FilesContext, what: string, { engine }: ContextWorld): void {
  if (viewOf(directory).lstat('/.dockerignore') === undefined) return
  engine.ctx.emit({
    type: 'warning',
    diagnostic: {
      severity: 'warning',
      code: 'IgnoreFileNotUsed',
      message: `the .dockerignore in ${what} is not used: only that of a directory is`,
      hint: 'leave the files out of what is sent, or build from a directory',
    },
  })
}

function viewOf(directory: string): FileView {
  return new ContextTree(directory, compileIgnore([]))
}

async function readSource(main: MainContext, options: BuildOptions, world: ContextWorld): Promise<SourceFile> {
  const { context, dockerfile } = options
  if (main.kind === 'files' && main.text !== undefined) {
    if (dockerfile === undefined) return { name: 'Dockerfile', text: main.text }
    throw new UsageError(
      'USAGE_BAD_ARGUMENT',
      `${shownContext(context)} is a Dockerfile alone, but another one is given with -f`,
      {
        hint: 'leave one of the two out',
      },
    )
  }
  if (dockerfile !== undefined && 'text' in dockerfile) return dockerfile
  if (dockerfile !== undefined && isFetchedPath(dockerfile.path)) return fetchSource(dockerfile.path, world)
  if (dockerfile !== undefined && isAbsolute(dockerfile.path)) {
    return { name: dockerfile.path, text: requireDockerfile(dockerfile.path, dockerfile.path) }
  }
  return readFromContext(main, dockerfile?.path, options, world)
}

function shownContext(context: string): string {
  return context === '-' ? 'what came on stdin' : `the context ${withoutCredentials(context)}`
}

async function fetchSource(path: string, world: ContextWorld): Promise<SourceFile> {
  if (path === '-')
    return { name: 'Dockerfile', text: await readText(requireStdin('the Dockerfile', world), 'the Dockerfile on stdin') }
  const { fetchDockerfile } = await import('./http-context.js')
  return { name: withoutCredentials(path), text: await fetchDockerfile(path, world) }
}

async function readFromContext(
  main: MainContext,
  path: string | undefined,
  { context, platforms }: BuildOptions,
  { engine }: ContextWorld,
): Promise<SourceFile> {
  const view = main.kind === 'files' ? viewOf(main.directory) : await viewOfImage(main.reference, platforms?.[0], engine)
  for (const name of path === undefined ? dockerfileNames : [path]) {
    const { entry } = resolvePath(view, join('/', name), { followLast: true })
    if (entry?.type === 'directory') throw new BuildError('DOCKERFILE_NOT_FOUND', `${name} is a directory, not a Dockerfile`)
    if (entry === undefined) continue
    if (entry.type !== 'file') throw new BuildError('DOCKERFILE_NOT_FOUND', `${name} is a ${entry.type}, not a Dockerfile`)
    if (entry.size > dockerfileLimit) {
      throw new BuildError('DOCKERFILE_NOT_FOUND', `${name} has ${entry.size.toLocaleString('en')} bytes: it is no Dockerfile`)
    }
    return { name, text: readFileSync(fsPath(entry.hostPath), 'utf8') }
  }
  if (path === undefined) throw noDockerfile(shownContext(context))
  throw new BuildError('DOCKERFILE_NOT_FOUND', `there is no file ${path} in ${shownContext(context)}`)
}

async function viewOfImage(reference: string, platform: Platform | undefined, engine: Engine): Promise<FileView> {
  const { settings, store, ctx } = engine
  const { diffIds } = await findImage(reference, platform ?? settings.hostPlatform, 'missing', engine, ctx)
  await createLayers(engine).unpack(diffIds, 'context', ctx)
  return layerStack(layerDirectories(store, diffIds))
}
