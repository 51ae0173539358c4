package alerting

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// needsReview reports whether the judgement of an event is made once more some minutes later: it stayed unclear, or it rests on a
// read of what the event changed, which IAM and KMS show minutes later
// (docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html: changes are not always immediately visible).
func needsReview(e cmek.Event, facts Facts) bool {
	return e.Succeeded() && facts.Effect != nil && (facts.Effect.Stale || len(facts.Effect.Unclear) > 0) && !facts.Usage.Unused()
}

// largestReviewed is the size of the documents that are kept for a review, in bytes. A policy of Google Cloud can be larger than an item of
// the ledger.
const largestReviewed = 200_000

// planReview records that an event is judged once more, in an item of its own. of is the dedup key under which people were notified
// of it; "" if they were not.
func (f *Function) planReview(ctx context.Context, e cmek.Event, a Assessment, facts Facts, of string) error {
	if !needsReview(e, facts) {
		return nil
	}
	_, err := f.Ledger.UpdateIncident(ctx, "review/"+e.ID, func(i *ledger.Incident) error {
		if i.Notified(e.ID) {
			return ledger.ErrUnchanged // planned before
		}
		i.Add(e.ID)
		if len(e.Policy)+len(e.Delta) > largestReviewed {
			e.Policy, e.Delta = "", "" // what is in force by then is read
		}
		i.Review = &ledger.Review{Event: e, Due: time.Now().Add(f.Settings.ReviewAfter), Severity: a.Severity, Of: of}
		i.NextLook = i.Review.Due
		return nil
	})
	return err
}

// review judges an event once more, and corrects what was reported: it sends what is worse than before, and the all-clear where
// nothing is unclear any more and no incident is open.
func (f *Function) review(ctx context.Context, i *ledger.Incident) error {
	if i.Review.Event.Begun {
		return f.unended(ctx, i)
	}
	i.Review.Event = f.named(ctx, i.Review.Event)
	e := i.Review.Event
	facts, doubts, unread := f.gather(ctx, e)
	if unread != nil {
		return fmt.Errorf("judge %s again: %w", e.ID, unread)
	}
	a := Assess(e, facts)
	log := f.Log.With("event", e.ID, "change", e.Change, "key", e.Key)
	sent := &ledger.Incident{}
	var err error
	if i.Review.Of != "" {
		if sent, err = f.Ledger.Incident(ctx, i.Review.Of); err != nil {
			return fmt.Errorf("judge %s again: %w", e.ID, err)
		}
	}
	lost, err := f.stillLost(ctx, sent)
	if err != nil {
		return fmt.Errorf("judge %s again: %w", e.ID, err)
	}
	superseded, err := f.superseded(ctx, e)
	if err != nil {
		return fmt.Errorf("judge %s again: %w", e.ID, err)
	}
	switch {
	case superseded:
		log.Info("alert not re-evaluated: a later event set another document")
	case a.Severity.Above(i.Review.Severity) && a.Severity.Above(alert.Info):
		if err := f.correct(ctx, i, a, facts, doubts); err != nil {
			return err
		}
		log.Info("alert re-evaluated", "severity", a.Severity)
	case i.Review.Severity.Above(a.Severity) && facts.Effect != nil && facts.Effect.Keeps() && !lost && !sent.Opened.IsZero():
		end := theEnd(sent, "review", time.Now())
		end.ID = "review/" + e.ID
		end.Summary = "The clusters keep their access: " + lowerFirst(sent.Alert.Summary)
		end.Impact = "The policies were read again after the change. " + a.Impact
		if err := f.Notifier.Notify(ctx, end); err != nil {
			return fmt.Errorf("correct the alert %s: %w", sent.DedupKey, err)
		}
		log.Info("alert corrected", "severity", a.Severity)
	default:
		log.Info("alert re-evaluated", "severity", a.Severity)
	}
	return f.reviewed(ctx, i)
}

// reviewed records that the event was judged again.
func (f *Function) reviewed(ctx context.Context, i *ledger.Incident) error {
	_, err := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if fresh.Review == nil || fresh.Review.Event.ID != i.Review.Event.ID {
			return ledger.ErrUnchanged
		}
		fresh.Review, fresh.NextLook = nil, time.Time{}
		return nil
	})
	return err
}

// superseded reports whether a later event set the key policy anew: what this one set is not in force, and that event has a judgement
// and a review of its own.
func (f *Function) superseded(ctx context.Context, e cmek.Event) (bool, error) {
	if kind(e) != risk.KeyPolicy {
		return false, nil
	}
	changes, err := f.Ledger.PolicyChanges(ctx, string(e.Key))
	return slices.ContainsFunc(changes, func(c ledger.PolicyChange) bool { return c.Event != e.ID && c.At.After(happened(e)) }), err
}

// stillLost reports whether an incident is open about a key or a cluster that the happening is about: then nothing is all clear.
func (f *Function) stillLost(ctx context.Context, i *ledger.Incident) (bool, error) {
	open, err := f.Ledger.OpenIncidents(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(open, func(other *ledger.Incident) bool {
		return other.DedupKey == i.DedupKey || other.Alert.Key != "" && other.Alert.Key == i.Alert.Key || other.Alert.Shortened() ||
			slices.ContainsFunc(other.Alert.Clusters, func(c alert.AffectedCluster) bool {
				return slices.ContainsFunc(i.Alert.Clusters, func(mine alert.AffectedCluster) bool { return mine.ID == c.ID })
			})
	}), nil
}

// correct sends an alert that is worse than what was reported of the same event, and records it under its own incident, unless that
// incident is reported already or a later event has undone the change.
func (f *Function) correct(ctx context.Context, i *ledger.Incident, a Assessment, facts Facts, doubts []string) error {
	e := i.Review.Event
	name := dedupKey(e, a)
	known, err := f.Ledger.Incident(ctx, name)
	if err != nil {
		return err
	}
	if a.Incident != "" && known.Recovered.After(happened(e)) {
		return nil
	}
	repeat := repeats(e, a, known)
	sent := compose(e, a, facts, name, doubts)
	sent.ID += "/review"
	if !repeat {
		if err := f.Notifier.Notify(ctx, sent); err != nil {
			return fmt.Errorf("correct the alert about %s: %w", e.Change, err)
		}
	}
	_, err = f.Ledger.UpdateIncident(ctx, name, func(fresh *ledger.Incident) error {
		record(fresh, e, a, sent, repeat)
		f.schedule(fresh)
		return nil
	})
	return err
}
