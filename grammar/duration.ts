/** Durations as HEALTHCHECK flags have them: Go's `1h2m3.5s` notation. */

const unitNanoseconds: Readonly<Record<string, number>> = {
  ...{ ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 },
}

/** Nanoseconds as a whole number, or undefined when the text is no duration or is too long for 64 bits. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.exec(text)
  if (match === null) return /^[+-]?0$/.test(text) ? 0 : undefined
  let total = 0
  for (const [, number = '', unit = ''] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(number) * (unitNanoseconds[unit] ?? 0)
  }
  if (total >= 2 ** 63) return undefined
  return match[1] === '-' ? -Math.trunc(total) : Math.trunc(total)
}
