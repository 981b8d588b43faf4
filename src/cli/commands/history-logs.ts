/** `mille history logs`: the events of a build once more, on stdout. */
import type { BuildEvent } from '../../core/context.js'
import { readBuildEvents } from '../../store/builds.js'
import { type FoundBuild, findBuild } from '../build-records.js'
import { defineCommand } from '../command.js'
import type { Listener } from '../listener.js'
import { openPlain } from '../plain.js'
import { openRawJson } from '../rawjson.js'

/** The verb `history logs`. */
export const command = defineCommand({
  name: 'history logs',
  usage: '[OPTIONS] [BUILD]',
  summary: 'Show the output of a build again',
  notes: ['BUILD is an id, the start of one, or ^N for the N-th before the last; the last if it is left out.'],
  flags: {
    progress: {
      type: 'string',
      value: 'mode',
      default: 'plain',
      choices: ['plain', 'rawjson'],
      help: 'How it is shown',
    },
  },
  unsupported: ['builder', 'debug|D'],
  arguments: [0, 1],
  async run({ values, positionals }, shell) {
    const build = findBuild(positionals[0] ?? '^0', shell)
    const write = shell.print
    const listener: Listener = values.progress === 'plain' ? openPlain({ write, color: false }) : openRawJson(write)
    for (const event of eventsOf(build)) listener.handle(event)
    listener.close()
    return 0
  },
})

/** The events as they were; where no step ran none were kept, and the record says enough. */
function eventsOf({ file, record }: FoundBuild): BuildEvent[] {
  const lines = readBuildEvents(file).split('\n')
  // A build that was killed may have left half a line.
  if (lines.length > 1) return lines.slice(0, -1).map(readEvent)
  return record.steps.flatMap(({ id, name, status, startedAt = record.startedAt }): BuildEvent[] => [
    { type: 'vertex-started', id, name, atMs: startedAt },
    { type: 'vertex-done', id, name, atMs: startedAt, cached: status === 'cached' },
  ])
}

function readEvent(line: string): BuildEvent {
  const event = JSON.parse(line) as BuildEvent
  return event.type === 'log' ? { ...event, data: Buffer.from(String(event.data), 'base64') } : event
}
