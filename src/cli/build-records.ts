/** What the `history` commands share: build records by people's words for them, and the list of all. */
import { basename, join } from 'node:path'
import { BuildError, UsageError } from '../core/errors.js'
import { processState } from '../io/process-state.js'
import { type BuildFile, type BuildRecord, listBuilds, readBuild } from '../store/builds.js'
import { refuseNewer } from '../store/layout.js'
import { humanAge, humanSeconds } from './human.js'
import { printRows, type Row } from './listing.js'
import type { Shell } from './shell.js'
import { storeRoot } from './stores.js'

/** The directory of the build records of this command line. */
export function historyFolder(shell: Shell): string {
  const root = storeRoot(shell)
  refuseNewer(root)
  return join(root, 'history')
}

/** A record with its file. */
export interface FoundBuild {
  readonly file: BuildFile
  readonly record: BuildRecord
}

/**
 * Finds a build: by id, by the start of one, by `^N` (counted back from the last, which is `^0`), or as `--metadata-file`
 * names it.
 *
 * @throws BuildError HISTORY_NOT_FOUND, HISTORY_AMBIGUOUS
 */
export function findBuild(text: string, shell: Shell): FoundBuild {
  const builds = listBuilds(historyFolder(shell))
  const back = /^\^(\d+)$/.exec(text)?.[1]
  const id = text.slice(text.lastIndexOf('/') + 1)
  const found = back === undefined ? builds.filter((build) => build.id.startsWith(id) && id !== '') : [builds[Number(back)]]
  const [file, ...others] = found.filter((build) => build !== undefined)
  if (others.length > 0) {
    throw new BuildError('HISTORY_AMBIGUOUS', `${others.length + 1} builds have an id that starts with "${text}"`, {
      hint: 'give more of it',
    })
  }
  const record = file && readBuild(file)
  if (file !== undefined && record !== undefined) return { file, record }
  throw new BuildError('HISTORY_NOT_FOUND', `there is no record of a build ${text}`, {
    hint: '"mille history ls" lists them; ^0 is the last, ^1 the one before',
  })
}

/** How a build ended; one whose process is gone was killed. */
export function statusOf({ status, process }: BuildRecord): string {
  const isThere = process !== undefined && processState(process.pid)?.started === process.started
  if (status === 'running') return isThere ? 'Running' : 'Killed'
  return `${status.slice(0, 1).toUpperCase()}${status.slice(1)}`
}

/** What a build is called: its context and target. */
export function titleOf({ context, target }: BuildRecord): string {
  return basename(context) + (target === undefined ? '' : ` (${target})`)
}

/** The length of a build; so far, or until its process was last heard of, where it has no end. */
export function durationOf({ startedAt, endedAt, steps }: BuildRecord): number {
  const last = Math.max(startedAt, ...steps.map((step) => (step.startedAt ?? 0) + (step.durationMs ?? 0)))
  return (endedAt ?? last) - startedAt
}

/** What `history ls` is asked for. */
export interface ListFlags {
  readonly format: string | undefined
  readonly 'no-trunc': boolean
  readonly quiet: boolean
  readonly filter: readonly string[]
}

const shownId = 12

/** Prints the records, newest first. */
export function listHistory(flags: ListFlags, shell: Shell): number {
  const keeps = readFilters(flags.filter)
  const rows = listBuilds(historyFolder(shell)).flatMap((file): Row[] => {
    const record = readBuild(file)
    return record === undefined || !keeps(record) ? [] : [rowOf(record, flags['no-trunc'], shell)]
  })
  if (flags.quiet) {
    shell.print(rows.map((row) => `${row.ID}\n`).join(''))
    return 0
  }
  const columns = [
    ['ID', 'BUILD ID'],
    ['Name', 'NAME'],
    ['Status', 'STATUS'],
    ['Steps', 'RAN'],
    ['CreatedSince', 'CREATED AT'],
    ['Duration', 'DURATION'],
  ] as const
  printRows(rows, { format: flags.format, columns }, shell)
  return 0
}

function rowOf(record: BuildRecord, isFull: boolean, shell: Shell): Row {
  const ran = record.steps.filter(({ reason }) => reason !== undefined).length
  return {
    ID: isFull ? record.id : record.id.slice(0, shownId),
    Ref: `mille/mille/${record.id}`,
    Name: titleOf(record),
    Status: statusOf(record),
    Steps: `${ran}/${numberedSteps(record)}`,
    CreatedSince: humanAge(record.startedAt, shell.now()),
    CreatedAt: new Date(record.startedAt).toISOString(),
    CompletedAt: record.endedAt === undefined ? '' : new Date(record.endedAt).toISOString(),
    Duration: humanSeconds(durationOf(record)),
  }
}

/** Steps of the Dockerfile, without contexts and outputs. */
export function numberedSteps({ steps }: BuildRecord): number {
  return steps.filter(({ name }) => /^\[[^\]]*\d+\/\d+\] /.test(name)).length
}

/** `status=…` and `name=…`; several of one key are alternatives. */
function readFilters(texts: readonly string[]): (record: BuildRecord) => boolean {
  const wanted = { status: [] as string[], name: [] as string[] }
  for (const text of texts) {
    const [key = '', value = ''] = text.split(/=(.*)/s)
    if (key !== 'status' && key !== 'name') {
      throw new UsageError('USAGE_BAD_FLAG', `--filter "${text}" is not known`, { hint: 'filters are status=… and name=…' })
    }
    wanted[key].push(value.toLowerCase())
  }
  return (record) =>
    (wanted.status.length === 0 || wanted.status.includes(statusOf(record).toLowerCase())) &&
    (wanted.name.length === 0 || wanted.name.includes(titleOf(record).toLowerCase()))
}
