/** Random COPY and ADD of what the context and earlier stages have. */
import type { StageState } from './generate.js'

const letters = [
  'u=rwX,go=rX',
  'a+x',
  'go-w',
  'u+s',
  '+t',
  'g=u',
  'a=r',
  'o+w,g-x',
  '-x',
  'u=rw,go=',
  'ug+X',
  'g+s',
  '=rx',
  'u=rwxs',
]
const excludes = ['*.txt', 'a', '**/b', 'x?', 'lib', '**', '*/a', '**/*.txt', 'nothing', './a', 'a/']

const wildcards = ['*', '*.txt', 'x?', '[ab]', 'l*', '?', '[^a-k]*']

/** An instruction that puts files somewhere. */
export function randomCopy(state: StageState): string {
  const { random, stages, abilities } = state
  if (abilities.heredocs && random.chance(0.1)) return heredoc(state)
  if (stages.length > 0 && random.chance(0.35)) return fromStage(state)
  const add = random.chance(0.25)
  const several = random.chance(0.25)
  const sources = Array.from({ length: several ? 2 + random.below(2) : 1 }, () => randomSource(state))
  // Docker leaves directories that an archive only implies 0:0 whatever --chown says.
  const archives = state.context.some(({ path }) => path === 't.tar')
  const flags = add && (!abilities.chmod || archives) ? [] : randomFlags(state)
  if (add && abilities.exclude && random.chance(0.15)) flags.push(`--unpack${random.pick(['', '=true', '=false'])}`)
  return assemble(
    [add ? 'ADD' : 'COPY', ...flags],
    [...sources, destination(state, several || sources.some((source) => /[*?[]/.test(source)))],
    state,
  )
}

function fromStage(state: StageState): string {
  const { random, stages } = state
  const index = random.below(stages.length)
  const { name, places } = stages[index] ?? { name: '0', places: [] }
  const from = `--from=${random.pick([String(index), name])}`
  const known = places.filter((place) => place.startsWith('/') && !place.includes('$'))
  const source =
    known.length > 0 && random.chance(0.75) ? random.pick(known) : random.pick(['/', '/', '/', '/*', '/d*', '/nowhere'])
  const place = destination(state, source.includes('*'))
  return assemble(['COPY', from, ...randomFlags(state)], [source, place], state)
}

/** Adds a flag that only some destinations go with, and puts the words together in one of both forms. */
function assemble(head: readonly string[], words: readonly string[], state: StageState): string {
  const { random } = state
  const { flags, place } = restrictedFlags(head, state)
  const all = place === undefined ? words : [...words.slice(0, -1), place]
  const json = all.some((word) => /\s/.test(word)) || random.chance(0.15)
  return [...head, ...flags, json ? JSON.stringify(all).replaceAll('","', '", "') : all.join(' ')].join(' ')
}

/**
 * BuildKit's --chmod also changes the directories that it makes on the way. Docker's --link falls back to a plain copy,
 * that sees what is there. Both are then deliberate differences: docs/testing.md.
 */
function restrictedFlags(
  head: readonly string[],
  { random, abilities }: StageState,
): { readonly flags: readonly string[]; readonly place?: string } {
  const kind = random.next()
  if (kind < 0.1 && abilities.chmod) return { flags: [`--chmod=${random.pick(letters)}`] }
  if (kind < 0.17 && abilities.chmod) return { flags: [`--chmod=${random.pick(['644', '0755', '0700', '4755'])}`], place: '/' }
  const named = head.some((word) => /^--chown=.*[a-z]/.test(word))
  if (kind > 0.25 || named || !abilities.link) return { flags: [] }
  return { flags: ['--link'], place: `/linked-${random.below(1e6)}/` }
}

function randomSource({ random, context }: StageState): string {
  if (random.chance(0.2))
    return random.pick(context.some(({ type }) => type === 'link') ? wildcards : [...wildcards, '*/a', '*/*'])
  const ignored = context.some(({ path }) => path === '.dockerignore')
  if (random.chance(ignored ? 0.8 : 0.08)) return random.pick(['.', './', '/'])
  const found = context.filter(({ type, path }) => (type !== 'link' || random.chance(0.03)) && path !== '.dockerignore')
  if (found.length === 0) return '.'
  const { path } = random.pick(found)
  return random.chance(0.15) ? `/${path}` : random.chance(0.1) ? random.pick([`./${path}`, `../${path}`, `x/.././${path}`]) : path
}

function destination(state: StageState, several: boolean): string {
  const { random, places } = state
  const reused = places.length > 0 && random.chance(0.2) ? random.pick(places) : undefined
  const place = reused ?? random.pick(['/dest', '/a', '/new/deep', '/d', 'rel', '.', '/', '/l', '/dest/sub', '/$UNSET/q'])
  places.push(place)
  return (several || random.chance(0.65)) && !place.endsWith('/') ? `${place}/` : place
}

function randomFlags({ random, busybox, abilities, context }: StageState): string[] {
  const flags: string[] = []
  if (random.chance(0.25)) {
    const names = busybox ? ['nobody', 'nobody:root', 'root:nogroup', ':7'] : []
    flags.push(`--chown=${random.pick(['1000', '1:2', '0:5', '65534', ...names])}`)
  }
  // BuildKit follows dangling links, and fails, where --exclude makes it look at every path.
  const links = context.some(({ type, path }) => type === 'link' || path === 't.tar')
  if (abilities.exclude && !links && random.chance(0.25)) {
    for (let left = 1 + random.below(2); left > 0; left--) flags.push(`--exclude=${random.pick(excludes)}`)
  }
  return flags
}

function heredoc(state: StageState): string {
  const { random } = state
  const word = random.pick(['EOF', '"EOF"', "'E'", 'file.txt'])
  const name = word.replaceAll(/["']/g, '')
  const strip = random.chance(0.3) ? '-' : ''
  const body = [
    random.pick(['$A', '\\$A', 'plain', `"\${E1:-x}"`, '# no comment']),
    '\ttab',
    random.pick(['', 'back\\\\slash', 'a "b" \'c\'']),
  ]
  const flags = randomFlags(state).filter((flag) => !flag.startsWith('--exclude'))
  return `${['COPY', ...flags].join(' ')} <<${strip}${word} ${destination(state, random.chance(0.5))}\n${body.join('\n')}\n${name}`
}
