/** Lints a text with made-up images: what tests of the rules start from. */
import { parse } from '../../grammar/parse.js'
import { quietContext } from '../../src/core/context.js'
import type { Diagnostic } from '../../src/core/diagnostic.js'
import { DockerfileError } from '../../src/core/errors.js'
import type { ImageConfig } from '../../src/core/image.js'
import type { Platform } from '../../src/core/platform.js'
import { positionAt } from '../../src/core/span.js'
import { analyze } from '../../src/frontend/analyze.js'
import { type LintReport, lint } from '../../src/frontend/lint.js'
import type { Finding } from '../../src/frontend/lint-findings.js'
import { lower } from '../../src/frontend/lower.js'
import { type FrontendOptions, frontendOptions } from '../../src/frontend/options.js'
import { resolve } from '../../src/frontend/resolve.js'
import { amd64, fakeImage } from './plan.js'

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** How a text is linted. */
export interface LintSettings {
  readonly options?: Partial<FrontendOptions>
  readonly allStages?: boolean
  /** The config of every base image: linux/amd64 with only a PATH, unless given; `unknown`: no image can be looked at. */
  readonly config?: Partial<ImageConfig> | 'unknown'
}

/** The findings of a text, and its errors: those of the parser and the analysis. */
export function lintText(
  text: string,
  { options = {}, allStages = true, config = {} }: LintSettings = {},
): LintReport & { readonly errors: readonly Diagnostic[] } {
  const parsed = parse({ name: 'Dockerfile', text })
  const analysis = analyze(parsed.ast, frontendOptions(amd64, options))
  const base =
    config === 'unknown' ? undefined : { ...fakeImage('base', amd64, { base: { config: { Env: [path] }, ...config } }).config }
  const report = lint({ parsed, analysis, stages: analysis.stages, allStages, baseConfig: () => base })
  const found = [...parsed.diagnostics, ...analysis.diagnostics, ...report.problems]
  return { ...report, errors: found.filter(({ severity }) => severity === 'error') }
}

/** Findings as `line Rule: detail`, by the line that the instruction starts on. */
export function findingLines(findings: readonly Finding[]): string[] {
  return findings.map(({ rule, detail, statement, source }) => `${lineOf(statement.start, source.text)} ${rule.name}: ${detail}`)
}

/** The 1-based line of an offset. */
export function lineOf(offset: number, text: string): number {
  return positionAt(text, offset).line
}

/** The errors of planning a text with images that all exist. */
export async function planErrors(text: string, options: Partial<FrontendOptions>): Promise<readonly Diagnostic[]> {
  const analysis = analyze(parse({ name: 'Dockerfile', text }).ast, frontendOptions(amd64, options))
  const lookup = async (reference: string, platform: Platform) => fakeImage(reference, platform, undefined)
  try {
    lower(await resolve(analysis, { lookup, parse }, quietContext()))
    return []
  } catch (error) {
    if (error instanceof DockerfileError) return error.diagnostics
    throw error
  }
}
