// Runs the bundle's main.js on the arguments it is given; at the end it saves V8's code of all functions that were called.
const { writeFileSync } = require('node:fs')
const { join } = require('node:path')

const bundle = join(__dirname, '../dist/bundle')
process.argv[1] = join(bundle, 'main.js')
process.on('exit', (code) => {
  const { script, cachePath } = require(join(bundle, 'warm.js'))
  if (code === 0) writeFileSync(cachePath(), script.createCachedData())
})
require(process.argv[1])
