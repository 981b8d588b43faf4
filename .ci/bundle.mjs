// Makes dist/bundle: what `bin/mille` starts. One small main.js, one file for each verb and for what several verbs share.
//
// esbuild splits code between files only in its ES module form, and Node starts CommonJS files some milliseconds
// faster (docs/performance.md has the numbers). So: bundle and split first, then turn each file into CommonJS.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
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

const bundled = await build({
  entryPoints: {
    main: join(root, 'src/cli/main.ts'),
    worker: join(root, 'src/worker.ts'),
    // What tinypool starts its threads with; it looks for this name beside its own code.
    'entry/worker': join(root, 'node_modules/tinypool/dist/entry/worker.js'),
  },
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target,
  // Loads a native library from its own folder at run time, so it stays in node_modules.
  external: ['koffi'],
  plugins: [namedExports],
  write: false,
  define: { milleVersion: JSON.stringify(version) },
  chunkNames: 'part-[hash]',
  logLevel: 'warning',
  legalComments: 'none',
})

rmSync(out, { recursive: true, force: true })
for (const file of bundled.outputFiles) {
  const { code } = await transform(file.text, {
    format: 'cjs',
    platform: 'node',
    target,
    minifySyntax: true,
    minifyWhitespace: true,
    define: { 'import.meta.url': '__fileUrl' },
    banner: 'const __fileUrl=require("node:url").pathToFileURL(__filename).href;',
  })
  mkdirSync(dirname(file.path), { recursive: true })
  writeFileSync(file.path, requireOwnParts(code))
}
writeFileSync(join(out, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`)

/** Lazy parts of the bundle are CommonJS too: `require` finds them without the loader of ES modules. */
function requireOwnParts(code) {
  return code.replace(/\bimport\(("\.{1,2}\/(?:part-\w+|main|worker)\.js")\)/g, 'Promise.resolve().then(()=>require($1))')
}
