/** Limits of setrlimit(2): what this process may give to a container. */
import { readTextIfExists } from '../src/io/fs.js'
import type { ProcessLimit } from './plan.js'

/** Limits that can be set, and a sentence for each that had to be lowered. */
export interface UsableProcessLimits {
  readonly limits: readonly ProcessLimit[]
  readonly warnings: readonly string[]
}

/** The words of /proc/PID/limits. */
const words: Readonly<Record<string, string>> = {
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
}

/** Names that `--ulimit` takes. */
export const processLimitNames: readonly string[] = Object.keys(words)

/** Without CAP_SYS_RESOURCE a hard limit can only be lowered: what is above becomes this process's own. */
export function usableProcessLimits(limits: readonly ProcessLimit[], capabilities: ReadonlySet<string>): UsableProcessLimits {
  if (limits.length === 0 || capabilities.has('CAP_SYS_RESOURCE')) return { limits, warnings: [] }
  const text = readTextIfExists('/proc/self/limits') ?? ''
  const warnings: string[] = []
  const usable = limits.map((limit) => {
    const own = ownHardLimit(limit.name, text)
    if (own === undefined || isAtMost(limit.hard, own)) return limit
    warnings.push(`the ulimit ${limit.name} stays at ${own}, ${limit.hard < 0 ? 'unlimited' : limit.hard} is not allowed here`)
    return { name: limit.name, hard: own, soft: isAtMost(limit.soft, own) ? limit.soft : own }
  })
  return { limits: usable, warnings }
}

function ownHardLimit(name: string, text: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(words[name] ?? '\0'))
  const hard = /\S+\s+(\d+|unlimited)\s/.exec(line?.slice(words[name]?.length) ?? '')?.[1]
  return hard === undefined || hard === 'unlimited' ? undefined : Number(hard)
}

function isAtMost(limit: number, highest: number): boolean {
  return limit >= 0 && limit <= highest
}
