/** The questions about builds, runs and pushes. Those about the cache are in cache-questions.ts. */
import { join } from 'node:path'
import type { OwnQuestion, Question } from './harness.js'
import { makeApplication, makeLayers, makeManyFiles, makeParallel, makeSteps, touchContent } from './inputs.js'
import type { Tool } from './tools.js'

/** What questions are made for. */
export interface Setting {
  /** A directory for inputs. */
  readonly scratch: string
  /** Registry and folder of the base images. */
  readonly prefix: string
}

/** Questions by name. They are made when it is their turn: that writes their input. */
export type Questions = ReadonlyMap<string, () => readonly (Question | OwnQuestion)[]>

/** Builds, runs, exports and pushes. */
export function buildQuestions({ scratch, prefix }: Setting): Questions {
  const inputs = (name: string): string => join(scratch, 'inputs', name)
  const tag = (name: string): string => `${prefix}/bench/${name}`
  return new Map<string, () => readonly Question[]>([
    ['one-file', () => [oneFile(inputs('one'), tag('one'), prefix)]],
    ['steps', () => [steps(inputs('steps'), tag('steps'), prefix)]],
    ['files', () => manyFiles(inputs('files'), tag('files'))],
    ['parallel', () => [parallel(inputs('parallel'), tag('parallel'), prefix)]],
    ['run', () => [run(`${prefix}/busybox`)]],
    ['export', () => [exported(inputs('export'), tag('export'), prefix, `${scratch}/out.tar`)]],
    ['push', () => pushes(inputs('push'), prefix)],
  ])
}

function oneFile(input: string, tag: string, prefix: string): Question {
  makeApplication(input, prefix, 2000)
  return {
    title: 'one file changed',
    size: '1 of 2,000 files; a COPY and a RUN again',
    rounds: 5,
    goal: 0.2,
    before: (tool) => tool.build(input, tag, ''),
    beforeRound: (tool, round) => {
      touchContent(input, 'src/d0/m0/f0.js', `changed for ${tool.name} in round ${round} of ${Date.now()}\n`)
      return undefined
    },
    command: (tool) => tool.build(input, tag, ''),
  }
}

function steps(input: string, tag: string, prefix: string): Question {
  makeSteps(input, prefix)
  return {
    title: '20 tiny RUN steps',
    size: '20 × echo',
    rounds: 3,
    goal: 0.5,
    before: (tool) => tool.build(input, tag, '--build-arg BUST=first'),
    command: (tool, round) => tool.build(input, tag, `--build-arg BUST=${round}-${Date.now()}`),
  }
}

function manyFiles(input: string, tag: string): readonly Question[] {
  const bytes = makeManyFiles(input, 20_000)
  const size = `20,000 files, ${(bytes / 1e6).toFixed(0)} MB`
  const command = (tool: Tool): string => tool.build(input, tag, '')
  return [
    { title: 'COPY, cold', size, rounds: 3, goal: 1.2, beforeRound: (tool) => tool.reset, settle: true, command },
    { title: 'COPY, no-op', size, rounds: 5, goal: 0.13, command },
  ]
}

function parallel(input: string, tag: string, prefix: string): Question {
  makeParallel(input, prefix)
  return {
    title: 'four stages of sleep 2',
    size: '4 × 2 s',
    rounds: 3,
    goal: 2.1,
    before: (tool) => tool.pull(`${prefix}/busybox`),
    command: (tool, round) => tool.build(input, tag, `--build-arg BUST=${round}-${Date.now()}`),
  }
}

function run(image: string): Question {
  return {
    title: 'run --rm busybox true',
    size: 'default network',
    rounds: 9,
    goal: 0.09,
    before: (tool) => tool.pull(image),
    command: (tool) => tool.run?.(image),
  }
}

function exported(input: string, tag: string, prefix: string, file: string): Question {
  makeSteps(input, prefix)
  return {
    title: 'export as an OCI archive',
    size: 'debian base + 20 tiny layers (docker: docker archive)',
    rounds: 3,
    goal: 0.3,
    before: (tool) => tool.build(input, tag, ''),
    beforeRound: () => `rm -f ${file}`,
    command: (tool) => tool.save(tag, file),
  }
}

function pushes(input: string, prefix: string): readonly Question[] {
  makeLayers(input)
  // A repository name takes no blanks or brackets: "docker (classic builder)" gives its first word.
  const named = (tool: Tool, round: number): string => `${prefix}/push/${tool.name.split(' ')[0]}-${round}-${process.pid}`
  const stamp = (layers: readonly string[], tool: Tool, round: number): void => {
    for (const layer of layers) touchContent(input, `${layer}/stamp`, `${tool.name} ${round} ${Date.now()}`)
  }
  return [
    {
      title: 'push, cold',
      size: '3 layers of 40 MB',
      rounds: 3,
      goal: 0.35,
      beforeRound: (tool, round) => {
        stamp(['a', 'b', 'c'], tool, round)
        return tool.build(input, named(tool, round), '')
      },
      command: (tool, round) => tool.push(named(tool, round)),
    },
    {
      title: 'push, new top layer',
      size: '2 bytes over 120 MB',
      rounds: 5,
      goal: 0.08,
      before: (tool) => `${tool.build(input, named(tool, 99), '')} && ${tool.push(named(tool, 99))}`,
      beforeRound: (tool, round) => {
        stamp(['top'], tool, round)
        return tool.build(input, named(tool, 99), '')
      },
      command: (tool) => tool.push(named(tool, 99)),
    },
  ]
}
