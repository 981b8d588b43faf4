// Becomes dist/bundle/warm.js: the parts that a cached build needs, in one text that V8 has compiled before.
//
// Each part is a function in warm.txt, called when it is first required. Beside it there may be V8's code cache, which
// holds for one version of Node only: where it is absent or refused, the text is compiled as any other.
const { readFileSync } = require('node:fs')
const { Script } = require('node:vm')

const file = `${__dirname}/warm.txt`
const script = new Script(readFileSync(file, 'latin1'), { filename: file, cachedData: readCache() })
const parts = script.runInThisContext()
const loaded = new Map()

function readCache() {
  try {
    return readFileSync(cachePath())
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

function cachePath() {
  return `${__dirname}/warm-${process.version}-${process.arch}.cache`
}

function requirePart(id) {
  if (!id.startsWith('./')) return require(id)
  const name = id.slice(2)
  const known = loaded.get(name)
  if (known !== undefined) return known.exports
  if (!Object.hasOwn(parts, name)) return require(id)
  const made = { exports: {} }
  loaded.set(name, made)
  parts[name](made, made.exports, requirePart, `${__dirname}/${name}`)
  return made.exports
}

module.exports = { requirePart, script, cachePath }
