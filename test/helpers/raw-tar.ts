/** Tars with anything in them, also what no honest program writes. */

/** One entry; what is left out is that of an ordinary file. */
export interface RawEntry {
  readonly name: string
  readonly type?: string
  readonly content?: string | Buffer
  readonly target?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtime?: number
  /** Claims this size whatever the content is. */
  readonly size?: number
  readonly device?: readonly [number, number]
}

/** A pax header for the next entry. */
export function pax(records: Readonly<Record<string, string | Buffer>>, type = 'x'): RawEntry {
  const parts = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')])
    let length = rest.length + 1
    while (String(length).length + rest.length !== length) length++
    return Buffer.concat([Buffer.from(String(length)), rest])
  })
  return { name: 'pax', type, content: Buffer.concat(parts) }
}

/** The bytes of a tar with these entries and its end. */
export function rawTar(entries: readonly RawEntry[]): Buffer {
  return Buffer.concat([...entries.map(encode), Buffer.alloc(1024)])
}

function encode(entry: RawEntry): Buffer {
  const content = Buffer.from(entry.content ?? '')
  const header = Buffer.alloc(512)
  const octal = (value: number, at: number, width: number): void => {
    header.write(value.toString(8).padStart(width - 1, '0'), at, 'latin1')
  }
  header.write(entry.name, 0, 100, 'utf8')
  octal(entry.mode ?? (entry.type === '5' ? 0o755 : 0o644), 100, 8)
  octal(entry.uid ?? 0, 108, 8)
  octal(entry.gid ?? 0, 116, 8)
  octal(entry.size ?? content.length, 124, 12)
  octal(entry.mtime ?? 1_000_000, 136, 12)
  header.write(entry.type ?? '0', 156, 'latin1')
  header.write(entry.target ?? '', 157, 100, 'utf8')
  header.write('ustar\x0000', 257, 'latin1')
  octal(entry.device?.[0] ?? 0, 329, 8)
  octal(entry.device?.[1] ?? 0, 337, 8)
  header.fill(' ', 148, 156)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    8,
  )
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)])
}
