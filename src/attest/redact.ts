/** Takes the credentials out of URLs before they are written into an attestation, which anybody may read. */

const credentials = /([a-z][a-z0-9+.-]*:\/\/)([^/@\s:]*)(:[^/@\s]*)?@/gi

/** `https://user:word@host/x` → `https://xxxxx:xxxxx@host/x`, everywhere in the text; BuildKit writes it so too. */
export function withoutCredentials(text: string): string {
  return text.replace(credentials, (_, scheme: string, user: string, word?: string) =>
    // git@ is no secret: it is what ssh servers call everybody.
    word === undefined && user === 'git' ? `${scheme}git@` : `${scheme}xxxxx${word === undefined ? '' : ':xxxxx'}@`,
  )
}
