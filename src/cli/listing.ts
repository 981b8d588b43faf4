/** Prints rows as docker does: a table of its own, `--format` with a template, `table TEMPLATE`, `json`, or ids only. */
import { renderTable } from './human.js'
import type { Shell } from './shell.js'
import { compileTemplate } from './template.js'

/** A row: what templates may ask for. All values are texts, as docker's are. */
export type Row = Readonly<Record<string, string>>

/** How rows are printed. */
export interface ListingOptions {
  /** `--format`; undefined for the usual table. */
  readonly format: string | undefined
  /** Template and heading of the usual table. */
  readonly columns: readonly (readonly [field: string, heading: string])[]
  /** Headings of fields that only templates use. */
  readonly headings?: Readonly<Record<string, string>>
}

/** Prints the rows. */
export function printRows(rows: readonly Row[], options: ListingOptions, shell: Shell): void {
  const { format, columns } = options
  if (format === undefined || format === 'table') {
    const lines = rows.map((row) => columns.map(([field]) => row[field] ?? ''))
    shell.print(renderTable([columns.map(([, heading]) => heading), ...lines]))
    return
  }
  if (format === 'json') {
    shell.print(rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
    return
  }
  const isTable = format.startsWith('table ')
  const render = compileTemplate(isTable ? format.slice('table '.length) : format)
  const lines = rows.map((row) => render(row))
  if (!isTable) {
    shell.print(lines.map((line) => `${line}\n`).join(''))
    return
  }
  const headings = { ...headingsOf(rows), ...options.headings, ...Object.fromEntries(columns) }
  shell.print(renderTable([render(headings), ...lines].map((line) => line.split('\t'))))
}

function headingsOf(rows: readonly Row[]): Row {
  return Object.fromEntries(Object.keys(rows[0] ?? {}).map((field) => [field, field.toUpperCase()]))
}
