/** `mille save`. */
import { defineCommand } from '../command.js'

/** The verb. */
export const command = defineCommand({ name: 'save', usage: '', summary: 'x', flags: {}, arguments: [0, 0], run: async () => 0 })
