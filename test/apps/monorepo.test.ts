/** fixtures/apps/monorepo, from its base image to what other tools make of the result. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  buildApp,
  checkAcceptedByPeers,
  checkCachedRebuild,
  checkEqualToBuildah,
  checkNarrowRebuild,
  checkPushAndPullBack,
  prepareApp,
} from '../helpers/app.js'
import { whyNoBase } from '../helpers/bases.js'
import { milleOk } from '../helpers/cli.js'
import { executedSteps } from '../helpers/progress.js'
import { tempDirectory } from '../helpers/temp.js'

test('monorepo builds, rebuilds from the cache, and is accepted everywhere', async () => {
  const reason = await whyNoBase('busybox')
  if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
  await using directory = await tempDirectory()
  const app = await prepareApp('monorepo', 'busybox', directory.path)
  const first = await buildApp(app)
  assert.ok(executedSteps(first).length > 2, 'the first build carries its steps out')
  await checkCachedRebuild(app, 'docs/guide.md')
  await checkEqualToBuildah(app, 'busybox')
  await checkAcceptedByPeers(app, [], /== api 1\.4\.0/)
  await checkPushAndPullBack(app)
  await checkNarrowRebuild(app, 'packages/api/src/index.txt', [
    /api .*COPY packages\/api/,
    /RUN bundle core api/,
    /COPY --from=api/,
    /COPY --from=3/,
    /COPY --from=cli/,
    /COPY docs/,
    /COPY --chmod=0755/,
  ])
  assert.match(await milleOk(app.root, ['run', '--rm', app.tag, ...[]]), /== api 1\.4\.0/)
})

test.run()
