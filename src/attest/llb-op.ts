/**
 * Ops in the words of BuildKit's graph format (LLB), as its provenance has them: tools that read BuildKit's provenance
 * show the steps of mille's builds too. Field names are those of its protobuf messages in JSON. Pure.
 */
import { assertNever } from '../../grammar/ast.js'
import type { Platform } from '../core/platform.js'
import type { CopyOp, ExecMount, ExecOp, GitOp, ImageOp, MkdirOp, Op, OwnerSpec } from '../graph/op.js'
import { withoutCredentials } from './redact.js'

/** A step's op; `Op` has one member, named by its kind. */
export interface LlbOp {
  readonly Op?: Readonly<Record<string, unknown>>
  readonly platform?: Readonly<Record<string, unknown>>
}

/** The LLB form of an op with so many inputs. `platform` is that of the image to be. */
export function llbOp(op: Op, inputCount: number, platform: Platform): LlbOp {
  switch (op.kind) {
    case 'image':
      return { Op: { source: { identifier: imageIdentifier(op) } }, platform: llbPlatform(op.platform) }
    case 'context':
      return source(`local://${op.name}`, op.ignore.length === 0 ? {} : { 'local.excludepatterns': JSON.stringify(op.ignore) })
    case 'http':
      return source(withoutCredentials(op.url), {
        'http.filename': op.filename,
        ...(op.checksum === undefined ? {} : { 'http.checksum': op.checksum }),
      })
    case 'git':
      return gitSource(op)
    case 'inline':
      return fileOp(
        op.files.map(({ name, content, mode }, i) => ({
          ...chained(i, op.files.length, undefined, inputCount),
          secondaryInput: -1,
          Action: { mkfile: { path: `/${name}`, mode, data: Buffer.from(content).toString('base64') } },
        })),
      )
    case 'copy':
      return fileOp(copyActions(op, inputCount))
    case 'mkdir':
      return fileOp([mkdirAction(op)])
    case 'exec':
      return { Op: { exec: execOp(op) }, platform: llbPlatform(platform) }
    case 'merge':
      return {
        Op: { merge: { inputs: [...(op.base === undefined ? [] : [op.base]), ...op.layers].map((input) => ({ input })) } },
      }
    default:
      return assertNever(op)
  }
}

function llbPlatform({ architecture, os, variant }: Platform): Readonly<Record<string, unknown>> {
  return { Architecture: architecture, OS: os, ...(variant === undefined ? {} : { Variant: variant }) }
}

function imageIdentifier({ reference, manifest }: ImageOp): string {
  const pinned = manifest === undefined || reference.includes('@') ? '' : `@${manifest}`
  return `docker-image://${reference}${pinned}`
}

function source(identifier: string, attrs: Readonly<Record<string, string>>): LlbOp {
  return { Op: { source: { identifier, ...(Object.keys(attrs).length === 0 ? {} : { attrs }) } } }
}

function gitSource({ remote, ref, subdir, keepGitDir, checksum }: GitOp): LlbOp {
  const url = withoutCredentials(remote)
  const fragment = `${ref ?? ''}${subdir === undefined ? '' : `:${subdir}`}`
  return source(`git://${url.replace(/^[a-z+]+:\/\//i, '')}${fragment === '' ? '' : `#${fragment}`}`, {
    'git.fullurl': url,
    ...(keepGitDir ? { 'git.keepgitdir': 'true' } : {}),
    ...(checksum === undefined ? {} : { 'git.checksum': checksum }),
  })
}

function fileOp(actions: readonly object[]): LlbOp {
  return { Op: { file: { actions } } }
}

/** -1 stands for no input, and for a result that only the next action sees. Results are numbered after the inputs. */
function chained(i: number, count: number, base: number | undefined, inputCount: number): object {
  return { input: i === 0 ? (base ?? -1) : inputCount + i - 1, output: i === count - 1 ? 0 : -1 }
}

