/**
 * Dockerfiles that are pipes or devices: `-f <(…)`, `-f /dev/stdin`, a FIFO.
 *
 * Opening or reading one can take for ever, and no signal would end that: they are opened without waiting and looked at from
 * time to time. A FIFO that nobody opens for writing is an error.
 */
import { closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BuildError, systemCode } from '../core/errors.js'
import { isStreamFile } from '../io/fs.js'
import { parseContextReference } from './context-reference.js'
import { dockerfileNames, isFetchedPath } from './dockerfile.js'
import type { BuildOptions } from './options.js'
import { dockerfileLimit } from './tar-context.js'

/** How long a FIFO may be without a writer. */
const writerGraceMs = 3000
const lookMs = 10

/** The same options, with the text of a Dockerfile that is a stream in the place of its path. */
export async function withStreamRead(options: BuildOptions, signal: AbortSignal): Promise<BuildOptions> {
  const found = streamOf(options)
  if (found === undefined) return options
  return { ...options, dockerfile: { name: found.name, text: await readStreamFile(found.path, signal) } }
}

function streamOf({ context, dockerfile }: BuildOptions): { readonly name: string; readonly path: string } | undefined {
  if (dockerfile !== undefined && !('path' in dockerfile)) return undefined
  if (dockerfile !== undefined) {
    const name = dockerfile.path
    if (isFetchedPath(name)) return undefined
    const reference = parseContextReference(context, 'the context')
    const places = [resolve(name), ...(isAbsolute(name) || reference.kind !== 'directory' ? [] : [join(reference.path, name)])]
    const path = places.find((place) => existsSync(place))
    return path !== undefined && isStreamFile(path) ? { name, path } : undefined
  }
  const reference = parseContextReference(context, 'the context')
  if (reference.kind !== 'directory') return undefined
  const name = dockerfileNames.find((each) => existsSync(join(reference.path, each)))
  const path = name === undefined ? undefined : join(reference.path, name)
  return name !== undefined && path !== undefined && isStreamFile(path) ? { name, path } : undefined
}

/** Reads a stream to its end. Throws DOCKERFILE_NOT_FOUND where nobody writes to it. */
export async function readStreamFile(path: string, signal: AbortSignal): Promise<string> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const isPipe = statSync(path).isFIFO()
    const deadline = Date.now() + writerGraceMs
    const parts: Buffer[] = []
    let length = 0
    for (let hasWriter = false; ; ) {
      const part = readPart(fd)
      if (part === undefined) hasWriter = true
      else if (part.length > 0) {
        parts.push(part)
        length += part.length
        if (length > dockerfileLimit)
          throw new BuildError('DOCKERFILE_NOT_FOUND', `${path} has more than 4 MiB: it is no Dockerfile`)
        continue
      } else if (!isPipe || hasWriter || length > 0) return Buffer.concat(parts).toString('utf8')
      else if (Date.now() > deadline) {
        throw new BuildError('DOCKERFILE_NOT_FOUND', `${path} is a pipe, and nobody writes to it`, {
          hint: 'name a file, or start what writes to the pipe first',
        })
      }
      await sleep(lookMs, undefined, { signal })
    }
  } finally {
    closeSync(fd)
  }
}

/** What is there now: nothing at the end, undefined where more may come. */
function readPart(fd: number): Buffer | undefined {
  const part = Buffer.alloc(64 << 10)
  try {
    return part.subarray(0, readSync(fd, part))
  } catch (error) {
    if (systemCode(error) !== 'EAGAIN') throw error
    return undefined
  }
}
