// Makes dist/bundle: what `bin/mille` starts. One small main.js, one file for each verb and for what several verbs share.
//
// esbuild splits code between files only in its ES module form, and Node starts CommonJS files some milliseconds
// faster (docs/performance.md has the numbers). So: bundle and split first, then turn each file into CommonJS.
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
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
const fileUrlBanner = 'const __fileUrl={get href(){return require("node:url").pathToFileURL(__filename).href}};'

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
  define: { ...shared.define, 'import.meta.url': '__fileUrl.href' },
  banner: { js: fileUrlBanner },
})

rmSync(out, { recursive: true, force: true })
/** Text of each part by its file name. */
const parts = new Map()
for (const file of bundled.outputFiles.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
  const usesUrl = file.text.includes('import.meta.url')
  const { code } = await transform(file.text, {
    format: 'cjs',
    platform: 'node',
    target,
    minifySyntax: true,
    minifyWhitespace: true,
    define: { 'import.meta.url': '__fileUrl.href' },
    banner: usesUrl ? fileUrlBanner : '',
  })
  parts.set(basename(file.path), asciiOnly(lateBuiltins(requireDirectly(requireOwnParts(code)))))
}
for (const file of threads.outputFiles) {
  mkdirSync(dirname(file.path), { recursive: true })
  writeFileSync(file.path, file.text)
}
writeFileSync(join(out, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`)
const own = mainParts(bundled.metafile.outputs)
await writeParts({})
await withScenarios(async (scenarios) => {
  const texts = textsOf(scenarios)
  await writeParts(texts)
  for (const scenario of scenarios) if (scenario.text in texts) scenario.play('save')
})

/**
 * Writes the parts, those of `texts` (names of parts by name of text) together in one file each.
 *
 * A part that several texts have is in all of them: only the one of the command that runs is read.
 */
async function writeParts(texts) {
  const where = {}
  for (const [text, names] of Object.entries(texts)) for (const name of names) where[name] ??= text
  const frame = readFileSync(join(root, '.ci/warm.cjs'), 'utf8')
    .replace('{ /* where */ }', JSON.stringify(where))
    .replace('{ /* has */ }', JSON.stringify(onlyTwice(texts, where)))
  const { code } = await transform(frame, { minifySyntax: true, minifyWhitespace: true })
  writeFileSync(
    join(out, 'main.js'),
    code.replace('own={}', () => `own={${functionsOf([...own])}}`),
  )
  for (const [name, part] of parts) {
    const path = join(out, name)
    if (own.has(name)) continue
    if (name in where) rmSync(path, { force: true })
    else writeFileSync(path, requireTogether(part, where))
  }
  for (const [text, names] of Object.entries(texts)) {
    writeFileSync(join(out, `warm-${text}.txt`), `({${functionsOf(names)}})\n`)
  }
}

/** Parts as the properties of an object. */
function functionsOf(names) {
  const functions = names.map(
    (name) => `${JSON.stringify(name)}(module,exports,require,__filename,__export){${plainExports(parts.get(name))}}`,
  )
  return functions.join(',\n')
}

/**
 * The same part without esbuild's helpers for CommonJS, which are a fifth of all text: its exports go straight into `exports`, as
 * getters that main.js makes. A part that uses another helper stays as it is.
 */
function plainExports(code) {
  const start = code.indexOf('var stdin_exports={};')
  const end = 'module.exports=__toCommonJS(stdin_exports);'
  const at = code.indexOf(end)
  if (start === -1 || at === -1) return code
  const banner = code.startsWith('const __fileUrl=') ? code.slice(0, code.indexOf('\n') + 1) : ''
  const exported = code.slice(start, at).replace('var stdin_exports={};', '').replaceAll('stdin_exports', 'exports')
  const rest = code.slice(at + end.length)
  const helpers = code.slice(banner.length, start).matchAll(/\b(__\w+)=/g)
  if ([...helpers].some(([, name]) => rest.includes(name))) return code
  return `${banner}${exported}${rest}`
}

/** The parts of `push` and `run` that lie first in another text. */
function onlyTwice(texts, where) {
  return Object.fromEntries(
    Object.entries(texts).flatMap(([text, names]) => {
      const again = names.filter((name) => where[name] !== text)
      return again.length === 0 ? [] : [[text, again]]
    }),
  )
}

/** Which parts come together: what a build of nothing loads, what more a build with steps loads, what reading a Dockerfile loads. */
function textsOf(scenarios) {
  const loaded = Object.fromEntries(scenarios.map(({ text, play }) => [text, play('record').filter((name) => !own.has(name))]))
  const { build = [], steps = [], parse = [], push = [], run = [] } = loaded
  const texts = {
    build,
    steps: steps.filter((name) => !build.includes(name)),
    parse: parse.filter((name) => !build.includes(name) && !steps.includes(name)),
    push,
    run,
  }
  return Object.fromEntries(Object.entries(texts).filter(([, names]) => names.length > 0))
}

/** main.js and what it needs before it knows its command. */
function mainParts(outputs) {
  const byName = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output]))
  const found = new Set(['main.js'])
  for (const name of found)
    for (const { path, kind } of byName.get(name).imports)
      if (kind === 'import-statement' && byName.has(basename(path))) found.add(basename(path))
  return found
}

/**
 * Plays what people do most, twice: to see which parts that needs, and to keep V8's code of them.
 *
 * Where one fails (steps need root and a runtime), its parts stay files of their own, and mille only starts more slowly.
 */
async function withScenarios(work) {
  const place = mkdtempSync(join(tmpdir(), 'mille-bundle-'))
  const context = join(place, 'context')
  const port = await freePort()
  const image = `localhost:${port}/warm`
  mkdirSync(join(context, 'src'), { recursive: true })
  for (let i = 0; i < 50; i++) writeFileSync(join(context, `src/file${i}`), `${i}\n`)
  // The one program without libraries that nearly every Linux has; without it nothing is run.
  const program = ['/sbin/ldconfig.real', '/sbin/ldconfig'].find(existsSync)
  if (program !== undefined) copyFileSync(program, join(context, 'program'))
  const lines = [
    ...['ARG A=1', 'FROM scratch AS one', 'COPY src /src', 'FROM scratch', 'ENV B=$A', 'LABEL c=d'],
    ...['COPY --from=one /src /src', 'COPY src/file1 src/file2 /', 'EXPOSE 80', 'CMD ["/a"]'],
  ]
  const ran = [...lines, 'COPY program /', 'RUN --network=none ["/program", "-V"]', 'COPY src /again']
  writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`)
  writeFileSync(join(context, 'Dockerfile.run'), `${ran.join('\n')}\n`)
  const edit = () => writeFileSync(join(context, 'src/file1'), `${randomUUID()}\n`)
  const { NODE_OPTIONS: _options, NODE_EXTRA_CA_CERTS: _certificates, ...inherited } = process.env
  const environment = (store) => ({ ...inherited, MILLE_ROOT: join(place, store) })
  const call = (args, store = 'store') =>
    spawnSync(process.execPath, args, { env: environment(store), stdio: 'pipe', encoding: 'utf8' })
  const plain = (...args) => call([join(out, 'main.js'), ...args])
  const build = ['build', '-t', image, context]
  const buildRun = ['build', '-t', image, '-f', join(context, 'Dockerfile.run'), context]
  const rebuild = () => {
    edit()
    plain(...build)
  }
  const push = () => {
    plain(...build)
    call([join(root, '.ci/recorded.cjs'), 'play', 'push', port, 'push', image])
    rebuild()
  }
  const canRun = program !== undefined && plain(...buildRun).status === 0

  const scenario = (text, prepare, ...args) => ({
    text,
    play(mode) {
      prepare()
      const store = text === 'parse' ? randomUUID() : 'store'
      const { status, stdout, stderr } = call([join(root, '.ci/recorded.cjs'), mode, text, port, ...args], store)
      if (status === 0) return mode === 'record' ? JSON.parse(stdout.slice(stdout.lastIndexOf('\n[') + 1)) : []
      console.warn(`bundle: "mille ${args[0]}" failed, and will start more slowly:\n${stderr}`)
      return []
    },
  })
  try {
    const scenarios = [
      scenario('build', () => plain(...build), ...build),
      scenario('steps', edit, ...(canRun ? buildRun : build)),
      scenario('parse', edit, ...build),
      scenario('push', push, 'push', image),
    ]
    if (canRun)
      scenarios.push(scenario('run', () => plain(...buildRun), 'run', '--rm', '--network=none', image, '/program', '-V'))
    await work(scenarios)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return String(port)
}

/** Lazy parts of the bundle are CommonJS too, and so are Node's own: `require` finds them without the loader of ES modules. */
function requireOwnParts(code) {
  return code.replace(
    /\bimport\(("(?:\.{1,2}\/(?:part-\w+|main|worker)\.js|node:[\w/]+)")\)/g,
    'Promise.resolve().then(()=>require($1))',
  )
}

/** What a part wants to require, it can: it is CommonJS. */
function requireDirectly(code) {
  return code.replace(/\(0,import_node_module\d*\.createRequire\)\(__fileUrl\.href\)/g, 'require')
}

/**
 * Modules of Node are loaded where they are used first, not where they are named: node:crypto alone takes 4 ms. Those that
 * every process of Node has loaded anyway stay.
 */
function lateBuiltins(code) {
  const names = [...code.matchAll(/\b(import_\w+)=require\("node:(?!fs"|path")[\w/]+"\)/g)].map(([, name]) => name)
  if (names.length === 0) return code
  const named = new RegExp(`\\b(${names.join('|')})\\b(=require\\("node:[\\w/]+"\\))?`, 'g')
  return code.replace(named, (_, name, load) => (load === undefined ? `(${name}())` : `${name}=()=>${load.slice(1)}`))
}

/** esbuild leaves other characters in regular expressions; the texts are read byte by byte. */
function asciiOnly(code) {
  return code.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** What lies in a file of its own asks main.js for parts that do not. */
function requireTogether(code, where) {
  return code.replace(/\brequire\("\.\/(part-\w+\.js)"\)/g, (whole, name) =>
    name in where || own.has(name) ? `require("./main.js").requirePart("./${name}")` : whole,
  )
}
