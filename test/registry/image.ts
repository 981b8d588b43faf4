/** A small image made by hand, for pushing and for fakes. */
import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { type Descriptor, mediaTypes } from '../../src/core/descriptor.js'
import { type Digest, digestOf } from '../../src/core/digest.js'

/** An image: its blobs by digest, and its manifest. */
export interface HandMade {
  readonly blobs: ReadonlyMap<Digest, Buffer>
  readonly layers: readonly Descriptor[]
  readonly config: Descriptor
  readonly manifest: Buffer
}

/** One tar with one file. */
export function tarOf(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(512)
  header.write(name, 0)
  header.write('0000644\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0', 136)
  header.write('        ', 148)
  header.write('0', 156)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512), Buffer.alloc(1024)])
}

/** An image with one gzip layer for each tar. */
export function imageOf(tars: readonly Buffer[]): HandMade {
  const blobs = new Map<Digest, Buffer>()
  const add = (bytes: Buffer, mediaType: string): Descriptor => {
    const digest = digestOf(bytes)
    blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const layers = tars.map((tar) => add(gzipSync(tar, { level: 1 }), mediaTypes.ociLayerGzip))
  const document = {
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
  }
  const config = add(Buffer.from(JSON.stringify(document)), mediaTypes.ociConfig)
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers }))
  return { blobs, layers, config, manifest }
}

/** A tar with a file of random bytes. */
export function randomTar(name: string, size: number): Buffer {
  return tarOf(name, randomBytes(size))
}
