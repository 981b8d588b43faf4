/** Which of several platforms is taken. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bestPlatform, type Platform } from '../../src/core/platform.js'

function platform(text: string): Platform {
  const [os = '', architecture = '', variant] = text.split('/')
  return variant === undefined ? { os, architecture } : { os, architecture, variant }
}

function best(offered: readonly string[], wanted: string): string | undefined {
  return offered[bestPlatform(offered.map(platform), platform(wanted))]
}

test('the same platform wins, in whatever spelling', () => {
  assert.is(best(['linux/arm64', 'linux/amd64'], 'linux/amd64'), 'linux/amd64')
  assert.is(best(['linux/arm64/v8'], 'linux/arm64'), 'linux/arm64/v8')
  assert.is(best(['linux/arm/v6', 'linux/arm/v7'], 'linux/arm'), 'linux/arm/v7')
  assert.is(best(['linux/amd64/v1'], 'linux/x86_64'), 'linux/amd64/v1')
})

test('an older variant will do, the nearest first; a newer one never', () => {
  assert.is(best(['linux/arm/v5', 'linux/arm/v6'], 'linux/arm/v7'), 'linux/arm/v6')
  assert.is(best(['linux/arm/v7'], 'linux/arm/v6'), undefined)
  assert.is(best(['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v4'], 'linux/amd64/v3'), 'linux/amd64/v2')
  assert.is(best(['linux/amd64/v2'], 'linux/amd64'), undefined)
})

test('nothing fits another system or architecture, nor what names no platform', () => {
  assert.is(best(['windows/amd64', 'linux/arm64'], 'linux/amd64'), undefined)
  assert.is(bestPlatform([undefined], platform('linux/amd64')), -1)
})

test.run()
