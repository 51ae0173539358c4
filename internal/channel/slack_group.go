package channel

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
)

// listAll is how to see every open incident; of the longer list in a message only the worst are shown.
const listAll = "keyturn alerts"

// Our own bounds on a message about several alerts, for people. What is left out is counted.
const (
	mostGroups  = 8
	mostInGroup = 3
	mostEntry   = 300
	mostWords   = 200
)

// SendAll posts one message about several alerts: grouped by change and principal, the worst first, with counts, and how to list all.
// About a single alert, even if it is there twice, it is the message of [Slack.Send]. It is in the Slack channel when SendAll returns nil; with an error it may be
// there too.
func (s Slack) SendAll(ctx context.Context, alerts []alert.Alert) error {
	groups := alert.GroupAlerts(alerts)
	if len(groups) == 1 && len(groups[0].Alerts) == 1 {
		return s.Send(ctx, groups[0].Alerts[0])
	}
	return s.post(ctx, s.summary(groups))
}

// SendCount posts how many alerts there are and how to list them, in our own words only. It is for alerts whose message Slack refuses.
func (s Slack) SendCount(ctx context.Context, alerts []alert.Alert) error {
	headline := tally(alert.GroupAlerts(alerts))
	m := slackMessage{Text: headline}
	m.Blocks = []slackBlock{
		{Type: "header", Text: &slackText{Type: "plain_text", Text: clip(headline, mostHeader)}},
		section("Slack refused the message that says which. All open incidents: `" + listAll + "`. Each alert in full: the e-mail of the alert topic."),
	}
	return s.post(ctx, m)
}

// summary is the message about several alerts, in the order in which it is read at 3 a.m.
func (s Slack) summary(groups []alert.Group) slackMessage {
	headline := tally(groups)
	m := slackMessage{Text: headline, Blocks: []slackBlock{
		{Type: "header", Text: &slackText{Type: "plain_text", Text: clip(headline, mostHeader)}},
	}}
	shown, rest := groups[:min(len(groups), mostGroups)], groups[min(len(groups), mostGroups):]
	for _, g := range shown {
		m.Blocks = append(m.Blocks, section(s.group(g)))
	}
	if len(rest) > 0 {
		m.Blocks = append(m.Blocks, section("and "+counts(rest)+", of other changes or by other principals"))
	}
	m.Blocks = append(m.Blocks, section("*All open incidents:* `"+listAll+"`, and one with its recovery steps: `"+listAll+" ID`\n*Each alert in full:* the e-mail of the alert topic"))
	return m
}

// tally is the headline: how many alerts, how severe, and how many resolved. It holds our own words only.
func tally(groups []alert.Group) string {
	word := "ALERT"
	switch worst := groups[0].Worst(); {
	case groups[0].Resolved:
		word = "RESOLVED"
	case worst.Known():
		word = strings.ToUpper(string(worst))
	}
	return "[" + word + "] " + counts(groups)
}

// counts is "21 alerts (19 critical, 2 medium), 12 incidents resolved".
func counts(groups []alert.Group) string {
	var firing []alert.Alert
	resolved := 0
	for _, g := range groups {
		if g.Resolved {
			resolved += len(g.Alerts)
		} else {
			firing = append(firing, g.Alerts...)
		}
	}
	var parts []string
	if len(firing) > 0 {
		parts = append(parts, fmt.Sprintf("%s (%s)", plural(len(firing), "alert"), alert.Counts(firing)))
	}
	if resolved > 0 {
		parts = append(parts, plural(resolved, "incident")+" resolved")
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// group is what happened, how often, by whom, when and to how many clusters; then the worst of it, and a count of the rest.
func (s Slack) group(g alert.Group) string {
	lines := []string{title(g)}
	if facts := s.groupFacts(g); facts != "" {
		lines = append(lines, facts)
	}
	if len(g.Alerts) == 1 {
		return strings.Join(lines, "\n")
	}
	for _, a := range g.Alerts[:min(len(g.Alerts), mostInGroup)] {
		lines = append(lines, "• "+mrkdwn(line(a.Headline()), mostEntry))
	}
	switch more := len(g.Alerts) - mostInGroup; {
	case more > 0 && g.Resolved:
		lines = append(lines, fmt.Sprintf("and %d more", more))
	case more > 0:
		lines = append(lines, fmt.Sprintf("and %d more (%s)", more, alert.Counts(g.Alerts[mostInGroup:])))
	}
	return strings.Join(lines, "\n")
}

func title(g alert.Group) string {
	text := fmt.Sprintf("*%d × %s*", len(g.Alerts), mrkdwn(line(string(g.Change)), mostWords))
	switch {
	case len(g.Alerts) == 1:
		text = "*" + mrkdwn(line(g.Alerts[0].Headline()), mostEntry) + "*"
	case g.Resolved:
		text = fmt.Sprintf("*%d resolved: %s*", len(g.Alerts), mrkdwn(line(string(g.Change)), mostWords))
	}
	if g.Principal != "" {
		text += " by " + mrkdwn(line(g.Principal), mostWords)
	}
	return text
}

func (s Slack) groupFacts(g alert.Group) string {
	var facts []string
	from, to := g.Span()
	if begun, ended := timestamp(from), timestamp(to); begun != "" && begun == ended {
		facts = append(facts, begun)
	} else if begun != "" {
		facts = append(facts, begun+" to "+ended)
	}
	if g.Resolved {
		return strings.Join(facts, " · ")
	}
	switch n, exact := g.Clusters(); {
	case n > 0 && exact:
		facts = append(facts, plural(n, "cluster"))
	case n > 0:
		facts = append(facts, fmt.Sprintf("at least %s", plural(n, "cluster")))
	}
	if deadline := timestamp(g.Deadline()); deadline != "" {
		name := "deadline "
		if len(g.Alerts) > 1 {
			name = "first deadline "
		}
		facts = append(facts, name+deadline)
	}
	if link := s.runbookLink(g.Alerts[0].Runbook); link != "" {
		facts = append(facts, link)
	}
	return strings.Join(facts, " · ")
}
