/** Applies the edits of findings to a text. Pure; whoever calls reads and writes the file. */
import type { SourceFile } from '../core/span.js'
import type { Edit, Finding } from './lint-findings.js'

/** A text that was mended. */
export interface Fixed {
  readonly text: string
  /** What was mended. */
  readonly fixed: readonly Finding[]
  /** What is left. */
  readonly left: readonly Finding[]
}

/** Mending one thing may show another, but no file needs many rounds. */
const maxRounds = 10

/** Mends and lints again until nothing can be mended. */
export async function applyFixes(source: SourceFile, lint: (text: string) => Promise<readonly Finding[]>): Promise<Fixed> {
  const fixed: Finding[] = []
  let { text } = source
  for (let round = 0; ; round++) {
    const found = await lint(text)
    const { taken, edits } = chooseEdits(found)
    if (edits.length === 0 || round === maxRounds) return { text, fixed, left: found }
    fixed.push(...taken)
    text = applyEdits(text, edits)
  }
}

/** The findings whose edits do not touch each other; the others wait for the next round. Equal edits are one. */
function chooseEdits(findings: readonly Finding[]): { readonly taken: readonly Finding[]; readonly edits: readonly Edit[] } {
  const taken: Finding[] = []
  const edits: Edit[] = []
  for (const finding of findings) {
    if (finding.edits.length === 0) continue
    const more = finding.edits.filter((edit) => !edits.some((each) => isSame(each, edit)))
    if (more.some((edit) => edits.some((each) => touches(each, edit)))) continue
    taken.push(finding)
    edits.push(...more)
  }
  return { taken, edits }
}

function isSame(a: Edit, b: Edit): boolean {
  return a.span.start === b.span.start && a.span.end === b.span.end && a.text === b.text
}

function touches(a: Edit, b: Edit): boolean {
  return a.span.start < b.span.end && b.span.start < a.span.end
}

/** The text with all edits made; they do not overlap. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  let result = text
  for (const { span, text: replacement } of [...edits].sort((a, b) => b.span.start - a.span.start)) {
    result = result.slice(0, span.start) + replacement + result.slice(span.end)
  }
  return result
}
