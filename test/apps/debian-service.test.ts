/** fixtures/apps/debian-service, from its base image to what other tools make of the result. */
import { test } from 'uvu'
import { appTest } from '../helpers/app.js'

appTest({
  name: 'debian-service',
  base: 'debian',
  touched: 'conf/index.html',
  edited: 'conf/index.html',
  rerun: [/COPY --chown=www-data/, /RUN id www-data/],
  command: ['stat', '-c', '%a %U', '/usr/bin/sudo'],
  prints: /^4755 root/,
})

test.run()
