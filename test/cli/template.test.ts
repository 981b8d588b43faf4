import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { renderTemplate } from '../../src/cli/template.js'
import { UsageError } from '../../src/core/errors.js'

const image = {
  Id: 'sha256:abc',
  RepoTags: ['web:1', 'web:2'],
  Empty: [],
  Missing: null,
  Size: 12,
  Config: { Env: ['A=1'], Labels: { 'org.title': 'x', b: 'y' }, Cmd: null },
}

test('templates give what docker gives', () => {
  const cases: [string, string][] = [
    ['{{.Id}}', 'sha256:abc'],
    ['{{ .Size }}!', '12!'],
    ['{{json .RepoTags}}', '["web:1","web:2"]'],
    ['{{json .Missing}}', 'null'],
    ['{{.RepoTags}}', '[web:1 web:2]'],
    ['{{.Config.Labels}}', 'map[b:y org.title:x]'],
    ['{{.Missing}}', '<no value>'],
    ['{{range .RepoTags}}<{{.}}>{{end}}', '<web:1><web:2>'],
    ['{{range .Empty}}x{{else}}none{{end}}', 'none'],
    ['{{range $.Config.Env}}{{println .}}{{end}}', 'A=1\n'],
    ['{{if .Empty}}a{{else if .Size}}b{{else}}c{{end}}', 'b'],
    ['{{with .Config}}{{.Env}}{{end}}', '[A=1]'],
    ['{{index .RepoTags 0}}', 'web:1'],
    ['{{index .Config.Labels "org.title"}}', 'x'],
    ['{{(index .RepoTags 1) | upper}}', 'WEB:2'],
    ['{{join .RepoTags ", "}}', 'web:1, web:2'],
    ['{{len .RepoTags}}', '2'],
    ['{{if eq .Size 12}}yes{{end}}', 'yes'],
    ['{{if and .Id (not .Empty)}}yes{{end}}', 'yes'],
    ['a {{- " b " -}} c', 'a b c'],
    ['{{/* a remark */}}x', 'x'],
    ['{{.Id}}\\t{{.Size}}', 'sha256:abc\t12'],
    ['{{(index .RepoTags 0)}}', 'web:1'],
    ['{{slice .Id 7}}', 'abc'],
  ]
  for (const [template, expected] of cases) assert.is(renderTemplate(template, image), expected, template)
})

test('what is no template, or asks for what is not there, is an error that says so', () => {
  const cases: [string, RegExp][] = [
    ['{{.Id', /a \{\{ without \}\}/],
    ['{{}}', /empty/],
    ['{{.Nope}}', /asks for \.Nope; there are \.Id \.RepoTags/],
    ['{{.Id.X}}', /asks for \.X of "sha256:abc"/],
    ['{{frobnicate .Id}}', /"frobnicate"/],
    ['{{range .RepoTags}}', /\{\{range\}\} without \{\{end\}\}/],
    ['{{if .Id}}a{{else}}b', /\{\{if\}\} without \{\{end\}\}/],
    ['{{end}}', /\{\{end\}\} too many/],
    ['{{define "x"}}{{end}}', /"define"/],
    ['{{$x := .Id}}', /"\$x"/],
    ['{{range .Id}}{{end}}', /ranges over/],
    ['{{(.Id}}', /\( without \)/],
  ]
  for (const [template, pattern] of cases) {
    assert.throws(
      () => renderTemplate(template, image),
      (error: unknown) => error instanceof UsageError && pattern.test(error.message),
      template,
    )
  }
})

test('a label that is not there is empty, as in docker', () => {
  assert.is(renderTemplate('[{{with .Config.Labels.nope}}{{.}}{{end}}]', image), '[]')
})

test.run()
