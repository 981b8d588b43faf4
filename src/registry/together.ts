/** Work on several things at once, of which the first failure stops the rest: and nobody is left running. */
import { setMaxListeners } from 'node:events'
import type { Context } from '../core/context.js'

/**
 * Runs `work` on all items. The context it is given aborts when the outer one does, or when another item has failed.
 *
 * @throws the first failure, after all have settled
 */
export async function together<T>(
  ctx: Context,
  items: readonly T[],
  work: (item: T, ctx: Context) => Promise<void>,
): Promise<void> {
  const stop = new AbortController()
  // Each request listens to it; Node takes more than ten listeners for a leak and says so on stderr.
  setMaxListeners(0, stop.signal)
  const forward = (): void => stop.abort(ctx.signal.reason)
  if (ctx.signal.aborted) forward()
  ctx.signal.addEventListener('abort', forward, { once: true })
  const inner: Context = { ...ctx, signal: stop.signal }
  let failure: { readonly error: unknown } | undefined
  try {
    await Promise.all(
      items.map(async (item) => {
        try {
          await work(item, inner)
        } catch (error) {
          failure ??= { error }
          stop.abort(error)
        }
      }),
    )
  } finally {
    ctx.signal.removeEventListener('abort', forward)
  }
  if (failure !== undefined) throw failure.error
}
