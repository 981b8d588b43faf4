/** Addresses as people may see them: credentials in a URL are not for everyone who reads a log or an image's history. */

/**
 * A text whose URLs have `***` for what lets somebody in: user and password, with http the name alone too, which may be a
 * token. The name in `ssh://git@host` stays.
 */
export function hideCredentials(text: string): string {
  return text
    .replace(/(\bhttps?:\/\/)[^/@\s"']*@/gi, '$1***@')
    .replace(/(\b[a-z][a-z+]*:\/\/)[^/:@\s"']*:[^/@\s"']*@/gi, '$1***@')
}
