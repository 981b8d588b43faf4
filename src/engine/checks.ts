/** Lints what is being built or checked: brings the frontend's rules and the images that were looked up together. */
import type { Parsed } from '../../grammar/ast.js'
import type { Diagnostic } from '../core/diagnostic.js'
import type { ImageConfig } from '../core/image.js'
import { type LintReport, lint } from '../frontend/lint.js'
import { findingDiagnostics } from '../frontend/lint-findings.js'
import { imageKey, type Resolved, type ResolvedImage } from '../frontend/resolve.js'
import type { Analysis, Stage } from '../frontend/stages.js'

/** The config of a stage's base image among those that were looked up. */
export function configIn(images: ReadonlyMap<string, ResolvedImage>): (stage: Stage) => ImageConfig | undefined {
  return ({ base, platform }) => (base.kind === 'image' ? images.get(imageKey(base.reference, platform))?.config : undefined)
}

/**
 * The warnings of a build, about the stages that its target needs, and the error that `error=true` makes of them.
 *
 * @param resolved left out when the file has errors: rules that need no images run all the same
 */
export function lintBuild(parsed: Parsed, analysis: Analysis, resolved?: Resolved): Diagnostic[] {
  const report = lint({
    parsed,
    // A base image's triggers can make more stages needed than the file alone says.
    analysis: resolved === undefined ? analysis : { ...analysis, reachable: resolved.reachable },
    stages: resolved?.stages ?? analysis.stages,
    allStages: false,
    baseConfig: configIn(resolved?.images ?? new Map()),
  })
  return diagnosticsOf(report)
}

/** A report as diagnostics, errors last. */
export function diagnosticsOf({ findings, problems, failure }: LintReport): Diagnostic[] {
  return [...findingDiagnostics(findings), ...problems, ...(failure === undefined ? [] : [failure])]
}
