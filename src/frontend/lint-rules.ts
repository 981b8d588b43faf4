/**
 * The table of lint rules: BuildKit's, with its names and descriptions (they are an interface: tools and `# check=skip=` name
 * them), and mille's own. What a rule looks for is in the other `lint-*.ts` files.
 */
import { nearestOption } from './lint-nearest.js'

/** One rule. */
export interface LintRule {
  readonly name: string
  readonly description: string
  /** Undefined where no page tells more. */
  readonly url: string | undefined
  /** Runs only when `# check=experimental=` names it. */
  readonly experimental: boolean
  /** Not one of BuildKit's: shown, but `error=true` does not fail on it, so that a file that docker builds is built here too. */
  readonly own: boolean
}

const buildkitRules = {
  StageNameCasing: 'Stage names should be lowercase',
  FromAsCasing: "The 'as' keyword should match the case of the 'from' keyword",
  NoEmptyContinuation: 'Empty continuation lines will become errors in a future release',
  ConsistentInstructionCasing: 'All commands within the Dockerfile should use the same casing (either upper or lower)',
  DuplicateStageName: 'Stage names should be unique',
  ReservedStageName: 'Reserved words should not be used as stage names',
  JSONArgsRecommended: 'JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals',
  MaintainerDeprecated: 'The MAINTAINER instruction is deprecated, use a label instead to define an image author',
  UndefinedArgInFrom: 'FROM command must use declared ARGs',
  WorkdirRelativePath:
    'Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes',
  UndefinedVar: 'Variables should be defined before their use',
  MultipleInstructionsDisallowed: 'Multiple instructions of the same type should not be used in the same stage',
  LegacyKeyValueFormat: 'Legacy key/value format with whitespace separator should not be used',
  InvalidBaseImagePlatform: 'Base image platform does not match expected target platform',
  RedundantTargetPlatform: 'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
  SecretsUsedInArgOrEnv: 'Sensitive data should not be used in the ARG or ENV commands',
  InvalidDefaultArgInFrom: 'Default value for global ARG results in an empty or invalid base image name',
  FromPlatformFlagConstDisallowed: 'FROM --platform flag should not use a constant value',
  CopyIgnoredFile: 'Attempting to Copy file that is excluded by .dockerignore',
  InvalidDefinitionDescription:
    'Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.',
  ExposeProtoCasing: 'Protocol in EXPOSE instruction should be lowercase',
  ExposeInvalidFormat:
    'IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release',
} as const

const ownRules = {
  JSONFormFallback: 'A command that looks like the JSON form but is no valid JSON is run by the shell as it is',
  NumericMountFrom: 'A number in RUN --mount=from= names an image, not a stage',
  LinkWithNamedOwner: 'COPY --link cannot look up the names of --chown in the image',
  LinkWithChmod: 'COPY --link makes the directories above the destination anew, and --chmod does not reach them',
  UnknownOwner: 'A name of --chown or USER cannot be found in an image that starts from scratch',
  MultipleSourcesNeedDirectory: 'With several sources the destination must be a directory and end with /',
  PackageCacheLeft:
    'The package lists and caches that a RUN downloads should be removed in the same RUN or kept in a cache mount',
  UnknownCheckRule: 'A check comment should name existing rules',
} as const

/** The name of a rule. */
export type RuleName = keyof typeof buildkitRules | keyof typeof ownRules

const experimentalRules: readonly string[] = ['InvalidDefinitionDescription']
const rulesWithoutPage: readonly string[] = ['InvalidBaseImagePlatform']

/** All rules by name. */
export const lintRules: ReadonlyMap<string, LintRule> = new Map([
  ...Object.entries(buildkitRules).map(([name, description]) => [name, describe(name, description, false)] as const),
  ...Object.entries(ownRules).map(([name, description]) => [name, describe(name, description, true)] as const),
])

function describe(name: string, description: string, own: boolean): LintRule {
  const page = name.replace(/([a-z])([A-Z])|([A-Z])([A-Z][a-z])/g, '$1$3-$2$4').toLowerCase()
  const url = own || rulesWithoutPage.includes(name) ? undefined : `https://docs.docker.com/go/dockerfile/rule/${page}/`
  return { name, description, url, experimental: experimentalRules.includes(name), own }
}

/** The rule of a name. */
export function ruleOf(name: RuleName): LintRule {
  const rule = lintRules.get(name)
  if (rule === undefined) throw new Error(`there is no rule ${name}`)
  return rule
}

/** The existing rule that a wrong name probably means. */
export function nearestRule(name: string): string | undefined {
  const lower = new Map([...lintRules.keys()].map((each) => [each.toLowerCase(), each]))
  return lower.get(name.toLowerCase()) ?? nearestOption(name, lintRules.keys())
}
