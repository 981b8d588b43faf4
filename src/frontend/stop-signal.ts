/** Signal names of STOPSIGNAL (semantics.md 59). */

const names = new Set(
  [
    'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP',
    'TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX',
    ...Array.from({ length: 15 }, (_, n) => `RTMIN+${n + 1}`),
    ...Array.from({ length: 14 }, (_, n) => `RTMAX-${n + 1}`),
  ].flatMap((line) => line.split(' ')),
)

/** True for a number other than 0, and for a name with or without SIG in any case. */
export function isSignal(text: string): boolean {
  if (/^[+-]?\d+$/.test(text)) return Number(text) !== 0
  return names.has(text.toUpperCase().replace(/^SIG/, ''))
}

/** Names to suggest. */
export function signalNames(): string[] {
  return [...names].map((name) => `SIG${name}`)
}
