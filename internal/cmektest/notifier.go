package cmektest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Notifier keeps the alerts it is given. Its zero value is ready. It is safe for concurrent use.
type Notifier struct {
	mu     sync.Mutex
	alerts []cmek.Alert
}

// Notify records the alert.
func (n *Notifier) Notify(ctx context.Context, alert cmek.Alert) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("notify %s: %w", alert.ID, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alerts = append(n.alerts, alert)
	return nil
}

// Alerts returns what was notified, in order.
func (n *Notifier) Alerts() []cmek.Alert {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.alerts)
}

// Delivery is one alert as it arrived at the other end of a channel.
type Delivery struct {
	Audience cmek.Audience
	// Subject is the line that a person sees first.
	Subject string
	Text    string
	// JSON is the alert in the bytes of its JSON; nil for a channel that is made for people only.
	JSON []byte
}

// Alerts for the suite: an ordinary one, its end, and one with everything that a channel could stumble over.
func sampleAlerts() []cmek.Alert {
	danger := cmek.Alert{
		ID: "01JA", DedupKey: "key-unusable:1234", Audience: cmek.Owners, Severity: cmek.Critical, Change: "key unusable",
		Summary:     "Key 1234 is disabled and cluster orders needs it",
		Consequence: "Nodes that restart cannot read their disks.",
		WayBack:     []string{"aws kms enable-key --key-id 1234", "Wait for two good readings"},
		Key:         "arn:aws:kms:us-east-1:111122223333:key/1234",
		Clusters:    []cmek.AffectedCluster{{ID: "c-1", Name: "orders", Regions: []string{"us-east-1"}}},
		Principal:   "arn:aws:iam::111122223333:user/ana",
		Time:        time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Runbook:     "functions/alerting/README.md#key-unusable",
	}
	over := danger
	over.ID, over.Resolved, over.Summary, over.Consequence, over.WayBack = "01JB", true, "Key 1234 works again", "", nil
	odd := danger
	odd.ID, odd.Audience, odd.Change = "01JC", cmek.Operations, ""
	odd.Summary = "Schlüssel <gelöscht> & \"weg\" — 🔑\r\n" + strings.Repeat("and on and on ", 20)
	odd.Consequence = "line one\nline two\x00\x1b[31m\u2028{\"id\":\"forged\"}"
	return []cmek.Alert{danger, over, odd}
}

// NotifierConforms checks that alerts arrive whole. open returns a notifier, and what it delivered, in order.
func NotifierConforms(t *testing.T, open func(t *testing.T) (notifier cmek.Notifier, delivered func() []Delivery)) {
	notifyOne := func(t *testing.T, alert cmek.Alert) Delivery {
		t.Helper()
		notifier, delivered := open(t)
		if err := notifier.Notify(t.Context(), alert); err != nil {
			t.Fatalf("notify %s: %v", alert.ID, err)
		}
		got := delivered()
		if len(got) != 1 {
			t.Fatalf("notify %s: %d deliveries, want 1", alert.ID, len(got))
		}
		return got[0]
	}
	t.Run("an alert reaches its audience with a subject and readable text", func(t *testing.T) {
		for _, alert := range sampleAlerts() {
			got := notifyOne(t, alert)
			if got.Audience != alert.Audience {
				t.Errorf("alert %s reached %q, want %q", alert.ID, got.Audience, alert.Audience)
			}
			if got.Subject == "" || strings.ContainsAny(got.Subject, "\r\n\x00\x1b") {
				t.Errorf("alert %s: subject %q is not one printable line", alert.ID, got.Subject)
			}
			if got.Text != alert.Text() {
				t.Errorf("alert %s: text is\n%s\nwant\n%s", alert.ID, got.Text, alert.Text())
			}
		}
		if got, want := notifyOne(t, sampleAlerts()[0]).Subject, sampleAlerts()[0].Headline(); got != want {
			t.Errorf("subject %q, want the headline %q", got, want)
		}
	})
	t.Run("a channel for machines carries the alert's JSON to the byte", func(t *testing.T) {
		for _, alert := range sampleAlerts() {
			got := notifyOne(t, alert)
			if got.JSON == nil {
				t.Skip("this channel is made for people only")
			}
			if want, _ := json.Marshal(alert); string(got.JSON) != string(want) {
				t.Errorf("alert %s arrived as\n%s\nwant\n%s", alert.ID, got.JSON, want)
			}
		}
	})
	t.Run("a repeat of an alert is the same delivery", func(t *testing.T) {
		for _, alert := range sampleAlerts() {
			if first, again := notifyOne(t, alert), notifyOne(t, alert); !reflect.DeepEqual(first, again) {
				t.Errorf("alert %s was delivered as %+v, and again as %+v", alert.ID, first, again)
			}
		}
	})
	t.Run("a canceled context is an error", func(t *testing.T) {
		notifier, delivered := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := notifier.Notify(ctx, sampleAlerts()[0]); err == nil {
			t.Error("notify with a canceled context reported success")
		}
		if got := delivered(); len(got) != 0 {
			t.Errorf("notify with a canceled context delivered %d alerts", len(got))
		}
	})
}
