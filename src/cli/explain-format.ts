/** The formats of `--explain`: apart from what prints them, which most builds do not load. */
export const explainFormats = ['text', 'json'] as const
