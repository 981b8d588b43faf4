/**
 * The conformance runner: runs the cases of a vectors folder against the code that `build` uses.
 *
 * usage: npm run vectors -- DIR [--only SUITE]
 *
 * Prints a line for each case that fails and one for each suite, `SUITE: N passed, N failed, N skipped (reasons)`. Exit code 1
 * if a case failed, 2 for a wrong command line. Without the folder it says that the suites were skipped.
 */
import { runVectors } from './runner.js'

process.exitCode = await runVectors(process.argv.slice(2))
