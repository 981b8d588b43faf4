// Runs the bundle's main.js on the arguments it is given, beside a registry that has nothing and takes everything. At the end it
// prints the names of the parts that were loaded ("record"), or saves V8's code of all functions of a text that were called ("save").
const { writeFileSync, writeSync } = require('node:fs')
const { createServer } = require('node:http')
const { basename, join } = require('node:path')

const bundle = join(__dirname, '../dist/bundle')
const [mode, text, port, ...args] = process.argv.slice(2)
const exit = process.exit

createServer(answer).listen(Number(port), '127.0.0.1', () => {
  process.argv = [process.argv[0], join(bundle, 'main.js'), ...args]
  process.exit = (code) => {
    if (code !== 0) exit(code)
    if (mode === 'record') writeSync(1, `\n${JSON.stringify(partsOf())}\n`)
    else save()
    exit(0)
  }
  require(process.argv[1])
})

/** The parts that were read from files: those in main.js are not told. */
function partsOf() {
  const files = Object.keys(require.cache).filter((path) => path.startsWith(`${bundle}/part-`))
  return files.map((path) => basename(path))
}

function save() {
  const { textOf, cachePath } = require(join(bundle, 'main.js'))
  writeFileSync(cachePath(text), textOf(text).script.createCachedData())
}

function answer(request, response) {
  const status = { HEAD: 200, POST: 202, PUT: 201 }[request.method] ?? 200
  request.resume().on('end', () => response.writeHead(status, { location: '/v2/warm/blobs/uploads/1' }).end())
}
