// Makes dist/bundle: what `bin/mille` starts. One small main.js, one file for each verb and for what several verbs share.
//
// esbuild splits code between files only in its ES module form, and Node starts CommonJS files some milliseconds
// faster (docs/performance.md has the numbers). So: bundle and split first, then turn each file into CommonJS.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, transform } from 'esbuild'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const out = join(root, 'dist/bundle')
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const target = 'node20'

// A lazy import of a CommonJS package has only a default export in a bundle; in Node it has names too. This gives it them.
const namedExports = {
  name: 'named exports of CommonJS packages',
  setup(plugin) {
    plugin.onResolve({ filter: /^(tar-stream|undici)$/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path, namespace: 'named' } : undefined,
    )
    plugin.onLoad({ filter: /.*/, namespace: 'named' }, ({ path }) => {
      const names = Object.keys(createRequire(import.meta.url)(path)).join(', ')
      const contents = `import whole from '${path}'\nexport const { ${names} } = whole\nexport default whole\n`
      return { contents, resolveDir: root }
    })
  },
}

const shared = {
  outdir: out,
  bundle: true,
  platform: 'node',
  target,
  // Loads a native library from its own folder at run time, so it stays in node_modules.
  external: ['koffi'],
  // ES modules where a package has both: of the AWS SDK a third is used.
  mainFields: ['module', 'main'],
  plugins: [namedExports],
  write: false,
  define: {
    milleVersion: JSON.stringify(version),
    // The AWS SDK tells users of Node 20 that later versions of it will want another one.
    'process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED': '"true"',
  },
  logLevel: 'warning',
  legalComments: 'none',
}
const fileUrlBanner = 'const __fileUrl=require("node:url").pathToFileURL(__filename).href;'

const bundled = await build({
  entryPoints: {
    main: join(root, 'src/cli/main.ts'),
  },
  ...shared,
  splitting: true,
  format: 'esm',
  metafile: true,
  chunkNames: 'part-[hash]',
})

// A thread starts with one file: what it does is known from the start.
const threads = await build({
  entryPoints: {
    worker: join(root, 'src/worker.ts'),
    // What tinypool starts its threads with; it looks for this name beside its own code.
    'entry/worker': join(root, 'node_modules/tinypool/dist/entry/worker.js'),
  },
  ...shared,
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  define: { ...shared.define, 'import.meta.url': '__fileUrl' },
  banner: { js: fileUrlBanner },
})

/** What is loaded one by one as the build of an image goes on, whether or not anything is cached. */
const warmEntries = [
  'src/cli/program.ts',
  'src/cli/commands/build.ts',
  'src/cli/commands/run.ts',
  'src/cli/plain.ts',
  'src/build.ts',
  'src/container/run.ts',
  'src/container/names.ts',
  'src/ops/copy-run.ts',
  'src/ops/exec-run.ts',
  'src/ops/commit.ts',
  'src/cli/commands/push.ts',
  'src/cli/commands/pull.ts',
  'src/engine/transfer.ts',
  'src/engine/push.ts',
  'src/registry/resolve.ts',
  'src/registry/credentials.ts',
  'src/store/store.ts',
  'src/engine/images.ts',
  'src/engine/layers.ts',
  'src/exporter/sink.ts',
  'sandbox/open.ts',
]
const warmPackages = ['p-queue', 'p-timeout', 'eventemitter3']

