/** `mille doctor`: what this machine can do, and what to change where it cannot. */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { dirname } from 'node:path'
import type { Diagnosis } from '../../../sandbox/probe.js'
import { systemCode } from '../../core/errors.js'
import { version } from '../../engine/version.js'
import { defineCommand } from '../command.js'
import { stateDirectory } from '../engine-options.js'
import { humanSize } from '../human.js'
import { credentialSettings } from '../registry-client.js'
import type { Shell } from '../shell.js'
import { storeRoot } from '../stores.js'

/** Less free space than this is worth a word. */
const littleSpace = 2e9

/** The verb `doctor`. */
export const command = defineCommand({
  name: 'doctor',
  usage: '[OPTIONS]',
  summary: 'Check what this machine can do',
  notes: ['The exit code is 1 when images cannot be built here.'],
  flags: {
    format: { type: 'string', value: 'format', default: 'text', choices: ['text', 'json'], help: 'How it is printed' },
  },
  arguments: [0, 0],
  async run({ values }, shell) {
    const { diagnoseHost } = await import('../../../sandbox/probe.js')
    const { defaultSearchPath } = await import('../../../sandbox/open.js')
    const host = await diagnoseHost({
      stateDirectory: stateDirectory(shell.env),
      searchPath: shell.env.PATH ?? defaultSearchPath,
    })
    const found = [versions(), storeDiagnosis(storeRoot(shell)), await dockerConfig(shell), ...host]
    if (values.format === 'json') shell.print(`${JSON.stringify(found, undefined, 2)}\n`)
    else shell.print(found.map(lineOf).join(''))
    return found.some(({ ok }) => ok === false) ? 1 : 0
  },
})

function lineOf({ name, ok, detail, hint }: Diagnosis): string {
  const mark = ok === true ? 'ok  ' : ok === 'warn' ? 'warn' : 'FAIL'
  return `${mark}  ${name}: ${detail}\n${hint === undefined ? '' : `      hint: ${hint}\n`}`
}

function versions(): Diagnosis {
  return { name: 'version', ok: true, detail: `mille ${version()}, Node.js ${process.versions.node}, Linux ${release()}` }
}

/** The nearest directory that exists says whether the store can be written and how much room there is. */
function storeDiagnosis(root: string): Diagnosis {
  let place = root
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place)
  try {
    accessSync(place, constants.W_OK)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    const hint = 'choose another place with --root or MILLE_ROOT'
    return { name: 'store', ok: false, detail: `${root} cannot be written (${systemCode(error)})`, hint }
  }
  const { bavail, bsize } = statfsSync(place)
  const free = bavail * bsize
  const detail = `${root}, ${humanSize(free)} free`
  if (free >= littleSpace) return { name: 'store', ok: true, detail }
  return { name: 'store', ok: 'warn', detail, hint: 'run "mille prune", or choose a larger place with --root' }
}

async function dockerConfig(shell: Shell): Promise<Diagnosis> {
  const { loginFile } = await import('../../registry/credentials.js')
  const file = loginFile(credentialSettings(shell))
  return { name: 'credentials', ok: true, detail: existsSync(file) ? file : `none (${file} does not exist)` }
}
