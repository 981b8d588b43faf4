/** `mille prune`: removes what nothing needs. `image prune`, `builder prune` and `system prune` are it, too. */
import { UsageError } from '../../core/errors.js'
import { defineCommand } from '../command.js'
import { humanSize } from '../human.js'
import { storeRoot } from '../stores.js'

/** The verb `prune`. */
export const command = defineCommand({
  name: 'prune',
  usage: '[OPTIONS]',
  summary: 'Remove what no image needs',
  notes: [
    'Without flags: images without a name, and files that nothing points at. Cached results stay; with --all everything goes that no\nrunning mille uses.',
  ],
  flags: {
    all: {
      type: 'boolean',
      short: 'a',
      help: 'Remove all images, all cached results, git repositories and the caches of RUN --mount=type=cache',
    },
    cache: {
      type: 'boolean',
      help: 'Remove all cached results, git repositories and the caches of RUN --mount=type=cache, and keep named images',
    },
    'dry-run': { type: 'boolean', help: 'Only say what would be removed' },
    filter: {
      type: 'list',
      value: 'filter',
      help: 'Only what was not used since (until=24h, until=DATE), or only caches of RUN (type=exec.cachemount) or git repositories (type=source.git.checkout)',
    },
    force: { type: 'boolean', short: 'f', help: 'Accepted for docker: mille does not ask' },
    'max-used-space': {
      type: 'bytes',
      value: 'size',
      help: 'Remove the longest unused cached results until no more than this is kept',
    },
    verbose: { type: 'boolean', help: 'List what was removed' },
  },
  unsupported: ['keep-storage', 'min-free-space', 'reserved-space', 'volumes', 'builder'],
  arguments: [0, 0],
  async run({ values }, shell) {
    const [{ openStore }, { collectGarbage }] = await Promise.all([import('../../store/store.js'), import('../../store/gc.js')])
    const unusedSince = readUntil(
      values.filter.filter((filter) => !isTypeFilter(filter)),
      shell.now(),
    )
    const only = values.filter.find(isTypeFilter)
    const keepBytes = values['max-used-space']
    await using store = await openStore(storeRoot(shell))
    const report = await collectGarbage(store, {
      images: only !== undefined ? 'none' : values.all ? 'all' : 'dangling',
      records:
        only !== undefined ? 'none' : values.all || values.cache ? 'all' : keepBytes === undefined ? 'none' : { keepBytes },
      cacheMounts: only === undefined ? values.all || values.cache : only === cacheMountsFilter,
      gitRepositories: only === undefined ? values.all || values.cache : only === repositoriesFilter,
      logs: only === undefined,
      dryRun: values['dry-run'],
      ...(unusedSince === undefined ? {} : { unusedSince }),
    })
    if (values.verbose || values['dry-run']) {
      for (const { kind, name, size } of report.collected) shell.print(`${kind} ${name} ${humanSize(size)}\n`)
    }
    if (report.liveProcesses > 0) shell.note('another mille is running; what it uses was kept')
    shell.print(`${values['dry-run'] ? 'Reclaimable space' : 'Total reclaimed space'}: ${humanSize(report.bytes)}\n`)
    return 0
  },
})

const cacheMountsFilter = 'type=exec.cachemount'
const repositoriesFilter = 'type=source.git.checkout'

function isTypeFilter(filter: string): boolean {
  return filter === cacheMountsFilter || filter === repositoriesFilter
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `until=24h` or `until=2026-01-31T12:00:00Z` as ms since 1970. */
function readUntil(filters: readonly string[], now: number): number | undefined {
  let since: number | undefined
  for (const filter of filters) {
    const value = /^until=(.+)$/.exec(filter)?.[1]
    const parts = [...(value ?? '').matchAll(/(\d+(?:\.\d+)?)([smhd])/gy)]
    const span = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (unitMs[unit ?? ''] ?? 0), 0)
    const isSpan = parts.length > 0 && parts.map(([text]) => text).join('') === value
    const time = isSpan ? now - span : Date.parse(value ?? '')
    if (Number.isNaN(time)) {
      throw new UsageError('USAGE_BAD_FLAG', `--filter "${filter}" is not known`, {
        hint: 'write until=24h, until=2026-01-31, type=exec.cachemount or type=source.git.checkout',
      })
    }
    since = time
  }
  return since
}