function copyActions(op: CopyOp, inputCount: number): object[] {
  return op.sources.map(({ input, path, wildcard, unpack }, i) => ({
    ...chained(i, op.sources.length, op.base, inputCount),
    secondaryInput: input,
    Action: {
      copy: {
        src: path === '.' ? '/' : `/${path.replace(/^\/+/, '')}`,
        dest: op.destination,
        mode: op.chmod === undefined || !/^[0-7]+$/.test(op.chmod) ? -1 : Number.parseInt(op.chmod, 8),
        ...(op.chmod === undefined || /^[0-7]+$/.test(op.chmod) ? {} : { modeStr: op.chmod }),
        ...(op.owner === undefined ? {} : { owner: llbOwner(op.owner) }),
        ...(op.exclude.length === 0 ? {} : { exclude_patterns: op.exclude }),
        allowWildcard: wildcard,
        allowEmptyWildcard: op.parents,
        attemptUnpackDockerCompatibility: unpack !== 'never',
        dirCopyContents: true,
        followSymlink: true,
        createDestPath: true,
        timestamp: -1,
      },
    },
  }))
}

function mkdirAction(op: MkdirOp): object {
  const owner = op.owner === undefined ? {} : { owner: llbOwner(op.owner) }
  return {
    ...chained(0, 1, op.base, 1),
    secondaryInput: -1,
    Action: { mkdir: { path: op.path, mode: op.mode, makeParents: true, ...owner, timestamp: -1 } },
  }
}

function llbOwner({ user, group }: OwnerSpec): object {
  const part = (text: string): object => ({ User: /^\d+$/.test(text) ? { byID: Number(text) } : { byName: { name: text } } })
  return { user: part(user), ...(group === undefined ? {} : { group: part(group) }) }
}

const networks = { default: 0, host: 1, none: 2 } as const

function execOp(op: ExecOp): object {
  return {
    meta: {
      args: op.argv,
      env: op.env.map(withoutCredentials),
      cwd: op.cwd,
      ...(op.user === '' ? {} : { user: op.user }),
      hostname: op.hostname,
    },
    mounts: [{ ...inputOf(op.base), dest: '/', output: 0 }, ...op.mounts.map(llbMount)],
    ...(op.network === 'default' ? {} : { network: networks[op.network] }),
    ...(op.security === 'insecure' ? { security: 1 } : {}),
    ...(op.mounts.some(({ kind, ...rest }) => kind === 'secret' && 'env' in rest) ? { secretenv: secretVariables(op) } : {}),
  }
}

function inputOf(input: number | undefined): object {
  return { input: input ?? -1 }
}

function secretVariables({ mounts }: ExecOp): object[] {
  return mounts.flatMap((mount) =>
    mount.kind === 'secret' && mount.env !== undefined ? [{ ID: mount.id, name: mount.env, optional: !mount.required }] : [],
  )
}

const noOutput = -1
const mountTypes = { bind: 0, secret: 1, ssh: 2, cache: 3, tmpfs: 4 } as const
const sharings = { shared: 0, private: 1, locked: 2 } as const

function llbMount(mount: ExecMount): object {
  const type = mount.kind === 'bind' || mount.kind === 'volume' ? {} : { mountType: mountTypes[mount.kind] }
  const isReadonly = mount.kind === 'volume' ? mount.access === 'ro' : 'readonly' in mount && mount.readonly
  const readonly = isReadonly ? { readonly: true } : {}
  const common = { ...type, ...readonly, output: noOutput }
  switch (mount.kind) {
    case 'bind':
      return { ...inputOf(mount.input), selector: mount.source, dest: mount.target, ...common }
    case 'cache':
      return {
        ...{ ...inputOf(mount.input), selector: mount.source, dest: mount.target, ...common },
        cacheOpt: { ID: mount.id, sharing: sharings[mount.sharing] },
      }
    // LLB has no word for a directory of the machine: it is a mount of its files.
    case 'volume':
      return { ...inputOf(mount.input), selector: mount.source ?? '/', dest: mount.target, ...common }
    case 'tmpfs':
      return { ...inputOf(undefined), dest: mount.target, ...common, TmpfsOpt: { size: mount.sizeBytes ?? 0 } }
    case 'secret':
      return {
        ...{ ...inputOf(undefined), dest: mount.target ?? '', ...common },
        secretOpt: { ID: mount.id, uid: mount.uid, gid: mount.gid, mode: mount.mode, optional: !mount.required },
      }
    case 'ssh':
      return {
        ...{ ...inputOf(undefined), dest: mount.target, ...common },
        SSHOpt: { ID: mount.id, uid: mount.uid, gid: mount.gid, mode: mount.mode, optional: !mount.required },
      }
    default:
      return assertNever(mount)
  }
}
