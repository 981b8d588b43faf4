/** What a comment above FROM or ARG says about the stage or argument: `# NAME description`. */

/** The description of `name` in an instruction's comment, or undefined. */
export function descriptionOf(comment: string | undefined, name: string): string | undefined {
  if (comment === undefined || name === '') return undefined
  const line = comment.split('\n').find((text) => text.startsWith(`${name} `))
  return line?.slice(name.length + 1)
}
