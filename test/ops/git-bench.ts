/** Git sources on a store directory of their own, with a server of repositories that tests make. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { quietContext } from '../../src/core/context.js'
import { BuildError } from '../../src/core/errors.js'
import type { GitOp, Vertex } from '../../src/graph/op.js'
import { createGitRunner, type GitRunnerOptions } from '../../src/ops/git.js'
import type { OpRunner } from '../../src/solver/ports.js'
import { type GitServer, makeRepository, serveGit } from '../helpers/git-server.js'
import { tempDirectory } from '../helpers/temp.js'

const ctx = quietContext()

/** Runs of git sources on one store directory. */
export interface Bench extends AsyncDisposable {
  readonly root: string
  readonly server: GitServer
  readonly secrets: Map<string, string>
  readonly options: GitRunnerOptions
  /** What a new runner, as that of another build, says. */
  readonly key: (op: Partial<GitOp>) => Promise<string | undefined>
  /** The directory with the files. */
  readonly open: (op: Partial<GitOp>) => Promise<string>
  readonly fail: (op: Partial<GitOp>) => Promise<BuildError>
}

/** Opens a bench with a server and empty stores; `env` is what git gets beside PATH. */
export async function openBench(env: Readonly<Record<string, string>> = {}): Promise<Bench> {
  const temp = await tempDirectory()
  const root = join(temp.path, 'repositories')
  mkdirSync(root)
  const directory = join(temp.path, 'git')
  mkdirSync(directory)
  const server = await serveGit(root)
  const secrets = new Map<string, string>()
  const options: GitRunnerOptions = {
    directory,
    scratch: () => mkdtempSync(join(temp.path, 'scratch-')),
    stateDirectory: join(temp.path, 'state'),
    env: { PATH: process.env.PATH, ...env },
    findSecret: async (id) => {
      const value = secrets.get(id)
      return value === undefined ? undefined : Buffer.from(value)
    },
    ssh: {},
  }
  const vertexOf = (op: GitOp): Vertex => ({ id: 'v' as Vertex['id'], op, inputs: [], name: 'ADD', ignoreCache: false })
  const full = (op: Partial<GitOp>): GitOp => ({
    ...{ kind: 'git', remote: `${server.url}/smart/repo/.git`, keepGitDir: false, submodules: true },
    ...{ fetchByCommit: false, mtime: 'checkout' },
    ...op,
  })
  const with_ = <T>(op: Partial<GitOp>, use: (runner: OpRunner<GitOp>, op: GitOp) => T): T =>
    use(createGitRunner(options), full(op))
  const open = (op: Partial<GitOp>): Promise<string> =>
    with_(op, async (runner, each) => {
      const result = await runner.run(each, [], vertexOf(each), ctx)
      if (result.kind !== 'files') throw new Error('no files')
      return result.view.lstat('/')?.hostPath ?? ''
    })
  return {
    ...{ root, server, secrets, options, open },
    key: (op) => with_(op, async (runner, each) => (await runner.key?.(each, [], vertexOf(each), ctx))?.components.commit),
    async fail(op) {
      try {
        await open(op)
      } catch (error) {
        if (error instanceof BuildError) return error
        throw error
      }
      throw new Error('there is no error')
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await temp[Symbol.asyncDispose]()
    },
  }
}

/** The files of a directory but for those in .git. */
export function list(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.includes('.git/'))
    .sort()
}

/** The text of a file. */
export function read(directory: string, path: string): string {
  return readFileSync(join(directory, path), 'utf8')
}

/** v1 (annotated) < side/branch < main; the tip of main is `latest`. */
export function makeHistory(root: string, name = 'repo') {
  const repository = makeRepository(join(root, name))
  const first = repository.commit({ 'a.txt': 'one', 'sub/b.txt': 'B', 'sub/run.sh': '#!/bin/sh\n' })
  repository.git('tag', '-a', 'v1', '-m', 'v1')
  repository.git('branch', 'side/branch')
  const second = repository.commit({ 'a.txt': 'two' })
  const latest = repository.commit({ 'c.txt': 'three' })
  return { ...repository, first, second, latest }
}
