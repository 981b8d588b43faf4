/** The questions about the cache: builds of nothing, early cutoff, a cache that travels, and what the cache itself costs. */
import { join } from 'node:path'
import { gcQuestion } from './gc.js'
import type { OwnQuestion, Question } from './harness.js'
import { makeApplication, makeChain, stepsRun } from './inputs.js'
import { keyQuestion } from './keys.js'
import type { Questions, Setting } from './questions.js'
import type { Tool } from './tools.js'

/** Everything about the cache. */
export function cacheQuestions({ scratch, prefix }: Setting): Questions {
  const inputs = (name: string): string => join(scratch, 'inputs', name)
  const tag = (name: string): string => `${prefix}/bench/${name}`
  return new Map<string, () => readonly (Question | OwnQuestion)[]>([
    ['noop-20', () => [noop(inputs('noop-20'), tag('noop-20'), prefix, { files: 20, rounds: 9 })]],
    ['noop-2000', () => [noop(inputs('noop-2000'), tag('noop-2000'), prefix, { files: 2000, rounds: 9, goal: 0.09 })]],
    ['noop-50000', () => [noop(inputs('noop-50000'), tag('noop-50000'), prefix, { files: 50_000, rounds: 3, perDirectory: 10 })]],
    ['cutoff', () => [earlyCutoff(inputs('cutoff'), tag('cutoff'), prefix)]],
    ['cache', () => [cacheImport(inputs('cache'), tag, prefix)]],
    ['keys', () => [keyQuestion()]],
    ['gc', () => [gcQuestion(join(scratch, 'gc'))]],
  ])
}

interface Noop {
  readonly files: number
  readonly rounds: number
  readonly goal?: number
  readonly perDirectory?: number
}

function noop(input: string, tag: string, prefix: string, { files, rounds, goal, perDirectory }: Noop): Question {
  makeApplication(input, prefix, files, perDirectory)
  return {
    title: 'no-op rebuild',
    size: `14 instructions, ${files.toLocaleString('en')} files`,
    rounds,
    ...(goal === undefined ? {} : { goal }),
    before: (tool) => tool.build(input, tag, ''),
    settle: true,
    command: (tool) => tool.build(input, tag, ''),
  }
}

/** The third of twelve steps has another comment and leaves the same files. */
function earlyCutoff(input: string, tag: string, prefix: string): Question {
  makeChain(input, prefix, 'first')
  return {
    title: 'early cutoff',
    size: '12 RUN steps, a comment in the third is edited',
    rounds: 5,
    before: (tool) => tool.build(input, tag, ''),
    beforeRound: (tool, round) => {
      makeChain(input, prefix, `edited for ${tool.name} in round ${round} of ${Date.now()}`)
      return undefined
    },
    command: (tool) => tool.build(input, tag, ''),
    steps: stepsRun,
  }
}

/** Everything is in a cache beside the image, and nothing in the store. */
function cacheImport(input: string, tag: (name: string) => string, prefix: string): Question {
  makeChain(input, prefix, 'first')
  const named = (tool: Tool): string => tag(`cache-${tool.name.split(' ')[0]}`)
  const withCache = (tool: Tool, way: 'to' | 'from'): string | undefined => {
    const flags = tool.cache?.(named(tool))
    return flags && tool.build(input, named(tool), flags[way])
  }
  return {
    title: 'import of a registry cache, all hits',
    size: '12 RUN steps, empty store',
    rounds: 3,
    before: (tool) => `${tool.reset} && ${withCache(tool, 'to')} && ${tool.push(named(tool))}`,
    beforeRound: (tool) => tool.reset,
    settle: true,
    command: (tool) => withCache(tool, 'from'),
    steps: stepsRun,
  }
}
