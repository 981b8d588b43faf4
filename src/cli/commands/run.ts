/** `mille run`. */
import { defineCommand } from '../command.js'

/** The verb. */
export const command = defineCommand({ name: 'run', usage: '', summary: 'x', flags: {}, arguments: [0, 0], run: async () => 0 })
