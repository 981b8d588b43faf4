/** `--cache-from` and `--cache-to` as buildx writes them; what is not known is named. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readCacheFrom, readCacheTo } from '../../src/cli/cache-flags.js'
import type { Shell } from '../../src/cli/shell.js'
import type { Diagnostic } from '../../src/core/diagnostic.js'
import { UsageError } from '../../src/core/errors.js'

const shell = { cwd: '/work', env: {} } as unknown as Shell

test('--cache-from takes a reference or fields', () => {
  assert.equal(readCacheFrom('reg.example/app:cache', shell), { type: 'registry', ref: 'reg.example/app:cache' })
  assert.equal(readCacheFrom('type=registry,ref=app', shell), { type: 'registry', ref: 'app', trust: 'all', mounts: true })
  const verified = { type: 'local', path: '/work/c', trust: 'verify', mounts: false } as const
  assert.equal(readCacheFrom('type=local,src=c,trust=verify,mounts=false', shell), verified)
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

test('buckets take the names of buildx, and what is missing from the environment', () => {
  const given = 'type=s3,bucket=b,region=eu-west-1,prefix=p/,name=sha;main,endpoint_url=http://minio:9000,use_path_style=true'
  const from = readCacheFrom(given, shell)
  assert.is(from?.type, 's3')
  if (from?.type !== 's3') return
  assert.equal(from.names, ['sha', 'main'])
  assert.equal([from.bucket, from.prefix, from.usePathStyle], ['b', 'p/', true])
  const to = readCacheTo('type=s3,touch_refresh=48h,upload_parallelism=2,mode=max,ignore-error=true', {
    ...shell,
    env: { AWS_BUCKET: 'theirs' },
  })
  if (to?.type !== 's3') assert.unreachable()
  else assert.equal([to.bucket, to.touchRefreshMs, to.uploadParallelism, to.ignoreError], ['theirs', 48 * 3_600_000, 2, true])
})

test('the cache of Actions is found in the environment, and left out with a warning where it is not', () => {
  const warnings: Diagnostic[] = []
  const job = { ...shell, warn: (warning: Diagnostic) => warnings.push(warning) } as unknown as Shell
  assert.is(readCacheTo('type=gha', job), undefined)
  assert.match(warnings[0]?.message ?? '', /type=gha is left out: there is no ACTIONS_RESULTS_URL/)
  assert.is(readCacheFrom('type=gha', { ...job, env: { ACTIONS_RESULTS_URL: 'https://r/', GITHUB_ACTIONS: 'true' } }), undefined)
  assert.match(warnings[1]?.hint ?? '', /docs\/ci\.md/)
  const env = { ACTIONS_RESULTS_URL: 'https://results/', ACTIONS_RUNTIME_TOKEN: 'T', ACTIONS_CACHE_URL: 'https://old/' }
  const from = readCacheFrom('type=gha,scope=app,timeout=90s', { ...job, env })
  assert.equal(from, {
    type: 'gha',
    url: 'https://results/',
    token: 'T',
    scope: 'app',
    timeoutMs: 90_000,
    trust: 'all',
    mounts: true,
  })
  // What docker/build-push-action adds is taken.
  const to = readCacheTo('type=gha,url_v2=https://mine/,token=U,repository=a/b,ghtoken=V', { ...job, env })
  assert.ok(to?.type === 'gha' && to.url === 'https://mine/' && to.token === 'U')
  assert.is(warnings.length, 2)
})

test('no message has a secret', () => {
  for (const text of [
    'type=s3,secret_access_key=HUSH',
    'type=s3,bucket=b,secret_access_key=HUSH,nonsense=1',
    'type=gha,token=HUSH,version=3',
  ]) {
    try {
      readCacheTo(text, shell)
      assert.unreachable()
    } catch (error) {
      assert.ok(error instanceof UsageError && !error.message.includes('HUSH'), String(error))
    }
  }
})

test('what is wrong is named', () => {
  const wrong: readonly [() => unknown, RegExp][] = [
    [() => readCacheFrom('type=inline', shell), /read from its image/],
    [() => readCacheFrom('type=local,dest=c', shell), /"dest"/],
    [() => readCacheFrom('type=registry', shell), /has no ref/],
    [() => readCacheFrom('type=registry,ref=a,trust=some', shell), /trust is "some"/],
    [() => readCacheTo('type=azblob', shell), /type azblob, which is not supported/],
    [() => readCacheTo('type=s3', shell), /has no bucket/],
    [() => readCacheTo('type=s3,bucket=b,access_key_id=a', shell), /only one of access_key_id and secret_access_key/],
    [() => readCacheTo('type=s3,bucket=b,upload_parallelism=0', shell), /upload_parallelism is "0"/],
    [() => readCacheTo('type=s3,bucket=b,touch_refresh=daily', shell), /touch_refresh is "daily"/],
    [() => readCacheTo('type=s3,bucket=b,endpoint_url=minio:9000', shell), /endpoint_url is "minio:9000"/],
    [() => readCacheFrom('type=s3,bucket=b,touch_refresh=1h', shell), /"touch_refresh"/],
    [() => readCacheFrom('type=gha,version=1', shell), /version 2 of the cache service only/],
    [() => readCacheFrom('type=gha,bucket=b', shell), /"bucket"/],
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
