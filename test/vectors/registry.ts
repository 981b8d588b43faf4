/**
 * Suite `registry`: the checks of the distribution spec, from the client's side, see the README.md beside the cases.
 *
 * mille is no registry. For each check a registry in this process gives every answer that the check allows, and mille's client
 * has to make the request as described and to end right. A check of a request that mille never makes is skipped and says so; what
 * can be said of the client there (a deleted blob comes back with the next push) is judged beside the skip.
 */
import { type Judge, type Suite, skip, textOf } from './frame.js'
import { judgeBlobs } from './registry-blobs.js'
import { judgeManifests } from './registry-manifests.js'

const judge: Judge = async (vector) => {
  const group = textOf(vector, 'group')
  const isBlob = group.startsWith('blobs') || /blobs|upload|Location/.test(textOf(vector, 'path'))
  const judged = group.startsWith('manifest') || !isBlob ? await judgeManifests(vector) : await judgeBlobs(vector)
  return judged ?? skip(`the runner knows no check of ${textOf(vector, 'method')} ${textOf(vector, 'path')}`)
}

/** The suite. */
export const suite: Suite = { files: { 'checks.json': judge }, jobs: 4 }
