/** Holds the import direction of src/ARCHITECTURE.md as a table and reads every import of the project against it. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Folders in groups: a folder may import from groups before its own, and from itself. */
const groups: readonly (readonly string[])[] = [
  ['src/core'],
  ['src/io'],
  ['grammar', 'src/graph', 'src/layer', 'src/store', 'sandbox', 'src/registry'],
  ['src/frontend', 'src/context'],
  ['src/ops', 'src/exporter', 'src/solver', 'src/container', 'src/attest', 'src/explain', 'src/cache'],
  ['src/engine'],
  ['src/build.ts', 'src/check.ts', 'src/worker.ts', 'src/index.ts'],
  ['src/cli'],
]

/** What is allowed beside the table: types that siblings meet at. */
const exceptions: readonly { readonly from: string; readonly to: string; readonly typesOnly: boolean }[] = [
  { from: 'src/ops', to: 'src/solver/ports.ts', typesOnly: true },
  { from: 'src/explain', to: 'src/solver/ports.ts', typesOnly: true },
]

/** Packages that must not be loaded at start-up: they cost 5 to 190 ms each. */
const lazyPackages = [
  ...['chevrotain', 'ora', 'tar-stream', 'p-queue', 'koffi', 'undici', 'tinypool', 'xxhash-wasm', '@aws-sdk/client-s3'],
]

interface Import {
  readonly file: string
  readonly line: number
  readonly target: string
  readonly typesOnly: boolean
  readonly dynamic: boolean
}

function sourceFiles(): string[] {
  return ['src', 'grammar', 'sandbox'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  )
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  const found: Import[] = []
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/g
  for (const match of text.matchAll(pattern)) {
    const specifier = match[2] ?? match[3] ?? ''
    const target = specifier.startsWith('.') ? normalize(join(dirname(file), specifier)).replace(/\.js$/, '.ts') : specifier
    const line = text.slice(0, match.index + match[0].length).split('\n').length
    found.push({ file, line, target, typesOnly: match[1] !== undefined, dynamic: match[3] !== undefined })
  }
  return found
}

function groupOf(path: string): number {
  return groups.findIndex((group) => group.some((member) => path === member || path.startsWith(`${member}/`)))
}

function memberOf(path: string): string {
  return groups.flat().find((member) => path === member || path.startsWith(`${member}/`)) ?? path
}

function isAllowed({ file, target, typesOnly }: Import): boolean {
  const from = groupOf(file)
  const to = groupOf(target)
  if (memberOf(file) === memberOf(target) || to < from) return true
  if (memberOf(file) === 'src/index.ts' && ['src/build.ts', 'src/check.ts'].includes(memberOf(target))) return true
  return exceptions.some((rule) => file.startsWith(`${rule.from}/`) && target === rule.to && (typesOnly || !rule.typesOnly))
}

test('every file belongs to a folder of the table', () => {
  assert.equal(
    sourceFiles().filter((file) => groupOf(file) < 0),
    [],
  )
})

test('imports point only to the left', () => {
  const wrong = sourceFiles()
    .flatMap(importsOf)
    .filter((found) => !found.target.includes(':') && groupOf(found.target) >= 0 && !isAllowed(found))
    .map((found) => `${found.file}:${found.line} imports ${found.target}`)
  assert.equal(wrong, [])
})

test('core imports no module but node:crypto', () => {
  const wrong = sourceFiles()
    .filter((file) => file.startsWith('src/core/'))
    .flatMap(importsOf)
    .filter((found) => groupOf(found.target) < 0 && found.target !== 'node:crypto')
    .map((found) => `${found.file}:${found.line} imports ${found.target}`)
  assert.equal(wrong, [])
})

test('no two files import one another in a circle', () => {
  const edges = new Map<string, string[]>()
  for (const file of sourceFiles()) {
    const targets = importsOf(file).filter((found) => !found.typesOnly && !found.dynamic && groupOf(found.target) >= 0)
    edges.set(
      file,
      targets.map((found) => found.target),
    )
  }
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    assert.not.ok(path.includes(file), `circle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
    if (done.has(file)) return
    for (const next of edges.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of edges.keys()) visit(file, [])
})

test('starting the command line loads no heavy package', () => {
  const seen = new Set<string>()
  const queue = ['src/cli/main.ts', 'src/cli/program.ts']
  const wrong: string[] = []
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    for (const found of importsOf(file)) {
      if (found.typesOnly || found.dynamic) continue
      if (lazyPackages.includes(found.target)) wrong.push(`${found.file}:${found.line} imports ${found.target}`)
      if (groupOf(found.target) >= 0) queue.push(found.target)
    }
  }
  assert.equal(wrong, [])
})

test('no folder has an index file, a drawer for leftovers, or a default export', () => {
  const wrong = sourceFiles().filter((file) => {
    const name = relative(dirname(file), file)
    if (name === 'index.ts' && file !== 'src/index.ts') return true
    return (
      ['utils.ts', 'helpers.ts', 'common.ts', 'misc.ts'].includes(name) ||
      /^export default /m.test(readFileSync(join(root, file), 'utf8'))
    )
  })
  assert.equal(wrong, [])
})

test.run()
