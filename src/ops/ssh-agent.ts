/**
 * The agent that RUN --mount=type=ssh sees: a socket that lists keys and signs, and refuses everything else, so that a step
 * can neither add keys to the user's agent nor lock it (draft-miller-ssh-agent, messages 11 to 14).
 */
import { chmodSync, chownSync, mkdirSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { SandboxError, systemCode } from '../core/errors.js'
import { randomName } from '../io/fs.js'
import { readSshKey, type SshKey, WireReader, wireString } from './ssh-keys.js'

/** What answers: a running agent's socket, or files with keys. */
export type SshSource = { readonly agent: string } | { readonly keys: readonly string[] }

/** A socket to mount; disposing it ends it. */
export interface SshSocket extends AsyncDisposable {
  readonly path: string
}

const longestMessage = 256 * 1024
const failure = Buffer.from([5])

/** Answers one message that was let through. */
type Answer = (message: Buffer) => Promise<Buffer>

/** Opens a socket below `directory` that belongs to `owner`. */
export async function openSshSocket(
  source: SshSource,
  directory: string,
  owner: { readonly uid: number; readonly gid: number; readonly mode: number },
): Promise<SshSocket> {
  const answer = 'agent' in source ? askAgent(source.agent) : answerWith(await Promise.all(source.keys.map(readSshKey)))
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, `ssh-${randomName(8)}`)
  const clients = new Set<Socket>()
  const server = createServer((client) => {
    clients.add(client)
    client.on('close', () => clients.delete(client))
    void serve(client, answer)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new SandboxError('SANDBOX_SETUP_FAILED', `no ssh socket can be made at ${path}`, { cause })),
    )
    server.listen(path, resolve)
  })
  chownSync(path, owner.uid, owner.gid)
  chmodSync(path, owner.mode)
  return {
    path,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
      rmSync(path, { force: true })
    },
  }
}

/** One client. What goes wrong with its connection ends that connection and nothing else. */
async function serve(client: Socket, answer: Answer): Promise<void> {
  try {
    for await (const message of messages(client)) {
      const isAllowed = (message[0] === 11 && message.length === 1) || message[0] === 13
      client.write(wireString(isAllowed ? await answer(message) : failure))
    }
  } catch (error) {
    if (!(error instanceof RangeError) && systemCode(error) === undefined) throw error
  } finally {
    client.destroy()
  }
}

async function* messages(socket: Socket): AsyncGenerator<Buffer, void, void> {
  let waiting: Buffer = Buffer.alloc(0)
  for await (const data of socket) {
    waiting = Buffer.concat([waiting, data as Buffer])
    for (;;) {
      const length = waiting.length < 4 ? undefined : waiting.readUInt32BE(0)
      if (length !== undefined && (length === 0 || length > longestMessage)) throw new RangeError('a message is too long')
      if (length === undefined || waiting.length < 4 + length) break
      yield waiting.subarray(4, 4 + length)
      waiting = waiting.subarray(4 + length)
    }
  }
}

/** A connection for each question: an agent answers in order, and no client waits for another. */
function askAgent(path: string): Answer {
  return async (message) => {
    const agent = createConnection(path)
    try {
      agent.write(wireString(message))
      for await (const reply of messages(agent)) {
        return reply[0] === (message[0] ?? 0) + 1 ? Buffer.from(reply) : failure
      }
      return failure
    } catch (error) {
      if (!(error instanceof RangeError) && systemCode(error) === undefined) throw error
      return failure
    } finally {
      agent.destroy()
    }
  }
}

function answerWith(keys: readonly SshKey[]): Answer {
  return async (message) => {
    if (message[0] === 11) {
      const count = Buffer.alloc(5)
      count[0] = 12
      count.writeUInt32BE(keys.length, 1)
      return Buffer.concat([count, ...keys.flatMap(({ publicBlob, comment }) => [wireString(publicBlob), wireString(comment)])])
    }
    const reader = new WireReader(message.subarray(1))
    const [blob, data, flags] = [reader.string(), reader.string(), reader.uint32()]
    const key = keys.find(({ publicBlob }) => publicBlob.equals(blob))
    return key === undefined ? failure : Buffer.concat([Buffer.from([14]), wireString(key.sign(data, flags))])
  }
}
