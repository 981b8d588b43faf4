/** The verbs of the command line, docker's longer spellings of them, and where each is found. Loading one is left to `program.ts`. */
import type { AnyCommand } from './command.js'

/** A verb: what `mille --help` says of it, and its module. */
export interface Verb {
  readonly summary: string
  readonly load: () => Promise<{ readonly command: AnyCommand }>
}

/** All verbs in the order of the help text. */
export const verbs: Readonly<Record<string, Verb>> = {
  build: { summary: 'Build an image from a Dockerfile', load: () => import('./commands/build.js') },
  run: { summary: 'Run a command in a new container of an image', load: () => import('./commands/run.js') },
  images: { summary: 'List images', load: () => import('./commands/images.js') },
  rmi: { summary: 'Remove images', load: () => import('./commands/rmi.js') },
  tag: { summary: 'Give an image another name', load: () => import('./commands/tag.js') },
  inspect: { summary: 'Show everything about images', load: () => import('./commands/inspect.js') },
  history: { summary: 'Show the layers and history of an image', load: () => import('./commands/history.js') },
  'history ls': { summary: 'List build records', load: () => import('./commands/history-ls.js') },
  'history inspect': {
    summary: 'Show one build: its steps, times and reasons',
    load: () => import('./commands/history-inspect.js'),
  },
  'history logs': { summary: 'Show the output of a build again', load: () => import('./commands/history-logs.js') },
  'history diff': { summary: 'Show what two builds did differently', load: () => import('./commands/history-diff.js') },
  'history rm': { summary: 'Remove build records', load: () => import('./commands/history-rm.js') },
  import: { summary: 'Make an image of a root filesystem tar', load: () => import('./commands/import.js') },
  save: { summary: 'Write images to a tar archive', load: () => import('./commands/save.js') },
  load: { summary: 'Read images from a tar archive', load: () => import('./commands/load.js') },
  pull: { summary: 'Fetch an image from a registry', load: () => import('./commands/pull.js') },
  push: { summary: 'Send an image to a registry', load: () => import('./commands/push.js') },
  login: { summary: 'Save credentials for a registry', load: () => import('./commands/login.js') },
  logout: { summary: 'Forget the credentials for a registry', load: () => import('./commands/logout.js') },
  du: { summary: 'Show what takes the space of the store', load: () => import('./commands/du.js') },
  prune: { summary: 'Remove cached results and what nothing needs', load: () => import('./commands/prune.js') },
  'image prune': {
    summary: 'Remove images without a name, or all images',
    load: () => import('./commands/image-prune.js'),
  },
  'system prune': {
    summary: 'Remove images without a name and cached results',
    load: () => import('./commands/system-prune.js'),
  },
  doctor: { summary: 'Check what this machine can do', load: () => import('./commands/doctor.js') },
  version: { summary: 'Show versions', load: () => import('./commands/version.js') },
  lint: { summary: 'Check Dockerfiles for mistakes and bad habits', load: () => import('./commands/lint.js') },
  fmt: { summary: 'Print Dockerfiles in a canonical layout', load: () => import('./commands/fmt.js') },
  'debug ast': { summary: 'Show the syntax tree of a Dockerfile', load: () => import('./commands/debug-ast.js') },
  'debug graph': { summary: 'Show the build graph of a Dockerfile', load: () => import('./commands/debug-graph.js') },
}

/** What docker users also type. */
export const aliases: Readonly<Record<string, string>> = {
  'image build': 'build',
  'builder build': 'build',
  'buildx build': 'build',
  'buildx b': 'build',
  'container run': 'run',
  'image ls': 'images',
  'image list': 'images',
  'image rm': 'rmi',
  'image remove': 'rmi',
  'image tag': 'tag',
  'image inspect': 'inspect',
  'image history': 'history',
  'image import': 'import',
  'image save': 'save',
  'image load': 'load',
  'image pull': 'pull',
  'image push': 'push',
  'builder prune': 'prune',
  'buildx history ls': 'history ls',
  'buildx history inspect': 'history inspect',
  'buildx history logs': 'history logs',
  'buildx history rm': 'history rm',
  'buildx prune': 'prune',
  'buildx du': 'du',
}

/** What the first words of a command line name. */
export type Resolved =
  | { readonly kind: 'verb'; readonly name: string; readonly typed: string; readonly rest: readonly string[] }
  /** Words that only start verbs: `image`, `debug`. */
  | { readonly kind: 'group'; readonly name: string; readonly verbs: readonly string[]; readonly rest: readonly string[] }
  | { readonly kind: 'unknown'; readonly word: string; readonly known: readonly string[] }

/** Finds the verb that one, two or three words name. */
export function resolveVerb(words: readonly string[]): Resolved {
  const [first = '', second = ''] = words
  const pair = `${first} ${second}`
  const triple = `${pair} ${words[2] ?? ''}`
  const longest = aliases[triple]
  if (longest !== undefined) return { kind: 'verb', name: longest, typed: triple, rest: words.slice(3) }
  const name = Object.hasOwn(verbs, pair) ? pair : aliases[pair]
  if (name !== undefined) return { kind: 'verb', name, typed: pair, rest: words.slice(2) }
  if (Object.hasOwn(verbs, first)) return { kind: 'verb', name: first, typed: first, rest: words.slice(1) }
  const inGroup = [...Object.keys(verbs), ...Object.keys(aliases)].filter((key) => key.startsWith(`${first} `))
  if (inGroup.length === 0) return { kind: 'unknown', word: first, known: Object.keys(verbs) }
  if (second === '' || second.startsWith('-')) return { kind: 'group', name: first, verbs: inGroup, rest: words.slice(1) }
  return { kind: 'unknown', word: pair, known: inGroup }
}

/** The other words for a verb. */
export function aliasesOf(name: string): string[] {
  return Object.keys(aliases).filter((alias) => aliases[alias] === name)
}