rmSync(out, { recursive: true, force: true })
const warm = warmParts(bundled.metafile.outputs)
const warmTexts = []
for (const file of bundled.outputFiles.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
  const usesUrl = file.text.includes('import.meta.url')
  const { code } = await transform(file.text, {
    format: 'cjs',
    platform: 'node',
    target,
    minifySyntax: true,
    minifyWhitespace: true,
    define: { 'import.meta.url': '__fileUrl' },
    banner: usesUrl ? fileUrlBanner : '',
  })
  mkdirSync(dirname(file.path), { recursive: true })
  const name = basename(file.path)
  const text = asciiOnly(requireOwnParts(code))
  if (warm.has(name)) {
    warmTexts.push(`${JSON.stringify(name)}(module,exports,require,__filename){${text}}`)
    writeFileSync(file.path, `module.exports=require("./warm.js").requirePart("./${name}")\n`)
  } else writeFileSync(file.path, name === 'main.js' ? requireWarmParts(text) : text)
}
for (const file of threads.outputFiles) {
  mkdirSync(dirname(file.path), { recursive: true })
  writeFileSync(file.path, file.text)
}
writeFileSync(join(out, 'warm.txt'), `({${warmTexts.join(',\n')}})\n`)
const loader = readFileSync(join(root, '.ci/warm.cjs'), 'utf8')
writeFileSync(join(out, 'warm.js'), (await transform(loader, { minifySyntax: true, minifyWhitespace: true })).code)
writeFileSync(join(out, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`)
saveCodeCache()

/** Lazy parts of the bundle are CommonJS too, and so are Node's own: `require` finds them without the loader of ES modules. */
function requireOwnParts(code) {
  return code.replace(
    /\bimport\(("(?:\.{1,2}\/(?:part-\w+|main|worker)\.js|node:[\w/]+)")\)/g,
    'Promise.resolve().then(()=>require($1))',
  )
}

/** esbuild leaves other characters in regular expressions; the warm parts are read byte by byte. */
function asciiOnly(code) {
  return code.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** main.js need not go by way of the file that stands for a warm part. */
function requireWarmParts(code) {
  return code.replace(/\brequire\("\.\/(part-\w+\.js)"\)/g, (whole, name) =>
    warm.has(name) ? `require("./warm.js").requirePart("./${name}")` : whole,
  )
}

/** Names of the files that hold the warm entries and all that these import, less what main.js needs itself and packages. */
function warmParts(outputs) {
  const byName = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output]))
  const found = new Set()
  const cold = new Set()
  const visit = (name, into) => {
    if (into.has(name) || cold.has(name)) return
    const inputs = Object.keys(byName.get(name).inputs)
    if (inputs.some((path) => path.includes('node_modules/') && !warmPackages.includes(packageOf(path)))) return
    into.add(name)
    for (const { path, kind } of byName.get(name).imports)
      if (kind === 'import-statement' && byName.has(basename(path))) visit(basename(path), into)
  }
  visit('main.js', cold)
  for (const entry of warmEntries) {
    const name = [...byName].find(([, output]) => output.entryPoint === entry)?.[0]
    if (name === undefined) throw new Error(`no part of the bundle begins with ${entry}`)
    visit(name, found)
  }
  return found
}

function packageOf(path) {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length).split('/')[0]
}

/** Builds a small image twice, the second time to push it, and keeps V8's code of that. Where that fails, mille only starts more slowly. */
function saveCodeCache() {
  const place = mkdtempSync(join(tmpdir(), 'mille-bundle-'))
  const context = join(place, 'context')
  mkdirSync(join(context, 'src'), { recursive: true })
  for (let i = 0; i < 50; i++) writeFileSync(join(context, `src/file${i}`), `${i}\n`)
  const lines = [
    'ARG A=1',
    'FROM scratch AS one',
    'COPY src /src',
    'FROM scratch',
    'ENV B=$A',
    'LABEL c=d',
    'COPY --from=one /src /src',
  ]
  writeFileSync(
    join(context, 'Dockerfile'),
    `${[...lines, 'COPY src/file1 src/file2 /', 'EXPOSE 80', 'CMD ["/a"]'].join('\n')}\n`,
  )
  const { NODE_OPTIONS: _options, NODE_EXTRA_CA_CERTS: _certificates, ...inherited } = process.env
  const env = { ...inherited, MILLE_ROOT: join(place, 'store') }
  const run = (program) =>
    spawnSync(process.execPath, [program, 'build', '-t', 'warm', context], { env, stdio: 'pipe', encoding: 'utf8' })
  try {
    const results = [run(join(out, 'main.js')), run(join(root, '.ci/code-cache.cjs'))]
    const failed = results.find(({ status }) => status !== 0)
    if (failed !== undefined) console.warn(`bundle: no code cache is made, because a build failed:\n${failed.stderr}`)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}
