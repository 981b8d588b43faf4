/**
 * Modes as `chmod(1)` reads them: octal digits, or `u+x,go=rX`. The umask counts as 0. Where GNU's and BSD's programs differ it
 * is BSD's, as in BuildKit: `=` takes setuid and setgid away from directories too, the sticky bit stays unless it is
 * named, and `X` looks at the mode as it was before the first clause.
 */

/** Changes permission bits (0–07777). */
export type ModeChange = (mode: number, isDirectory: boolean) => number

/** The change that `text` asks for, or undefined when it is no mode. */
export function parseMode(text: string): ModeChange | undefined {
  if (/^[0-7]{1,5}$/.test(text)) {
    const value = Number.parseInt(text, 8)
    return value <= 0o7777 ? () => value : undefined
  }
  const changes = text.split(',').map(parseClause)
  if (changes.some((change) => change === undefined)) return undefined
  return (mode, isDirectory) => {
    const executable = isDirectory || (mode & 0o111) !== 0
    return changes.reduce((bits, change) => change?.(bits, executable) ?? bits, mode)
  }
}

const shifts = { u: 6, g: 3, o: 0 } as const
const special = { u: 0o4000, g: 0o2000, o: 0 } as const

type Who = keyof typeof shifts

/** Changes a mode; `executable`: what `X` asks. */
type Clause = (mode: number, executable: boolean) => number

function parseClause(text: string): Clause | undefined {
  const clause = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(text)
  if (clause === null) return undefined
  const letters = clause[1] === '' || clause[1]?.includes('a') ? 'ugo' : (clause[1] ?? '')
  const who = (['u', 'g', 'o'] as const).filter((one) => letters.includes(one))
  const actions = (clause[2] ?? '').match(/[-+=][^-+=]*/g) ?? []
  return (mode, executable) =>
    actions.reduce((bits, action) => apply(bits, who, action.charAt(0), action.slice(1), executable), mode)
}

function apply(mode: number, who: readonly Who[], operator: string, what: string, executable: boolean): number {
  // `g=u` copies three bits and leaves the setgid bit alone; `g=rw` takes it away, of directories too.
  const copies = what === 'u' || what === 'g' || what === 'o'
  let set = 0
  let all = 0
  for (const one of who) {
    set |= bitsFor(mode, one, what, executable)
    all |= (0o7 << shifts[one]) | (copies ? 0 : special[one])
  }
  // Only who names the sticky bit changes it; it is nobody's of "others".
  if (what.includes('t') && (who[0] !== 'o' || who.length > 1)) {
    set |= 0o1000
    all |= 0o1000
  }
  if (operator === '+') return mode | set
  return operator === '-' ? mode & ~set : (mode & ~all) | set
}

function bitsFor(mode: number, who: Who, what: string, executable: boolean): number {
  if (what === 'u' || what === 'g' || what === 'o') return ((mode >> shifts[what]) & 0o7) << shifts[who]
  let bits = 0
  if (what.includes('r')) bits |= 4
  if (what.includes('w')) bits |= 2
  if (what.includes('x') || (what.includes('X') && executable)) bits |= 1
  return (bits << shifts[who]) | (what.includes('s') ? special[who] : 0)
}
