/**
 * Suite `conformance`: builds a context and compares the image's files and config, see the README.md beside the cases.
 *
 * The `reference` is what buildah made; where BuildKit does otherwise the case has a row in docs/differences.md.
 */
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readBuildVolumes } from '../../src/cli/build-volumes.js'
import type { ContainerConfig, ImageConfig } from '../../src/core/image.js'
import type { BuildVolume } from '../../src/engine/options.js'
import { setXattr } from '../../src/io/sys.js'
import { openStore } from '../../src/store/store.js'
import { type BuildBench, type Built, openBench, whyNoBench } from './bench.js'
import { judgeCommit } from './commits.js'
import { withDifferences } from './differences.js'
import { errorLine, errorText } from './error-text.js'
import { claim, type Outcome, passed, recordOf, type Suite, same, skip, textOf, type VectorCase } from './frame.js'
import { restoreContext } from './restore.js'
import { readTar } from './tars.js'
import { applyTweaks } from './tweaks.js'

const hubNames = ['mirror.gcr.io/busybox', 'mirror.gcr.io/alpine', 'quay.io/libpod/centos:7', 'busybox', 'alpine']

/** Opens the suite with its bases. */
export async function openSuite(): Promise<Suite> {
  const problem = await whyNoBench()
  if (problem !== undefined) return { files: { 'cases.json': () => skip(problem), 'commit.json': () => skip(problem) } }
  const bench = await openBench(hubNames)
  const settle = withDifferences('conformance')
  return {
    jobs: 2,
    close: bench.close,
    files: {
      'cases.json': async (vector, folder) => settle(vector.id, await judgeCase(vector, folder, bench)),
      'commit.json': (vector) => judgeCommit(vector, bench),
    },
  }
}

async function judgeCase(vector: VectorCase, folder: string, bench: BuildBench): Promise<Outcome> {
  const why = whySkipped(vector)
  if (why !== undefined) return skip(why)
  const context = writeContext(vector, folder, bench.directory())
  const dest = join(bench.directory(), 'rootfs.tar')
  const compared = (vector.reference !== undefined && vector.reference !== null) || isXattrs(vector)
  const built = await bench.build({
    context,
    dockerfile: { path: join(context, dockerfileOf(vector)) },
    buildArgs: textsOf(vector.buildArgs),
    volumes: volumesOf(vector, context),
    // What a step prints is looked at, so it must run.
    noCache: true,
    outputs: [{ type: 'image' }, ...(compared ? [{ type: 'tar' as const, dest }] : [])],
  })
  return firstProblem([
    judgeEnd(vector, built),
    ...(await judgeImage(vector, built, dest, bench)),
    ...judgeOutput(vector, built),
    ...(await judgeXattrs(vector, dest)),
  ])
}

function whySkipped(vector: VectorCase): string | undefined {
  if (vector.needsNetwork === true) return 'needs the network'
  const lost = typeof vector.doubtful === 'string' && !isXattrs(vector)
  if (lost) return `the case is doubtful: ${vector.doubtful}`
  return undefined
}

/** These lost what they do to the context; their names and Dockerfiles say it: a file or a directory with an attribute. */
function isXattrs({ id, tweakContextDir }: VectorCase): boolean {
  return /(^|\/)xattrs-/.test(id) && Array.isArray(tweakContextDir) && tweakContextDir.length === 0
}

const attribute = { name: 'user.a', value: Buffer.from('test') }

function writeXattrs(context: string): void {
  writeFileSync(join(context, 'xattrs-file'), 'test content', { mode: 0o644 })
  mkdirSync(join(context, 'xattrs-directory'), { mode: 0o755 })
  for (const name of ['xattrs-file', 'xattrs-directory']) setXattr(join(context, name), attribute.name, attribute.value)
}

/** Whatever the Dockerfile copied still has the attribute. */
async function judgeXattrs(vector: VectorCase, dest: string): Promise<readonly Outcome[]> {
  if (!isXattrs(vector)) return []
  const entries = [...(await readTar(readFileSync(dest)))].filter(([name]) => /xattrs-(file|directory)\/?$/.test(name))
  const kept = entries.filter(
    ([, { header }]) => recordOf(header.pax ?? {})[`SCHILY.xattr.${attribute.name}`] === attribute.value.toString(),
  )
  return [claim(entries.length > 0 && kept.length === entries.length, `${kept.length} of ${entries.length} kept their attribute`)]
}

function firstProblem(outcomes: readonly Outcome[]): Outcome {
  return outcomes.find(({ status }) => status !== 'passed') ?? passed
}

function dockerfileOf(vector: VectorCase): string {
  return typeof vector.dockerfile === 'string' ? vector.dockerfile : 'Dockerfile'
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(recordOf(value ?? {})).map(([name, text]) => [name, String(text)]))
}

/** Upstream's temporary directory is the context; a label of SELinux means nothing here. */
function volumesOf(vector: VectorCase, context: string): readonly BuildVolume[] {
  const texts = Array.isArray(vector.transientMounts) ? vector.transientMounts.map(String) : []
  const places = texts.map((text) => text.replace('@@TEMPDIR@@', context).replace('{{selinuxMountFlag()}}', ''))
  return readBuildVolumes(places, context)
}

