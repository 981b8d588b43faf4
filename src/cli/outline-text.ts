/** `--call=outline` and `--call=targets` as tables, in the columns that buildx prints. */
import type { Outline, TargetList } from '../frontend/outline.js'

/** The outline of a target. */
export function outlineText({ name, description, args, secrets, ssh, cache }: Outline): string {
  const head = [
    ...(name === undefined ? [] : [['TARGET:', name]]),
    ...(description === undefined ? [] : [['DESCRIPTION:', description]]),
  ]
  const need = (each: { readonly name: string; readonly required?: true }): string[] => [each.name, each.required ? 'true' : '']
  const tables = [
    head,
    withHead(
      ['BUILD ARG', 'VALUE', 'DESCRIPTION'],
      args?.map((arg) => [arg.name, arg.value ?? '', arg.description ?? '']),
    ),
    withHead(['SECRET', 'REQUIRED'], secrets?.map(need)),
    withHead(['SSH', 'REQUIRED'], ssh?.map(need)),
    withHead(
      ['CACHE MOUNT'],
      cache?.map(({ ID }) => [ID]),
    ),
  ]
  return tables
    .filter((rows) => rows.length > 0)
    .map(table)
    .join('\n')
}

/** The stages of a file. */
export function targetsText({ targets }: TargetList): string {
  const rows = targets.map((target) => [
    [target.name ?? (target.default ? '' : '(unnamed)'), target.default ? '(default)' : '']
      .filter((word) => word !== '')
      .join(' '),
    target.base ?? '',
    target.description ?? '',
  ])
  return table([['TARGET', 'BASE', 'DESCRIPTION'], ...rows])
}

function withHead(head: readonly string[], rows: readonly (readonly string[])[] | undefined): (readonly string[])[] {
  return rows === undefined ? [] : [head, ...rows]
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('')
}
