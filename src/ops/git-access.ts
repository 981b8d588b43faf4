/**
 * How a repository lets us in: tokens from secrets for http (`GIT_AUTH_TOKEN`, `GIT_AUTH_HEADER`, each also with `.HOST`),
 * an agent for ssh. A secret without a host is for the repository that was asked for, never for submodules elsewhere.
 */
import { join } from 'node:path'
import { BuildError } from '../core/errors.js'
import type { Scope } from '../io/scope.js'
import type { FindSecret } from './exec-mounts.js'
import type { GitAccess, GitError } from './git-command.js'
import type { GitRemote } from './git-remote.js'
import { openSshSocket, type SshSource } from './ssh-agent.js'

/** Where credentials come from. */
export interface GitCredentials {
  readonly findSecret: FindSecret
  /** Agents and keys by id, as of `--ssh`; git uses `default`. */
  readonly ssh: Readonly<Record<string, SshSource>>
  /** Where sockets are made. */
  readonly stateDirectory: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * What lets us in to `remote`.
 *
 * @param mainHost the host of the repository that was asked for: the secrets without a host are for it
 * @param memory a directory in which the keys of ssh servers are remembered
 * @param scope ends the agent's socket
 */
export async function openGitAccess(
  remote: GitRemote,
  mainHost: string,
  credentials: GitCredentials,
  memory: string,
  scope: Scope,
): Promise<GitAccess> {
  switch (remote.transport) {
    case 'http':
      return httpAccess(remote, remote.host === mainHost, credentials)
    case 'ssh':
      return sshAccess(credentials, memory, scope)
    case 'git':
      return { config: [], env: {}, secrets: [] }
  }
}

async function httpAccess(remote: GitRemote, isMain: boolean, { findSecret }: GitCredentials): Promise<GitAccess> {
  const found = (await secretHeader(remote.host, isMain, findSecret)) ?? ownHeader(remote)
  if (found === undefined) return { config: [], env: {}, secrets: [] }
  const origin = remote.url.slice(0, remote.url.indexOf('/', remote.url.indexOf('://') + 3))
  return {
    config: [[`http.${origin}/.extraHeader`, `Authorization: ${found.header}`]],
    env: {},
    secrets: [found.header, found.header.slice(found.header.indexOf(' ') + 1), ...found.secrets],
  }
}

interface Header {
  readonly header: string
  readonly secrets: readonly string[]
}

async function secretHeader(host: string, isMain: boolean, findSecret: FindSecret): Promise<Header | undefined> {
  for (const suffix of isMain ? [`.${host}`, ''] : [`.${host}`]) {
    for (const kind of ['GIT_AUTH_HEADER', 'GIT_AUTH_TOKEN']) {
      const name = `${kind}${suffix}`
      const bytes = await findSecret(name)
      if (bytes === undefined) continue
      const value = Buffer.from(bytes).toString('utf8').trim()
      if (/[\r\n\0]/.test(value)) throw new BuildError('ADD_GIT_FAILED', `the secret ${name} has more than one line`)
      return kind === 'GIT_AUTH_HEADER' ? { header: value, secrets: [value] } : basic(`x-access-token:${value}`, [value])
    }
  }
  return undefined
}

function ownHeader({ credentials }: GitRemote): Header | undefined {
  if (credentials === undefined) return undefined
  return basic(credentials, [credentials, credentials.slice(credentials.indexOf(':') + 1)])
}

function basic(pair: string, secrets: readonly string[]): Header {
  return { header: `Basic ${Buffer.from(pair).toString('base64')}`, secrets }
}

async function sshAccess({ ssh, stateDirectory, env }: GitCredentials, memory: string, scope: Scope): Promise<GitAccess> {
  const source = Object.hasOwn(ssh, 'default') ? ssh.default : undefined
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o600 }
  const socket = source === undefined ? undefined : scope.use(await openSshSocket(source, stateDirectory, owner))
  return {
    config: [],
    env: {
      GIT_SSH_COMMAND: env.GIT_SSH_COMMAND ?? sshCommand(join(memory, 'known_hosts')),
      GIT_SSH_VARIANT: env.GIT_SSH_VARIANT ?? 'ssh',
      ...(socket === undefined ? {} : { SSH_AUTH_SOCK: socket.path }),
    },
    secrets: [],
  }
}

/**
 * ssh without the user's configuration, keys and prompts. A server's key is remembered in `knownHosts` when it is first seen;
 * one that is known there or in the user's own files must not have changed.
 */
export function sshCommand(knownHosts: string): string {
  const options = [
    'BatchMode=yes',
    'IdentityFile=none',
    'ClearAllForwardings=yes',
    'ServerAliveInterval=30',
    'ConnectTimeout=30',
    'StrictHostKeyChecking=accept-new',
    'HashKnownHosts=no',
    `UserKnownHostsFile="${knownHosts}" ~/.ssh/known_hosts`,
  ]
  return ['ssh', '-F', 'none', ...options.map((option) => `-o ${shellQuoted(option)}`)].join(' ')
}

function shellQuoted(text: string): string {
  return /^[\w=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** What to do about an error, where it is one of being let in. */
export function accessHint({ output }: GitError, remote: GitRemote, access: GitAccess): string | undefined {
  if (/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/.test(output)) {
    return `the key of ${remote.host} is not the one that known_hosts has: find out why before you remove that line`
  }
  if (/Permission denied \(|Could not read from remote repository/.test(output)) {
    return access.env.SSH_AUTH_SOCK === undefined
      ? 'give an agent or a key: --ssh default, or --ssh default=FILE'
      : 'the keys of --ssh default do not open this repository, or it does not exist'
  }
  if (!/could not read (Username|Password)|Authentication failed|returned error: 40[13]|HTTP 40[13]/i.test(output))
    return undefined
  return access.config.length === 0
    ? `if it is private, give a token: --secret id=GIT_AUTH_TOKEN.${remote.host},env=NAME`
    : 'the server does not accept the credentials that were given'
}
