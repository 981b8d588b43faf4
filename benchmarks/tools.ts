/**
 * The tools that are compared, each as shell commands. A tool without a command for a question is left out of its row.
 *
 * Root without CAP_SYS_RESOURCE cannot raise limits, and crun does not run on hosts with cgroup v1 beside v2: hence the
 * runtime and the ulimits of the peers.
 */
import { spawnSync } from 'node:child_process'
import type { PeerRoot } from './peer-root.js'
import type { DockerStore } from './servers.js'

/** What a tool can be asked. All paths are absolute. */
export interface Tool {
  readonly name: string
  readonly version: string
  readonly build: (context: string, tag: string, args: string) => string
  /** Drops every cached result and every image: a fresh store where the tool has no daemon. */
  readonly reset: string
  readonly pull: (image: string) => string
  readonly run?: (image: string) => string
  readonly save: (tag: string, file: string) => string
  readonly push: (tag: string) => string
  /** Flags of `build` that write a cache beside the image `tag`, and those that read it. */
  readonly cache?: (tag: string) => { readonly to: string; readonly from: string }
}

const ulimits = '--ulimit nofile=1024:1024 --ulimit nproc=1024:1024'

function versionOf(command: string): string | undefined {
  const result = spawnSync('sh', ['-c', command], { encoding: 'utf8' })
  return result.status === 0 ? result.stdout.trim().split('\n')[0] : undefined
}

/** mille itself, with a store below `scratch`. */
export function milleTool(program: string, scratch: string): Tool {
  const m = `MILLE_ROOT=${scratch}/mille ${program}`
  return {
    name: 'mille',
    version: versionOf(`${program} --version`) ?? 'none',
    build: (context, tag, args) => `${m} build --progress=plain -t ${tag} ${args} ${context}`,
    reset: `rm -rf ${scratch}/mille`,
    pull: (image) => `${m} pull -q ${image}`,
    run: (image) => `${m} run --rm ${image} true`,
    save: (tag, file) => `${m} save --format oci-archive -o ${file} ${tag}`,
    push: (tag) => `${m} push ${tag}`,
    cache: (tag) => ({ to: `--cache-to type=registry,ref=${tag}-cache,mode=max`, from: `--cache-from ${tag}-cache` }),
  }
}

/** buildah, and podman for what buildah does not do; undefined where buildah is not installed. */
export function buildahTool({ enter, hasCrun }: PeerRoot, scratch: string): Tool | undefined {
  const buildah = versionOf(`${enter}buildah --version`)
  if (buildah === undefined) return undefined
  const stores = `--root ${scratch}/containers/root --runroot ${scratch}/containers/run`
  const runtime = `--runtime ${hasCrun ? 'crun' : 'runc'}`
  const b = `${enter}buildah ${stores}`
  const podman = versionOf(`${enter}podman --version`)
  const run = (image: string): string => `${enter}podman ${stores} ${runtime} run --rm ${ulimits} ${image} true`
  return {
    name: 'buildah',
    version: `${buildah}${podman === undefined ? '' : `; run by ${podman}`}; ${runtime}`,
    build: (context, tag, args) =>
      `${b} build ${runtime} ${ulimits} --layers --jobs 4 --tls-verify=false -t ${tag} ${args} ${context}`,
    reset: `${b} rmi -a -f`,
    pull: (image) => `${b} pull --tls-verify=false ${image}`,
    ...(podman === undefined ? {} : { run }),
    save: (tag, file) => `${b} push ${tag} oci-archive:${file}`,
    push: (tag) => `${b} push --tls-verify=false ${tag}`,
    cache: (tag) => ({ to: `--cache-to ${tag}-cache`, from: `--cache-from ${tag}-cache` }),
  }
}

/** Docker's client builds with BuildKit by itself before version 23, and through its buildx plugin since. */
function hasBuildKit(docker: string): boolean {
  const major = Number(/version (\d+)/.exec(versionOf(`${docker} --version`) ?? '')?.[1] ?? 0)
  return major < 23 || versionOf(`${docker} buildx version`) !== undefined
}

/** docker with the daemon at `host`: BuildKit where its client can, else the classic builder. */
export function dockerTool(enter: string, host: string, store: DockerStore): Tool {
  const buildKit = hasBuildKit(`${enter}docker`)
  const docker = `${enter}docker -H ${host}`
  const d = enter === '' ? `DOCKER_BUILDKIT=${buildKit ? 1 : 0} ${docker}` : docker
  const name = store === 'containerd' ? 'docker-containerd' : 'docker'
  const server = versionOf(`${docker} version --format '{{.Server.Version}}'`) ?? 'none'
  return {
    name: buildKit ? name : `${name} (classic builder)`,
    version: `${server}, ${store}${buildKit ? `, ${versionOf(`${enter}docker buildx version`) ?? 'BuildKit'}` : ''}`,
    build: (context, tag, args) => `${d} build ${buildKit ? '--progress=plain ' : ''}-t ${tag} ${args} ${context}`,
    reset: `${d} image prune -af${buildKit ? ` && ${d} builder prune -af` : ''}`,
    pull: (image) => `${d} pull -q ${image}`,
    run: (image) => `${d} run --rm ${image} true`,
    save: (tag, file) => `${d} save -o ${file} ${tag}`,
    push: (tag) => `${d} push -q ${tag}`,
    ...(buildKit ? { cache: (tag: string) => dockerCache(tag, store) } : {}),
  }
}

/** With its own graph driver dockerd writes no caches but those inside images. */
function dockerCache(tag: string, store: DockerStore): { readonly to: string; readonly from: string } {
  if (store === 'containerd') {
    return { to: `--cache-to type=registry,ref=${tag}-cache,mode=max`, from: `--cache-from type=registry,ref=${tag}-cache` }
  }
  return { to: '--build-arg BUILDKIT_INLINE_CACHE=1', from: `--cache-from ${tag}` }
}
