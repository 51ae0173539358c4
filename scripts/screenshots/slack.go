package main

import (
	"html/template"
	"regexp"
	"strings"
)

// block is a block of a message; see package channel.
type block struct {
	Type             string
	Text             text
	Fields, Elements []text
}

type text struct{ Type, Text string }

// The markup that alerts use (docs.slack.dev/messaging/formatting-message-text). Slack's text has its entities already.
var markup = []struct {
	expression *regexp.Regexp
	html       string
}{
	{regexp.MustCompile("(?s)```\n?(.*?)```"), "<pre>$1</pre>"},
	{regexp.MustCompile(`<(https?://[^|>]+)\|([^>]+)>`), `<a href="$1">$2</a>`},
	{regexp.MustCompile(`(?m)^\*([^*\n]+)\*`), "<b>$1</b>"},
}

// HTML is the text as Slack shows it.
func (t text) HTML() template.HTML {
	if t.Type == "plain_text" {
		return template.HTML(template.HTMLEscapeString(t.Text)) //nolint:gosec // escaped
	}
	html := t.Text
	for _, m := range markup {
		html = m.expression.ReplaceAllString(html, m.html)
	}
	before, code, found := strings.Cut(html, "<pre>")
	html = strings.ReplaceAll(before, "\n", "<br>")
	if found {
		html += "<pre>" + code
	}
	return template.HTML(html) //nolint:gosec // the message of a simulated world, for a picture
}
