/** Reads and parses the Dockerfile that a `debug` verb was given; its mistakes are printed as warnings of the display. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Parsed } from '../../grammar/ast.js'
import { BuildError, systemCode } from '../core/errors.js'
import type { SourceFile } from '../core/span.js'
import { isStreamFile } from '../io/fs.js'
import { collect, limited } from '../io/stream.js'
import type { Shell } from './shell.js'

const limitBytes = 4 << 20

/** The text of a file, or of stdin for `-`. */
export async function readSource(path: string, shell: Shell): Promise<SourceFile> {
  if (path === '-') {
    const bytes = await collect(limited(shell.stdin, limitBytes, 'USAGE_BAD_ARGUMENT', 'the Dockerfile on stdin'))
    return { name: '-', text: bytes.toString('utf8') }
  }
  try {
    if (isStreamFile(resolve(shell.cwd, path))) {
      const { readStreamFile } = await import('../engine/stream-file.js')
      return { name: path, text: await readStreamFile(resolve(shell.cwd, path), shell.signal) }
    }
    return { name: path, text: readFileSync(resolve(shell.cwd, path), 'utf8') }
  } catch (error) {
    if (error instanceof BuildError || systemCode(error) === undefined || shell.signal.aborted) throw error
    throw new BuildError('DOCKERFILE_NOT_FOUND', `the file ${path} cannot be read (${systemCode(error)})`, { cause: error })
  }
}

/** Parses a file; prints its diagnostics and says whether there were errors. */
export async function parseAndReport(
  source: SourceFile,
  shell: Shell,
): Promise<{ readonly parsed: Parsed; readonly failed: boolean }> {
  const { parse } = await import('../../grammar/parse.js')
  const parsed = parse(source)
  for (const diagnostic of parsed.diagnostics) shell.warn(diagnostic)
  return { parsed, failed: parsed.diagnostics.some(({ severity }) => severity === 'error') }
}
