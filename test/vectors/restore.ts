/**
 * Puts back what a copy of the conformance contexts may have lost: symlinks, kept as files that hold their target (as git
 * does where links cannot be made), and a program that upstream compiles.
 */
import { copyFileSync, existsSync, lstatSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'

const longestTarget = 200

/** Restores a copy of one of `contexts/`. */
export function restoreContext(context: string): void {
  for (const name of readdirSync(context, { recursive: true, encoding: 'utf8' })) restoreLink(join(context, name), name)
  // Upstream compiles true.go; busybox is that program when it has this name.
  if (existsSync(join(context, 'true.go'))) copyFileSync('/bin/busybox', join(context, 'true'))
}

/** A file is a lost link when its whole text is a path that exists where it stands, and is not its own name. */
function restoreLink(path: string, name: string): void {
  const stats = lstatSync(path)
  if (!stats.isFile() || stats.size === 0 || stats.size > longestTarget) return
  const target = readFileSync(path, 'utf8')
  if (/[\n\0]/.test(target) || name.endsWith(target) || !existsSync(join(dirname(path), target))) return
  rmSync(path)
  symlinkSync(target, path)
}
