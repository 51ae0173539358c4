package channel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/keyturn/keyturn/internal/alert"
)

// PagerDutyEndpoint is where events go; accounts of the EU service region use https://events.eu.pagerduty.com/v2/enqueue.
const PagerDutyEndpoint = "https://events.pagerduty.com/v2/enqueue"

// PagerDuty triggers and resolves alerts by the Events API v2
// (developer.pagerduty.com/docs/events-api-v2/trigger-events). Both carry the incident's dedup key, so a repeat adds nothing
// and a resolution ends what it belongs to; PagerDuty ignores the resolution of what it does not know.
type PagerDuty struct {
	Client     *http.Client
	RoutingKey Secret
	// Endpoint is "" for PagerDutyEndpoint.
	Endpoint string
	// Runbooks is the URL below which runbooks are; "" for those of the program's version.
	Runbooks string
}

// Send enqueues the event of the alert. PagerDuty has accepted it when Send returns nil.
func (p PagerDuty) Send(ctx context.Context, a alert.Alert) error {
	return p.enqueue(ctx, p.event(a))
}

func (p PagerDuty) enqueue(ctx context.Context, event pagerduty.V2Event) error {
	key, err := p.RoutingKey(ctx)
	if err != nil {
		return err
	}
	event.RoutingKey = key
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode PagerDuty event: %w", err)
	}
	r := request{url: cmp.Or(p.Endpoint, PagerDutyEndpoint), body: body, secret: key, explain: pagerDutyReason}
	if err := r.send(ctx, p.Client); err != nil {
		return fmt.Errorf("send PagerDuty event: %w", err)
	}
	return nil
}

// Limits of the Events API v2.
const (
	mostSummary  = 1024
	mostDedupKey = 255
)

// event is the alert in the terms of PagerDuty's Common Event Format, still without the routing key. The library's own
// client is not used: it drops the reason of a refusal.
func (p PagerDuty) event(a alert.Alert) pagerduty.V2Event {
	event := pagerduty.V2Event{Action: "trigger", DedupKey: dedupKey(a), Client: "keyturn"}
	if a.Resolved {
		event.Action = "resolve"
		return event
	}
	event.Payload = &pagerduty.V2Payload{
		Summary:   clip(cmp.Or(line(a.Summary), string(a.Change)), mostSummary),
		Source:    cmp.Or(line(string(a.Key)), "keyturn"),
		Severity:  pagerDutySeverity(a.Severity),
		Timestamp: timestamp(a.Time),
		Class:     line(string(a.Change)),
		Details:   a,
	}
	if href := runbookURL(p.Runbooks, a.Runbook); href != "" {
		event.Links = []any{map[string]string{"href": href, "text": "Runbook: " + line(string(a.Change))}}
	}
	return event
}

// pagerDutySeverity translates to the four that PagerDuty knows. A severity that we do not know had better wake somebody.
func pagerDutySeverity(s alert.Severity) string {
	switch s {
	case alert.Critical:
		return "critical"
	case alert.Medium:
		return "warning"
	case alert.Low, alert.Info:
		return "info"
	}
	return "error"
}

// dedupKey is the incident's key, with the end of a long one replaced by a hash of all of it.
func dedupKey(a alert.Alert) string {
	key := cmp.Or(a.DedupKey, a.ID)
	if len(key) <= mostDedupKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	hash := hex.EncodeToString(sum[:])
	return strings.ToValidUTF8(key[:mostDedupKey-len(hash)-1], "") + "#" + hash
}

// pagerDutyReason is the message and the errors of a refusal, such as "Event object is invalid: Length of 'routing_key' is
// incorrect".
func pagerDutyReason(body []byte) string {
	var answer pagerduty.V2EventResponse
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	reason := answer.Message
	if len(answer.Errors) > 0 {
		reason += ": " + strings.Join(answer.Errors, "; ")
	}
	return reason
}
