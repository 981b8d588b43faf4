/**
 * The grammar: one rule for each instruction, over the tokens of one logical line. README.md has it as EBNF.
 *
 * A line is the unit of a sentence, so a mistake in one instruction never hides the next one and no recovery is needed.
 */
import { type CstNode, CstParser, EMPTY_ALT, type IOrAlt, type IParserConfig, type IToken, type TokenType } from 'chevrotain'
import * as t from './tokens.js'

const vocabulary: TokenType[] = [
  ...[...t.keywords, t.UnknownKeyword, t.Flag, t.Word, t.RestText, t.HealthKind, t.Pair, t.Definition],
  ...[t.LegacyKey, t.JsonOpen, t.JsonNotStrings, t.JsonString, t.JsonComma, t.JsonClose, t.HeredocBody],
]

/** The Dockerfile grammar. `instruction` is the start rule. */
export class DockerfileParser extends CstParser {
  constructor(options: IParserConfig = { skipValidations: true }) {
    super(vocabulary, { maxLookahead: 1, nodeLocationTracking: 'none', ...options })
    this.performSelfAnalysis()
  }

  #kinds: IOrAlt<CstNode>[] | undefined

  readonly instruction = this.RULE('instruction', () => {
    this.MANY(() => this.SUBRULE(this.onbuild))
    this.SUBRULE(this.simple)
  })

  readonly onbuild = this.RULE('onbuild', () => {
    this.CONSUME(t.Onbuild)
    this.SUBRULE(this.flags)
  })

  readonly simple = this.RULE('simple', () => {
    // Kept, not made anew for each line.
    this.#kinds ??= [
      { ALT: () => this.SUBRULE(this.from) },
      { ALT: () => this.SUBRULE(this.run) },
      { ALT: () => this.SUBRULE(this.cmd) },
      { ALT: () => this.SUBRULE(this.entrypoint) },
      { ALT: () => this.SUBRULE(this.shell) },
      { ALT: () => this.SUBRULE(this.env) },
      { ALT: () => this.SUBRULE(this.label) },
      { ALT: () => this.SUBRULE(this.arg) },
      { ALT: () => this.SUBRULE(this.copy) },
      { ALT: () => this.SUBRULE(this.add) },
      { ALT: () => this.SUBRULE(this.expose) },
      { ALT: () => this.SUBRULE(this.volume) },
      { ALT: () => this.SUBRULE(this.user) },
      { ALT: () => this.SUBRULE(this.workdir) },
      { ALT: () => this.SUBRULE(this.stopsignal) },
      { ALT: () => this.SUBRULE(this.maintainer) },
      { ALT: () => this.SUBRULE(this.healthcheck) },
    ]
    this.OR(this.#kinds)
  })

  readonly from = this.RULE('from', () => {
    this.CONSUME(t.From)
    this.SUBRULE(this.flags)
    this.CONSUME(t.Word)
    this.OPTION(() => {
      this.CONSUME2(t.Word)
      this.CONSUME3(t.Word)
    })
  })

  readonly run = this.RULE('run', () => {
    this.CONSUME(t.Run)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.command)
    this.SUBRULE(this.heredocs)
  })

  readonly cmd = this.RULE('cmd', () => {
    this.CONSUME(t.Cmd)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.command)
  })

  readonly entrypoint = this.RULE('entrypoint', () => {
    this.CONSUME(t.Entrypoint)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.command)
  })

  readonly shell = this.RULE('shell', () => {
    this.CONSUME(t.Shell)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.json)
  })

  readonly env = this.RULE('env', () => {
    this.CONSUME(t.Env)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.pairs)
  })

  readonly label = this.RULE('label', () => {
    this.CONSUME(t.Label)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.pairs)
  })

  readonly arg = this.RULE('arg', () => {
    this.CONSUME(t.Arg)
    this.SUBRULE(this.flags)
    this.AT_LEAST_ONE(() => this.CONSUME(t.Definition))
  })

  readonly copy = this.RULE('copy', () => {
    this.CONSUME(t.Copy)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.list)
    this.SUBRULE(this.heredocs)
  })

  readonly add = this.RULE('add', () => {
    this.CONSUME(t.Add)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.list)
    this.SUBRULE(this.heredocs)
  })

  readonly expose = this.RULE('expose', () => {
    this.CONSUME(t.Expose)
    this.SUBRULE(this.flags)
    this.AT_LEAST_ONE(() => this.CONSUME(t.Word))
  })

  readonly volume = this.RULE('volume', () => {
    this.CONSUME(t.Volume)
    this.SUBRULE(this.flags)
    this.SUBRULE(this.list)
  })

  readonly user = this.RULE('user', () => {
    this.CONSUME(t.User)
    this.SUBRULE(this.flags)
    this.CONSUME(t.RestText)
  })

  readonly workdir = this.RULE('workdir', () => {
    this.CONSUME(t.Workdir)
    this.SUBRULE(this.flags)
    this.CONSUME(t.RestText)
  })

  readonly stopsignal = this.RULE('stopsignal', () => {
    this.CONSUME(t.Stopsignal)
    this.SUBRULE(this.flags)
    this.CONSUME(t.RestText)
  })

  readonly maintainer = this.RULE('maintainer', () => {
    this.CONSUME(t.Maintainer)
    this.SUBRULE(this.flags)
    this.CONSUME(t.RestText)
  })

  readonly healthcheck = this.RULE('healthcheck', () => {
    this.CONSUME(t.Healthcheck)
    this.SUBRULE(this.flags)
    this.CONSUME(t.HealthKind)
    this.SUBRULE(this.command)
  })

  readonly flags = this.RULE('flags', () => {
    this.MANY(() => this.CONSUME(t.Flag))
  })

  readonly heredocs = this.RULE('heredocs', () => {
    this.MANY(() => this.CONSUME(t.HeredocBody))
  })

  /** May be empty: `CMD` alone is the shell form of nothing. */
  readonly command = this.RULE('command', () => {
    this.OR([{ ALT: () => this.SUBRULE(this.json) }, { ALT: () => this.CONSUME(t.RestText) }, { ALT: EMPTY_ALT() }])
  })

  readonly list = this.RULE('list', () => {
    this.OR([{ ALT: () => this.SUBRULE(this.json) }, { ALT: () => this.AT_LEAST_ONE(() => this.CONSUME(t.Word)) }])
  })

  readonly pairs = this.RULE('pairs', () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.LegacyKey)
          this.CONSUME(t.RestText)
        },
      },
      { ALT: () => this.AT_LEAST_ONE(() => this.CONSUME(t.Pair)) },
    ])
  })

  readonly json = this.RULE('json', () => {
    this.CONSUME(t.JsonOpen)
    this.MANY_SEP({ SEP: t.JsonComma, DEF: () => this.CONSUME(t.JsonString) })
    this.CONSUME(t.JsonClose)
  })

  /** Parses one line: the tree, or the token that does not fit. */
  parseLine(tokens: readonly IToken[]): CstNode | { readonly unexpected: IToken | undefined } {
    this.input = [...tokens]
    const cst: CstNode | undefined = this.instruction()
    const [error] = this.errors
    return error === undefined && cst !== undefined ? cst : { unexpected: error?.token }
  }
}

let instance: DockerfileParser | undefined

/** The one parser of the process, made when first needed (a few ms). */
export function sharedParser(): DockerfileParser {
  instance ??= new DockerfileParser()
  return instance
}
