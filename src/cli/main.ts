/**
 * The start of the program, kept so small that `mille --version` costs hardly more than Node.
 *
 * The process ends with `process.exit`, so that an idle connection or thread never keeps it; on Linux everything written
 * to stdout and stderr is out by then.
 */
import { version } from '../engine/version.js'

/** The launcher keeps this from Node, which would read the file at once; see bin/mille. */
function restoreEnvironment(): void {
  const { MILLE_EXTRA_CA_CERTS: file } = process.env
  if (file === undefined) return
  process.env.NODE_EXTRA_CA_CERTS = file
  delete process.env.MILLE_EXTRA_CA_CERTS
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-v')) {
    // Where that cannot be written, the way that says why is taken.
    process.stdout.once('error', () => undefined)
    process.stdout.write(`mille version ${version()}\n`)
    if (process.stdout.errored === null) return 0
  }
  restoreEnvironment()
  const { runProgram } = await import('./program.js')
  return runProgram(argv)
}

void main(process.argv.slice(2)).then((code) => process.exit(code))
