/** fixtures/apps/c-static, from its base image to what other tools make of the result. */
import { test } from 'uvu'
import { appTest } from '../helpers/app.js'

appTest({
  name: 'c-static',
  base: 'gcc',
  touched: 'src/main.c',
  // An empty line more gives the same program, which is all that the last stage takes.
  edited: 'src/main.c',
  rerun: [/COPY src\//, /RUN make/],
  command: ['12'],
  prints: /^2\n3\n5\n7\n11\n$/,
})

test.run()
