/** Changes as people read them: `src/app.ts changed (and 2 more)`, `ARG VERSION: 1.2 → 1.3`. Pure. */

import type { StepChange } from '../core/reason.js'
import { familiarReference, isReference, parseReference } from '../core/reference.js'
import { readName } from './state.js'

/** One line is enough: of more changes than this the rest are counted. */
const namedChanges = 3
const longestText = 60

/** One line for all changes, the first cause first. */
export function changesText(changes: readonly StepChange[]): string {
  const texts = [...new Set(changes.map(changeText))]
  const more = texts.length - namedChanges
  return `${texts.slice(0, namedChanges).join('; ')}${more > 0 ? ` (and ${more} more)` : ''}`
}

function changeText(change: StepChange): string {
  switch (change.kind) {
    case 'files':
      return filesText(change)
    case 'arg':
    case 'env':
      return variableText(change.kind.toUpperCase(), change)
    case 'setting':
      return `${settingNames[change.name] ?? change.name}: ${shownValue(change.old)} → ${shownValue(change.new)}`
    case 'secret':
      return `secret ${change.name} has another value`
    case 'instruction':
      return `the instruction changed, it was ${shorten(change.old)}`
    case 'base':
      return baseText(change)
    case 'input':
      return inputText(change.name)
    case 'version':
      return 'this version of mille makes other keys'
  }
}

function filesText({ count, paths }: Extract<StepChange, { kind: 'files' }>): string {
  const [first] = paths
  if (first === undefined) return 'the files it takes changed'
  const did = { changed: 'changed', added: 'is new', removed: 'is gone' }[first.change]
  return `${first.path} ${did}${count > 1 ? ` (and ${count - 1} more)` : ''}`
}

function variableText(kind: string, { name, old, new: value }: { name: string; old?: string; new?: string }): string {
  if (old !== undefined && value !== undefined) return `${kind} ${name}: ${shownValue(old)} → ${shownValue(value)}`
  if (value !== undefined) return `${kind} ${name} is set now: ${shownValue(value)}`
  return old === undefined ? `${kind} ${name} has another value` : `${kind} ${name} is not set any more`
}

function shownValue(value: string | undefined): string {
  if (value === undefined) return 'none'
  return value === '' ? '""' : shorten(value)
}

function baseText({ name, old, new: now }: Extract<StepChange, { kind: 'base' }>): string {
  if (now === undefined || old === undefined) return `the base is ${familiar(name)} now`
  if (!now.startsWith('sha256:')) return `the base is ${familiar(now)} now, it was ${familiar(old)}`
  return `base ${familiar(name)} is now ${now.slice(0, 'sha256:'.length + 12)}`
}

function familiar(name: string): string {
  const reference = parseReference(name)
  return isReference(reference) ? familiarReference(reference) : name
}

function inputText(name: string): string {
  return `its input ${shorten(readName(name).shown)} changed`
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length <= longestText ? line : `${line.slice(0, longestText - 1)}…`
}

/** Fields of ops that no instruction of the step itself sets, by the words that people have for them. */
const settingNames: Readonly<Record<string, string>> = {
  argv: 'the command',
  cwd: 'WORKDIR',
  user: 'USER',
  hostNames: '--add-host',
  shmSizeBytes: '--shm-size',
  owner: 'the owner',
}

/** How long ago, in few words: `3 h ago`. */
export function agoText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`
  return `${Math.floor(seconds / 86_400)} days ago`
}
