/**
 * The terminal of a container: what the runtime gets in its place, and how large it is.
 *
 * A runtime copies between its own stdin and stdout and a pseudo-terminal that it makes inside the container, and refuses a
 * stdin that is none. Where nobody's stdin is handed on it gets a terminal on which nobody types. crun neither takes the size
 * of the caller's window over nor follows its changes: both are done here.
 */
import { closeSync, constants, openSync, statSync } from 'node:fs'
import { systemCode } from '../src/core/errors.js'
import type { Scope } from '../src/io/scope.js'
import { openPseudoTerminal, setWindowSize, type WindowSize, windowSize } from '../src/io/sys.js'
import type { SandboxIo } from './plan.js'

/** What a container with a terminal is started with. */
export interface Terminal {
  /** The runtime's stdin. */
  readonly stdin: 'inherit' | number
  /** The size to begin with; undefined where there is no window. */
  readonly size: WindowSize | undefined
  /** Hands changes of the size on to the terminal of this process of the container, until the scope ends. */
  readonly follow: (pid: number) => void
}

/** Opens it for as long as `scope` lasts. */
export function openTerminal(stdin: SandboxIo['stdin'], scope: Scope): Terminal {
  const size = callersSize()
  const follow = (pid: number): void => {
    const onResize = (): void => resize(pid)
    process.on('SIGWINCH', onResize)
    scope.defer(() => void process.off('SIGWINCH', onResize))
  }
  if (stdin === 'inherit') return { stdin, size, follow }
  const { controllerFd, terminalFd } = openPseudoTerminal()
  scope.defer(() => {
    closeSync(controllerFd)
    closeSync(terminalFd)
  })
  // runc takes the size from here.
  if (size !== undefined) setWindowSize(terminalFd, size)
  return { stdin: terminalFd, size, follow }
}

function callersSize(): WindowSize | undefined {
  return windowSize(1) ?? windowSize(0)
}

/** A process that has ended, or has no terminal, or one that is not ours to touch. */
const noTerminal = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENXIO', 'EIO', 'ENOTTY', 'EINVAL'])

function resize(pid: number): void {
  const size = callersSize()
  if (size === undefined) return
  for (const stream of [0, 1, 2]) {
    try {
      const path = `/proc/${pid}/fd/${stream}`
      if (!statSync(path).isCharacterDevice()) continue
      const fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK)
      try {
        setWindowSize(fd, size)
        return
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      if (!noTerminal.has(systemCode(error) ?? '')) throw error
    }
  }
}
