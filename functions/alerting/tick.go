package alerting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// batch is the number of open incidents that one tick looks at.
const batch = 50

// Tick looks again at what open incidents are about, and tells when one is over: a recovery event came and the state has read
// well for a while since, or it has read well for an hour without one. With no open incident it costs one ledger query.
func (f *Function) Tick(ctx context.Context) error {
	incidents, err := f.Ledger.DueIncidents(ctx, time.Now(), batch)
	if err != nil {
		return err
	}
	var problems []error
	for _, i := range incidents {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(problems, err)...)
		}
		problems = append(problems, f.recheck(ctx, i))
	}
	return errors.Join(problems...)
}

func (f *Function) recheck(ctx context.Context, i *ledger.Incident) error {
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
		fresh.NextLook = now.Add(f.Settings.RecheckEvery)
		switch {
		case !read:
		case !well:
			fresh.GoodSince = time.Time{}
		case fresh.GoodSince.IsZero():
			fresh.GoodSince = now
		case over(fresh, now, f.Settings):
			fresh.Closed, fresh.NextLook = now, time.Time{}
		}
		return nil
	})
	return errors.Join(err, saveErr)
}

// tellEnd tells that the incident is over, in the same bytes each time, unless it has begun anew while the state was read.
func (f *Function) tellEnd(ctx context.Context, i *ledger.Incident) error {
	fresh, err := f.Ledger.Incident(ctx, i.DedupKey)
	if err != nil || !fresh.Open() || !fresh.Opened.Equal(i.Opened) || fresh.GoodSince.IsZero() {
		return err
	}
	end := i.Alert
	end.ID, end.Resolved, end.Severity, end.Time = fmt.Sprintf("%s@%d/resolved", i.DedupKey, i.Opened.Unix()), true, cmek.Info, i.GoodSince
	end.Summary = wellAgain(i)
	end.Consequence, end.Deadline = "The state has read well since "+i.GoodSince.UTC().Format(time.RFC3339)+".", time.Time{}
	end.WayBack = []string{checkClusters}
	if err := f.Notifier.Notify(ctx, end); err != nil {
		return fmt.Errorf("tell the end of %s: %w", i.DedupKey, err)
	}
	f.Log.Info("resolved", "incident", i.DedupKey)
	return nil
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
		what += "; needed by " + someNames(i.Alert.Clusters)
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
