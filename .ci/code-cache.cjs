// Runs the bundle's main.js on the arguments it is given, then pushes what was built to a registry in this process; at the end it
// saves V8's code of all functions that were called.
const { writeFileSync } = require('node:fs')
const { createServer } = require('node:http')
const { join } = require('node:path')

const bundle = join(__dirname, '../dist/bundle')
const main = join(bundle, 'main.js')
const exit = process.exit
const commands = [process.argv.slice(2)]
const registry = createServer(answer)

registry.listen(0, '127.0.0.1', () => {
  const image = `127.0.0.1:${registry.address().port}/warm`
  commands[0].push('-t', image)
  commands.push(['push', '-q', image])
  runNext()
})

/** Takes everything and has nothing. */
function answer(request, response) {
  const status = { HEAD: 404, POST: 202, PUT: 201 }[request.method] ?? 200
  request.resume().on('end', () => response.writeHead(status, { location: '/v2/warm/blobs/uploads/1' }).end())
}

/** Each command ends with process.exit: the next one then begins. */
function runNext() {
  process.argv = [process.argv[0], main, ...commands.shift()]
  process.exit = (code) => {
    if (code !== 0) exit(code)
    if (commands.length > 0) return runNext()
    const { script, cachePath } = require(join(bundle, 'warm.js'))
    writeFileSync(cachePath(), script.createCachedData())
    exit(0)
  }
  delete require.cache[main]
  require(main)
}
