/** Builds cases with mille as a library: one store for all of them. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BuildError } from '../../src/core/errors.js'
import { build, importImage } from '../../src/index.js'
import { layoutOf } from '../../src/store/layout.js'
import { baseTar } from '../helpers/bases.js'
import { mustRun } from '../helpers/cli.js'
import { describeTree } from '../helpers/rootfs.js'
import { type Builder, isNoise, pickConfig } from './built.js'
import { base, configuredBase, configuredDockerfile } from './generate.js'

/** Makes a store with the bases in it. */
export async function openMille(directory: string): Promise<Builder> {
  const root = join(directory, 'mille')
  await makeStore(directory, root)
  return buildIn(directory, root)
}

/** Builds each time in a new store that has the bases only. */
export async function openFreshMille(directory: string): Promise<Builder> {
  const model = join(directory, 'mille-model')
  await makeStore(directory, model)
  let count = 0
  return async (context, commandLine) => {
    const root = join(directory, `mille-fresh-${count++}`)
    await mustRun('cp', ['-a', model, root])
    try {
      return await buildIn(directory, root)(context, commandLine)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  }
}

async function makeStore(directory: string, root: string): Promise<void> {
  const common = { root, stateDirectory: join(directory, 'mille-run'), env: { PATH: process.env.PATH } }
  await importImage({ ...common, source: await baseTar('busybox'), reference: base })
  const configured = { dockerfile: { name: 'Dockerfile', text: configuredDockerfile }, tags: [configuredBase] }
  await build({ ...common, ...configured, context: directory, outputs: [{ type: 'image' }] })
}

function buildIn(directory: string, root: string): Builder {
  const common = { root, stateDirectory: join(directory, 'mille-run'), env: { PATH: process.env.PATH } }
  return async (context, { buildArgs, target, secrets: values }) => {
    const secrets = Object.fromEntries(Object.entries(values).map(([id, value]) => [id, { value }]))
    const dest = mkdtempSync(join(directory, 'mille-out-'))
    chmodSync(dest, 0o755)
    try {
      const tar = `${dest}.tar`
      const outputs = [{ type: 'image' as const }, { type: 'tar' as const, dest: tar }]
      const result = await build({
        ...common,
        context,
        buildArgs,
        target,
        secrets,
        network: 'host',
        allow: ['network.host'],
        outputs,
      })
      await mustRun('tar', ['-xpf', tar, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', dest])
      const image = JSON.parse(readFileSync(layoutOf(root).blob(result.imageId), 'utf8')) as { config: Record<string, unknown> }
      return { config: pickConfig(image.config), tree: describeTree(dest, isNoise) }
    } catch (error) {
      if (error instanceof BuildError) return { refused: `${error.code} ${error.message}` }
      throw error
    } finally {
      for (const path of [dest, `${dest}.tar`]) rmSync(path, { recursive: true, force: true })
    }
  }
}
