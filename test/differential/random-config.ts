/** Random instructions that change the config, and random words with variables in them. */
import type { StageState } from './generate.js'

const plainWords = [
  'x',
  'value',
  'a/b',
  '"quoted words"',
  "'single $A'",
  'x\\ y',
  '"in \\"quotes\\""',
  'a$$b',
  'é',
  "''",
  '/usr/bin',
  'a.b.c',
]

/** A word, often with a variable and a modifier in it. */
export function expression(state: StageState): string {
  const { random } = state
  if (random.chance(0.4)) return random.pick(plainWords)
  const name = random.pick(['A', 'B', 'C', 'GLOBAL', 'E1', 'E2', 'PATH', 'UNSET', 'lower_1'])
  const inner = (): string =>
    random.pick(['x', 'in/ner', '$A', '$E1', '', '$PATH', 'a.b', `\${B}`, `\${C:-deep}`, `\${E2:+\${A:-deeper}}`])
  const forms = [
    () => `$${name}`,
    () => `\${${name}}`,
    () => `"\${${name}:-${inner()}}"`,
    () => `\${${name}:-${inner()}}`,
    () => `\${${name}:+${inner()}}`,
    () => `pre-\${${name}}-post`,
    () => `\\$${name}`,
    () => `"$${name} and \${${name}}"`,
    () => `'$${name}'`,
  ]
  const patterns = [
    () => `\${${name}-${inner()}}`,
    () => `\${${name}+${inner()}}`,
    () => `\${${name}#${random.pick(['a', '*', '?', 'pre', '*/', '/*'])}}`,
    () => `\${${name}##${random.pick(['*/', '*a', 'x*'])}}`,
    () => `\${${name}%${random.pick(['a', '*', '?', 'st', '/*'])}}`,
    () => `\${${name}%%${random.pick(['/*', 'a*'])}}`,
    () => `\${${name}/${random.pick(['a', '?', 'b*', '\\/'])}/${random.pick(['', 'Z', 'z/z'])}}`,
    () => `\${${name}//${random.pick(['a', '?', 'e'])}/${random.pick(['', 'Z'])}}`,
  ]
  return random.pick(state.abilities.patterns ? [...forms, ...patterns] : forms)()
}

/** An instruction that needs no file of the context. */
export function randomConfig(state: StageState): string {
  const { random } = state
  const kinds: readonly (() => string)[] = [
    () => randomEnv(state),
    () => randomEnv(state),
    () => randomLabel(state),
    () => `WORKDIR ${random.pick(['/', '/w', 'sub', '/w', './rel/', '"/with space"', '/a/b/c', '$UNSET/x', '/l'])}`,
    () =>
      `USER ${random.pick(['0', '1000', '5:6', '0:0', ...(state.busybox ? ['nobody', 'root', 'nobody:root', 'nobody:3'] : [])])}`,
    () => `EXPOSE ${random.pick(['80', '80/tcp 53/udp', '8000-8003', '443/TCP', '$UNSET 9', '"7"', '1000-1001/udp 80'])}`,
    () => `VOLUME ${random.pick(['/data', '["/v1", "/v 2"]', '/v3 /v4', '/data/../x', 'rel'])}`,
    () => `CMD ${random.pick(['["a", "b c"]', 'echo $A "x"', '[]', "['not json']", '["with\\ttab", "\\u00e9"]', 'a   b'])}`,
    () => `ENTRYPOINT ${random.pick(['["e"]', 'shell form  $B', '[]', '["", "x"]'])}`,
    () => `STOPSIGNAL ${random.pick(['SIGTERM', '9', 'KILL', 'sigint', 'SIGRTMIN+3'])}`,
    () => `SHELL ["/bin/sh", "${random.pick(['-c', '-ec'])}"]`,
    () => randomHealthcheck(state),
    () => `MAINTAINER ${random.pick(['me', 'Some One <a@b>'])}`,
    () => `env ${random.pick(['E1', 'E2'])} the rest  of the  line "stays"`,
  ]
  return random.pick(kinds)()
}

function randomEnv(state: StageState): string {
  const { random } = state
  const pairs = Array.from({ length: 1 + random.below(3) }, () => {
    const name = random.pick(['E1', 'E2', 'E3', 'A'])
    state.variables.add(name)
    return `${name}=${expression(state)}`
  })
  return `ENV ${pairs.join(random.chance(0.3) ? ' \\\n    ' : ' ')}`
}

function randomLabel(state: StageState): string {
  const { random } = state
  const key = (): string => random.pick(['l1', 'l2', 'a.b/c', '"quoted key"', 'k$E1', `k-\${A}`])
  return `LABEL ${Array.from({ length: 1 + random.below(3) }, () => `${key()}=${expression(state)}`).join(' ')}`
}

function randomHealthcheck({ random }: StageState): string {
  if (random.chance(0.2)) return 'HEALTHCHECK NONE'
  const flags = ['--interval=5s', '--timeout=1m30s', '--start-period=100ms', '--retries=4'].filter(() => random.chance(0.4))
  return ['HEALTHCHECK', ...flags, 'CMD', random.pick(['check "$A"', '["check", "-x"]'])].join(' ')
}
