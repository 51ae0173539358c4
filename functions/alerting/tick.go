package alerting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

// batch is the number of incidents that one tick polls.
const batch = 50

// Tick polls what open incidents are about, and notifies people when one is resolved: a recovery event came and the state has read
// healthy for a while since, or it has read healthy for an hour without one, or an operator closed it. It judges events again whose
// review is due, and makes repairs. With nothing due it costs one ledger query. An incident that cannot be read, or not be
// rechecked, keeps none of the others waiting.
func (f *Function) Tick(ctx context.Context) error {
	incidents, err := f.Ledger.DueIncidents(ctx, time.Now(), batch)
	problems := []error{err} // beside it may be incidents, if some could not be decoded
	for _, i := range incidents {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(problems, err)...)
		}
		if i.Review != nil && !time.Now().Before(i.Review.Due) {
			problems = append(problems, f.review(ctx, i))
		}
		if i.Open() {
			problems = append(problems, f.recheck(ctx, i))
		}
	}
	return errors.Join(problems...)
}

func (f *Function) recheck(ctx context.Context, i *ledger.Incident) error {
	if i.Closing.Asked() {
		return f.closeByHand(ctx, i)
	}
	var repairing error
	if i.Repair != nil && !time.Now().Before(i.Repair.Due) {
		repairing = f.repair(ctx, i)
	}
	healthy, err := f.healthy(ctx, i)
	if err != nil {
		f.Log.Warn("incident not rechecked", "incident", i.DedupKey, "error", err)
	}
	now := time.Now()
	read := err == nil
	if read && healthy && resolved(i, now, f.Settings) {
		if err := f.reportEnd(ctx, i); err != nil {
			return errors.Join(repairing, err)
		}
	}
	fresh, saveErr := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if !fresh.Open() || !fresh.Opened.Equal(i.Opened) {
			return ledger.ErrUnchanged
		}
		switch {
		case !read:
		case !healthy:
			fresh.GoodSince = time.Time{}
		case fresh.GoodSince.IsZero():
			fresh.GoodSince = now
		case resolved(fresh, now, f.Settings):
			fresh.Closed, fresh.Ending = now, time.Time{}
		}
		f.schedule(fresh)
		if fresh.Open() && fresh.Closing.Asked() {
			fresh.NextLook = fresh.Closing.At // it was closed while the state was read
		}
		return nil
	})
	if saveErr == nil && fresh.Open() && !fresh.Ending.IsZero() {
		err = errors.Join(err, f.reopen(ctx, fresh))
	}
	return errors.Join(repairing, err, saveErr)
}

// reportEnd reports that the incident is resolved, in the same bytes each time, unless it has begun anew while the state was read.
func (f *Function) reportEnd(ctx context.Context, i *ledger.Incident) error {
	again := false
	if _, err := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if again = !fresh.Open() || !fresh.Opened.Equal(i.Opened) || fresh.GoodSince.IsZero(); again || !fresh.Ending.IsZero() {
			return ledger.ErrUnchanged
		}
		fresh.Ending = time.Now()
		return nil
	}); err != nil || again {
		return err
	}
	end := theEnd(i, "resolved", i.GoodSince)
	end.Summary = recovered(i)
	end.Impact = "The state has read healthy since " + i.GoodSince.UTC().Format(time.RFC3339) + "."
	end.RecoverySteps = []string{risk.CheckClusters}
	if err := f.Notifier.Notify(ctx, end); err != nil {
		return fmt.Errorf("report the end of %s: %w", i.DedupKey, err)
	}
	f.Log.Info("resolved", "incident", i.DedupKey)
	return nil
}

// reopen sends the alert of an open incident again whose end may have been sent: the last message of an open incident is never its
// end. It is tried with each poll until it is sent.
func (f *Function) reopen(ctx context.Context, i *ledger.Incident) error {
	again := i.Alert
	again.ID = fmt.Sprintf("%s/again@%d", again.ID, i.Ending.UnixMilli())
	if err := f.Notifier.Notify(ctx, again); err != nil {
		return fmt.Errorf("report that %s is open again: %w", i.DedupKey, err)
	}
	f.Log.Info("incident reopened", "incident", i.DedupKey)
	_, err := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if !fresh.Ending.Equal(i.Ending) {
			return ledger.ErrUnchanged
		}
		fresh.Ending = time.Time{}
		return nil
	})
	return err
}

