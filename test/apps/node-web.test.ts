/** fixtures/apps/node-web, from its base image to what other tools make of the result. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type App, appTest } from '../helpers/app.js'
import { projectRoot } from '../helpers/cli.js'
import { answers, freePort } from '../helpers/registry-server.js'
import { within } from '../helpers/within.js'

appTest({
  name: 'node-web',
  base: 'node',
  touched: 'src/server.js',
  edited: 'src/greet.js',
  rerun: [/COPY \. \./, /RUN groupadd/],
  command: ['node', '--version'],
  prints: /^v\d+/,
  check: checkAnswersOverHttp,
})

/** The server answers as the user the Dockerfile names, and ends by itself when mille is told to stop. */
async function checkAnswersOverHttp(app: App): Promise<void> {
  const port = await freePort()
  const args = ['run', '--rm', '--network', 'host', '-e', `PORT=${port}`, app.tag]
  const server = spawn(join(projectRoot, 'bin/mille'), args, { env: { ...process.env, MILLE_ROOT: app.root }, stdio: 'ignore' })
  const ended = new Promise<number | null>((resolve) => server.once('exit', resolve))
  try {
    const answer = (await (await answers(`http://127.0.0.1:${port}/`)).json()) as { message: string; uid: number }
    assert.is(answer.message, 'hello from mille')
    assert.ok(answer.uid > 0, 'not root')
  } finally {
    server.kill('SIGTERM')
  }
  assert.is(await within(15_000, ended), 0)
}

test.run()
