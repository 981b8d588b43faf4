// The frame of dist/bundle/main.js: parts that are needed together, in texts that V8 has compiled before.
//
// Each part is a function in warm-<text>.txt, called when it is first required. Beside it there may be V8's code cache, which
// holds for one version of Node only: where it is absent or refused, the text is compiled as any other.
const { readFileSync } = require('node:fs')

/** The text of each part that is in one. */
const where = { /* where */ }
/** Parts of a command's own text that are in another one too. */
const has = { /* has */ }
/** What every command needs: a file of its own for each would take longer to open than to compile. */
const own = { /* own */ }
const command = process.argv[2]
const again = new Set(Object.hasOwn(has, command) ? has[command] : [])
const texts = new Map()
const loaded = new Map()

function requirePart(id) {
  if (!id.startsWith('./')) return require(id)
  const name = id.slice(2)
  const known = loaded.get(name)
  if (known !== undefined) return known.exports
  const isOwn = Object.hasOwn(own, name)
  if (!isOwn && !Object.hasOwn(where, name)) return require(id)
  const made = { exports: {} }
  loaded.set(name, made)
  const parts = isOwn ? own : textOf(again.has(name) ? command : where[name]).parts
  parts[name](made, made.exports, requirePart, `${__dirname}/${name}`, exportAll)
  return made.exports
}

/** What a part exports is looked up when it is used: parts may need each other. */
function exportAll(target, all) {
  for (const name in all) Object.defineProperty(target, name, { get: all[name], enumerable: true })
}

function textOf(name) {
  const known = texts.get(name)
  if (known !== undefined) return known
  const { Script } = require('node:vm')
  const filename = `${__dirname}/warm-${name}.txt`
  const script = new Script(readFileSync(filename, 'latin1'), { filename, cachedData: readCache(name) })
  const made = { script, parts: script.runInThisContext() }
  texts.set(name, made)
  return made
}

function readCache(name) {
  try {
    return readFileSync(cachePath(name))
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

function cachePath(name) {
  return `${__dirname}/warm-${name}-${process.version}-${process.arch}.cache`
}

module.exports = { requirePart, textOf, cachePath }
requirePart('./main.js')
