/** What the stress test builds: Dockerfiles that share stages, prefixes, COPYs and cache mounts, and what their images must hold. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../helpers/random.js'

/** One build of a round. Those with equal numbers have equal steps. */
export interface StressCase {
  readonly name: string
  readonly context: string
  /** Path → content of the image's files. */
  readonly expected: Readonly<Record<string, string>>
}

/** Writes the context and the Dockerfile of one build. */
export function makeCase(directory: string, name: string, round: number, random: Random): StressCase {
  const context = join(directory, name)
  // Every third round comes again: then steps are found, in part.
  const edition = `${Math.floor(round / 3)}.${random.below(2)}`
  const tool = random.below(3)
  const tail = random.below(4)
  const swapped = random.chance(0.5)
  const shared = `shared ${edition}\n`
  const own = `own ${edition} ${tail}\n`
  mkdirSync(join(context, 'shared/deep'), { recursive: true })
  writeFileSync(join(context, 'shared/a'), shared)
  writeFileSync(join(context, 'shared/deep/b'), 'the same in all rounds\n')
  writeFileSync(join(context, 'own'), own)
  writeFileSync(join(context, 'Dockerfile'), dockerfile({ tool, tail, swapped, isUnique: random.chance(0.3), name, round }))
  return {
    name,
    context,
    expected: {
      '/shared/a': shared,
      '/shared/deep/b': 'the same in all rounds\n',
      '/made': shared.repeat(2),
      '/tool': `tool ${tool} of ${shared}`,
      '/own': own,
      '/both': `tool ${tool} of ${shared}${own}`,
      '/mounted': `${tail}\n`,
    },
  }
}

interface Shape {
  readonly tool: number
  readonly tail: number
  /** The same two caches in the other order. */
  readonly swapped: boolean
  /** Has a step that no other build has. */
  readonly isUnique: boolean
  readonly name: string
  readonly round: number
}

function dockerfile({ tool, tail, swapped, isUnique, name, round }: Shape): string {
  const caches = ['one', 'two'].map((id) => `--mount=type=cache,id=${id},target=/c/${id},sharing=locked`)
  const mounts = (swapped ? caches.reverse() : caches).join(' ')
  return `FROM localhost/base/busybox AS base
COPY shared/ /shared/
RUN cat /shared/a /shared/a > /made; sleep 0.1
FROM base AS tool
RUN printf 'tool ${tool} of ' > /tool; cat /shared/a >> /tool; sleep 0.0${tool}
FROM base
COPY --from=tool /tool /tool
COPY own /own
${isUnique ? `RUN echo ${name} ${round} > /tmp/only-here\n` : ''}RUN cat /tool /own > /both
RUN ${mounts} --mount=type=cache,id=all,target=/c/all echo ${tail} > /mounted; echo x >> /c/one/log; echo x >> /c/two/log; echo x >> /c/all/log
`
}
