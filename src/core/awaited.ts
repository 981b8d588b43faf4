/**
 * Two words for promises that are not awaited where they are made. They keep a rejection from ending the process before anybody
 * looks; they are for promises whose rejection somebody gets all the same, never for swallowing one.
 */

/**
 * Marks a promise that is awaited later, or raced: its rejection is thrown there.
 *
 * @returns the same promise
 */
export function awaitedLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined)
  return promise
}

/** What a promise is fulfilled with; undefined for one that is rejected, which somebody else was or will be told. */
export async function ifFulfilled<T>(promise: Promise<T> | undefined): Promise<T | undefined> {
  const [settled] = await Promise.allSettled([promise])
  return settled.status === 'fulfilled' ? settled.value : undefined
}
