/** `mille build`. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { BuildEvent } from '../../core/context.js'
import { BuildError, systemCode, UsageError } from '../../core/errors.js'
import { formatPlatform } from '../../core/platform.js'
import type { BuildOptions, BuildResult } from '../../engine/options.js'
import { StepLog } from '../../engine/step-log.js'
import { writeOutputFile } from '../../io/fs.js'
import { tidyAfterBuild } from '../after-build.js'
import type { FlagValues } from '../args.js'
import { readBuildCall, runBuildCall } from '../build-call.js'
import { buildFlags, readBuildContexts, readBuildFlags, unsupportedBuildFlags, writesToStdout } from '../build-flags.js'
import { defineCommand } from '../command.js'
import { engineOptions } from '../engine-options.js'
import type { ExplainReport } from '../explain-report.js'
import { readGcSettings } from '../gc-settings.js'
import { openListener } from '../listener.js'
import type { Shell } from '../shell.js'
import { withWarningsAtEnd } from '../warnings.js'

type Values = FlagValues<typeof buildFlags>

/** The verb `build`. */
export const command = defineCommand({
  name: 'build',
  usage: '[OPTIONS] PATH | URL | -',
  summary: 'Build an image from a Dockerfile',
  notes: [
    'PATH is the context: what COPY and ADD can see. With - it is read from stdin: a tar, or a Dockerfile alone.',
    'A URL is that of a tar, a Dockerfile or a git repository, or docker-image://NAME, or oci-layout://DIRECTORY[:TAG].',
  ],
  flags: buildFlags,
  unsupported: unsupportedBuildFlags,
  arguments: [1, 1],
  async run({ values, positionals }, shell) {
    const call = readBuildCall(values.call, values.check)
    checkFileFlags(values, shell)
    const flags = { ...readBuildFlags(values, shell), ...(await readCacheFlags(values, shell)) }
    const files = readContext(values, positionals[0] ?? '', shell)
    if (call.name !== 'build') return runBuildCall(call, { ...engineOptions(shell, shell.emit), ...flags, ...files }, shell)
    const vcs =
      flags.attestations?.provenance === undefined ? {} : await (await import('../vcs.js')).readVcs(files.context, shell)
    const { build, dryRun } = await import('../../build.js')
    const format = values.explain ?? (values['dry-run'] ? 'text' : undefined)
    if (values['dry-run']) {
      const { steps, caches } = await dryRun({ ...engineOptions(shell, shell.emit), ...flags, ...files })
      for (const { text } of caches) shell.note(text)
      await printReport({ dryRun: true, steps }, format, shell)
      return 0
    }
    const gc = readGcSettings(shell.env)
    const log = new StepLog()
    const mode = values.quiet ? 'quiet' : values.progress
    const listener = withWarningsAtEnd(await openListener(mode, 'Building', shell), mode, shell)
    const handle = (event: BuildEvent): void => {
      if (format !== undefined) log.add(event)
      listener.handle(event)
    }
    const isQuiet = values.quiet || ['quiet', 'none', 'rawjson'].includes(values.progress)
    let result: BuildResult | undefined
    try {
      result = await build({ ...engineOptions(shell, handle), ...flags, ...files, vcs })
    } finally {
      listener.close()
      await printReport({ dryRun: false, steps: log.steps }, format, shell)
      // A build that failed has added to the store too, and may have failed because it is full.
      if (result === undefined) await tidyAfterBuild(gc, result, isQuiet, shell)
    }
    report(result, values, shell)
    await tidyAfterBuild(gc, result, isQuiet, shell)
    return 0
  },
})

/** Most builds have none. */
async function readCacheFlags(values: Values, shell: Shell): Promise<Pick<BuildOptions, 'cacheFrom' | 'cacheTo'>> {
  const { 'cache-from': from, 'cache-to': to } = values
  return from.length + to.length === 0 ? {} : (await import('../cache-flags.js')).readCaches(from, to, shell)
}

async function printReport(found: ExplainReport, format: string | undefined, shell: Shell): Promise<void> {
  if (format === undefined) return
  const { explainJson, explainText } = await import('../explain-report.js')
  shell.print(format === 'json' ? explainJson(found) : explainText(found))
}

/** Where the context and the Dockerfile are. */
function readContext(
  values: Values,
  context: string,
  shell: Shell,
): Pick<BuildOptions, 'context' | 'dockerfile' | 'buildContexts' | 'stdin'> {
  const { file } = values
  const usesStdin = context === '-' || file === '-'
  return {
    context,
    buildContexts: readBuildContexts(values['build-context']),
    ...(file === undefined ? {} : { dockerfile: { path: file } }),
    ...(usesStdin ? { stdin: shell.stdin } : {}),
  }
}

/** What is written after the build, and cannot be into a directory. */
const fileFlags = ['iidfile', 'metadata-file'] as const

function checkFileFlags(values: Values, { cwd }: Shell): void {
  for (const flag of fileFlags) {
    const path = values[flag]
    if (path === undefined || !isDirectory(resolve(cwd, path))) continue
    throw new UsageError('USAGE_BAD_FLAG', `--${flag} ${path} is a directory`, { hint: 'name a file' })
  }
}

/** False for what cannot be looked at: writing there says why. */
function isDirectory(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false
  }
}

function writeNamed(flag: (typeof fileFlags)[number], values: Values, text: () => string, { cwd }: Shell): void {
  const path = values[flag]
  if (path === undefined) return
  try {
    writeOutputFile(resolve(cwd, path), text())
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    throw new BuildError('OUTPUT_UNWRITABLE', `--${flag} ${path} cannot be written (${code})`, { cause: error })
  }
}

/** The files that were asked for, and the result: with `-q` on stdout as docker prints it, else a line on stderr. */
function report(result: BuildResult, values: Values, shell: Shell): void {
  writeNamed('iidfile', values, () => shownId(result), shell)
  writeNamed('metadata-file', values, () => `${JSON.stringify(result.metadata, undefined, 2)}\n`, shell)
  if (values.quiet) {
    if (!values.output.some(writesToStdout)) shell.print(`${shownId(result)}\n`)
    return
  }
  if (values.progress === 'quiet' || values.progress === 'none' || values.progress === 'rawjson') return
  if (values['verify-reproducible']) shell.note('\nTwo builds without the cache gave the same image.')
  if (result.caches.length > 0) shell.note(`\n${result.caches.map(({ text }) => text).join('\n')}`)
  const ids =
    result.images.length > 1
      ? result.images.map(({ imageId, platform }) => `${imageId} ${formatPlatform(platform)}`)
      : [result.imageId]
  shell.note(`\n${ids.join('\n')}${result.names.map((name) => `\n  ${name}`).join('')}`)
}

/** Of several images the digest of their index, where an output made one, as buildx has it. */
function shownId({ images, imageId, manifest }: BuildResult): string {
  return images.length > 1 && manifest !== undefined ? manifest.digest : imageId
}
