/** The version of this mille. The bundler puts it in as a constant; run from dist/src it is read from package.json. */
import { readFileSync } from 'node:fs'

declare const milleVersion: string | undefined

/** `0.1.0` and the like. */
export function version(): string {
  if (typeof milleVersion === 'string') return milleVersion
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { readonly version: string }).version
}
