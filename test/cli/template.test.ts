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
  Ports: { '80/tcp': {}, '53/udp': {} },
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
    ['{{range $name, $value := .Config.Labels}}{{$name}}={{$value}}{{"\\n"}}{{end}}', 'b=y\norg.title=x\n'],
    ['{{range $i, $tag := .RepoTags}}{{if $i}},{{end}}{{$tag}}{{end}}', 'web:1,web:2'],
    ['{{range $tag := .RepoTags}}{{$tag}}@{{$.Id}} {{end}}', 'web:1@sha256:abc web:2@sha256:abc '],
    ['{{$all := ""}}{{range .RepoTags}}{{$all = printf "%s<%s>" $all .}}{{end}}{{$all}}', '<web:1><web:2>'],
    ['{{$config := .Config}}{{$config.Env}}', '[A=1]'],
    ['{{with $env := index .Config.Env 0}}{{$env}}{{end}}', 'A=1'],
    ['{{printf "%-5s|%5d|%05d|%q|%v|%%" "ab" .Size .Size .Id .RepoTags}}', 'ab   |   12|00012|"sha256:abc"|[web:1 web:2]|%'],
    ['{{if gt .Size 11}}large{{end}}{{if lt .Size 12}}small{{end}}', 'large'],
    ['{{.Ports}}', 'map[53/udp:{} 80/tcp:{}]'],
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
    ['{{$x}}', /the variable \$x, which is not set/],
    ['{{$x = .Id}}', /the variable \$x, which is not set/],
    ['{{if .Id}}{{$x := 1}}{{end}}{{$x}}', /the variable \$x, which is not set/],
    ['{{$a, $b := .Id}}', /"\$a , \$b :="/],
    ['{{printf "%s %s" .Id}}', /printf too few values/],
    ['{{printf "%z" .Id}}', /%z in printf/],
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

test('the times of a health check are lengths of time, and nanoseconds as JSON', () => {
  const checked = { Healthcheck: { Test: ['CMD', 'true'], Interval: 90e9, Timeout: 1_500_000 } }
  const cases: readonly (readonly [template: string, expected: string])[] = [
    ['{{.Healthcheck.Interval}} {{.Healthcheck.Timeout}} {{.Healthcheck.StartPeriod}}', '1m30s 1.5ms 0s'],
    ['{{with .Healthcheck}}{{json .Interval}} {{printf "%v %d" .Interval .Interval}}{{end}}', '90000000000 1m30s 90000000000'],
    ['{{json .Healthcheck}}', '{"Test":["CMD","true"],"Interval":90000000000,"Timeout":1500000}'],
    ['{{if .Healthcheck.StartInterval}}set{{else}}not{{end}}', 'not'],
    ['{{eq .Healthcheck.Interval 90000000000}} {{gt .Healthcheck.Interval .Healthcheck.Timeout}}', 'true true'],
  ]
  for (const [template, expected] of cases) assert.is(renderTemplate(template, checked), expected, template)
  assert.throws(() => renderTemplate('{{.Healthcheck.Interval.Seconds}}', checked), /"1m30s", which has no fields/)
})

test('a label that is not there is empty, as in docker', () => {
  assert.is(renderTemplate('[{{with .Config.Labels.nope}}{{.}}{{end}}]', image), '[]')
})

test.run()
