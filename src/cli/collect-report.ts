/** Puts into words what a collection removed. Loaded only when one took place. */
import type { CollectReport } from '../store/gc.js'
import { humanSize } from './human.js'

/** Less than this of what nothing needs is not worth a word. */
const littleBytes = 10e6

/** One line: how much, how many of what, and why. Undefined where nothing went that anybody would miss. */
export function reportText({ removed, bytes, isFinished }: CollectReport): string | undefined {
  const isDebris = removed.every(({ item }) => item.content.kind === 'unreferenced')
  if (isDebris && bytes < littleBytes) return undefined
  const groups = new Map<string, number>()
  for (const { item, reason } of removed) {
    const what = `${nameOf(item.type)} ${reason}`
    groups.set(what, (groups.get(what) ?? 0) + 1)
  }
  const parts = [...groups].map(([what, count]) => `${count} ${count === 1 ? what : plural(what)}`)
  const rest = isFinished ? '' : '; the next build goes on'
  return `Removed ${humanSize(bytes)} from the cache: ${parts.join(', ')}${rest} (MILLE_GC=off turns this off)`
}

function nameOf(type: string): string {
  switch (type) {
    case 'exec.cachemount':
      return 'cache mount'
    case 'source.git.checkout':
      return 'git repository'
    case 'image':
      return 'image without a name'
    case 'internal':
      return 'internal file'
    default:
      return 'result'
  }
}

function plural(text: string): string {
  return text.replace(/^(cache mount|git repositor|image|internal file|result)(y?)/, (_, word: string, y: string) =>
    y === '' ? `${word}s` : `${word}ies`,
  )
}
