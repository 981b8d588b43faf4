/** `mille build`. */
import { resolve } from 'node:path'
import { UsageError } from '../../core/errors.js'
import type { BuildOptions, BuildResult } from '../../engine/options.js'
import { writeFileAtomic } from '../../io/fs.js'
import { Scope } from '../../io/scope.js'
import type { FlagValues } from '../args.js'
import { readBuildCall, runBuildCall } from '../build-call.js'
import { buildFlags, readBuildContexts, readBuildFlags, readContextPath, unsupportedBuildFlags } from '../build-flags.js'
import { defineCommand } from '../command.js'
import { engineOptions } from '../engine-options.js'
import { openListener } from '../listener.js'
import type { Shell } from '../shell.js'
import { withWarningsAtEnd } from '../warnings.js'

type Values = FlagValues<typeof buildFlags>

/** The verb `build`. */
export const command = defineCommand({
  name: 'build',
  usage: '[OPTIONS] PATH | -',
  summary: 'Build an image from a Dockerfile',
  notes: ['PATH is the context: what COPY and ADD can see. With - it is read from stdin: a tar, or a Dockerfile alone.'],
  flags: buildFlags,
  unsupported: unsupportedBuildFlags,
  arguments: [1, 1],
  async run({ values, positionals }, shell) {
    const call = readBuildCall(values.call, values.check)
    const flags = readBuildFlags(values, shell)
    await using scope = new Scope()
    const files = await readContext(values, positionals[0] ?? '', scope, shell)
    if (call.name !== 'build') return runBuildCall(call, { ...engineOptions(shell, shell.emit), ...flags, ...files }, shell)
    const { build } = await import('../../build.js')
    const mode = values.quiet ? 'quiet' : values.progress
    const listener = withWarningsAtEnd(await openListener(mode, 'Building', shell), mode, shell)
    let result: BuildResult
    try {
      result = await build({ ...engineOptions(shell, listener.handle), ...flags, ...files })
    } finally {
      listener.close()
    }
    report(result, values, shell)
    return 0
  },
})

/** Where the context and the Dockerfile are; at most one of them is stdin. */
async function readContext(
  values: Values,
  argument: string,
  scope: Scope,
  shell: Shell,
): Promise<Pick<BuildOptions, 'context' | 'dockerfile' | 'buildContexts'>> {
  const buildContexts = readBuildContexts(values['build-context'], shell.cwd)
  const { file } = values
  if (argument === '-') {
    if (file === '-') throw new UsageError('USAGE_BAD_ARGUMENT', 'stdin cannot be both the context and the Dockerfile')
    const { readStdinContext } = await import('../stdin-context.js')
    const found = scope.use(await readStdinContext(shell.stdin, shell.signal))
    const dockerfile = found.dockerfile ?? (file === undefined ? undefined : { path: resolve(found.directory, file) })
    return { context: found.directory, buildContexts, dockerfile }
  }
  const context = readContextPath(argument, shell.cwd)
  if (file === '-') {
    const { readStdinDockerfile } = await import('../stdin-context.js')
    return { context, buildContexts, dockerfile: await readStdinDockerfile(shell.stdin) }
  }
  return { context, buildContexts, dockerfile: file === undefined ? undefined : { path: file } }
}

/** The files that were asked for, and the result: with `-q` on stdout as docker prints it, else a line on stderr. */
function report(result: BuildResult, values: Values, shell: Shell): void {
  if (values.iidfile !== undefined) writeFileAtomic(resolve(shell.cwd, values.iidfile), result.imageId)
  if (values['metadata-file'] !== undefined) {
    writeFileAtomic(resolve(shell.cwd, values['metadata-file']), `${JSON.stringify(result.metadata, undefined, 2)}\n`)
  }
  if (values.quiet) {
    if (!values.output.some(writesToStdout)) shell.print(`${result.imageId}\n`)
    return
  }
  if (values.progress === 'quiet' || values.progress === 'none' || values.progress === 'rawjson') return
  if (result.caches.length > 0) shell.note(`\n${result.caches.map(({ text }) => text).join('\n')}`)
  shell.note(`\n${[result.imageId, ...result.names].join('\n  ')}`)
}

function writesToStdout(output: string): boolean {
  return output === '-' || /(^|,)dest=-(,|$)/.test(output) || /^type=(tar|oci|docker)$/.test(output)
}
