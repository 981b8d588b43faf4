/** USER texts against a container's passwd and group files. */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { resolveUser } from '../../sandbox/ids.js'
import { SandboxError, systemCode } from '../../src/core/errors.js'
import type { FileView } from '../../src/core/view.js'

const passwd = 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:2000::/home/app:/bin/sh\n33:x:77:78::/:/bin/sh\n'
const group = 'root:x:0:\napp:x:2000:\naudio:x:29:app,other\nstaff:x:50:app\n'

function viewOf(root: string): FileView {
  return {
    lstat: (path) => {
      try {
        const stat = lstatSync(join(root, path), { bigint: true })
        const type = stat.isSymbolicLink() ? 'symlink' : stat.isDirectory() ? 'directory' : 'file'
        return {
          type,
          mode: Number(stat.mode) & 0o7777,
          uid: Number(stat.uid),
          gid: Number(stat.gid),
          size: Number(stat.size),
          mtimeNs: stat.mtimeNs,
          ctimeNs: stat.ctimeNs,
          dev: Number(stat.dev),
          ino: Number(stat.ino),
          nlink: Number(stat.nlink),
          rdev: 0,
          hostPath: join(root, path),
        }
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return undefined
        throw error
      }
    },
    readdir: (path) => readdirSync(join(root, path)).sort(),
    readlink: (path) => readlinkSync(join(root, path)),
  }
}

function withImage(
  work: (view: FileView, root: string) => void,
  files: { passwd?: string; group?: string } = { passwd, group },
): void {
  const root = mkdtempSync(join(tmpdir(), 'mille-ids-'))
  try {
    mkdirSync(join(root, 'etc'))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, 'etc', name), text)
    work(viewOf(root), root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

test('a name gets its uid, its gid and the groups that list it', () => {
  withImage((view) => assert.equal(resolveUser('app', view), { uid: 1000, gid: 2000, additionalGids: [29, 50] }))
})

test('a number that passwd knows is that user; one it does not know has group 0', () => {
  withImage((view) => {
    assert.equal(resolveUser('1000', view), { uid: 1000, gid: 2000, additionalGids: [29, 50] })
    assert.equal(resolveUser('4711', view), { uid: 4711, gid: 0, additionalGids: [] })
  })
})

test('a user whose name is a number is found by its name first', () => {
  withImage((view) => assert.is(resolveUser('33', view).uid, 77))
})

test('a group that is given leaves no further groups', () => {
  withImage((view) => {
    assert.equal(resolveUser('app:staff', view), { uid: 1000, gid: 50, additionalGids: [] })
    assert.equal(resolveUser('app:0', view), { uid: 1000, gid: 0, additionalGids: [] })
    assert.equal(resolveUser('12:34', view), { uid: 12, gid: 34, additionalGids: [] })
  })
})

test('an empty text is root, also in an image without /etc', () => {
  withImage((view) => assert.equal(resolveUser('', view), { uid: 0, gid: 0, additionalGids: [] }), {})
})

test('an unknown name is an error that names the nearest one', () => {
  withImage((view) => {
    try {
      resolveUser('ap', view)
      assert.unreachable()
    } catch (error) {
      assert.instance(error, SandboxError)
      assert.is((error as SandboxError).code, 'SANDBOX_UNKNOWN_USER')
      assert.is((error as SandboxError).hint, 'did you mean app?')
    }
    assert.throws(
      () => resolveUser('app:nogroup', view),
      (error: unknown) => error instanceof SandboxError && /no group "nogroup"/.test(error.message),
    )
  })
})

test('a link in the image never leads to a file of this machine', () => {
  withImage((view, root) => {
    symlinkSync('../../../../../../../../etc/passwd', join(root, 'etc/passwd'))
    assert.throws(
      () => resolveUser('root', view),
      (error: unknown) => error instanceof SandboxError && error.code === 'SANDBOX_UNKNOWN_USER',
    )
  }, {})
})

test('a link inside the image is followed', () => {
  withImage((view, root) => {
    mkdirSync(join(root, 'usr/lib'), { recursive: true })
    writeFileSync(join(root, 'usr/lib/passwd'), passwd)
    symlinkSync('/usr/lib/passwd', join(root, 'etc/passwd'))
    assert.is(resolveUser('app', view).uid, 1000)
  }, {})
})

test.run()
