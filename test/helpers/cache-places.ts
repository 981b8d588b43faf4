/** The places that keep caches, each with a real server or directory, for scenarios that all of them must pass. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { CacheBackend } from '../../src/cache/backend.js'
import { ghaBackend } from '../../src/cache/gha-backend.js'
import { localBackend } from '../../src/cache/local-backend.js'
import { registryBackend } from '../../src/cache/registry-backend.js'
import { s3Backend } from '../../src/cache/s3-backend.js'
import { platformOf } from '../../src/core/platform.js'
import type { CachePlace } from '../../src/engine/options.js'
import { createRegistryClient } from '../../src/registry/client.js'
import { Transport } from '../../src/registry/transport.js'
import { startGha } from './gha-server.js'
import { registryMissing, startRegistry } from './registry.js'
import { startS3 } from './s3-server.js'

/** A place for one test. */
export interface TestPlace extends AsyncDisposable {
  readonly place: CachePlace
  /** As summaries call it. */
  readonly name: string
  /** Requests so far that fetched, or brought, the bytes of a blob; none for a directory. */
  fetched(): number
  brought(): number
  /** Opens it without an engine. */
  open(): CacheBackend
  /** Changes the bytes of all blobs there, by their digests (hex); undefined removes one. */
  spoil(change: (bytes: Buffer, hex: string) => Buffer | undefined): void
}

/** The kinds of places. */
export const placeKinds = ['registry', 'local', 's3', 'gha'] as const
/** One of them. */
export type PlaceKind = (typeof placeKinds)[number]

/** Why a kind cannot be started here. */
export function whyNoPlace(kind: PlaceKind): string | undefined {
  return kind === 'registry' ? registryMissing() : undefined
}

/** Starts one. */
export function startPlace(kind: PlaceKind): Promise<TestPlace> {
  return { registry: startInRegistry, local: startInDirectory, s3: startInBucket, gha: startInService }[kind]()
}

/** Connections without proxies. */
export function plainTransport(): Transport {
  const limits = { connectionsPerHost: 24, connectTimeoutMs: 5000, idleTimeoutMs: 10_000, uploadIdleTimeoutMs: 10_000 }
  return new Transport({ ...limits, proxy: {}, tls: { certsDirectories: [], caFiles: [], ca: [] } })
}

async function startInRegistry(): Promise<TestPlace> {
  const registry = await startRegistry()
  const ref = `${registry.host}/team/app:cache`
  const reference = { registry: registry.host, repository: 'team/app', tag: 'cache' }
  const count = (pattern: RegExp): number => registry.requests().filter((line) => pattern.test(line)).length
  return {
    place: { type: 'registry', ref },
    name: ref,
    fetched: () => count(/^GET \/v2\/.*\/blobs\//),
    brought: () => count(/^PUT \/v2\/.*\/blobs\/uploads/),
    open: () => registryBackend(createRegistryClient(), reference, platformOf('linux', process.arch)),
    spoil: (change) =>
      changeFiles(join(registry.directory, 'data/docker/registry/v2/blobs'), change, (path) =>
        basename(path) === 'data' ? basename(dirname(path)) : undefined,
      ),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  }
}

async function startInDirectory(): Promise<TestPlace> {
  const path = mkdtempSync(join(tmpdir(), 'mille-cache-'))
  return {
    place: { type: 'local', path },
    name: path,
    fetched: () => 0,
    brought: () => 0,
    open: () => localBackend(path, 'latest'),
    spoil: (change) => changeFiles(join(path, 'blobs/sha256'), change, (file) => basename(file)),
    [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true }),
  }
}

async function startInBucket(): Promise<TestPlace> {
  const s3 = await startS3()
  const count = (pattern: RegExp): number => s3.requests.filter((line) => pattern.test(line)).length
  return {
    place: { type: 's3', ...s3.settings },
    name: 's3://caches/team/mille',
    fetched: () => count(/^GET .*\/blobs\//),
    brought: () => count(/^PUT .*\/blobs\//),
    open: () => s3Backend(s3.settings, plainTransport(), { now: Date.now }),
    spoil: (change) =>
      changeFiles(s3.directory, change, (path) => /blobs\/sha256:([0-9a-f]{64})\._S3rver_object$/.exec(path)?.[1]),
    [Symbol.asyncDispose]: () => s3[Symbol.asyncDispose](),
  }
}

async function startInService(): Promise<TestPlace> {
  const gha = await startGha()
  const settings = { url: gha.url, token: gha.token('refs/heads/main') }
  const count = (pattern: RegExp): number => gha.requests.filter((line) => pattern.test(line)).length
  return {
    place: { type: 'gha', ...settings },
    name: 'gha:mille',
    fetched: () => count(/^GET blob mille-blob/),
    brought: () => count(/^PUT blob mille-blob.* (whole|blocklist)/),
    open: () => ghaBackend(settings, plainTransport(), { patienceMs: 1000 }),
    spoil(change) {
      for (const entry of gha.entries) {
        const hex = /^mille-blob-1-([0-9a-f]{64})/.exec(entry.key)?.[1]
        if (hex === undefined || entry.content === undefined) continue
        entry.content = change(entry.content, hex)
        entry.finished = entry.content !== undefined
      }
    },
    async [Symbol.asyncDispose]() {
      await gha[Symbol.asyncDispose]()
      // Whatever the test was about: the client made no mistake in the protocol.
      if (gha.mistakes.length > 0) throw new Error(`the service refused: ${gha.mistakes.join('; ')}`)
    },
  }
}

function changeFiles(
  directory: string,
  change: (bytes: Buffer, hex: string) => Buffer | undefined,
  hexOf: (path: string) => string | undefined,
): void {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const hex = entry.isFile() ? hexOf(path) : undefined
    if (hex === undefined) continue
    const bytes = readFileSync(path)
    const changed = change(bytes, hex)
    if (changed === undefined) rmSync(path)
    else if (changed !== bytes) writeFileSync(path, changed)
  }
}
