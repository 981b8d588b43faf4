/**
 * A plan as text for people and golden files, as JSON and as a Graphviz graph (`mille debug graph`).
 *
 * The text names vertices by their place (`v1`, `v2`), so that it stays readable and changes only where the plan does.
 */
import type { BuildPlan, PlannedHistory, Vertex, VertexId } from './op.js'

/** The plan as text: one block per vertex, then the image's config and history. */
export function printGraph(plan: BuildPlan): string {
  const names = shortNames(plan)
  const blocks = plan.vertices.map((vertex) => printVertex(vertex, names))
  return `${[...blocks, printImage(plan, names)].join('\n\n')}\n`
}

/** The plan as indented JSON, without the Dockerfile's text. */
export function printGraphJson(plan: BuildPlan): string {
  return `${JSON.stringify({ ...plan, source: plan.source.name }, undefined, 2)}\n`
}

/** The plan as a Graphviz digraph: arrows go from inputs to their users, the image's root filesystem has a double border. */
export function printGraphDot(plan: BuildPlan): string {
  const names = shortNames(plan)
  const lines = plan.vertices.flatMap((vertex) => {
    const name = names.get(vertex.id)
    const border = vertex.id === plan.image.rootfs ? ', peripheries=2' : ''
    const arrows = [...new Set(vertex.inputs)].map((input) => `  ${names.get(input)} -> ${name}`)
    return [`  ${name} [label=${JSON.stringify(`${vertex.op.kind}\n${vertex.name}`)}${border}]`, ...arrows]
  })
  return ['digraph plan {', '  rankdir=LR', '  node [shape=box, fontname="monospace"]', ...lines, '}', ''].join('\n')
}

type Names = ReadonlyMap<VertexId, string>

function shortNames(plan: BuildPlan): Names {
  return new Map(plan.vertices.map((vertex, index) => [vertex.id, `v${index + 1}`]))
}

function printVertex(vertex: Vertex, names: Names): string {
  const { kind, ...fields } = vertex.op
  const inputs = vertex.inputs.map((id) => names.get(id) ?? id)
  const head = `${names.get(vertex.id)} ${kind}${vertex.ignoreCache ? ' (no cache)' : ''}  ${vertex.name}`
  const lines = printFields(fields, '  ')
  return [head, ...(inputs.length > 0 ? [`  inputs: ${inputs.join(' ')}`] : []), ...lines].join('\n')
}

function printImage(plan: BuildPlan, names: Names): string {
  const { platform, rootfs, config, history } = plan.image
  return [
    `image  ${platform.os}/${platform.architecture}${platform.variant ? `/${platform.variant}` : ''}`,
    `  rootfs: ${rootfs === undefined ? 'none' : (names.get(rootfs) ?? rootfs)}`,
    ...printFields(config, '  '),
    '  history:',
    ...history.map((entry) => `    ${printHistory(entry, names).replaceAll('\n', '\n      ')}`),
  ].join('\n')
}

function printHistory(entry: PlannedHistory, names: Names): string {
  if (entry.inherited !== undefined) return `[base${entry.inherited.emptyLayer ? ', empty' : ''}] ${entry.createdBy}`
  return `[${entry.vertex === undefined ? 'empty' : (names.get(entry.vertex) ?? entry.vertex)}] ${entry.createdBy}`
}

/** Fields in the order of their names; objects are indented, lists of objects have one line per item. */
function printFields(fields: object, indent: string): string[] {
  return Object.entries(fields)
    .filter(([, value]) => !isPlain(value))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, value]: [string, unknown]) => {
      if (Array.isArray(value)) {
        return [`${indent}${key}:`, ...value.map((item) => `${indent}  - ${JSON.stringify(item)}`)]
      }
      if (isRecord(value)) return [`${indent}${key}:`, ...printFields(value, `${indent}  `)]
      return [`${indent}${key}: ${key === 'mode' ? `0${Number(value).toString(8)}` : JSON.stringify(value)}`]
    })
}

/** What says "nothing special": left out, so that the rest can be seen. */
function isPlain(value: unknown): boolean {
  return value === undefined || value === false || value === '' || (Array.isArray(value) && value.length === 0)
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0
}
