/**
 * Progress as JSON, one object a line, with the field names of BuildKit's `rawjson` (its SolveStatus message):
 * `vertexes` (digest name started completed cached error, and mille's own reason), `statuses` (id vertex current total started completed),
 * `logs` (vertex stream data timestamp; data is base64) and `warnings` (short detail url level). docs/cli.md has it all.
 */
import type { BuildEvent } from '../core/context.js'
import { waitingText } from './human.js'
import type { Listener } from './listener.js'

/** Opens the JSON display. */
export function openRawJson(write: (text: string) => void): Listener {
  const started = new Map<string, string>()
  return {
    handle(event) {
      const message = messageOf(event, started)
      if (message !== undefined) write(`${JSON.stringify(message)}\n`)
    },
    close: () => undefined,
  }
}

function messageOf(event: BuildEvent, started: Map<string, string>): object | undefined {
  switch (event.type) {
    case 'plan':
      return { vertexes: event.vertices.map(({ id, name }) => ({ digest: id, name })) }
    case 'vertex-started':
      started.set(event.id, timeOf(event.atMs))
      return { vertexes: [{ digest: event.id, name: event.name, started: timeOf(event.atMs), reason: event.reason }] }
    case 'vertex-done':
      return { vertexes: [finished(event, started)] }
    case 'waiting':
      return { statuses: waitStatuses(event, started) }
    case 'log': {
      const data = Buffer.from(event.data).toString('base64')
      return { logs: [{ vertex: event.id, stream: event.stream, data, timestamp: timeOf(event.atMs) }] }
    }
    case 'progress': {
      const key = `${event.id} ${event.item}`
      const first = started.get(key) ?? timeOf(event.atMs)
      started.set(key, first)
      const { item: id, id: vertex, current, total } = event
      const status = { id, vertex, current, total, timestamp: timeOf(event.atMs), started: first }
      return { statuses: [event.done ? { ...status, completed: timeOf(event.atMs) } : status] }
    }
    case 'warning': {
      const { message, code, hint, url, severity } = event.diagnostic
      return { warnings: [{ level: severity === 'error' ? 0 : 1, short: message, detail: hint, rule: code, url }] }
    }
    case 'debug':
      return undefined
  }
}

/** A status without an amount; it is over when another of the same id says so. What it says may change: then one ends and another begins. */
function waitStatuses(event: Extract<BuildEvent, { type: 'waiting' }>, open: Map<string, string>): object[] {
  const { id: vertex, atMs, isOver, process } = event
  const timestamp = timeOf(atMs)
  const key = `wait ${vertex} ${event.work}`
  const [since = timestamp, known] = open.get(key)?.split('\n') ?? []
  const ended = known === undefined ? [] : [{ id: known, vertex, current: 0, timestamp, started: since, completed: timestamp }]
  if (isOver) {
    open.delete(key)
    return ended
  }
  const text = waitingText(event)
  open.set(key, `${timestamp}\n${text}`)
  return [...ended, { id: text, vertex, current: 0, timestamp, started: timestamp, process }]
}

function finished(event: Extract<BuildEvent, { type: 'vertex-done' }>, started: ReadonlyMap<string, string>): object {
  const completed = timeOf(event.atMs)
  const vertex = { digest: event.id, name: event.name, started: started.get(event.id) ?? completed, completed }
  return event.error === undefined ? { ...vertex, cached: event.cached } : { ...vertex, error: event.error }
}

function timeOf(atMs: number): string {
  return new Date(atMs).toISOString()
}
