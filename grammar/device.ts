/** The value of `RUN --device`: a CDI device name and whether it must be there. */
import { didYouMean } from '../src/core/suggest.js'
import { splitFields } from './fields.js'

/** A device that a step asks for. `name` is empty when none was given. */
export interface DeviceRequest {
  readonly name: string
  readonly required: boolean
}

/** Reads `NAME[,required[=BOOL]]` or `name=NAME,…`; `problem` is a sentence when it has another form. */
export function parseDevice(text: string): DeviceRequest | { readonly problem: string; readonly hint?: string | undefined } {
  let name = ''
  let required = false
  const fields = splitFields(text)
  if (fields === undefined) return { problem: `--device is "${text}", its quotes do not match` }
  for (const field of fields) {
    const equals = field.indexOf('=')
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase()
    const value = equals < 0 ? undefined : field.slice(equals + 1)
    if (key === 'required') {
      const flag = value === undefined ? true : parseBool(value)
      if (flag === undefined) return { problem: `--device has required="${value}", expected true or false` }
      required = flag
    } else if (key === 'name' && value !== undefined) {
      if (name !== '') return { problem: `--device names two devices, "${name}" and "${value}"` }
      name = value
    } else if (name === '') name = field
    else if (value === undefined) return { problem: `--device has "${field}", expected key=value` }
    else return { problem: `--device has no key "${key}"`, hint: didYouMean(key, ['name', 'required']) }
  }
  return { name, required }
}

/** A boolean as Go's `strconv.ParseBool` reads it, or undefined. */
export function parseBool(text: string): boolean | undefined {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true
  return /^(0|f|F|false|FALSE|False)$/.test(text) ? false : undefined
}
