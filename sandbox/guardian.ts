/**
 * The guardian: a small shell that outlives mille by a moment when mille is killed, and ends what mille started.
 *
 * A signal that cannot be caught leaves no time to clean up, and neither an OCI runtime nor its container dies with its
 * parent. So a shell in a session of its own waits on a pipe from mille. At the pipe's end it kills the helper processes it was told
 * of, lets the runtime delete every container of this mille process and removes the state directory. When mille
 * ends in an orderly way it says so, and the shell just exits.
 */
import { startProcess } from './spawn.js'
import type { OwnState } from './state.js'

/** The running guardian. */
export interface Guardian {
  /** Kill this process too. */
  watch(pid: number): void
  /** It has ended and been waited for: its number may soon be another's. */
  forget(pid: number): void
  /** Ends the guardian: everything has been cleaned. */
  dismiss(): Promise<void>
}

/**
 * Arguments: the runtime, this process's state directory. The runtime may be in the middle of making a container when mille dies,
 * so it looks again for a second. The mounts are those of the private namespace, which ends with this shell.
 */
const script = `
runtime=$1 state=$2 pids=' '
while read -r word pid; do
  case $word in
    watch) pids="$pids$pid " ;;
    forget) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
    done) exit 0 ;;
  esac
done
for pid in $pids; do kill -KILL "$pid"; done
for try in 1 2 3 4 5 6 7 8 9 10; do
  for record in "$state"/runtime/*; do
    [ -e "$record" ] && "$runtime" --root "$state/runtime" delete --force "\${record##*/}"
  done
  sleep 0.1
done
umount -l "$state/private" && rm -rf "$state"
`

/** Starts the guardian of this process. */
export function startGuardian(state: OwnState, runtimePath: string, env: Readonly<Record<string, string>>): Guardian {
  const shell = startProcess(['/bin/sh', '-c', script, 'mille-guardian', runtimePath, state.directory], {
    env,
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
    ownSession: true,
  })
  shell.unref()
  let isDismissed = false
  return {
    watch: (pid) => shell.write(`watch ${pid}\n`),
    forget(pid) {
      if (!isDismissed) shell.write(`forget ${pid}\n`)
    },
    dismiss: async () => {
      isDismissed = true
      shell.ref()
      shell.write('done\n')
      shell.closeStdin()
      await shell.ended
    },
  }
}
