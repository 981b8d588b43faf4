/** Reads a whole small tar, to look entries up by name. */
import { Readable } from 'node:stream'
import { extract, type Header } from 'tar-stream'

/** An entry with its bytes. */
export interface TarEntry {
  readonly header: Header
  readonly data: Buffer
}

/** The entries by name as it stands in the tar, except that a leading `./` is dropped. */
export async function readTar(bytes: Buffer): Promise<ReadonlyMap<string, TarEntry>> {
  const entries = new Map<string, TarEntry>()
  for await (const entry of Readable.from([bytes]).pipe(extract())) {
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer)
    entries.set(entry.header.name.replace(/^\.\//, ''), { header: entry.header, data: Buffer.concat(chunks) })
  }
  return entries
}
