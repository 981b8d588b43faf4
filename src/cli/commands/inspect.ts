/** `mille inspect`: all that is known of images, in the shape of docker's `image inspect`. */
import { BuildError } from '../../core/errors.js'
import type { ContainerConfig, ImageConfig } from '../../core/image.js'
import { formatPlatform } from '../../core/platform.js'
import { familiarRepository } from '../../core/reference.js'
import { imagesOfTag } from '../../store/images.js'
import type { Store, StoredAttestations, StoredImage } from '../../store/types.js'
import { defineCommand } from '../command.js'
import {
  findForPlatform,
  findImage,
  imageSize,
  imagesOf,
  namesOf,
  openShellStore,
  platformFlag,
  readConfig,
  readReference,
} from '../stores.js'
import { compileTemplate } from '../template.js'

/** The verb `inspect`. */
export const command = defineCommand({
  name: 'inspect',
  usage: '[OPTIONS] IMAGE...',
  summary: 'Show everything about images',
  flags: {
    format: { type: 'string', short: 'f', value: 'template', help: 'A Go template, or json' },
    type: { type: 'string', value: 'type', choices: ['image'], help: 'What the names are' },
    platform: platformFlag,
    verify: { type: 'boolean', help: 'Recompute every digest, size and DiffID first; fail when one is not as it is said to be' },
    size: { type: 'boolean', short: 's', help: 'Accepted for docker: the size is always shown' },
  },
  arguments: [1, Infinity],
  async run({ values, positionals }, shell) {
    const { renderError } = await import('../../core/render.js')
    await using store = await openShellStore(shell)
    const found: object[] = []
    let failed = false
    for (const name of positionals) {
      try {
        const image = findForPlatform(store, name, values.platform)
        if (values.verify) await verify(store, image)
        found.push(await describeImage(store, image, variants(store, name)))
      } catch (error) {
        if (!(error instanceof BuildError)) throw error
        shell.stderr.write(renderError(error, { color: shell.color }))
        failed = true
      }
    }
    if (values.format === undefined) shell.print(`${JSON.stringify(found, undefined, 4)}\n`)
    else {
      const render = compileTemplate(values.format === 'json' ? '{{json .}}' : values.format)
      for (const image of found) shell.print(`${render(image)}\n`)
    }
    return failed ? 1 : 0
  },
})

/** The images of a name for several platforms. */
function variants(store: Store, name: string): object {
  const all = imagesOf(store, findImage(store, name))
  return all.length < 2 ? {} : { Platforms: all.map(({ id, platform }) => ({ Platform: formatPlatform(platform), Id: id })) }
}

async function verify(store: Store, image: StoredImage): Promise<void> {
  const { verifyStored } = await import('../../engine/verify.js')
  await verifyStored(store, image)
}

async function describeImage(store: Store, image: StoredImage, more: object): Promise<object> {
  const config = await readConfig(store, image)
  return {
    Id: image.id,
    RepoTags: namesOf(store, image.id),
    RepoDigests: repoDigests(store, image),
    Parent: '',
    Comment: config.history?.at(-1)?.comment ?? '',
    Created: config.created ?? '',
    DockerVersion: '',
    Author: config.author ?? '',
    Config: describeConfig(config),
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    ...(config['os.version'] === undefined ? {} : { OsVersion: config['os.version'] }),
    Size: imageSize(store, image),
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Manifests: image.manifests,
    ...(image.attestations === undefined ? {} : { Attestations: describeAttestations(image.attestations) }),
    ...more,
    Metadata: { LastTagTime: new Date(image.storedAt).toISOString() },
  }
}

/** What a push or save says about the image. */
function describeAttestations({ storage, items }: StoredAttestations): object {
  return {
    Storage: storage,
    Items: items.map(({ predicateType, predicate }) => ({ PredicateType: predicateType, ...predicate })),
  }
}

function repoDigests(store: Store, image: StoredImage): string[] {
  const digests = store.images.tags().flatMap((tag) => {
    if (!imagesOfTag(tag).includes(image.id) || tag.remoteDigest === undefined) return []
    return [`${familiarRepository(readReference(tag.reference))}@${tag.remoteDigest}`]
  })
  return [...new Set(digests)].sort()
}

/** Every field that docker prints is there, so that templates can ask for any of them. */
function describeConfig(config: ImageConfig): object {
  const own: ContainerConfig = config.config ?? {}
  return {
    User: own.User ?? '',
    ExposedPorts: own.ExposedPorts ?? null,
    Env: own.Env ?? [],
    Cmd: own.Cmd ?? null,
    ...(own.Healthcheck === undefined ? {} : { Healthcheck: own.Healthcheck }),
    ...(own.ArgsEscaped === undefined ? {} : { ArgsEscaped: own.ArgsEscaped }),
    Volumes: own.Volumes ?? null,
    WorkingDir: own.WorkingDir ?? '',
    Entrypoint: own.Entrypoint ?? null,
    OnBuild: own.OnBuild ?? null,
    Labels: own.Labels ?? null,
    ...(own.StopSignal === undefined ? {} : { StopSignal: own.StopSignal }),
    ...(own.Shell === undefined ? {} : { Shell: own.Shell }),
  }
}