// closeByHand reports that an operator closed the incident, in the same bytes each time, and ends it; unless an event has opened
// it anew meanwhile. What the incident is about is not read: some incidents, such as a deleted key's, never read healthy.
func (f *Function) closeByHand(ctx context.Context, i *ledger.Incident) error {
	fresh, err := f.Ledger.Incident(ctx, i.DedupKey)
	if err != nil || !fresh.Open() || !fresh.Closing.At.Equal(i.Closing.At) {
		return err
	}
	by := i.Closing
	end := theEnd(i, fmt.Sprintf("closed/%d", by.At.Unix()), by.At)
	end.Summary = fmt.Sprintf("Closed by hand by %s: %s", cmp.Or(by.By, "an operator"), lowerFirst(i.Alert.Summary))
	end.Impact = fmt.Sprintf("Reason: %s. The state was not read and is no longer polled; the next event about it raises a new alert.",
		strings.TrimRight(by.Reason, ". "))
	if err := f.Notifier.Notify(ctx, end); err != nil {
		return fmt.Errorf("report that %s was closed by hand: %w", i.DedupKey, err)
	}
	f.Log.Info("incident closed by an operator", "incident", i.DedupKey, "by", by.By)
	_, err = f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if !fresh.Open() || !fresh.Closing.At.Equal(by.At) {
			return ledger.ErrUnchanged
		}
		fresh.Closed = time.Now()
		f.schedule(fresh)
		return nil
	})
	return err
}

// theEnd is the alert that ends an incident, as far as every end is the same.
func theEnd(i *ledger.Incident, how string, at time.Time) alert.Alert {
	end := i.Alert
	end.ID = fmt.Sprintf("%s@%d/%s", i.DedupKey, i.Opened.Unix(), how)
	end.Resolved, end.Severity, end.Time, end.Deadline, end.RecoverySteps = true, alert.Info, at, time.Time{}, nil
	end.Clusters = withImpacts(i.Alert.Clusters, nil)
	return end
}

// recovered is the line that ends an incident.
func recovered(i *ledger.Incident) string {
	what := i.Alert.Summary
	switch {
	case i.Kind == alert.KeyUnusable && i.Alert.Key != "":
		what = "Key " + i.Alert.Key.ID() + " can be used again"
		if !i.On.IsZero() {
			what = "Version " + i.On.ID + " of key " + i.Alert.Key.ID() + " can be used again"
		}
	case i.Kind == alert.AccessLost && i.Alert.Key != "":
		what = "Key " + i.Alert.Key.ID() + " can be used by its clusters again"
	default:
		return what
	}
	if len(i.Alert.Clusters) > 0 {
		what += "; needed by " + someNames(i.Alert.Clusters, i.Alert.AffectedCount())
	}
	return what
}

// resolved reports whether an incident that reads healthy now has ended.
func resolved(i *ledger.Incident, now time.Time, s Settings) bool {
	if i.GoodSince.IsZero() {
		return false
	}
	healthyFor := now.Sub(i.GoodSince)
	return healthyFor >= s.HealthyFor && !i.Recovered.IsZero() || healthyFor >= healthyWithoutEvent
}

// healthy reads the state that the incident is about. Where nothing can be read, the event that ended it must have said so. One
// incident that hangs keeps no other waiting.
func (f *Function) healthy(ctx context.Context, i *ledger.Incident) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Settings.Enrich)
	defer cancel()
	switch {
	case i.Kind == alert.AccessLost:
		return f.accessible(ctx, i)
	case readable(i.Alert.Key):
		key, err := f.KMS.Key(ctx, i.Alert.Key)
		if !i.On.IsZero() {
			version, _ := key.VersionInfo(i.On) // one that is not shown is not healthy
			return err == nil && version.State.Usable(), err
		}
		return key.State.Usable(), err
	}
	return !i.Recovered.IsZero(), nil
}
