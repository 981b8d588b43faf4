/** fixtures/apps/debian-service, from its base image to what other tools make of the result. */
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

test('debian-service builds, rebuilds from the cache, and is accepted everywhere', async () => {
  const reason = await whyNoBase('debian')
  if (reason !== undefined) return void console.log(`SKIP: ${reason}`)
  await using directory = await tempDirectory()
  const app = await prepareApp('debian-service', 'debian', directory.path)
  const first = await buildApp(app)
  assert.ok(executedSteps(first).length > 2, 'the first build carries its steps out')
  await checkCachedRebuild(app, 'conf/index.html')
  await checkEqualToBuildah(app, 'debian')
  await checkAcceptedByPeers(app, ['stat', '-c', '%a %U', '/usr/bin/sudo'], /^4755 root/)
  await checkPushAndPullBack(app)
  await checkNarrowRebuild(app, 'conf/index.html', [/COPY --chown=www-data/, /RUN id www-data/])
  assert.match(await milleOk(app.root, ['run', '--rm', app.tag, ...['stat', '-c', '%a %U', '/usr/bin/sudo']]), /^4755 root/)
})

test.run()
