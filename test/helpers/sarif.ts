/** What the schema of SARIF 2.1.0 asks of the parts that mille writes. */

type Json = { readonly [name: string]: unknown }

const uriReference = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?:[A-Za-z0-9\-._~!$&'()*+,;=@/]|%[0-9A-Fa-f]{2})*$/

/** The rules that a log breaks, one sentence each. */
export function sarifProblems(log: Json): string[] {
  const problems: string[] = []
  const expect = (holds: boolean, what: string): void => {
    if (!holds) problems.push(what)
  }
  onlyKeys(log, ['$schema', 'version', 'runs'], 'the log', expect)
  expect(log.version === '2.1.0', 'version is 2.1.0')
  for (const run of list(log.runs)) {
    onlyKeys(run, ['tool', 'columnKind', 'results'], 'a run', expect)
    expect(run.columnKind === 'utf16CodeUnits' || run.columnKind === 'unicodeCodePoints', 'columnKind is one of two')
    const driver = object(object(run.tool).driver)
    onlyKeys(driver, ['name', 'version', 'rules'], 'the driver', expect)
    expect(typeof driver.name === 'string' && driver.name !== '', 'the driver has a name')
    const ids = list(driver.rules).map(({ id }) => id)
    expect(new Set(ids).size === ids.length, 'rules are unique')
    for (const rule of list(driver.rules)) {
      onlyKeys(rule, ['id', 'shortDescription', 'helpUri'], 'a rule', expect)
      expect(typeof object(rule.shortDescription).text === 'string', 'a description has a text')
      expect(rule.helpUri === undefined || URL.canParse(String(rule.helpUri)), 'helpUri is a URI')
    }
    for (const result of list(run.results)) checkResult(result, expect)
  }
  return problems
}

type Expect = (holds: boolean, what: string) => void

function checkResult(result: Json, expect: Expect): void {
  onlyKeys(result, ['ruleId', 'level', 'message', 'locations', 'fixes'], 'a result', expect)
  expect(['none', 'note', 'warning', 'error'].includes(String(result.level)), 'the level is one of four')
  expect(typeof object(result.message).text === 'string', 'a message has a text')
  for (const location of list(result.locations)) {
    const physical = object(location.physicalLocation)
    checkArtifact(object(physical.artifactLocation), expect)
    checkRegion(object(physical.region), expect)
  }
  for (const fix of list(result.fixes ?? [])) {
    expect(list(fix.artifactChanges).length > 0, 'a fix changes something')
    for (const change of list(fix.artifactChanges)) {
      checkArtifact(object(change.artifactLocation), expect)
      expect(list(change.replacements).length > 0, 'a change replaces something')
      for (const replacement of list(change.replacements)) checkRegion(object(replacement.deletedRegion), expect)
    }
  }
}

function checkArtifact({ uri }: Json, expect: Expect): void {
  expect(typeof uri === 'string' && uriReference.test(uri), `"${String(uri)}" is a URI reference`)
}

function checkRegion(region: Json, expect: Expect): void {
  for (const name of ['startLine', 'startColumn', 'endLine', 'endColumn']) {
    expect(Number.isInteger(region[name]) && Number(region[name]) >= 1, `${name} is a whole number from 1 on`)
  }
  const [startLine, endLine] = [Number(region.startLine), Number(region.endLine)]
  expect(
    startLine < endLine || (startLine === endLine && Number(region.startColumn) <= Number(region.endColumn)),
    'a region ends after its start',
  )
}

function onlyKeys(value: Json, known: readonly string[], what: string, expect: Expect): void {
  for (const key of Object.keys(value)) expect(known.includes(key), `${what} has no ${key}`)
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}

function list(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(object) : []
}
