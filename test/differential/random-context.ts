/** Random contexts: a few files, directories, links, archives, and sometimes a `.dockerignore`. */
import { gzipSync } from 'node:zlib'
import type { Random } from '../helpers/random.js'
import { pax, type RawEntry, rawTar } from '../helpers/raw-tar.js'
import type { ContextEntry } from './case.js'

const names = ['a', 'b', 'c.txt', 'd.txt', '.hidden', 'e', 'x1', 'x2', 'with space', 'lib']

/** Makes a context. */
export function randomContext(random: Random, negations: boolean): ContextEntry[] {
  const entries = new Map<string, ContextEntry>()
  const directories = ['']
  for (let count = 4 + random.below(12); count > 0; count--) {
    const parent = random.pick(directories)
    const path = `${parent}${random.pick(names)}`
    if (entries.has(path)) continue
    const kind = random.next()
    if (kind < 0.3 && path.split('/').length < 4) {
      entries.set(path, { path, type: 'directory', mode: random.pick([0o755, 0o755, 0o700, 0o775, 0o1777]) })
      directories.push(`${path}/`)
    } else if (kind < 0.42) entries.set(path, { path, type: 'link', target: linkTarget(random) })
    else entries.set(path, randomFile(random, path))
  }
  if (random.chance(0.3)) {
    entries.set('t.tar', { path: 't.tar', type: 'file', mode: 0o644, content: archive(random) })
    entries.set('t.tgz', { path: 't.tgz', type: 'file', mode: 0o600, content: gzipSync(archive(random)) })
  }
  if (random.chance(0.25)) entries.set('.dockerignore', ignoreFile(random, negations))
  return [...entries.values()]
}

function randomFile(random: Random, path: string): ContextEntry {
  const mode = random.pick([0o644, 0o644, 0o755, 0o600, 0o640, 0o4755, 0o444])
  return { path, type: 'file', mode, content: Buffer.from(random.chance(0.15) ? '' : `${path} ${random.below(100)}\n`) }
}

function linkTarget(random: Random): string {
  const name = random.pick(names)
  return random.pick([name, `./${name}`, `../${name}`, `/${name}`, 'nowhere'])
}

function archive(random: Random): Buffer {
  const directory = random.pick(['a', 'in', 'lib'])
  const maybe = (entry: RawEntry): readonly RawEntry[] => (random.chance(0.25) ? [entry] : [])
  return rawTar([
    ...maybe({ name: './', type: '5', mode: 0o750 }),
    ...(random.chance(0.8)
      ? [{ name: `${directory}/`, type: '5', mode: random.pick([0o755, 0o700]), uid: random.pick([0, 7]) }]
      : []),
    { name: `${directory}/f`, content: 'of the archive', mode: 0o640, uid: 1000 },
    ...maybe({ name: `${directory}/l`, type: '2', target: 'f' }),
    ...maybe({ name: `${directory}/h`, type: '1', target: `${directory}/f`, mode: 0o640, uid: 1000 }),
    ...maybe({ name: `./${directory}/dot`, content: 'dot', mode: 0o4755 }),
    ...maybe({ name: `/${directory}/rooted`, content: 'rooted', gid: 9 }),
    ...maybe({ name: `${directory}/f`, content: 'again', mode: 0o600 }),
    ...maybe({ name: `${directory}/`, type: '5', mode: 0o711, gid: 3 }),
    ...maybe({ name: 'absolute', type: '2', target: '/etc' }),
    ...maybe({ name: 'up', type: '2', target: '../..' }),
    ...maybe({ name: 'pipe', type: '6', mode: 0o622 }),
    ...maybe({ name: 'unmade/deep/file', content: 'x' }),
    ...maybe({ name: `x/../${directory}/crossed`, content: 'crossed' }),
    ...(random.chance(0.2)
      ? [pax({ path: `${'long/'.repeat(30)}name`, 'SCHILY.xattr.user.x': 'value' }), { name: 'short', content: 'p' }]
      : []),
    { name: 'top', content: 'top' },
  ])
}

const patterns = [
  '*.txt',
  'a',
  '**/b',
  'lib/*',
  '!lib/c.txt/x1',
  'x?',
  '[ab]',
  '**/.hidden',
  '# comment',
  '',
  '/e',
  'lib/**',
  '*',
]

/** What the client of Docker 20.10 reads otherwise. */
const negating = [
  '**',
  '!lib/a',
  '!**/c.txt',
  '!**/a',
  '!**/*.txt',
  '!x?',
  '!lib/**',
  'a/b',
  '!a/b',
  '!*/a',
  ' b ',
  'lib/',
  './e',
  '!./e',
  '**/*',
  '!a/',
  'e/../a',
  '[a-c]*',
  '!b*',
  '!lib/*/a',
  '!.',
  '*/*',
  '!**',
]

function ignoreFile(random: Random, negations: boolean): ContextEntry {
  const known = negations ? [...patterns, ...negating] : patterns
  const lines = Array.from({ length: 1 + random.below(negations ? 6 : 4) }, () => random.pick(known))
  if (lines.includes('*')) lines.push('!a', '!lib', '!c.txt')
  return { path: '.dockerignore', type: 'file', mode: 0o644, content: Buffer.from(`${lines.join('\n')}\n`) }
}
