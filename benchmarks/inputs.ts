/**
 * The inputs of the benchmarks: contexts and Dockerfiles, the same bytes on every run and machine.
 *
 * Contents come from a small generator seeded by the file's own name; two thirds look like text, one third does not
 * compress. File times are fixed.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const fixedTime = 1_700_000_000

/** `size` bytes that depend on `seed` alone. */
function bytesOf(seed: string, size: number, text: boolean): Buffer {
  const block = createHash('sha512').update(seed).digest()
  const out = Buffer.alloc(size)
  let state = block.readUInt32LE(0)
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    out[i] = text ? (words[(state >>> 24) & 63] ?? 32) : state >>> 24
  }
  return out
}

const words = Buffer.from('return const if (await file.size) { layer: digest, index += 1; }')

function numberOf(seed: string, low: number, high: number): number {
  return low + (createHash('sha256').update(seed).digest().readUInt32LE(0) % (high - low + 1))
}

function put(root: string, path: string, content: Uint8Array | string): void {
  const target = join(root, path)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, content)
  utimesSync(target, fixedTime, fixedTime)
}

function fresh(root: string): void {
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root, { recursive: true })
}

/**
 * An application: 14 instructions and `files` files, all but nine of them small sources, `perDirectory` to a directory.
 * `prefix` names where the base images are.
 */
export function makeApplication(root: string, prefix: string, files: number, perDirectory = 1): void {
  fresh(root)
  put(
    root,
    'Dockerfile',
    `FROM ${prefix}/debian
LABEL org.example.bench=application
ENV APP_ENV=production
ENV APP_HOME=/app LANG=C.UTF-8
WORKDIR /app
RUN mkdir -p /data && echo init > /data/init
COPY package.json package-lock.json ./
RUN wc -c package.json package-lock.json > /data/deps
COPY config ./config
RUN ls config > /data/config
COPY . .
RUN find . -type f | wc -l > /data/count
EXPOSE 3000
CMD ["sh", "-c", "cat /data/count"]
`,
  )
  put(root, '.dockerignore', 'node_modules\n**/*.log\n.git\n')
  put(root, 'package.json', '{"name":"bench","version":"1.0.0","private":true}\n')
  put(root, 'package-lock.json', bytesOf('lock', 60_000, true))
  for (let i = 0; i < 5; i++) put(root, `config/c${i}.json`, bytesOf(`config${i}`, 800, true))
  for (let i = 0; i < files - 9; i++) {
    const directory = Math.floor(i / perDirectory)
    const path = `src/d${directory % 40}/m${Math.floor(directory / 40)}/f${i}.js`
    put(root, path, bytesOf(path, numberOf(path, 200, 6000), true))
  }
}

/** Twenty RUN steps that do next to nothing; ARG BUST makes all of them run again. */
export function makeSteps(root: string, prefix: string): void {
  fresh(root)
  const steps = Array.from({ length: 19 }, (_, i) => `RUN echo ${i + 2} > /f${i + 2}`).join('\n')
  put(root, 'Dockerfile', `FROM ${prefix}/debian\nARG BUST=0\nRUN echo $BUST > /f1\n${steps}\n`)
}

/** A step of a chain says so when it is carried out; the line is not in its own text. */
const marker = "echo step-r''an"

/** Twelve RUN steps; `edit` is a comment in the third, which leaves the same files whatever it says. */
export function makeChain(root: string, prefix: string, edit: string): void {
  const step = (i: number): string => `RUN ${marker} && echo ${i} > /f${i}${i === 3 ? ` # ${edit}` : ''}\n`
  const steps = Array.from({ length: 12 }, (_, i) => step(i + 1)).join('')
  put(root, 'Dockerfile', `FROM ${prefix}/debian\n${steps}`)
}

/** How many steps of a chain were carried out, from what any of the tools printed. */
export function stepsRun(output: string): number {
  return output.match(/(?<=^|[ \t])step-ran$/gm)?.length ?? 0
}

/** `files` files of about 15 kB on average, copied onto nothing. Returns their bytes. */
export function makeManyFiles(root: string, files: number): number {
  fresh(root)
  put(root, 'Dockerfile', 'FROM scratch\nCOPY . /\n')
  let total = 0
  for (let i = 0; i < files - 1; i++) {
    const path = `t${i % 25}/u${Math.floor(i / 25) % 40}/f${i}`
    const kind = numberOf(`${path}kind`, 0, 99)
    const [low, high] = kind < 90 ? [200, 8_000] : kind < 99 ? [8_000, 84_000] : [200_000, 1_250_000]
    const size = numberOf(`${path}size`, low, high)
    put(root, path, bytesOf(path, size, kind % 3 !== 0))
    total += size
  }
  return total
}

/** Four stages of `sleep 2` that do not depend on one another. */
export function makeParallel(root: string, prefix: string): void {
  fresh(root)
  const stage = (i: number): string => `FROM ${prefix}/busybox AS st${i}\nARG BUST=0\nRUN sleep 2 && echo ${i}-$BUST > /out${i}\n`
  const copies = [0, 1, 2, 3].map((i) => `COPY --from=st${i} /out${i} /\n`).join('')
  put(root, 'Dockerfile', `${[0, 1, 2, 3].map(stage).join('')}FROM ${prefix}/busybox\n${copies}`)
}

/** Three layers of 40 MB and a tiny one on top. */
export function makeLayers(root: string): void {
  fresh(root)
  put(root, 'Dockerfile', 'FROM scratch\nCOPY a /a\nCOPY b /b\nCOPY c /c\nCOPY top /top\n')
  for (const name of ['a', 'b', 'c']) {
    put(root, `${name}/stamp`, '0\n')
    for (let i = 0; i < 10; i++) {
      put(
        root,
        `${name}/blob${i}`,
        Buffer.concat([bytesOf(`${name}${i}`, 2_000_000, false), bytesOf(`${name}${i}`, 2_000_000, true)]),
      )
    }
  }
  put(root, 'top/stamp', '0\n')
}

/** Writes a file of a context anew. */
export function touchContent(root: string, path: string, content: string): void {
  writeFileSync(join(root, path), content)
}
