/** `--cache-from` and `--cache-to` as buildx writes them; what is not known is named. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readCacheFrom, readCacheTo } from '../../src/cli/cache-flags.js'
import type { Shell } from '../../src/cli/shell.js'
import { UsageError } from '../../src/core/errors.js'

const shell = { cwd: '/work', env: {} } as unknown as Shell

test('--cache-from takes a reference or fields', () => {
  assert.equal(readCacheFrom('reg.example/app:cache', shell), { type: 'registry', ref: 'reg.example/app:cache' })
  assert.equal(readCacheFrom('type=registry,ref=app', shell), { type: 'registry', ref: 'app', trust: 'all' })
  assert.equal(readCacheFrom('type=local,src=c,trust=verify', shell), { type: 'local', path: '/work/c', trust: 'verify' })
})

test('--cache-to takes what buildx takes', () => {
  const rest = { mode: 'min', forceCompression: false, ignoreError: false, mounts: false }
  assert.equal(readCacheTo('app:cache', shell), { type: 'registry', ref: 'app:cache', ...rest })
  assert.equal(readCacheTo('type=inline', shell), { type: 'inline', ...rest })
  assert.equal(readCacheTo('type=local,dest=/c,tag=main,mode=max,compression=zstd,mounts=true,ignore-error=true', shell), {
    ...{ type: 'local', path: '/c', tag: 'main', mode: 'max', compression: 'zstd' },
    ...{ forceCompression: false, ignoreError: true, mounts: true },
  })
})

test('what is wrong is named', () => {
  const wrong: readonly [() => unknown, RegExp][] = [
    [() => readCacheFrom('type=inline', shell), /read from its image/],
    [() => readCacheFrom('type=local,dest=c', shell), /"dest"/],
    [() => readCacheFrom('type=registry', shell), /has no ref/],
    [() => readCacheFrom('type=registry,ref=a,trust=some', shell), /trust is "some"/],
    [() => readCacheTo('type=s3', shell), /type s3, which is not supported yet/],
    [() => readCacheTo('type=regystry,ref=a', shell), /unknown type "regystry"/],
    [() => readCacheTo('type=registry,ref=a,mode=most', shell), /mode is "most"/],
    [() => readCacheTo('type=registry,ref=a,src=c', shell), /"src"/],
    [() => readCacheTo('type=inline,mode=max', shell), /mode=max is not possible/],
    [() => readCacheTo('type=registry,ref=a,oci-mediatypes=false', shell), /oci-mediatypes=false/],
    [() => readCacheTo('type=local,dest=c,compression=lzma', shell), /compression "lzma"/],
  ]
  for (const [read, pattern] of wrong) {
    try {
      read()
      assert.unreachable(String(read))
    } catch (error) {
      assert.ok(error instanceof UsageError, String(error))
      assert.match(error.message, pattern)
    }
  }
})

test.run()
