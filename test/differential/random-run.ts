/** Random RUN: both forms, here-documents, and mounts of each type. What a step sees ends up in files. */
import type { StageState } from './generate.js'

/** A RUN for a stage that has a shell. */
export function randomRun(state: StageState): string {
  const { random, abilities } = state
  if (abilities.mounts && random.chance(0.45)) return mountedRun(state)
  if (abilities.heredocs && random.chance(0.3)) return heredocRun(state)
  return `RUN ${random.pick(abilities.heredocs ? ['', '', '', '--network=none ', '--network=default '] : [''])}${plainCommand(state)}`
}

function plainCommand({ random, abilities }: StageState): string {
  const path = random.pick(['/r', '/tmp/r', '/home/r', 'r'])
  return random.pick([
    `echo "$A ${'$'}{B:-b}" > ${path}`,
    `mkdir -p /d/e && chmod 0750 /d && echo x > /d/e/f`,
    `rm -rf /d /home/r; mkdir -p /home && ln -s /tmp /home/l 2>/dev/null || true`,
    `env | grep -v -e HOSTNAME -e SHLVL -e '^HOME=' | sort > /tmp/env && pwd >> /tmp/env && id ${abilities.mounts ? '' : '-u'} >> /tmp/env`,
    `chown 5:6 /etc/group; chmod 600 /etc/passwd || true`,
    `rm -rf /var && mkdir -p /var && touch /var/new`,
    `["sh", "-c", "echo $A > /tmp/exec"]`,
    `ls /home | wc -l > /tmp/count; \\\n  # a comment\n  echo more >> /tmp/count`,
    `umask > ${path}; ulimit -n > /dev/null; echo $0 >> ${path}`,
    `mkdir -p /opq/in && echo 1 > /opq/in/f && rm -rf /opq && mkdir /opq && echo 2 > /opq/g`,
    `mkfifo /tmp/fifo 2>/dev/null; echo x > /tmp/hard1; ln -f /tmp/hard1 /tmp/hard2; chmod 4755 /tmp/hard2`,
    `mv /dest /moved 2>/dev/null || true`,
    `[ "$A" = x ] && echo yes > ${path} || echo no > ${path}`,
  ])
}

/** Lists a mounted directory, without times. */
function listing(place: string, out: string): string {
  return `find ${place} ! -type l -exec stat -c '%n %a %u:%g %F' {} + | sort > ${out}`
}

function mountedRun(state: StageState): string {
  const { random } = state
  const place = random.pick(['/m', '/m/deep', '/tmp/m', '/dest', 'relmount'])
  const out = `/tmp/seen${random.below(4)}`
  const kinds = [() => bindRun(state, place, out), () => cacheRun(state, place, out), () => secretRun(state, out)]
  const kind = random.chance(0.15) ? () => tmpfsRun(state, place, out) : random.pick(kinds)
  return kind()
}

function bindRun({ random, context, stages }: StageState, place: string, out: string): string {
  const options = [random.pick(['type=bind', 'type=bind', '']), `${random.pick(['target', 'dst', 'destination'])}=${place}`]
  const stage = stages.length > 0 && random.chance(0.4) ? random.pick(stages) : undefined
  if (stage !== undefined) {
    options.push(`from=${stage.name}`)
    const known = stage.places.filter((path) => path.startsWith('/') && !path.includes('$'))
    if (known.length > 0 && random.chance(0.6)) options.push(`source=${random.pick(known)}`)
  } else if (random.chance(0.5)) {
    const named = context.filter(({ type, path }) => type !== 'link' && !path.includes(' ') && path !== '.dockerignore')
    if (named.length > 0) options.push(`${random.pick(['source', 'src'])}=${random.pick(['', '/'])}${random.pick(named).path}`)
  }
  const write = random.chance(0.4)
  if (write) options.push(random.pick(['rw', 'readwrite', 'rw=true', 'readonly=false']))
  const command =
    stage !== undefined && !options.some((option) => option.startsWith('source')) ? `ls ${place} > ${out}` : listing(place, out)
  const attempt = `touch ${place}/written 2>/dev/null && echo writable >> ${out}; true`
  return `RUN --mount=${options.filter((option) => option !== '').join(',')} ${command}; ${attempt}`
}

function cacheRun(state: StageState, place: string, out: string): string {
  const { random, seed } = state
  const id = `id=c${random.below(2)}-${seed}`
  const options = ['type=cache', `target=${place}`, id]
  if (random.chance(0.3)) options.push(`mode=${random.pick(['0700', '755', '0750'])}`)
  if (random.chance(0.3)) options.push(`uid=${random.pick([0, 1000])}`)
  if (random.chance(0.2)) options.push('gid=7')
  if (random.chance(0.2)) options.push(`sharing=${random.pick(['shared', 'private', 'locked'])}`)
  const name = `f${random.below(3)}`
  return `RUN --mount=${options.join(',')} ${listing(place, out)}; echo ${name} > ${place}/${name}; mkdir -p ${place}/kept`
}

function secretRun(state: StageState, out: string): string {
  const { random, abilities, secrets } = state
  const id = random.pick(['s1', 's2', 'absent'])
  if (id !== 'absent') secrets[id] = random.pick(['secret value\n', 'no end of line', ''])
  const options = ['type=secret', `id=${id}`]
  let place = `/run/secrets/${id}`
  if (random.chance(0.4)) {
    place = random.pick(['/tmp/secret', '/s/deep/secret', '/etc/hidden'])
    options.push(`target=${place}`)
  }
  if (random.chance(0.3)) options.push(`mode=${random.pick(['0444', '0600', '640'])}`)
  if (random.chance(0.3)) options.push('uid=1000')
  if (random.chance(0.2)) options.push('required')
  if (abilities.heredocs && random.chance(0.25)) {
    const alone = `RUN --mount=type=secret,id=${id},env=SECRET`
    return `${alone} echo "$SECRET" | wc -c > ${out}; [ -e ${place} ] && echo there >> ${out}; true`
  }
  return `RUN --mount=${options.join(',')} { stat -c '%a %u:%g %F' ${place}; wc -c < ${place}; } > ${out} 2>/dev/null; true`
}

function tmpfsRun({ random }: StageState, place: string, out: string): string {
  const size = random.chance(0.3) ? ',size=4m' : ''
  return `RUN --mount=type=tmpfs,target=${place}${size} ${listing(place, out)}; echo lost > ${place}/f; mkdir ${place}/g`
}

function heredocRun({ random }: StageState): string {
  const body = [
    'echo "$A" > /tmp/h',
    random.pick(["echo '$B' \\$C >> /tmp/h", 'cd /tmp', '# nothing', 'x=1; echo $x >> /tmp/h']),
    'pwd >> /tmp/h',
  ]
  const lines = body.join('\n')
  return random.pick([
    () => `RUN <<EOF\n${lines}\nEOF`,
    () => `RUN <<"EOF"\n${lines}\nEOF`,
    () => `RUN <<-EOF\n\t${body.join('\n\t')}\n\tEOF`,
    () => `RUN <<EOF sh -e\n${lines}\nEOF`,
    () => `RUN <<EOF\n#!/bin/sh -e\n${lines}\nEOF`,
    () => `RUN cat <<one > /tmp/one && cat <<-two >> /tmp/one\nfirst $A\none\n\tsecond \${B:-b}\n\ttwo`,
    () => `RUN cat <<'raw' > /tmp/raw\n$A \\$B \`x\`\nraw`,
    () => `RUN <<a cat > /tmp/a; echo after >> /tmp/a\n\n  indented $A\na`,
  ])()
}
