package alerting

import (
	"context"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A long-running operation is reported by two notices. The second says how it ended, and is judged like any event. If it never comes, what
// the first says somebody began is reported.

// operationPatience is how long the notice of an operation's end is waited for. The operations of the catalog take seconds to minutes.
const operationPatience = 15 * time.Minute

// operationItem names the item of the ledger that holds what is known of an operation.
func operationItem(e cmek.Event) string { return "operation/" + e.Operation }

// grave reports whether the operation of an event would be reported if it took effect, as far as the event alone tells.
func (f *Function) grave(e cmek.Event) bool {
	e.Error, e.Failure = "", ""
	row, _ := risk.Of(e.Change)
	return e.Operation != "" && row.Rate(risk.Case{Event: e, Own: f.Settings.own(e)}).Above(alert.Info)
}

// began plans to report an operation whose end is not reported within its time, unless that came first.
func (f *Function) began(ctx context.Context, e cmek.Event) error {
	if !f.grave(e) {
		return nil
	}
	_, err := f.Ledger.UpdateIncident(ctx, operationItem(e), func(i *ledger.Incident) error {
		if len(i.Events) > 0 {
			return ledger.ErrUnchanged // planned before, or ended
		}
		i.Add(e.ID)
		e.Policy, e.Delta = "", "" // by then what is in force is read
		i.Review = &ledger.Review{Event: e, Due: time.Now().Add(operationPatience), Severity: alert.None}
		i.NextLook = i.Review.Due
		return nil
	})
	return err
}

// ended records that the end of an operation was reported.
func (f *Function) ended(ctx context.Context, e cmek.Event) error {
	if !f.grave(e) {
		return nil
	}
	_, err := f.Ledger.UpdateIncident(ctx, operationItem(e), func(i *ledger.Incident) error {
		if i.Notified(e.ID) {
			return ledger.ErrUnchanged
		}
		i.Add(e.ID)
		i.Review, i.NextLook = nil, time.Time{}
		return nil
	})
	return err
}

// unended reports an operation whose end was not reported, by what is read now. Nothing is said to be broken that was not read as such.
func (f *Function) unended(ctx context.Context, i *ledger.Incident) error {
	i.Review.Event = f.named(ctx, i.Review.Event)
	e := i.Review.Event
	facts, doubts, unread := f.gather(ctx, e)
	if unread != nil {
		return fmt.Errorf("judge %s, whose end was not reported: %w", e.ID, unread)
	}
	a := Assess(e, facts)
	if facts.Effect == nil || !facts.Effect.CutsOff {
		a.Incident = ""
	}
	log := f.Log.With("event", e.ID, "change", e.Change, "key", e.Key)
	if a.Severity.Above(alert.Info) {
		if err := f.correct(ctx, i, a, facts, doubts); err != nil {
			return err
		}
	}
	log.Info("the end of an operation was not reported", "severity", a.Severity)
	return f.reviewed(ctx, i)
}
