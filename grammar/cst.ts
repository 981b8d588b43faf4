/** Typed access to chevrotain's concrete syntax trees. Types only: this loads nothing. */
import type { CstElement, CstNode, IToken } from 'chevrotain'

function isToken(element: CstElement): element is IToken {
  return 'image' in element
}

/** The tokens that a rule took under this name. */
export function tokensIn(cst: CstNode, name: string): IToken[] {
  return (cst.children[name] ?? []).filter(isToken)
}

/** The sub-rules that a rule took under this name. */
export function nodesIn(cst: CstNode, name: string): CstNode[] {
  return (cst.children[name] ?? []).filter((element): element is CstNode => !isToken(element))
}

/** The sub-rule that a rule always has. */
export function nodeIn(cst: CstNode, name: string): CstNode {
  const [node] = nodesIn(cst, name)
  if (node === undefined) throw new Error(`the rule ${cst.name} has no ${name}`)
  return node
}

/** The one sub-rule of a rule that is a choice. */
export function onlyNode(cst: CstNode): CstNode {
  for (const [element] of Object.values(cst.children)) if (element !== undefined && !isToken(element)) return element
  throw new Error(`the rule ${cst.name} has no sub-rule`)
}

/** The keyword of an instruction's rule: its first token. */
export function firstToken(cst: CstNode): IToken {
  for (const elements of Object.values(cst.children)) for (const element of elements) if (isToken(element)) return element
  throw new Error(`the rule ${cst.name} has no token`)
}
