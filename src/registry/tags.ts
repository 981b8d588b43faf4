/**
 * The tags of a repository (distribution-spec, "Listing Tags"). They are asked for only where a tag was not found, for the hint
 * of that error: so one try and a few pages, and no error of their own.
 */
import type { Context } from '../core/context.js'
import { BuildError } from '../core/errors.js'
import { familiarReference, type Reference } from '../core/reference.js'
import { nearestWord } from '../core/suggest.js'
import { collect, limited } from '../io/stream.js'
import { repositoryScope } from './auth.js'
import { askedOf, bodyOf, discard, type RegistryClient } from './client.js'
import { isRecord, parseJson } from './errors.js'

const pageSize = 1000
const pageLimit = 5
const pageLimitBytes = 1024 * 1024
/** More than a reader takes in. */
const mostTags = 8

/** What to say to someone whose tag is not there; undefined when the registry tells no tags. */
export async function tagHint(client: RegistryClient, reference: Reference, ctx: Context): Promise<string | undefined> {
  const { registry, repository, tag } = reference
  if (tag === undefined || reference.digest !== undefined) return undefined
  const tags = await listTags(client, reference, ctx)
  const near = nearestWord(tag, tags)
  if (near !== undefined) return `did you mean ${familiarReference({ registry, repository, tag: near })}?`
  if (tags.length === 0) return undefined
  return tags.length <= mostTags ? `it has ${[...tags].sort().join(', ')}` : undefined
}

/** Those that are told in the first pages. */
async function listTags(client: RegistryClient, { registry, repository }: Reference, ctx: Context): Promise<string[]> {
  const tags: string[] = []
  let target: string | URL | undefined = `/v2/${repository}/tags/list?n=${pageSize}`
  try {
    for (let page = 0; page < pageLimit && target !== undefined; page++) {
      const request = {
        ...{ registry, repository, method: 'GET', target, accept: [200, 404] },
        ...{ scopes: [repositoryScope(repository, 'pull')], subject: `the tags of ${repository}` },
      }
      const answer = await client.send(request, ctx)
      if (answer.status !== 200) {
        await discard(answer)
        return tags
      }
      const body = bodyOf(askedOf(request, answer.url), answer, ctx)
      const bytes = await collect(limited(body, pageLimitBytes, 'REGISTRY_PROTOCOL', 'the list of tags'))
      const document = parseJson(bytes.toString())
      const list = isRecord(document) && Array.isArray(document.tags) ? document.tags : []
      tags.push(...list.filter((each): each is string => typeof each === 'string'))
      target = nextPage(answer.headers.link, answer.url)
    }
  } catch (error) {
    // A registry may keep its tags to itself; the user asked for an image, and is told that it is not there.
    if (!(error instanceof BuildError && error.code.startsWith('REGISTRY_'))) throw error
  }
  return tags
}

/** The page after this one, as the `Link` says (RFC 8288). */
function nextPage(link: string | readonly string[] | undefined, here: URL): URL | undefined {
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(String(link ?? ''))?.[1]
  return target !== undefined && URL.canParse(target, here.href) ? new URL(target, here) : undefined
}
