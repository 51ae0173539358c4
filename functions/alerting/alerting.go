// Package alerting says at once when somebody endangers a key that a cluster needs: what happened, who did it, which clusters
// it hits, by when it must be mended, and the way back as commands.
//
// An event is judged on the state that results. Everything beyond the event and the ledger is enrichment with a time limit:
// what is not known by then is said to be unknown, and the alert goes out. Publishing comes before recording, so a crash in
// between repeats an alert and never loses one.
package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Subscribes lists the changes that concern alerting: all of the catalog. Infrastructure builds event rules from it.
var Subscribes = subscribes()

func subscribes() (changes []cmek.Change) {
	for change := range catalog {
		changes = append(changes, change)
	}
	slices.Sort(changes)
	return changes
}

// Function is alerting with everything it needs. Its methods may be called concurrently.
type Function struct {
	Ledger   *ledger.Ledger
	Notifier cmek.Notifier
	KMS      cmek.KMS
	Policies cmek.Policies
	Cloud    Cloud
	// Repairer is nil unless the owner wants scheduled deletions undone (KEYTURN_REPAIR=true).
	Repairer Repairer
	// RepairRole is the ARN of the role that the Repairer acts as, with {account} for the key's account: its records raise no
	// alarm. Empty: they are judged like anybody's.
	RepairRole string
	Settings   Settings
	Log        *slog.Logger
}

// Event judges one event and tells people if they should know. An error means that the event must be delivered again: the
// alert could not be sent, or not be recorded, or whether one is due could not be told. Repeating an event is harmless.
func (f *Function) Event(ctx context.Context, e cmek.Event) error {
	if f.Settings.heartbeat(e) {
		f.Log.Info("heartbeat", "account", e.Account, "region", e.Region, "key", e.Key, age(e))
		return nil
	}
	if f.Settings.ours(e) {
		return nil
	}
	log := f.Log.With("event", e.ID, "change", e.Change, "key", e.Key, "region", e.Region, "principal", e.Principal)
	facts, doubts, unread := f.gather(ctx, e)
	a := Assess(e, facts)
	if a.Severity == None && isUse(e.Change) && unread != nil {
		return fmt.Errorf("find out whose use of the key it was: %w", unread)
	}
	var problem error
	if a.Recovery {
		var noted bool
		if noted, problem = f.noteRecovery(ctx, e); noted && a.Incident != "" {
			log.Info("recovery noted", "severity", a.Severity)
			return nil
		}
	}
	if level(a.Severity) <= level(cmek.Info) {
		log.Info("nobody needs to hear of it", "severity", a.Severity)
		return problem
	}
	return errors.Join(problem, f.tell(ctx, log, e, a, facts, doubts))
}

// ledgerPatience bounds each use of the ledger that an alert waits for, after its facts were gathered.
const ledgerPatience = 1500 * time.Millisecond

// noteRecovery notes with an open incident that the event may have ended it, and reports whether there is one, or was when
// the event came first. It is over when reads of the state say so, too. Without an open incident the time is kept: what
// broke it before may still have to be told, because events come in any order, and a repair must know that it was well.
func (f *Function) noteRecovery(ctx context.Context, e cmek.Event) (noted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	at := happened(e)
	_, err = f.Ledger.UpdateIncident(ctx, incidentKey(e, catalog[e.Change].incident), func(i *ledger.Incident) error {
		noted = i.Open() || i.Told(e.ID)
		before := at.Before(i.Alert.Time)
		if !i.Open() {
			before = i.Closing.Asked() && at.Before(i.Closing.At)
		}
		if i.Told(e.ID) || before || !at.After(i.Recovered) {
			return ledger.ErrUnchanged
		}
		i.Recovered = at
		if i.Open() {
			i.Add(e.ID)
			i.NextLook = time.Now()
		}
		return nil
	})
	return noted && err == nil, err
}

// tell publishes the alert, unless it would repeat what was told, and then records it, with the repair that is asked for.
func (f *Function) tell(ctx context.Context, log *slog.Logger, e cmek.Event, a Assessment, facts Facts, doubts []string) error {
	name := dedupKey(e, a)
	incident, unread := f.incident(ctx, name)
	if unread != nil {
		// Telling twice is better than never.
		incident, doubts = &ledger.Incident{DedupKey: name}, append(doubts, "whether this was told before")
	}
	if told(e, a, incident) {
		log.Info("told before", "incident", name)
		return nil
	}
	repeat := repeats(e, a, incident)
	alert := compose(e, a, facts, name, doubts)
	if !repeat {
		if err := f.Notifier.Notify(ctx, alert); err != nil {
			return errors.Join(unread, fmt.Errorf("tell about %s: %w", e.Change, err))
		}
		log.Info("told", "severity", a.Severity, "incident", name, age(e))
	}
	_, err := f.Ledger.UpdateIncident(ctx, name, func(i *ledger.Incident) error {
		f.planRepair(i, e, facts, repeat)
		record(i, e, a, alert, repeat, time.Now().Add(f.Settings.RecheckEvery))
		return nil
	})
	return errors.Join(unread, err)
}

func (f *Function) incident(ctx context.Context, name string) (*ledger.Incident, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	return f.Ledger.Incident(ctx, name)
}

// record notes what was told. What has no end is closed from the start. A recovery that is known already stands unless the
// event came after it: so events in any order lead to the same.
func record(i *ledger.Incident, e cmek.Event, a Assessment, alert cmek.Alert, repeat bool, nextLook time.Time) {
	i.Add(e.ID)
	if repeat {
		if e.Change == cmek.UseRefused && !happened(e).Before(i.GoodSince) {
			i.GoodSince = time.Time{} // the reads were wrong: it is not well
		}
		return
	}
	if i.Open() && !i.Closing.Asked() {
		alert.Severity = worse(alert.Severity, i.Alert.Severity)
		alert.Time = later(alert.Time, i.Alert.Time)
	}
	at, now := happened(e), time.Now()
	if i.Recovered.Before(at) {
		i.Recovered = time.Time{}
	}
	i.Alert, i.Kind, i.Opened, i.Closed = alert, a.Incident, now, now
	i.GoodSince, i.Closing, i.NextLook = time.Time{}, ledger.Closing{}, time.Time{}
	if a.Incident == "" {
		return
	}
	i.Closed = time.Time{}
	i.LookBy(nextLook)
	if a.Recovery {
		i.Recovered = later(i.Recovered, at)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