/** The context as upstream's test leaves it: modes as git has them, then the case's own operations. */
function writeContext(vector: VectorCase, folder: string, context: string): string {
  const contexts = join(folder, 'contexts')
  const dockerfile = dockerfileOf(vector)
  if (typeof vector.contextDir === 'string') {
    cpSync(join(contexts, vector.contextDir), context, { recursive: true, verbatimSymlinks: true })
  } else if (existsSync(join(contexts, dockerfile))) cpSync(join(contexts, dockerfile), join(context, dockerfile))
  if (typeof vector.contextDir === 'string') restoreContext(context)
  normalizeModes(context)
  if (typeof vector.dockerfileContents === 'string') {
    writeFileSync(join(context, dockerfile), vector.dockerfileContents, { mode: 0o644 })
  }
  if (isXattrs(vector)) writeXattrs(context)
  if (Array.isArray(vector.tweakContextDir)) {
    applyTweaks(vector.tweakContextDir, (text) => text.replace(/^@context/, context))
  }
  return context
}

function normalizeModes(path: string): void {
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) return
  chmodSync(path, stats.isDirectory() || (stats.mode & 0o100) !== 0 ? 0o755 : 0o644)
  if (stats.isDirectory()) for (const name of readdirSync(path)) normalizeModes(join(path, name))
}

/** Did it end as the case says: well, or at the line and with the message asked for? */
function judgeEnd(vector: VectorCase, { error, output }: Built): Outcome {
  const wanted = recordOf(vector.expect)
  if (wanted.fail !== true) return claim(error === undefined, `the error is "${error?.message}"\n${output.slice(-2000)}`)
  if (error === undefined) return { status: 'failed', detail: 'there is no error' }
  return claim(
    wanted.atLine === undefined || errorLine(error) === wanted.atLine,
    `the error "${error.message}" is at line ${errorLine(error)}, expected line ${String(wanted.atLine)}`,
  )
}

async function judgeImage(vector: VectorCase, { result }: Built, dest: string, bench: BuildBench): Promise<readonly Outcome[]> {
  if (result === undefined || vector.reference === undefined || vector.reference === null) return []
  const reference = recordOf(vector.reference)
  if (reference.buildFails === true) return [{ status: 'failed', detail: 'the build should fail' }]
  const wanted = Array.isArray(reference.entries) ? reference.entries.map(recordOf) : []
  await using store = await openStore(bench.options.root)
  const config = JSON.parse(String(await store.blobs.read({ digest: result.imageId }, 1 << 20))) as ImageConfig
  return [
    sameTree(await filesOf(dest), Object.fromEntries(wanted.map((entry) => [textOf(entry, 'path'), lineOf(entry)]))),
    same(meaningOf(config.config ?? {}), meaningOf(recordOf(reference.config ?? {})), 'the config'),
  ]
}

function sameTree(found: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): Outcome {
  const paths = [...new Set([...Object.keys(found), ...Object.keys(wanted)])].sort()
  const differing = paths.filter((path) => found[path] !== wanted[path])
  const lines = differing.map((path) => `${path}: ${found[path] ?? 'missing'}, expected ${wanted[path] ?? 'nothing'}`)
  return claim(lines.length === 0, `the tree differs:\n      ${lines.join('\n      ')}`)
}

/** Empty fields mean the same as none, and the working directory is the root where none is set. */
function meaningOf(config: ContainerConfig | Readonly<Record<string, unknown>>): unknown {
  return Object.fromEntries(
    Object.entries({ WorkingDir: '/', ...config }).filter(
      ([name, value]) => value !== null && value !== '' && !(name === 'WorkingDir' && value === '/'),
    ),
  )
}

function lineOf(entry: Readonly<Record<string, unknown>>): string {
  const { type, mode, uid, gid, sha256, target } = entry
  // A link's own mode means nothing.
  return [type, ...(type === 'symlink' ? [] : [Number.parseInt(String(mode), 8).toString(8)]), `${uid}:${gid}`, sha256 ?? target]
    .filter((part) => part !== undefined)
    .join(' ')
}

async function filesOf(tar: string): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {}
  for (const [name, { header, data }] of await readTar(readFileSync(tar))) {
    const { mode = 0, uid, gid, linkname, type } = header
    const common = { mode: (mode & 0o7777).toString(8), uid, gid }
    const path = name.replace(/\/$/, '')
    if (path === '' || path === '.') continue
    if (type === 'directory') found[path] = lineOf({ type: 'dir', ...common })
    else if (type === 'symlink') found[path] = lineOf({ type, ...common, target: linkname })
    else if (type === 'link') found[path] = found[linkname ?? ''] ?? `hard link to ${linkname}`
    else found[path] = lineOf({ type, ...common, sha256: createHash('sha256').update(data).digest('hex') })
  }
  return found
}

/** What the steps printed, where upstream looks at it. */
function judgeOutput(vector: VectorCase, { log, errorOutput, error }: Built): readonly Outcome[] {
  return (
    [
      ['buildahRegex', log],
      ['buildahErrRegex', errorOutput],
      ['failureRegex', error === undefined ? '' : errorText(error)],
    ] as const
  ).flatMap(([field, text]) => {
    const pattern = vector[field]
    if (typeof pattern !== 'string') return []
    return claim(goPattern(pattern).test(text), `the output does not match ${field} ${pattern}:\n${text}`)
  })
}

/** Go writes flags as `(?s)` at the start. A dot is any character, also without: one case looks for two lines of a log. */
function goPattern(pattern: string): RegExp {
  const [, flags = '', rest = pattern] = /^\(\?([a-z]+)\)(.*)$/s.exec(pattern) ?? []
  return new RegExp(rest, flags.includes('s') ? flags : `${flags}s`)
}
