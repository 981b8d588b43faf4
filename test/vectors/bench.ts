/**
 * A store with a small system under the names of Hub images, for the suites that build. All cases of a suite share it;
 * each has a directory of its own.
 */
import { mkdirSync, mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BuildError } from '../../src/core/errors.js'
import { formatReference, isReference, parseReference } from '../../src/core/reference.js'
import type { BuildOptions, BuildResult, EngineOptions } from '../../src/engine/options.js'
import { build, importImage } from '../../src/index.js'
import { openStore } from '../../src/store/store.js'
import { baseTar, whyNoBase } from '../helpers/bases.js'

/** How a build ended and what its steps printed. */
export interface Built {
  readonly result?: BuildResult
  readonly error?: BuildError
  readonly output: string
  /** The names of all steps, with what they printed. */
  readonly log: string
  /** What the steps printed to the error stream only. */
  readonly errorOutput: string
}

/** A store with the stand-in bases. */
export interface BuildBench {
  readonly options: EngineOptions & { readonly root: string }
  /** An empty directory; it is removed with the bench. */
  directory(): string
  build(options: BuildOptions): Promise<Built>
  /** A bench with a store of its own, for a case that prunes. */
  separate(): Promise<BuildBench>
  close(): Promise<void>
}

/** Why nothing can be built here. */
export async function whyNoBench(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'builds with RUN need root here'
  return whyNoBase('busybox')
}

/** The users of the small system: those that Hub images of busybox and alpine both have. */
const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
lp:x:4:7:lp:/var/spool/lpd:/bin/false
sync:x:5:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`
const group = `root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
wheel:x:10:root
www-data:x:33:
operator:x:37:
staff:x:50:
users:x:100:
nobody:x:65534:
`

/** Debian's busybox has no `adduser` and `addgroup`; these take what the cases give them: options and a name. */
const addUser = `#!/bin/sh
uid=
home=
while [ $# -gt 1 ]; do
  case $1 in
    -u) uid=$2; shift ;;
    -h) home=$2; shift ;;
    -g | -s | -G | -k) shift ;;
  esac
  shift
done
: "\${uid:=$((1000 + $(grep -c :/home/ /etc/passwd)))}" "\${home:=/home/$1}"
echo "$1:x:$uid:$uid::$home:/bin/sh" >> /etc/passwd
echo "$1:x:$uid:" >> /etc/group
mkdir -p "$home"
chown "$uid:$uid" "$home"
`
const addGroup = `#!/bin/sh
gid=$((1000 + $(wc -l < /etc/group)))
while [ $# -gt 1 ]; do
  case $1 in -g) gid=$2; shift ;; esac
  shift
done
echo "$1:x:$gid:" >> /etc/group
`

const baseDockerfile = `FROM localhost/base/busybox
COPY <<"EOF" /etc/passwd
${passwd}EOF
COPY <<"EOF" /etc/group
${group}EOF
COPY <<"EOF" /etc/nsswitch.conf
hosts: files dns
EOF
COPY --chmod=755 <<"EOF" /usr/sbin/adduser
${addUser}EOF
COPY --chmod=755 <<"EOF" /usr/sbin/addgroup
${addGroup}EOF
RUN mkdir -p /usr/bin /usr/sbin /usr/local/bin /lib /run /var/log && touch /usr/bin/script
`

/** Makes a bench whose base answers to each of `names`. */
export async function openBench(names: readonly string[]): Promise<BuildBench> {
  const top = mkdtempSync(join(tmpdir(), 'mille-vectors-'))
  let count = 0
  const directory = (): string => {
    const path = join(top, `${++count}`)
    mkdirSync(path)
    return path
  }
  const open = async (): Promise<BuildBench> => {
    const options = { root: directory(), stateDirectory: join(top, 'run'), env: { PATH: process.env.PATH } }
    await importBases(options, directory(), names)
    const run = (given: BuildOptions): Promise<Built> => runBuild({ ...options, ...given })
    return { options, directory, build: run, separate: open, close: () => rm(top, { recursive: true, force: true }) }
  }
  return open()
}

async function importBases(
  options: EngineOptions & { readonly root: string },
  context: string,
  names: readonly string[],
): Promise<void> {
  const env = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']
  await importImage({
    ...options,
    source: await baseTar('busybox'),
    reference: 'localhost/base/busybox',
    config: { Env: env, Cmd: ['sh'] },
  })
  const tar = join(context, 'rootfs.tar')
  const outputs = [{ type: 'tar' as const, dest: tar }]
  await build({ ...options, context, dockerfile: { name: 'base', text: baseDockerfile }, outputs })
  // One layer and two entries of history, as the images have that it stands in for.
  await importImage({ ...options, source: tar, reference: 'localhost/base/system', config: { Env: env } })
  // The same programs under another name: what an image for several platforms needs as its base.
  const platform = { os: 'linux', architecture: 'arm64' }
  await importImage({ ...options, source: tar, reference: 'localhost/base/arm', platform, config: { Env: env } })
  const text = (base: string): string => `FROM localhost/base/${base}\nCMD ["sh"]\n`
  const { imageId } = await build({ ...options, context, dockerfile: { name: 'base', text: text('system') } })
  const arm = { name: 'base', text: text('arm') }
  const other = await build({ ...options, context, dockerfile: arm, platforms: [platform] })
  const images = [imageId, other.imageId]
  await using store = await openStore(options.root)
  for (const name of names) {
    const reference = parseReference(name)
    if (isReference(reference)) store.images.setTag({ reference: formatReference(reference), image: imageId, images })
  }
}

async function runBuild(options: BuildOptions): Promise<Built> {
  const chunks: { readonly stream: 1 | 2; readonly data: Uint8Array }[] = []
  const log: string[] = []
  const printed = (): Pick<Built, 'output' | 'errorOutput' | 'log'> => ({
    output: textOf(chunks),
    log: log.join('\n'),
    errorOutput: textOf(chunks.filter(({ stream }) => stream === 2)),
  })
  try {
    const result = await build({
      ...options,
      onEvent: (event) => {
        if (event.type === 'vertex-started') log.push(event.name)
        if (event.type !== 'log') return
        chunks.push(event)
        log.push(Buffer.from(event.data).toString())
      },
    })
    return { result, ...printed() }
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    return { error, ...printed() }
  }
}

function textOf(chunks: readonly { readonly data: Uint8Array }[]): string {
  return Buffer.concat(chunks.map(({ data }) => data)).toString()
}

/** Names in a text that a Hub image of a small system may have. */
export function baseNamesIn(text: string): string[] {
  const mirrors = String.raw`(?:(?:mirror\.gcr\.io|docker\.io|quay\.io)/(?:[a-z]+/)?|amd64/|library/)?`
  const systems = `(?:busybox|alpine|debian|ubuntu|centos|fedora)`
  const pattern = new RegExp(String.raw`(?<![\w./-])${mirrors}${systems}(?::[\w][\w.-]*)?(?![\w/-])`, 'g')
  return [...new Set([...text.matchAll(pattern)].map(([name]) => name))]
}
