package channel

import (
	"context"
	"fmt"
	"strings"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Bounds on an event about several alerts. The Events API v2 takes 512 KB.
const (
	mostNamed = 500
	mostName  = 400
)

// restTitle begins the summary of such an incident. PagerDuty may keep showing the first one, so it is true later, too.
const restTitle = "More incidents than are paged one by one"

// rest is what an event about several alerts says in its custom details.
type rest struct {
	// Alerts are the headlines of this event's, the worst first; More counts those that are left out.
	Alerts []string `json:"alerts"`
	More   int      `json:"more,omitempty"`
	// InAll is how many open incidents this one stands for.
	InAll   int    `json:"in_all"`
	ListAll string `json:"list_all"`
}

// SendRest triggers one incident, under the key, that stands for the incidents of several alerts, inAll together with those of earlier
// events under the same key. It says which, and how to list all.
func (p PagerDuty) SendRest(ctx context.Context, key string, alerts []alert.Alert, inAll int) error {
	return p.enqueue(ctx, p.restEvent(key, alerts, inAll))
}

func (p PagerDuty) restEvent(key string, alerts []alert.Alert, inAll int) pagerduty.V2Event {
	groups := alert.GroupAlerts(alerts)
	worst := groups[0].Alerts[0]
	details := rest{InAll: inAll, ListAll: listAll}
	for _, g := range groups {
		for _, a := range g.Alerts {
			if len(details.Alerts) == mostNamed {
				details.More++
				continue
			}
			details.Alerts = append(details.Alerts, clip(line(a.Headline()), mostName))
		}
	}
	summary := fmt.Sprintf("%s, %d so far; %q lists all. Among them: %s", restTitle, inAll, listAll, changes(groups))
	from, _ := groups[0].Span()
	return pagerduty.V2Event{
		Action: "trigger", DedupKey: dedupKey(alert.Alert{DedupKey: key}), Client: "keyturn",
		Payload: &pagerduty.V2Payload{
			Summary: clip(summary, mostSummary), Source: "keyturn", Severity: pagerDutySeverity(worst.Severity),
			Timestamp: timestamp(from), Class: line(string(worst.Change)), Details: details,
		},
	}
}

// changes counts what happened, the worst first: "98 × key disabled, 2 × deletion scheduled".
func changes(groups []alert.Group) string {
	var order []cmek.Change
	count := map[cmek.Change]int{}
	for _, g := range groups {
		if count[g.Change] == 0 {
			order = append(order, g.Change)
		}
		count[g.Change] += len(g.Alerts)
	}
	var parts []string
	for _, c := range order {
		parts = append(parts, fmt.Sprintf("%d × %s", count[c], line(string(c))))
	}
	return strings.Join(parts, ", ")
}
