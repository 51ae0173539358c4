package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// inbox is a channel that keeps what it is sent, after the errors it still has to return.
type inbox struct {
	mu    sync.Mutex
	errs  []error
	tried int
	got   []alert.Alert
}

func (b *inbox) Send(_ context.Context, a alert.Alert) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.ID == "panic" {
		panic("boom")
	}
	if err := b.next(); err != nil {
		return err
	}
	b.got = append(b.got, a)
	return nil
}

// next is the error of this request; the caller holds the lock.
func (b *inbox) next() (err error) {
	b.tried++
	if len(b.errs) > 0 {
		err, b.errs = b.errs[0], b.errs[1:]
	}
	return err
}

func function(c notify.Channel, least alert.Severity) *notify.Function {
	return &notify.Function{Channel: c, Least: least, Log: slog.New(slog.DiscardHandler)}
}

// one sends a batch of one.
func one(ctx context.Context, f *notify.Function, a alert.Alert) error {
	return f.Alerts(ctx, []alert.Alert{a})[0]
}

func TestAChannelGetsWhatIsSevereEnoughAndEveryEnd(t *testing.T) {
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
			if err := one(t.Context(), f, a); err != nil {
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
			t.Errorf("%s with least severity %q gets %q, want %q", tc.kind, tc.least, got, tc.want)
		}
	}
}

func TestARepeatedAlertIsDeliveredAgainUnchanged(t *testing.T) {
	box := &inbox{}
	f := function(box, alert.Info)
	a := alert.Alert{ID: "a", DedupKey: "incident", Severity: alert.High}
	for range 2 {
		if err := one(t.Context(), f, a); err != nil {
			t.Fatal(err)
		}
	}
	if len(box.got) != 2 || box.got[0].ID != box.got[1].ID || box.got[0].DedupKey != box.got[1].DedupKey {
		t.Errorf("delivered %+v, want the same alert twice", box.got)
	}
}

func TestAPauseIsWaitedOutIfTheInvocationLastsLonger(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pauses []time.Duration
		within time.Duration
		tried  int
		sent   bool
		took   time.Duration
	}{
		{"shorter", []time.Duration{30 * time.Second}, time.Minute, 2, true, 30 * time.Second},
		{"a pause after a pause", []time.Duration{20 * time.Second, 20 * time.Second}, time.Minute, 3, true, 40 * time.Second},
		{"just shorter", []time.Duration{59 * time.Second}, time.Minute, 2, true, 59 * time.Second},
		{"as long", []time.Duration{time.Minute}, time.Minute, 1, false, 0},
		{"longer", []time.Duration{5 * time.Minute}, time.Minute, 1, false, 0},
		{"longer together", []time.Duration{40 * time.Second, 40 * time.Second}, time.Minute, 2, false, 40 * time.Second},
		{"again and again", slices.Repeat([]time.Duration{time.Second}, 1000), time.Hour, 20, false, 19 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box := &inbox{}
				for _, pause := range tc.pauses {
					box.errs = append(box.errs, fmt.Errorf("post: %w", &channel.Refused{Status: 429, RetryAfter: pause}))
				}
				f := function(box, alert.Info)
				ctx, cancel := context.WithTimeout(t.Context(), tc.within)
				defer cancel()
				begun := time.Now()
				err := one(ctx, f, alert.Alert{ID: "a"})
				if took := time.Since(begun); (err == nil) != tc.sent || box.tried != tc.tried || took != tc.took {
					t.Errorf("sent: %t (%v), after %s and %d requests; want %t, %s and %d", err == nil, err, took, box.tried, tc.sent, tc.took, tc.tried)
				}
				if refused, ok := errors.AsType[*channel.Refused](err); !tc.sent && (!ok || refused.Status != 429) {
					t.Errorf("the error is %v, want the refusal in it", err)
				}
			})
		})
	}
}

func TestWithinAPauseNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{errs: []error{&channel.Refused{Status: 503, RetryAfter: 5 * time.Minute}}}
		f := function(box, alert.Info)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, err := range f.Alerts(ctx, []alert.Alert{{ID: "a"}}) {
			if err == nil {
				t.Error("an alert that was refused is done with")
			}
		}
		errs := f.Alerts(ctx, []alert.Alert{{ID: "b"}, {ID: "c"}})
		if box.tried != 1 || errs[0] == nil || errs[1] == nil || !strings.Contains(errs[0].Error(), "5m0s are left") {
			t.Errorf("within the pause: %d requests in all, errors %v; want one, and errors that say how much is left", box.tried, errs)
		}
		time.Sleep(5 * time.Minute)
		if err := one(t.Context(), f, alert.Alert{ID: "d"}); err != nil || len(box.got) != 1 {
			t.Errorf("after the pause: error %v, sent %v; want the alert", err, box.got)
		}
	})
}

func TestOneAlertThatAChannelRefusesDoesNotHoldUpTheOthers(t *testing.T) {
	for _, refusal := range []error{
		&channel.Refused{Status: 400}, &channel.Refused{Status: 500}, &channel.Refused{Status: 404}, errors.New("connection reset"),
	} {
		box := &inbox{errs: []error{refusal}}
		errs := function(box, alert.Info).Alerts(t.Context(), []alert.Alert{{ID: "a"}, {ID: "b"}, {ID: "panic"}, {ID: "c"}})
		failed := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
		if len(failed) != 2 || !slices.ContainsFunc(failed, func(err error) bool { return errors.Is(err, refusal) }) || errs[2] == nil || len(box.got) != 2 {
			t.Errorf("%v: errors %v, %d sent; want two errors, one for the panic, and two alerts", refusal, errs, len(box.got))
		}
	}
}

// The time between request and answer is the channel's; an invocation must not spend it once for each alert.
func TestASlowChannelGetsABatchAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		function(slowly{}, alert.Info).Alerts(t.Context(), batchOf(25))
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("25 alerts of 10 s each took %s, want 10 at a time", took)
		}
	})
}

type slowly struct{}

func (slowly) Send(context.Context, alert.Alert) error {
	time.Sleep(10 * time.Second)
	return nil
}
