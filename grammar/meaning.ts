/** What a tree means, apart from how its text is laid out: for comparing two Dockerfiles. */
import type { Dockerfile } from './ast.js'

/** Fields that are about the layout only. `rest` repeats in one text what the other fields say word by word. */
const layoutFields = ['span', 'keywordSpan', 'contentSpan', 'source', 'rest']

/** A text that is equal for trees that mean the same: places, blanks between words and the case of keywords do not count. */
export function meaningOf(ast: Dockerfile): string {
  return JSON.stringify(ast, (key, value: unknown) => {
    if (layoutFields.includes(key)) return undefined
    if (key === 'keyword' && typeof value === 'string') return value.toUpperCase()
    // The word between base and name of FROM.
    if (key === 'as') return value === undefined ? undefined : 'AS'
    return value
  })
}
