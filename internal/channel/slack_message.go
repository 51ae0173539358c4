package channel

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
)

// The part of Block Kit that alerts use (docs.slack.dev/reference/block-kit/blocks).
type (
	slackMessage struct {
		// Text is what notifications and screen readers show instead of the blocks.
		Text        string       `json:"text"`
		Blocks      []slackBlock `json:"blocks"`
		UnfurlLinks bool         `json:"unfurl_links"`
		UnfurlMedia bool         `json:"unfurl_media"`
	}
	slackBlock struct {
		Type     string      `json:"type"`
		Text     *slackText  `json:"text,omitempty"`
		Fields   []slackText `json:"fields,omitempty"`
		Elements []slackText `json:"elements,omitempty"`
	}
	slackText struct {
		Type string `json:"type"`
		Text string `json:"text"`
		// Verbatim keeps Slack from making links of URLs, channels and people that a text names: a name is chosen by whoever owns the
		// thing (docs.slack.dev/reference/block-kit/composition-objects/text-object). Plain text never has links, and no such field.
		Verbatim bool `json:"verbatim,omitempty"`
	}
)

// Limits of Block Kit; a message that breaks one is refused as a whole. Its 50 blocks are never reached: an alert has at
// most six blocks besides the code.
const (
	mostHeader  = 150
	mostSection = 3000
	mostField   = 2000
	mostNotice  = 3000
)

// Our own bounds, for people.
const (
	mostClusterLine = 280 // so that a full list of clusters fits into one section
	mostCode        = 5   // sections
)

// message is the alert in the order in which it is read at 3 a.m.: what, since when, by when, where, the impact, what to do.
// The end of an incident has no list of clusters and no recovery steps.
func (s Slack) message(a alert.Alert) slackMessage {
	headline := line(a.Headline())
	m := slackMessage{Text: mrkdwn(headline, mostNotice)}
	add := func(blocks ...slackBlock) { m.Blocks = append(m.Blocks, blocks...) }

	add(slackBlock{Type: "header", Text: &slackText{Type: "plain_text", Text: clip(headline, mostHeader)}})
	if len(headline) > mostHeader {
		add(section(mrkdwn(line(a.Summary), mostSection)))
	}
	if fields := facts(a); len(fields) > 0 {
		add(slackBlock{Type: "section", Fields: fields})
	}
	if a.AffectedCount() > 0 && !a.Resolved {
		add(section(clusterList(a)))
	}
	if a.Impact != "" {
		add(section(mrkdwn(line(a.Impact), mostSection)))
	}
	if len(a.RecoverySteps) > 0 && !a.Resolved {
		add(section("*Recovery steps*"))
		add(code(a.RecoverySteps)...)
	}
	add(slackBlock{Type: "context", Elements: []slackText{markup(s.footer(a))}})
	return m
}

func section(text string) slackBlock {
	content := markup(text)
	return slackBlock{Type: "section", Text: &content}
}

func markup(text string) slackText { return slackText{Type: "mrkdwn", Text: text, Verbatim: true} }

// facts are the values that are known, each under its name.
func facts(a alert.Alert) (fields []slackText) {
	for _, fact := range []struct{ name, value string }{
		{"When", timestamp(a.Time)},
		{"Deadline", timestamp(a.Deadline)},
		{"Key", string(a.Key)},
		{"Principal", a.Principal},
		{"On hold", a.HoldText()},
	} {
		if value := line(fact.value); value != "" {
			title := "*" + fact.name + "*\n"
			fields = append(fields, markup(title+mrkdwn(value, mostField-len(title))))
		}
	}
	return fields
}

// clusterList shows the first clusters, one a line, and counts the rest.
func clusterList(a alert.Alert) string {
	text := fmt.Sprintf("*Clusters (%d)*", a.AffectedCount())
	const rest = "\nand %d more"
	more := a.AffectedCount()
	for i, cluster := range a.ClusterLines() {
		entry := "\n• " + mrkdwn(line(cluster), mostClusterLine)
		if i == alert.MostClusters || len(text)+len(entry)+len(rest)+10 > mostSection {
			break
		}
		text += entry
		more--
	}
	if more > 0 {
		text += fmt.Sprintf(rest, more)
	}
	return text
}

// code shows the numbered steps as code, in as few sections as hold them. A step is shown whole or not at all: half a
// command is dangerous.
func code(steps []string) (sections []slackBlock) {
	const begin, end = "```\n", "```"
	text := ""
	flush := func() {
		if text != "" {
			sections = append(sections, section(begin+text+end))
		}
		text = ""
	}
	for i, step := range steps {
		entry := fmt.Sprintf("%d. %s\n", i+1, entities.Replace(strings.ReplaceAll(line(step), "```", "'''")))
		if len(begin+entry+end) > mostSection {
			entry = fmt.Sprintf("%d. (this step is too long for Slack; take it from the alert's e-mail)\n", i+1)
		}
		if len(begin+text+entry+end) > mostSection {
			flush()
		}
		if len(sections) == mostCode {
			return append(sections, section(fmt.Sprintf("and %d more steps; take them from the alert's e-mail", len(steps)-i)))
		}
		text += entry
	}
	flush()
	return sections
}

// footer says where to read on, and what to search for in logs and the other channels.
func (s Slack) footer(a alert.Alert) string {
	parts := []string{mrkdwn(line(string(a.Change)), 200), mrkdwn(line(a.DedupKey), 500)}
	if link := s.runbookLink(a.Runbook); link != "" {
		parts = append([]string{link}, parts...)
	}
	return strings.Join(parts, " · ")
}

// runbookLink is the link to a runbook; "" if there is none that Slack would take.
func (s Slack) runbookLink(runbook string) string {
	url := entities.Replace(runbookURL(s.Runbooks, runbook))
	if url == "" || len(url) >= 1000 {
		return ""
	}
	return "<" + url + "|Runbook>"
}

// entities are the three characters with which a text could become a link or call a whole channel
// (docs.slack.dev/messaging/formatting-message-text, "Escaping text").
var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// mrkdwn makes s plain text in Slack's markup of at most so many bytes. A cut never goes through an entity.
func mrkdwn(s string, most int) string {
	escaped := entities.Replace(s)
	cut := clip(escaped, most)
	if cut == escaped {
		return cut
	}
	if i := strings.LastIndexByte(cut, '&'); i >= 0 && !strings.Contains(cut[i:], ";") {
		return cut[:i] + ellipsis
	}
	return cut
}
