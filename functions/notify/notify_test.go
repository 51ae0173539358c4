package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// inbox is a channel that keeps what it is sent, after the errors it still has to return.
type inbox struct {
	errs []error
	got  []alert.Alert
}

func (b *inbox) Send(_ context.Context, a alert.Alert) error {
	if len(b.errs) > 0 {
		err := b.errs[0]
		b.errs = b.errs[1:]
		return err
	}
	b.got = append(b.got, a)
	return nil
}

func function(c notify.Channel, least alert.Severity) *notify.Function {
	return &notify.Function{Channel: c, Least: least, Log: slog.New(slog.DiscardHandler)}
}

func TestAChannelHearsWhatIsSevereEnoughAndTheEndOfEverything(t *testing.T) {
	alerts := []alert.Alert{
		{Severity: alert.Critical}, {Severity: alert.High}, {Severity: alert.Medium}, {Severity: alert.Low}, {Severity: alert.Info},
		{Severity: "catastrophic"}, {Severity: alert.Info, Resolved: true},
	}
	for _, tc := range []struct {
		kind  notify.Kind
		least alert.Severity
		want  string
	}{
		{notify.PagerDuty, "", "critical high catastrophic resolved"},
		{notify.Slack, "", "critical high medium catastrophic resolved"},
		{notify.Webhook, "", "critical high medium low info catastrophic resolved"},
		{notify.PagerDuty, alert.Critical, "critical catastrophic resolved"},
		{notify.Slack, alert.Low, "critical high medium low catastrophic resolved"},
	} {
		box := &inbox{}
		f := function(box, notify.Settings{Kind: tc.kind, Least: tc.least}.LeastSeverity())
		for _, a := range alerts {
			if err := f.Alert(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, a := range box.got {
			word := string(a.Severity)
			if a.Resolved {
				word = "resolved"
			}
			got = append(got, word)
		}
		if got := strings.Join(got, " "); got != tc.want {
			t.Errorf("%s with least severity %q hears %q, want %q", tc.kind, tc.least, got, tc.want)
		}
	}
}

func TestARepeatedAlertIsDeliveredAgainUnchanged(t *testing.T) {
	box := &inbox{}
	f := function(box, alert.Info)
	a := alert.Alert{ID: "a", DedupKey: "incident", Severity: alert.High}
	for range 2 {
		if err := f.Alert(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if len(box.got) != 2 || box.got[0].ID != box.got[1].ID || box.got[0].DedupKey != box.got[1].DedupKey {
		t.Errorf("delivered %+v, want the same alert twice", box.got)
	}
}

func TestAChannelThatAsksForAPauseIsLeftAloneForSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := fmt.Errorf("post: %w", &channel.Refused{Status: 429, RetryAfter: 30 * time.Second})
		box := &inbox{errs: []error{limited}}
		f := function(box, alert.Info)
		if err := f.Alert(t.Context(), alert.Alert{ID: "a"}); !errors.Is(err, limited) {
			t.Errorf("error %v, want %v", err, limited)
		}
		time.Sleep(29 * time.Second)
		if err := f.Alert(t.Context(), alert.Alert{ID: "b"}); err == nil || !strings.Contains(err.Error(), "1s are left") || len(box.got) > 0 {
			t.Errorf("within the pause: error %v, sent %v; want an error that says how much is left, and nothing sent", err, box.got)
		}
		time.Sleep(time.Second)
		if err := f.Alert(t.Context(), alert.Alert{ID: "c"}); err != nil || len(box.got) != 1 {
			t.Errorf("after the pause: error %v, sent %v; want the alert", err, box.got)
		}
	})
}

func TestOneAlertThatAChannelRefusesDoesNotHoldUpTheNext(t *testing.T) {
	for _, refusal := range []error{
		&channel.Refused{Status: 400}, &channel.Refused{Status: 500}, &channel.Refused{Status: 404}, errors.New("connection reset"),
	} {
		box := &inbox{errs: []error{refusal}}
		f := function(box, alert.Info)
		if err := f.Alert(t.Context(), alert.Alert{ID: "a"}); !errors.Is(err, refusal) {
			t.Errorf("error %v, want %v", err, refusal)
		}
		if err := f.Alert(t.Context(), alert.Alert{ID: "b"}); err != nil || len(box.got) != 1 {
			t.Errorf("after %v: error %v, sent %v; want the next alert", refusal, err, box.got)
		}
	}
}
