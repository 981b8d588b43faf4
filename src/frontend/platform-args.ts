/** The predefined BUILD* and TARGET* arguments (semantics.md 37, 38) and the platforms behind them. */
import type { Dockerfile } from '../../grammar/ast.js'
import { formatPlatform, normalizePlatform, type Platform } from '../core/platform.js'

/** The platforms a build runs on: those that were given, else the target's, else this machine's. */
export function resolveBuildPlatforms(
  target: Platform | undefined,
  builders: readonly Platform[],
  host: Platform,
): readonly Platform[] {
  if (builders.length > 0) return builders
  return [target ?? host]
}

/** The stage that is built when none is asked for, if it has a name: what TARGETSTAGE says then. */
export function lastStageName({ instructions }: Dockerfile): string | undefined {
  const last = instructions.findLast((instruction) => instruction.kind === 'from')
  return last?.name?.text.toLowerCase()
}

/** Predefined global arguments; a build argument of the same name wins. */
export function predefinedArgs(
  build: Platform,
  target: Platform,
  targetStage: string | undefined,
  buildArgs: Readonly<Record<string, string>>,
): Map<string, string> {
  const args = [
    ...platformArgs('BUILD', normalizePlatform(build)),
    ...platformArgs('TARGET', normalizePlatform(target)),
    ['TARGETSTAGE', targetStage === undefined || targetStage === '' ? 'default' : targetStage] as const,
  ]
  return new Map(args.map(([name, value]) => [name, buildArgs[name] ?? value]))
}

function platformArgs(prefix: string, platform: Platform): (readonly [string, string])[] {
  return [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ]
}
