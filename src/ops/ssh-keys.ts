/** Private keys of files as what an ssh agent does with them: their public form (RFC 4253, 6.6) and signatures. */
import { createPrivateKey, type JsonWebKey, type KeyObject, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { SolveError, systemCode } from '../core/errors.js'

/** A key that can sign. */
export interface SshKey {
  readonly publicBlob: Buffer
  readonly comment: string
  /** A signature in ssh's form; `flags` 2 and 4 ask an RSA key for SHA-256 and SHA-512. */
  sign(data: Uint8Array, flags: number): Buffer
}

/** One string of the ssh wire format: its length, then its bytes. */
export function wireString(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** Reads strings of the ssh wire format one after the other. */
export class WireReader {
  #rest: Buffer
  constructor(bytes: Buffer) {
    this.#rest = bytes
  }
  uint32(): number {
    const value = this.#rest.readUInt32BE(0)
    this.#rest = this.#rest.subarray(4)
    return value
  }
  string(): Buffer {
    const length = this.uint32()
    if (length > this.#rest.length) throw new RangeError('a string reaches over the end')
    const value = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return value
  }
}

/** Reads an OpenSSH or PEM key without a passphrase. Throws SOLVE_SECRET_MISSING for anything else. */
export async function readSshKey(path: string): Promise<SshKey> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    throw new SolveError('SOLVE_SECRET_MISSING', `the ssh key ${path} cannot be read: ${code}`, { cause: error })
  }
  try {
    const openssh = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(text)?.[1]
    const key = openssh === undefined ? createPrivateKey(text) : opensshKey(Buffer.from(openssh, 'base64'))
    if (key !== 'encrypted') return describeKey(key, path)
  } catch (error) {
    if (systemCode(error) !== 'ERR_MISSING_PASSPHRASE') {
      throw new SolveError('SOLVE_SECRET_MISSING', `${path} is no private key that ssh could use`, { cause: error })
    }
  }
  throw new SolveError('SOLVE_SECRET_MISSING', `the ssh key ${path} has a passphrase`, {
    hint: 'add it to an ssh-agent and build with --ssh default',
  })
}

/** openssh-key-v1: cipher, key derivation, public keys, then the private ones. */
function opensshKey(bytes: Buffer): KeyObject | 'encrypted' {
  const magic = 'openssh-key-v1\0'
  if (bytes.subarray(0, magic.length).toString('latin1') !== magic) throw new RangeError('no openssh-key-v1')
  const reader = new WireReader(bytes.subarray(magic.length))
  const cipher = reader.string().toString()
  if (cipher !== 'none') return 'encrypted'
  reader.string()
  reader.string()
  reader.uint32()
  reader.string()
  const secret = new WireReader(reader.string())
  const [check, again] = [secret.uint32(), secret.uint32()]
  if (check !== again) throw new RangeError('the check numbers differ')
  return createPrivateKey({ key: opensshJwk(secret.string().toString(), secret), format: 'jwk' })
}

function opensshJwk(type: string, secret: WireReader): JsonWebKey {
  if (type === 'ssh-ed25519') {
    const x = secret.string()
    return { kty: 'OKP', crv: 'Ed25519', x: base64(x), d: base64(secret.string().subarray(0, 32)) }
  }
  if (type === 'ssh-rsa') {
    const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => unsigned(secret.string())) as [Buffer, Buffer, ...Buffer[]]
    const [dp, dq] = [p, q].map((prime) => bytesOf(bigOf(d) % (bigOf(prime) - 1n)))
    const parts = { n, e, d, p, q, dp, dq, qi }
    return { kty: 'RSA', ...Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, base64(part)])) }
  }
  const curve = type.startsWith('ecdsa-sha2-') ? secret.string().toString() : undefined
  const found = curves.find(({ ssh }) => ssh === curve)
  if (found === undefined) throw new RangeError(`the key type ${type} is not known`)
  const point = secret.string()
  const d = unsigned(secret.string())
  const padded = Buffer.concat([Buffer.alloc(found.bytes - d.length), d])
  const [x, y] = [point.subarray(1, 1 + found.bytes), point.subarray(1 + found.bytes)]
  return { kty: 'EC', crv: found.jwk, x: base64(x), y: base64(y), d: base64(padded) }
}

const curves = [
  { ssh: 'nistp256', jwk: 'P-256', bytes: 32, hash: 'sha256' },
  { ssh: 'nistp384', jwk: 'P-384', bytes: 48, hash: 'sha384' },
  { ssh: 'nistp521', jwk: 'P-521', bytes: 66, hash: 'sha512' },
] as const

function describeKey(key: KeyObject, comment: string): SshKey {
  const { kty, crv, n, e, x, y } = key.export({ format: 'jwk' })
  const joined = (...parts: readonly (string | Uint8Array)[]): Buffer => Buffer.concat(parts.map(wireString))
  if (kty === 'OKP' && crv === 'Ed25519') {
    const publicBlob = joined('ssh-ed25519', plain(x))
    return { publicBlob, comment, sign: (data) => joined('ssh-ed25519', sign(null, data, key)) }
  }
  if (kty === 'RSA') {
    const signRsa = (data: Uint8Array, flags: number): Buffer => {
      const [name, hash] = flags & 4 ? ['rsa-sha2-512', 'sha512'] : flags & 2 ? ['rsa-sha2-256', 'sha256'] : ['ssh-rsa', 'sha1']
      return joined(name ?? '', sign(hash, data, key))
    }
    return { publicBlob: joined('ssh-rsa', mpint(plain(e)), mpint(plain(n))), comment, sign: signRsa }
  }
  const curve = curves.find(({ jwk }) => jwk === crv)
  if (kty !== 'EC' || curve === undefined) throw new RangeError(`keys of the type ${kty} ${crv ?? ''} are not known`)
  const type = `ecdsa-sha2-${curve.ssh}`
  const signEc = (data: Uint8Array): Buffer => {
    const both = sign(curve.hash, data, { key, dsaEncoding: 'ieee-p1363' })
    return joined(type, joined(mpint(both.subarray(0, curve.bytes)), mpint(both.subarray(curve.bytes))))
  }
  const point = Buffer.concat([Buffer.from([4]), plain(x), plain(y)])
  return { publicBlob: joined(type, curve.ssh, point), comment, sign: signEc }
}

function base64(bytes: Buffer | undefined): string {
  return (bytes ?? Buffer.alloc(0)).toString('base64url')
}

function plain(text: string | undefined): Buffer {
  return Buffer.from(text ?? '', 'base64url')
}

function unsigned(bytes: Buffer): Buffer {
  const at = bytes.findIndex((byte) => byte !== 0)
  return at < 0 ? Buffer.alloc(0) : bytes.subarray(at)
}

/** The bytes of an mpint: no needless zeros, and one before a high bit. */
function mpint(bytes: Buffer): Buffer {
  const short = unsigned(bytes)
  return (short[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short
}

function bigOf(bytes: Buffer | undefined): bigint {
  return BigInt(`0x${(bytes ?? Buffer.alloc(0)).toString('hex')}`)
}

function bytesOf(value: bigint): Buffer {
  const hex = value.toString(16)
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
}
