/** fixtures/apps/monorepo, from its base image to what other tools make of the result. */
import { test } from 'uvu'
import { appTest } from '../helpers/app.js'

appTest({
  name: 'monorepo',
  base: 'busybox',
  touched: 'docs/guide.md',
  edited: 'packages/api/src/index.txt',
  rerun: [
    /api .*COPY packages\/api/,
    /RUN bundle core api/,
    /COPY --from=api/,
    /COPY --from=3/,
    /COPY --from=cli/,
    /COPY docs/,
    /COPY --chmod=0755/,
  ],
  command: [],
  prints: /== api 1\.4\.0/,
})

test.run()
