/** `mille inspect --verify` finds what was damaged in the store. */
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Manifest } from '../../src/core/descriptor.js'
import { type Ended, mille, milleOk } from '../helpers/cli.js'
import { tempDirectory } from '../helpers/temp.js'

interface Site {
  readonly root: string
  readonly blobs: string
  verify(): Promise<Ended>
}

async function withImage(work: (site: Site) => Promise<void>): Promise<void> {
  await using directory = await tempDirectory()
  const root = join(directory.path, 'store')
  const context = join(directory.path, 'context')
  mkdirSync(context)
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY <<EOF /a\nthe text of a file\nEOF\nLABEL b=1\n')
  // An annotation needs a manifest, so the layer's blob is made at once.
  await milleOk(root, ['build', '-q', '-t', 'image', '--annotation', 'org.example.a=b', context])
  await work({ root, blobs: join(root, 'blobs/sha256'), verify: () => mille(root, ['inspect', '--verify', 'image']) })
}

/** The blob whose text has `part`, and the manifest. */
function blobWith(blobs: string, part: string): string {
  const found = readdirSync(blobs).find((name) => readFileSync(join(blobs, name)).includes(part))
  if (found === undefined) throw new Error(`no blob has ${part}`)
  return join(blobs, found)
}

test('an image in order is shown', () =>
  withImage(async ({ verify, blobs }) => {
    const { code, stdout, stderr } = await verify()
    assert.is(code, 0, stderr)
    assert.is(JSON.parse(stdout)[0].Config.Labels.b, '1')
    const manifest = JSON.parse(readFileSync(blobWith(blobs, '"layers"'), 'utf8')) as Manifest
    assert.is(manifest.annotations?.['org.example.a'], 'b')
  }))

test('a changed layer blob, manifest, config and snapshot are each found', async () => {
  const damage: readonly (readonly [what: string, expected: RegExp, change: (site: Site) => void])[] = [
    [
      'layer',
      /the layer sha256:[0-9a-f]+ has/,
      ({ blobs }) => {
        const { layers } = JSON.parse(readFileSync(blobWith(blobs, '"layers"'), 'utf8')) as Manifest
        const path = join(blobs, layers[0]?.digest.slice(7) ?? '')
        const bytes = readFileSync(path)
        bytes[4] = (bytes[4] ?? 0) ^ 1
        writeFileSync(path, bytes)
      },
    ],
    ['manifest', /STORE_/, ({ blobs }) => truncateSync(blobWith(blobs, '"layers"'), 30)],
    ['config', /STORE_|IMAGE_INVALID/, ({ blobs }) => truncateSync(blobWith(blobs, '"rootfs"'), 30)],
    [
      'snapshot',
      /the files of layer sha256:[0-9a-f]+ pack to/,
      ({ root }) => {
        const [id] = readdirSync(join(root, 'snapshots')).filter((name) => !name.includes('.'))
        writeFileSync(join(root, 'snapshots', id ?? '', 'a'), 'the text of a fool\n')
      },
    ],
  ]
  for (const [what, expected, change] of damage) {
    await withImage(async (site) => {
      change(site)
      const { code, stderr } = await site.verify()
      assert.is(code, 1, what)
      assert.match(stderr, expected, what)
    })
  }
})

test.run()
