/** The readers of package databases, the SPDX document, package URLs. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readPackageLock, readPythonMetadata } from '../../src/attest/language-packages.js'
import { formatPackageUrl, imagePackageUrl } from '../../src/attest/package-url.js'
import { withoutCredentials } from '../../src/attest/redact.js'
import { scanPackages } from '../../src/attest/scan.js'
import { spdxDocument } from '../../src/attest/spdx.js'
import { isReference, parseReference } from '../../src/core/reference.js'
import { layerStack } from '../../src/layer/stack.js'

/** Scans a directory with these files; a value that begins with `->` is a link. */
function scan(files: Readonly<Record<string, string>>): ReturnType<typeof scanPackages> {
  const root = mkdtempSync(join(tmpdir(), 'mille-scan-'))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      if (text.startsWith('->')) symlinkSync(text.slice(2), join(root, path))
      else writeFileSync(join(root, path), text)
    }
    return scanPackages(layerStack([root]))
  } finally {
    rmSync(root, { recursive: true })
  }
}

const osRelease = 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n'
const dpkg = `Package: bash
Essential: yes
Status: install ok installed
Maintainer: Matthias Klose <doko@debian.org>
Architecture: amd64
Version: 5.2.15-2+b7
Description: GNU Bourne Again SHell
 Version: 9 is not a field here

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2:2.36-9
`

test('lists what dpkg has installed, with the distribution that os-release names', () => {
  const { packages } = scan({
    'usr/lib/os-release': osRelease,
    'etc/os-release': '->../usr/lib/os-release',
    'var/lib/dpkg/status': dpkg,
  })
  assert.equal(
    packages.map(({ purl }) => purl),
    [
      'pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12',
      'pkg:deb/debian/libc6@2:2.36-9?arch=amd64&distro=debian-12',
    ],
  )
})

test("lists a distroless image's packages, which have one file each and no status", () => {
  const { packages } = scan({
    'var/lib/dpkg/status.d/base': 'Package: base-files\nVersion: 12\nArchitecture: arm64\n',
    'var/lib/dpkg/status.d/base.md5sums': 'Package: nothing\nVersion: 1\n',
  })
  assert.equal(
    packages.map(({ name }) => name),
    ['base-files'],
  )
})

test('lists the packages of apk, with their licenses', () => {
  const installed = 'C:Q1=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\nm:Someone <a@b>\nF:lib\nR:x\n\nP:zlib\nV:1.3\nA:x86_64\nL:Zlib\n'
  const { packages } = scan({ 'etc/os-release': 'ID=alpine\nVERSION_ID=3.18.4\n', 'lib/apk/db/installed': installed })
  assert.equal(
    packages.map(({ purl, license }) => [purl, license]),
    [
      ['pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4', 'MIT'],
      ['pkg:apk/alpine/zlib@1.3?arch=x86_64&distro=alpine-3.18.4', 'Zlib'],
    ],
  )
})

test('finds npm and Python packages wherever they are, and passes over what is broken', () => {
  const { packages } = scan({
    'app/package.json': '{"name":"app","version":"1.0.0"}',
    'app/node_modules/left-pad/package.json': '{"name":"left-pad","version":"1.3.0","license":"WTFPL"}',
    'app/node_modules/@team/x/package.json': '{"name":"@team/x","version":"2.0.0"}',
    'app/node_modules/x/test/fixtures/package.json': '{"name": broken',
    'usr/lib/python3/dist-packages/Foo_Bar-1.5.dist-info/METADATA':
      'Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.5\n\nName: text\n',
  })
  assert.equal(
    packages.map(({ purl }) => purl),
    ['pkg:npm/%40team/x@2.0.0', 'pkg:npm/left-pad@1.3.0', 'pkg:pypi/foo-bar@1.5'],
  )
})

test("reads npm's lock files, flat and nested, without links and the project itself", () => {
  const flat = {
    packages: {
      '': { name: 'app', version: '1.0.0' },
      'node_modules/a': { version: '1.1.0', license: 'MIT' },
      'node_modules/a/node_modules/@s/b': { version: '2.0.0' },
      'packages/own': { version: '0.0.1' },
      'node_modules/own': { link: true, resolved: 'packages/own' },
    },
  }
  const nested = { dependencies: { a: { version: '1.0.0', dependencies: { b: { version: '2.0.0' } } } } }
  const purls = (lock: object): string[] => readPackageLock(JSON.stringify(lock), '/l').map(({ purl }) => purl)
  assert.equal(purls(flat), ['pkg:npm/a@1.1.0', 'pkg:npm/%40s/b@2.0.0'])
  assert.equal(purls(nested), ['pkg:npm/a@1.0.0', 'pkg:npm/b@2.0.0'])
  assert.is(readPythonMetadata('Name: x\n', '/m'), undefined)
})

test('names a database of rpm that it cannot read', () => {
  assert.equal(scan({ 'var/lib/rpm/rpmdb.sqlite': 'x' }).unread, ['/var/lib/rpm'])
})

test('writes an SPDX document with a relationship for each package, and licenses only where they are expressions', () => {
  const found = [
    { name: 'a', version: '1', purl: 'pkg:npm/a@1', source: '/x', license: '(MIT OR Apache-2.0)', supplier: 'A B <a@b>' },
    { name: 'b', version: '2', purl: 'pkg:npm/b@2', source: '/y', license: 'see LICENSE, please' },
  ]
  const document = spdxDocument(found, { name: 'sbom', tool: 'mille-0', createdAt: 0 }) as {
    readonly packages: readonly Readonly<Record<string, unknown>>[]
    readonly relationships: readonly Readonly<Record<string, string>>[]
  }
  const ids = document.packages.map(({ SPDXID }) => SPDXID)
  assert.is(new Set(ids).size, 3)
  assert.equal(
    document.relationships.map(({ relatedSpdxElement }) => relatedSpdxElement),
    ids,
  )
  assert.equal(
    document.packages.map(({ licenseDeclared, supplier }) => [licenseDeclared, supplier]),
    [
      ['NOASSERTION', undefined],
      ['(MIT OR Apache-2.0)', 'Person: A B (a@b)'],
      ['NOASSERTION', undefined],
    ],
  )
})

test('writes package URLs as the specification says', () => {
  assert.is(formatPackageUrl({ type: 'npm', namespace: '@a', name: 'b', version: '1.0+x' }), 'pkg:npm/%40a/b@1.0%2Bx')
  const image = (text: string): string => {
    const reference = parseReference(text)
    return isReference(reference) ? imagePackageUrl(reference, { os: 'linux', architecture: 'arm', variant: 'v7' }) : ''
  }
  assert.is(image('busybox'), 'pkg:docker/busybox@latest?platform=linux%2Farm%2Fv7')
  const digest = `sha256:${'a'.repeat(64)}`
  assert.is(
    image(`reg.test:5000/team/app:1@${digest}`),
    `pkg:docker/reg.test:5000/team/app@1?digest=${digest}&platform=linux%2Farm%2Fv7`,
  )
})

test('takes credentials out of URLs wherever they stand in a text', () => {
  assert.is(withoutCredentials('get https://me:word@x.test/a?b=c@d now'), 'get https://xxxxx:xxxxx@x.test/a?b=c@d now')
  assert.is(withoutCredentials('https://token@x.test/a.git#main'), 'https://xxxxx@x.test/a.git#main')
  assert.is(withoutCredentials('ssh://git@x.test/a'), 'ssh://git@x.test/a')
  assert.is(withoutCredentials('mail a@b.test'), 'mail a@b.test')
})

test.run()
