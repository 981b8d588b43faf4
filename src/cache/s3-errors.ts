/** What the AWS SDK throws, as errors that say what to do. Classified by name and status, never by text. */
import { BuildError, RegistryError, systemCode } from '../core/errors.js'
import { redactText, TransientRegistryError } from '../registry/errors.js'

const needed = 's3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket'

/** True where there is no such object. A bucket that is not there is something else. */
export function isMissing(error: unknown): boolean {
  return nameOf(error) === 'NoSuchKey' || nameOf(error) === 'NotFound'
}

/**
 * The error for the user.
 *
 * @param place `s3://bucket`
 * @param isBody it came while an object was read: another try may help. Other requests the SDK has tried again already
 */
export function explainS3(error: unknown, place: string, isBody: boolean): unknown {
  if (error instanceof BuildError || !(error instanceof Error)) return error
  const name = nameOf(error)
  const status = statusOf(error)
  const details = { cause: error, ...(status === undefined ? {} : { status }) }
  const said = redactText(error.message).slice(0, 300)
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') {
    const hint = 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give access_key_id= and secret_access_key='
    return new RegistryError('CACHE_DENIED', `there are no AWS credentials for ${place}: ${said}`, { ...details, hint })
  }
  if (name === 'NoSuchBucket') {
    return new RegistryError('CACHE_UNREACHABLE', `there is no bucket for ${place}`, details)
  }
  if (status === 301 || name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed') {
    return new RegistryError('CACHE_UNREACHABLE', `${place} is in another region: ${said}`, {
      ...details,
      hint: 'correct region=',
    })
  }
  if (status === 401 || status === 403) {
    const hint = /Signature|InvalidAccessKey|Token/i.test(name)
      ? 'correct the credentials'
      : `the credentials must be allowed ${needed}`
    return new RegistryError('CACHE_DENIED', `access to ${place} is denied (${name}): ${said}`, { ...details, hint })
  }
  if (status !== undefined && status < 500 && status !== 429 && status >= 400)
    return new RegistryError('CACHE_UNREACHABLE', `${place} answered with status ${status} (${name}): ${said}`, details)
  const code = systemCode(error)
  if (status !== undefined || code !== undefined) {
    const kind = isBody ? TransientRegistryError : RegistryError
    return new kind('CACHE_UNREACHABLE', `no answer from ${place} (${code ?? `status ${status}`}): ${said}`, details)
  }
  // The SDK says so that settings are missing or wrong.
  return error.constructor === Error ? new BuildError('CACHE_UNREACHABLE', `${place} cannot be used: ${said}`, details) : error
}

/** True where the credentials may not do this. */
export function isDenied(error: unknown): boolean {
  return statusOf(error) === 403
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined
  const { $metadata: metadata } = error
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
}
