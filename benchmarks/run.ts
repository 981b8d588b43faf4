/**
 * Times mille beside the peers that are installed and prints a table of medians, in seconds.
 *
 * usage: npm run bench [-- NAME …]   names: noop, one-file, steps, files, parallel, run, export, cache, push
 *
 * Everything lies in one temporary directory: stores, inputs, a registry for the base images.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Answer, ask, formatTable, type Question, shell } from './harness.js'
import { makeApplication, makeLayers, makeManyFiles, makeParallel, makeSteps, touchContent } from './inputs.js'
import { startDocker, startRegistry } from './servers.js'
import { installedTools, type Tool } from './tools.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const mille = join(root, 'bin/mille')
const scratch = mkdtempSync(join(tmpdir(), 'mille-bench-'))
const log = join(scratch, 'log')
const inputs = (name: string): string => join(scratch, 'inputs', name)

function questions(prefix: string): ReadonlyMap<string, () => readonly Question[]> {
  const tag = (name: string): string => `${prefix}/bench/${name}`
  return new Map<string, () => readonly Question[]>([
    [
      'noop',
      () => {
        makeApplication(inputs('noop'), prefix, 1991)
        return [
          {
            title: 'no-op rebuild',
            size: '14 instructions, 1,998 files',
            rounds: 9,
            goal: 0.09,
            before: (tool) => tool.build(inputs('noop'), tag('noop'), ''),
            command: (tool) => tool.build(inputs('noop'), tag('noop'), ''),
          },
        ]
      },
    ],
    [
      'one-file',
      () => {
        makeApplication(inputs('one'), prefix, 1991)
        return [
          {
            title: 'one file changed',
            size: '1 of 1,998 files; a COPY and a RUN again',
            rounds: 5,
            goal: 0.2,
            before: (tool) => tool.build(inputs('one'), tag('one'), ''),
            beforeRound: (tool, round) => {
              touchContent(inputs('one'), 'src/d0/m0/f0.js', `changed for ${tool.name} in round ${round} of ${Date.now()}\n`)
              return undefined
            },
            command: (tool) => tool.build(inputs('one'), tag('one'), ''),
          },
        ]
      },
    ],
    [
      'steps',
      () => {
        makeSteps(inputs('steps'), prefix)
        return [
          {
            title: '20 tiny RUN steps',
            size: '20 × echo',
            rounds: 3,
            goal: 0.5,
            before: (tool) => tool.build(inputs('steps'), tag('steps'), '--build-arg BUST=first'),
            command: (tool, round) => tool.build(inputs('steps'), tag('steps'), `--build-arg BUST=${round}-${Date.now()}`),
          },
        ]
      },
    ],
    [
      'files',
      () => {
        const bytes = makeManyFiles(inputs('files'), 20_000)
        const size = `20,000 files, ${(bytes / 1e6).toFixed(0)} MB`
        return [
          {
            title: 'COPY, cold',
            size,
            rounds: 3,
            goal: 1.2,
            beforeRound: (tool) => tool.reset,
            command: (tool) => tool.build(inputs('files'), tag('files'), ''),
          },
          { title: 'COPY, no-op', size, rounds: 5, goal: 0.13, command: (tool) => tool.build(inputs('files'), tag('files'), '') },
        ]
      },
    ],
    [
      'parallel',
      () => {
        makeParallel(inputs('parallel'), prefix)
        return [
          {
            title: 'four stages of sleep 2',
            size: '4 × 2 s',
            rounds: 3,
            goal: 2.1,
            before: (tool) => tool.pull(`${prefix}/busybox`),
            command: (tool, round) => tool.build(inputs('parallel'), tag('parallel'), `--build-arg BUST=${round}-${Date.now()}`),
          },
        ]
      },
    ],
    [
      'run',
      () => [
        {
          title: 'run --rm busybox true',
          size: 'default network',
          rounds: 9,
          goal: 0.09,
          before: (tool) => tool.pull(`${prefix}/busybox`),
          command: (tool) => tool.run?.(`${prefix}/busybox`),
        },
      ],
    ],
    [
      'export',
      () => {
        makeSteps(inputs('export'), prefix)
        return [
          {
            title: 'export as an OCI archive',
            size: 'debian base + 20 tiny layers (docker: docker archive)',
            rounds: 3,
            goal: 0.3,
            before: (tool) => tool.build(inputs('export'), tag('export'), ''),
            beforeRound: () => `rm -f ${scratch}/out.tar`,
            command: (tool) => tool.save(tag('export'), `${scratch}/out.tar`),
          },
        ]
      },
    ],
    [
      'cache',
      () => {
        makeSteps(inputs('cache'), prefix)
        const withCache = (tool: Tool, way: 'to' | 'from'): string | undefined => {
          const flags = tool.cache?.(tag(`cache-${tool.name.split(' ')[0]}`))
          return flags && tool.build(inputs('cache'), tag(`cache-${tool.name.split(' ')[0]}`), flags[way])
        }
        return [
          {
            title: 'import of a registry cache, all hits',
            size: '20 RUN steps, empty store',
            rounds: 3,
            before: (tool) => `${withCache(tool, 'to')} && ${tool.push(tag(`cache-${tool.name.split(' ')[0]}`))}`,
            beforeRound: (tool) => tool.reset,
            command: (tool) => withCache(tool, 'from'),
          },
        ]
      },
    ],
    [
      'push',
      () => {
        makeLayers(inputs('push'))
        // A repository name takes no blanks or brackets: "docker (classic builder)" gives its first word.
        const named = (tool: { name: string }, round: number): string =>
          `${prefix}/push/${tool.name.split(' ')[0]}-${round}-${process.pid}`
        return [
          {
            title: 'push, cold',
            size: '3 layers of 40 MB',
            rounds: 3,
            goal: 0.35,
            beforeRound: (tool, round) => {
              touchContent(inputs('push'), 'a/stamp', `${tool.name} ${round} ${Date.now()}`)
              touchContent(inputs('push'), 'b/stamp', `${tool.name} ${round} ${Date.now()}`)
              touchContent(inputs('push'), 'c/stamp', `${tool.name} ${round} ${Date.now()}`)
              return tool.build(inputs('push'), named(tool, round), '')
            },
            command: (tool, round) => tool.push(named(tool, round)),
          },
          {
            title: 'push, new top layer',
            size: '2 bytes over 120 MB',
            rounds: 5,
            goal: 0.08,
            before: (tool) => `${tool.build(inputs('push'), named(tool, 99), '')} && ${tool.push(named(tool, 99))}`,
            beforeRound: (tool, round) => {
              touchContent(inputs('push'), 'top/stamp', `${tool.name} ${round} ${Date.now()}`)
              return tool.build(inputs('push'), named(tool, 99), '')
            },
            command: (tool) => tool.push(named(tool, 99)),
          },
        ]
      },
    ],
  ])
}

async function main(): Promise<void> {
  mkdirSync(join(scratch, 'mille'), { recursive: true })
  await using registry = await startRegistry(scratch)
  await using docker = await startDocker(scratch)
  const tools = installedTools(mille, scratch, docker.host)
  const prefix = `${registry.host}/base`
  for (const name of ['busybox', 'debian']) {
    const tar = join(root, '.cache/bases', `${name}.tar`)
    shell(`${root}/fixtures/bases/make ${name} ${tar}`, log)
    shell(`MILLE_ROOT=${scratch}/import ${mille} import ${tar} ${prefix}/${name}`, log)
    shell(`MILLE_ROOT=${scratch}/import ${mille} push ${prefix}/${name}`, log)
  }
  const wanted = process.argv.slice(2)
  const answers: Answer[] = []
  for (const [name, make] of questions(prefix)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    for (const question of make()) answers.push(ask(question, tools, log))
  }
  process.stdout.write(`${tools.map((tool) => `${tool.name}: ${tool.version}`).join('\n')}\n`)
  process.stdout.write(
    `node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}); medians in seconds\n\n`,
  )
  process.stdout.write(`${formatTable(answers, tools)}\n`)
}

try {
  await main()
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
