/** The flags that stand before the verb and hold for every command. */
import type { FlagTable, FlagValues } from './args.js'
import type { GlobalOptions } from './shell.js'

/** The flags before the verb. */
export const globalFlags = {
  root: { type: 'string', value: 'dir', help: 'The directory of images, layers and cache', env: 'MILLE_ROOT' },
  runtime: { type: 'string', value: 'name', help: 'The OCI runtime to use, by name or path', env: 'MILLE_RUNTIME' },
  config: { type: 'string', value: 'dir', help: "Docker's configuration directory", env: 'DOCKER_CONFIG' },
  'insecure-registry': {
    type: 'list',
    value: 'host[:port]',
    help: 'A registry that may be spoken to over http (loopback addresses always may)',
    env: 'MILLE_INSECURE_REGISTRIES',
  },
  debug: { type: 'boolean', short: 'D', help: 'Print debug lines, causes and stacks' },
  version: { type: 'boolean', short: 'v', help: 'Print the version' },
  help: { type: 'boolean', short: 'h', help: 'Print this text' },
} as const satisfies FlagTable

/** What the flags before the verb and MILLE_DEBUG (areas, separated by commas) ask for. */
export function readGlobals(
  values: FlagValues<typeof globalFlags>,
  env: Readonly<Record<string, string | undefined>>,
): GlobalOptions {
  const areas = (env.MILLE_DEBUG ?? '').split(',').filter((area) => area !== '')
  const debug = new Set(areas.map((area) => (area === '1' || area === 'true' ? 'all' : area)))
  if (values.debug) debug.add('all')
  return {
    root: values.root,
    runtime: values.runtime,
    configDir: values.config,
    insecureRegistries: values['insecure-registry'],
    debug,
  }
}
