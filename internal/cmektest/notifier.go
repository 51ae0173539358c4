package cmektest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// Notifier keeps the alerts it is given. Its zero value is ready. It is safe for concurrent use.
type Notifier struct {
	mu     sync.Mutex
	alerts []alert.Alert
}

// Notify records the alert.
func (n *Notifier) Notify(ctx context.Context, a alert.Alert) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("notify %s: %w", a.ID, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alerts = append(n.alerts, a)
	return nil
}

// Alerts returns what was notified, in order.
func (n *Notifier) Alerts() []alert.Alert {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.alerts)
}

// Delivery is one alert as it arrived at the other end of a channel.
type Delivery struct {
	Audience alert.Audience
	// Subject is the line that a person sees first.
	Subject string
	Text    string
	// JSON is the alert in the bytes of its JSON; nil for a channel that is made for people only.
	JSON []byte
}

// Alerts for the suite: an ordinary one, its end, and one with everything that a channel could stumble over.
func sampleAlerts() []alert.Alert {
	danger := alert.Alert{
		ID: "01JA", DedupKey: "key-unusable:1234", Audience: alert.Owners, Severity: alert.Critical, Change: "key unusable",
		Summary:       "Key 1234 is disabled and cluster orders needs it",
		Impact:        "Nodes that restart cannot read their disks.",
		RecoverySteps: []string{"aws kms enable-key --key-id 1234", "Wait for two good readings"},
		Key:           "arn:aws:kms:us-east-1:111122223333:key/1234",
		Clusters:      []alert.AffectedCluster{{ID: "c-1", Name: "orders", Regions: []string{"us-east-1"}}},
		Principal:     "arn:aws:iam::111122223333:user/ana",
		Time:          time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Runbook:       "functions/alerting/README.md#key-unusable",
	}
	over := danger
	over.ID, over.Resolved, over.Summary, over.Impact, over.RecoverySteps = "01JB", true, "Key 1234 works again", "", nil
	odd := danger
	odd.ID, odd.Audience, odd.Change = "01JC", alert.Operations, ""
	odd.Summary = "Schlüssel <gelöscht> & \"weg\" — 🔑\r\n" + strings.Repeat("and on and on ", 20)
	odd.Impact = "line one\nline two\x00\x1b[31m\u2028{\"id\":\"forged\"}"
	return []alert.Alert{danger, over, odd}
}

// NotifierConforms checks that alerts arrive whole. open returns a notifier, and what it delivered, in order.
func NotifierConforms(t *testing.T, open func(t *testing.T) (notifier alert.Notifier, delivered func() []Delivery)) {
	notifyOne := func(t *testing.T, a alert.Alert) Delivery {
		t.Helper()
		notifier, delivered := open(t)
		if err := notifier.Notify(t.Context(), a); err != nil {
			t.Fatalf("notify %s: %v", a.ID, err)
		}
		got := delivered()
		if len(got) != 1 {
			t.Fatalf("notify %s: %d deliveries, want 1", a.ID, len(got))
		}
		return got[0]
	}
	t.Run("an alert reaches its audience with a subject and readable text", func(t *testing.T) {
		for _, a := range sampleAlerts() {
			got := notifyOne(t, a)
			if got.Audience != a.Audience {
				t.Errorf("alert %s reached %q, want %q", a.ID, got.Audience, a.Audience)
			}
			if got.Subject == "" || strings.ContainsAny(got.Subject, "\r\n\x00\x1b") {
				t.Errorf("alert %s: subject %q is not one printable line", a.ID, got.Subject)
			}
			if got.Text != a.Text() {
				t.Errorf("alert %s: text is\n%s\nwant\n%s", a.ID, got.Text, a.Text())
			}
		}
		if got, want := notifyOne(t, sampleAlerts()[0]).Subject, sampleAlerts()[0].Headline(); got != want {
			t.Errorf("subject %q, want the headline %q", got, want)
		}
	})
	t.Run("a channel for machines carries the alert's JSON to the byte", func(t *testing.T) {
		for _, a := range sampleAlerts() {
			got := notifyOne(t, a)
			if got.JSON == nil {
				t.Skip("this channel is made for people only")
			}
			if want, _ := a.JSON(); string(got.JSON) != string(want) {
				t.Errorf("alert %s arrived as\n%s\nwant\n%s", a.ID, got.JSON, want)
			}
		}
	})
	t.Run("a repeat of an alert is the same delivery", func(t *testing.T) {
		for _, a := range sampleAlerts() {
			if first, again := notifyOne(t, a), notifyOne(t, a); !reflect.DeepEqual(first, again) {
				t.Errorf("alert %s was delivered as %+v, and again as %+v", a.ID, first, again)
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
