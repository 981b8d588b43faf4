/** How places of caches are reached, as options say it. */

/** How a bucket is reached. */
export interface S3Settings {
  readonly bucket: string
  /** The SDK's own choice: environment, then profile. */
  readonly region?: string | undefined
  /** A server that is not Amazon's. */
  readonly endpointUrl?: string | undefined
  /** The bucket in the path in place of the host's name; false. */
  readonly usePathStyle?: boolean | undefined
  /** With `secretAccessKey`; else what the SDK finds in the environment, in profiles, on the machine. */
  readonly accessKeyId?: string | undefined
  readonly secretAccessKey?: string | undefined
  readonly sessionToken?: string | undefined
  /** `standard`. */
  readonly retryMode?: 'standard' | 'adaptive' | undefined
  /** 8. */
  readonly retryMaxAttempts?: number | undefined
}

/** A cache in an S3 bucket. */
export interface S3CacheSettings extends S3Settings {
  /** Before all keys; empty. */
  readonly prefix?: string | undefined
  /** After it; `blobs/`. */
  readonly blobsPrefix?: string | undefined
  /** After it; `manifests/`. */
  readonly manifestsPrefix?: string | undefined
  /** What is read and written is under each of them; `mille`. */
  readonly names?: readonly string[] | undefined
  /** Layers that are uploaded at once; 4. */
  readonly uploadParallelism?: number | undefined
  /** A blob that is older than this and used again is made young; a day. */
  readonly touchRefreshMs?: number | undefined
}

/** A cache in the cache service of GitHub Actions. */
export interface GhaCacheSettings {
  /** Of the service. */
  readonly url: string
  /** Of the job. */
  readonly token: string
  /** Caches with different names do not meet; `mille`. */
  readonly scope?: string | undefined
  /** How long a request is tried again; ten minutes. */
  readonly timeoutMs?: number | undefined
}
