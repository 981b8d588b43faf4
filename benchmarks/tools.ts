/**
 * The tools that are compared, each as shell commands. A tool without a command for a question is left out of its row.
 *
 * Root without CAP_SYS_RESOURCE cannot raise limits, and crun does not run on hosts with cgroup v1 beside v2: hence the
 * runtime and the ulimits of the peers.
 */
import { spawnSync } from 'node:child_process'

/** What a tool can be asked. `{…}` of a question is filled in by the caller. */
export interface Tool {
  readonly name: string
  readonly version: string
  readonly build: (context: string, tag: string, args: string) => string
  readonly removeTag: (tag: string) => string
  /** Drops every cached result and every unused image. */
  readonly reset: string
  readonly pull: (image: string) => string
  readonly run?: (image: string) => string
  readonly save: (tag: string, file: string) => string
  readonly push: (tag: string) => string
  /** Flags of `build` that write a cache beside the image `tag`, and those that read it. */
  readonly cache?: (tag: string) => { readonly to: string; readonly from: string }
}

function versionOf(command: string): string | undefined {
  const result = spawnSync('sh', ['-c', command], { encoding: 'utf8' })
  return result.status === 0 ? result.stdout.trim().split('\n')[0] : undefined
}

/** Docker's client builds with BuildKit by itself before version 23, and through its buildx plugin since. */
function hasBuildKit(): boolean {
  const major = Number(/version (\d+)/.exec(versionOf('docker --version') ?? '')?.[1] ?? 0)
  return major < 23 || versionOf('docker buildx version') !== undefined
}

/** The tools that are installed here. `dockerHost` is set when a dockerd was started. */
export function installedTools(mille: string, scratch: string, dockerHost: string | undefined): Tool[] {
  const stores = `--root ${scratch}/containers/root --runroot ${scratch}/containers/run`
  const m = `MILLE_ROOT=${scratch}/mille ${mille}`
  const tools: Tool[] = [
    {
      name: 'mille',
      version: versionOf(`${mille} --version`) ?? 'none',
      build: (context, tag, args) => `${m} build --progress=plain -t ${tag} ${args} ${context}`,
      removeTag: (tag) => `${m} rmi -f ${tag}`,
      reset: `${m} prune -af`,
      pull: (image) => `${m} pull -q ${image}`,
      run: (image) => `${m} run --rm ${image} true`,
      save: (tag, file) => `${m} save --format oci-archive -o ${file} ${tag}`,
      push: (tag) => `${m} push ${tag}`,
      cache: (tag) => ({ to: `--cache-to type=registry,ref=${tag}-cache,mode=max`, from: `--cache-from ${tag}-cache` }),
    },
  ]
  const buildah = versionOf('buildah --version')
  const b = `buildah ${stores}`
  if (buildah !== undefined) {
    const podman = versionOf('podman --version')
    const run = (image: string): string =>
      `podman ${stores} --runtime runc run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 ${image} true`
    tools.push({
      name: 'buildah',
      version: podman === undefined ? buildah : `${buildah}; run by ${podman}`,
      build: (context, tag, args) =>
        `${b} build --runtime runc --layers --jobs 4 --tls-verify=false -t ${tag} ${args} ${context}`,
      removeTag: (tag) => `${b} rmi -f ${tag}`,
      reset: `${b} rmi -a -f`,
      pull: (image) => `${b} pull --tls-verify=false ${image}`,
      ...(podman === undefined ? {} : { run }),
      save: (tag, file) => `${b} push ${tag} oci-archive:${file}`,
      push: (tag) => `${b} push --tls-verify=false ${tag}`,
      cache: (tag) => ({ to: `--cache-to ${tag}-cache`, from: `--cache-from ${tag}-cache` }),
    })
  }
  if (dockerHost !== undefined) {
    const buildKit = hasBuildKit()
    const d = `DOCKER_BUILDKIT=${buildKit ? 1 : 0} docker -H ${dockerHost}`
    tools.push({
      name: buildKit ? 'docker' : 'docker (classic builder)',
      version: versionOf(`docker -H ${dockerHost} version --format '{{.Server.Version}}'`) ?? 'none',
      build: (context, tag, args) => `${d} build ${buildKit ? '--progress=plain ' : ''}-t ${tag} ${args} ${context}`,
      removeTag: (tag) => `${d} rmi -f ${tag}`,
      reset: `${d} image prune -af${buildKit ? ` && ${d} builder prune -af` : ''}`,
      pull: (image) => `${d} pull -q ${image}`,
      run: (image) => `${d} run --rm ${image} true`,
      save: (tag, file) => `${d} save -o ${file} ${tag}`,
      push: (tag) => `${d} push -q ${tag}`,
      // Its daemon writes no caches of their own, only those in images.
      ...(buildKit
        ? { cache: (tag: string) => ({ to: '--build-arg BUILDKIT_INLINE_CACHE=1', from: `--cache-from ${tag}` }) }
        : {}),
    })
  }
  return tools
}
