package alerting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// batch is the number of open incidents that one tick looks at.
const batch = 50

// Tick looks again at what open incidents are about, and tells when one is over: a recovery event came and the state has read
// well for a while since, or it has read well for an hour without one, or an operator closed it. With no open incident it costs
// one ledger query. An incident that cannot be read, or not be rechecked, keeps none of the others waiting.
func (f *Function) Tick(ctx context.Context) error {
	incidents, err := f.Ledger.DueIncidents(ctx, time.Now(), batch)
	problems := []error{err} // beside it may be incidents, if some could not be decoded
	for _, i := range incidents {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(problems, err)...)
		}
		problems = append(problems, f.recheck(ctx, i))
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
	well, err := f.well(ctx, i)
	if err != nil {
		f.Log.Warn("incident not rechecked", "incident", i.DedupKey, "err", err)
	}
	now := time.Now()
	read := err == nil
	if read && well && over(i, now, f.Settings) {
		if err := f.tellEnd(ctx, i); err != nil {
			return err
		}
	}
	_, saveErr := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if !fresh.Open() || !fresh.Opened.Equal(i.Opened) {
			return ledger.ErrUnchanged
		}
		fresh.LookBy(now.Add(f.Settings.RecheckEvery))
		switch {
		case !read:
		case !well:
			fresh.GoodSince = time.Time{}
		case fresh.GoodSince.IsZero():
			fresh.GoodSince = now
		case over(fresh, now, f.Settings):
			fresh.Closed, fresh.NextLook = now, time.Time{}
		}
		if fresh.Open() && fresh.Closing.Asked() {
			fresh.NextLook = fresh.Closing.At // it was closed while the state was read
		}
		return nil
	})
	return errors.Join(repairing, err, saveErr)
}

// tellEnd tells that the incident is over, in the same bytes each time, unless it has begun anew while the state was read.
func (f *Function) tellEnd(ctx context.Context, i *ledger.Incident) error {
	fresh, err := f.Ledger.Incident(ctx, i.DedupKey)
	if err != nil || !fresh.Open() || !fresh.Opened.Equal(i.Opened) || fresh.GoodSince.IsZero() {
		return err
	}
	end := theEnd(i, "resolved", i.GoodSince)
	end.Summary = wellAgain(i)
	end.Consequence = "The state has read well since " + i.GoodSince.UTC().Format(time.RFC3339) + "."
	end.WayBack = []string{checkClusters}
	if err := f.Notifier.Notify(ctx, end); err != nil {
		return fmt.Errorf("tell the end of %s: %w", i.DedupKey, err)
	}
	f.Log.Info("resolved", "incident", i.DedupKey)
	return nil
}

// closeByHand tells that an operator closed the incident, in the same bytes each time, and ends it; unless an event has opened
// it anew meanwhile. What the incident is about is not read: some incidents, such as a deleted key's, never read well.
func (f *Function) closeByHand(ctx context.Context, i *ledger.Incident) error {
	fresh, err := f.Ledger.Incident(ctx, i.DedupKey)
	if err != nil || !fresh.Open() || !fresh.Closing.At.Equal(i.Closing.At) {
		return err
	}
	by := i.Closing
	end := theEnd(i, fmt.Sprintf("closed/%d", by.At.Unix()), by.At)
	end.Summary = fmt.Sprintf("%s closed this by hand: %s", cmp.Or(by.By, "Somebody"), lowerFirst(i.Alert.Summary))
	end.Consequence = fmt.Sprintf("Reason: %s. Whether it is well was not read, and is not looked at any more; the next event about it alerts again.",
		strings.TrimRight(by.Reason, ". "))
	if err := f.Notifier.Notify(ctx, end); err != nil {
		return fmt.Errorf("tell that %s was closed by hand: %w", i.DedupKey, err)
	}
	f.Log.Info("closed by hand", "incident", i.DedupKey, "by", by.By)
	_, err = f.Ledger.UpdateIncident(ctx, i.DedupKey, func(fresh *ledger.Incident) error {
		if !fresh.Open() || !fresh.Closing.At.Equal(by.At) {
			return ledger.ErrUnchanged
		}
		fresh.Closed, fresh.NextLook = time.Now(), time.Time{}
		return nil
	})
	return err
}

// theEnd is the alert that ends an incident, as far as every end is the same.
func theEnd(i *ledger.Incident, how string, at time.Time) cmek.Alert {
	end := i.Alert
	end.ID = fmt.Sprintf("%s@%d/%s", i.DedupKey, i.Opened.Unix(), how)
	end.Resolved, end.Severity, end.Time, end.Deadline, end.WayBack = true, cmek.Info, at, time.Time{}, nil
	end.Clusters = withHarm(i.Alert.Clusters, nil)
	return end
}

// wellAgain is the line that ends an incident.
func wellAgain(i *ledger.Incident) string {
	what := "It is well again: " + lowerFirst(i.Alert.Summary)
	switch {
	case i.Kind == IncidentKey && i.Alert.Key != "":
		what = "Key " + i.Alert.Key.ID() + " can be used again"
	case i.Kind == IncidentAccess && i.Alert.Key != "":
		what = "Key " + i.Alert.Key.ID() + " is open to its clusters again"
	default:
		return what
	}
	if len(i.Alert.Clusters) > 0 {
		what += "; needed by " + someNames(i.Alert.Clusters, i.Alert.AffectedCount())
	}
	return what
}

// over reports whether an incident that reads well now has ended.
func over(i *ledger.Incident, now time.Time, s Settings) bool {
	if i.GoodSince.IsZero() {
		return false
	}
	wellFor := now.Sub(i.GoodSince)
	return wellFor >= s.WellFor && !i.Recovered.IsZero() || wellFor >= wellWithoutEvent
}

// well reads the state that the incident is about. Where nothing can be read, the event that ended it must have said so.
func (f *Function) well(ctx context.Context, i *ledger.Incident) (bool, error) {
	switch {
	case i.Kind == IncidentAccess:
		return f.accessible(ctx, i)
	case readable(i.Alert.Key):
		key, err := f.KMS.Key(ctx, i.Alert.Key)
		return key.State.Usable(), err
	}
	return !i.Recovered.IsZero(), nil
}
