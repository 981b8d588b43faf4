/**
 * What an operation opens, each piece with its first use, all released in reverse order when the operation ends.
 *
 * A build in which all is cached opens the store and nothing else.
 */
import type { Sandbox } from '../../sandbox/plan.js'
import type { BuildEvent, Context } from '../core/context.js'
import { BuildError, CancelledError, StoreError, systemCode } from '../core/errors.js'
import { createWorkerPool, type WorkerPool } from '../io/pool.js'
import { Scope } from '../io/scope.js'
import type { RegistryClient } from '../registry/client.js'
import type { Claims } from '../store/claims.js'
import type { Store } from '../store/types.js'
import { type EngineOptions, type EngineSettings, engineDefaults } from './options.js'

/** The open pieces of one operation. */
export interface Engine {
  readonly settings: EngineSettings
  readonly ctx: Context
  readonly store: Store
  /** What of the work other processes do at the same time. */
  readonly claims: Claims
  readonly pool: WorkerPool
  /** Set in a dry run: where hashes of context files are read, and not written. */
  readonly contextMemo?: string
  readonly openSandbox: () => Promise<Sandbox>
  readonly openRegistry: () => Promise<RegistryClient>
}

/**
 * Runs `work` with an engine and releases everything afterwards.
 *
 * @throws CancelledError when the signal aborted, whatever the work threw then
 */
export async function withEngine<Result>(options: EngineOptions, work: (engine: Engine) => Promise<Result>): Promise<Result> {
  const settings = engineDefaults(options)
  try {
    settings.signal.throwIfAborted()
    await using scope = new Scope()
    return await work(await openEngine(settings, scope))
  } catch (error) {
    throw settings.signal.aborted ? cancelled(settings.signal.reason) : explained(firstFailure(error), settings.root)
  }
}

async function openEngine(settings: EngineSettings, scope: Scope): Promise<Engine> {
  const [{ openStore }, { openClaims }] = await Promise.all([import('../store/store.js'), import('../store/claims.js')])
  const ctx: Context = { signal: settings.signal, emit: settings.onEvent }
  const store = scope.use(await openStore(settings.root))
  const pool = scope.use(createWorkerPool())
  return {
    settings,
    ctx,
    store,
    claims: openClaims(store.session.layout, settings),
    pool,
    openSandbox: once(async () => scope.use(await openSandbox(settings, ctx.emit))),
    openRegistry: once(async () => scope.use(await openRegistry(settings))),
  }
}

async function openSandbox(settings: EngineSettings, emit: (event: BuildEvent) => void): Promise<Sandbox> {
  const { openSandbox } = await import('../../sandbox/open.js')
  return openSandbox({
    stateDirectory: settings.stateDirectory,
    runtime: settings.runtime,
    ...(settings.env.PATH === undefined ? {} : { searchPath: settings.env.PATH }),
    warn: (message, hint) =>
      emit({
        type: 'warning',
        diagnostic: { severity: 'warning', code: 'Sandbox', message, ...(hint === undefined ? {} : { hint }) },
      }),
  })
}

async function openRegistry({ env, home, insecureRegistries }: EngineSettings): Promise<RegistryClient> {
  const [{ createRegistryClient }, { loadCredentials }, { proxyFromEnv }, { tlsSettingsFrom }] = await Promise.all([
    import('../registry/client.js'),
    import('../registry/credentials.js'),
    import('../registry/proxy.js'),
    import('../registry/tls.js'),
  ])
  return createRegistryClient({
    credentials: loadCredentials({ env, home }),
    proxy: proxyFromEnv(env),
    insecureRegistries,
    tls: { ...tlsSettingsFrom(env), certsDirectories: ['/etc/containers/certs.d', '/etc/docker/certs.d'] },
  })
}

/** The same promise for every call. */
export function once<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let made: Promise<Result> | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** What went wrong first, where letting go of things then failed too. */
function firstFailure(error: unknown): unknown {
  const isSuppressed = error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error
  return isSuppressed ? firstFailure(error.suppressed) : error
}

function cancelled(reason: unknown): CancelledError {
  return reason instanceof CancelledError ? reason : new CancelledError()
}

/** Errors of the system that say something about the machine, not about mille, as sentences. */
function explained(error: unknown, root: string): unknown {
  if (error instanceof BuildError) return error
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new StoreError('STORE_NO_SPACE', `no space left below ${root}`, {
        path: root,
        hint: 'run "mille prune", or choose a larger place with --root',
        cause: error,
      })
    case 'EACCES': {
      const path = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : ''
      if (!path.startsWith(`${root}/`)) return error
      return new StoreError('STORE_NO_PERMISSION', `no permission to read ${path}`, {
        path,
        hint: 'run as the owner of the store, or set MILLE_ROOT to a directory that is yours',
        cause: error,
      })
    }
    case 'EROFS':
      return new StoreError('STORE_NO_PERMISSION', `the filesystem of ${root} is read-only`, { path: root, cause: error })
    default:
      return error
  }
}
