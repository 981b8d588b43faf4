/** Modes as `chmod(1)` reads them: octal digits, or `u+x,go=rX`. The umask counts as 0, as in BuildKit. */

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
  return (mode, isDirectory) => changes.reduce((bits, change) => change?.(bits, isDirectory) ?? bits, mode)
}

const shifts = { u: 6, g: 3, o: 0 } as const
const special = { u: 0o4000, g: 0o2000, o: 0 } as const

type Who = keyof typeof shifts

function parseClause(text: string): ModeChange | undefined {
  const clause = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(text)
  if (clause === null) return undefined
  const letters = clause[1] === '' || clause[1]?.includes('a') ? 'ugo' : (clause[1] ?? '')
  const who = (['u', 'g', 'o'] as const).filter((one) => letters.includes(one))
  const actions = (clause[2] ?? '').match(/[-+=][^-+=]*/g) ?? []
  return (mode, isDirectory) =>
    actions.reduce((bits, action) => apply(bits, who, action.charAt(0), action.slice(1), isDirectory), mode)
}

function apply(mode: number, who: readonly Who[], operator: string, what: string, isDirectory: boolean): number {
  let set = 0
  let all = 0
  for (const one of who) {
    set |= bitsFor(mode, one, what, isDirectory)
    // As GNU chmod: `=` leaves a directory's setuid and setgid bits alone unless they are named.
    all |= (0o7 << shifts[one]) | (isDirectory ? 0 : special[one])
  }
  if (what.includes('t') && who.length === 3) set |= 0o1000
  if (who.length === 3) all |= 0o1000
  if (operator === '+') return mode | set
  return operator === '-' ? mode & ~set : (mode & ~all) | set
}

function bitsFor(mode: number, who: Who, what: string, isDirectory: boolean): number {
  if (what === 'u' || what === 'g' || what === 'o') return ((mode >> shifts[what]) & 0o7) << shifts[who]
  let bits = 0
  if (what.includes('r')) bits |= 4
  if (what.includes('w')) bits |= 2
  if (what.includes('x') || (what.includes('X') && (isDirectory || (mode & 0o111) !== 0))) bits |= 1
  return (bits << shifts[who]) | (what.includes('s') ? special[who] : 0)
}
