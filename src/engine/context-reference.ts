/**
 * What a context argument names: `PATH`, `-`, a URL, an image, a layout. The text alone decides, except that a directory
 * that exists is taken for one when the text could also be a git address (`github.com/x/y`).
 */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { BuildError } from '../core/errors.js'
import { type GitRef, parseGitRef } from '../frontend/git-ref.js'

/** A context argument, understood. `text` is what the user wrote. */
export type ContextReference = { readonly text: string } & (
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'stdin' }
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'git'; readonly ref: GitRef }
  /** `docker-image://NAME`, or `oci-layout://PATH[:TAG][@DIGEST]` with an absolute path. */
  | { readonly kind: 'image'; readonly reference: string }
)

/** The beginning of names of images in a layout on this machine, as `ResolveWorld.lookup` gets them. */
export const layoutScheme = 'oci-layout://'

/**
 * Reads a context argument.
 *
 * @param what how messages name it: `the context X`, `the build context name=X`
 * @throws BuildError CONTEXT_UNSUPPORTED for kinds that there are not
 */
export function parseContextReference(text: string, what: string): ContextReference {
  if (text === '-') return { kind: 'stdin', text }
  const image = /^docker-image:\/\/(.+)$/.exec(text)?.[1]
  if (image !== undefined) return { kind: 'image', text, reference: image }
  if (text.startsWith(layoutScheme)) return { kind: 'image', text, reference: layoutReference(text, what) }
  if (/^(target|input):/.test(text)) {
    throw new BuildError('CONTEXT_UNSUPPORTED', `${what} is the result of another build, which only a bake file can name`, {
      hint: 'give the directory, image or layout that the other build makes',
    })
  }
  const git = parseGitRef(text)
  if (git !== undefined && !isDirectory(text)) {
    if ('problem' in git) throw new BuildError('CONTEXT_UNSUPPORTED', `${what} is no git address: ${git.problem}`)
    return { kind: 'git', text, ref: git }
  }
  if (/^https?:\/\//.test(text)) return { kind: 'http', text, url: text }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(text)?.[1]
  if (scheme === undefined) return { kind: 'directory', text, path: text }
  throw new BuildError('CONTEXT_UNSUPPORTED', `${what} begins with ${scheme}://, which is no kind of context`, {
    hint: 'kinds are a directory, git and http(s) URLs, docker-image:// and oci-layout://',
  })
}

/** A context as messages may show it: without the name and password of a URL. */
export function withoutCredentials(text: string): string {
  return text.replace(/^(\w+:\/\/)[^/@\s]+@/, '$1')
}

function isDirectory(path: string): boolean {
  return statSync(resolve(path), { throwIfNoEntry: false })?.isDirectory() === true
}

/** The same with an absolute path: it is looked up after names and platforms are known. */
function layoutReference(text: string, what: string): string {
  const { path, tag, digest } = splitLayout(text)
  if (path === '') throw new BuildError('CONTEXT_UNSUPPORTED', `${what} names no directory`)
  const suffix = digest === undefined ? '' : `@${digest}`
  return `${layoutScheme}${resolve(path)}${tag === undefined ? '' : `:${tag}`}${suffix}`
}

/** The parts of `oci-layout://PATH[:TAG][@DIGEST]`. */
export function splitLayout(text: string): { readonly path: string; readonly tag?: string; readonly digest?: string } {
  const [, path = '', tag, digest] = /^(.*?)(?::([\w][\w.-]{0,127}))?(?:@([^@/]+))?$/.exec(text.slice(layoutScheme.length)) ?? []
  return { path, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}
