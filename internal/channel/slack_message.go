package channel

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
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

// message is the alert in the order in which it is read at 3 a.m.: what, since when, by when, where, what breaks, what to do.
// The end of an incident has no list of clusters and no way back.
func (s Slack) message(alert cmek.Alert) slackMessage {
	headline := line(alert.Headline())
	m := slackMessage{Text: mrkdwn(headline, mostNotice)}
	add := func(blocks ...slackBlock) { m.Blocks = append(m.Blocks, blocks...) }

	add(slackBlock{Type: "header", Text: &slackText{"plain_text", clip(headline, mostHeader)}})
	if len(headline) > mostHeader {
		add(section(mrkdwn(line(alert.Summary), mostSection)))
	}
	if fields := facts(alert); len(fields) > 0 {
		add(slackBlock{Type: "section", Fields: fields})
	}
	if alert.AffectedCount() > 0 && !alert.Resolved {
		add(section(clusterList(alert)))
	}
	if alert.Consequence != "" {
		add(section(mrkdwn(line(alert.Consequence), mostSection)))
	}
	if len(alert.WayBack) > 0 && !alert.Resolved {
		add(section("*Way back*"))
		add(code(alert.WayBack)...)
	}
	add(slackBlock{Type: "context", Elements: []slackText{{"mrkdwn", s.footer(alert)}}})
	return m
}

func section(text string) slackBlock {
	return slackBlock{Type: "section", Text: &slackText{"mrkdwn", text}}
}

// facts are the values that are known, each under its name.
func facts(alert cmek.Alert) (fields []slackText) {
	for _, fact := range []struct{ name, value string }{
		{"When", timestamp(alert.Time)},
		{"Deadline", timestamp(alert.Deadline)},
		{"Key", string(alert.Key)},
		{"Principal", alert.Principal},
	} {
		if value := line(fact.value); value != "" {
			title := "*" + fact.name + "*\n"
			fields = append(fields, slackText{"mrkdwn", title + mrkdwn(value, mostField-len(title))})
		}
	}
	return fields
}

// clusterList shows the first clusters, one a line, and counts the rest.
func clusterList(alert cmek.Alert) string {
	text := fmt.Sprintf("*Clusters (%d)*", alert.AffectedCount())
	const rest = "\nand %d more"
	more := alert.AffectedCount()
	for i, cluster := range alert.ClusterLines() {
		entry := "\n• " + mrkdwn(line(cluster), mostClusterLine)
		if i == cmek.MostClusters || len(text)+len(entry)+len(rest)+10 > mostSection {
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
func (s Slack) footer(alert cmek.Alert) string {
	parts := []string{mrkdwn(line(string(alert.Change)), 200), mrkdwn(line(alert.DedupKey), 500)}
	if url := entities.Replace(runbookURL(s.Runbooks, alert.Runbook)); url != "" && len(url) < 1000 {
		parts = append([]string{"<" + url + "|Runbook>"}, parts...)
	}
	return strings.Join(parts, " · ")
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
