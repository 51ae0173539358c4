package alerting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// repairEvery bounds repairs: whoever schedules a deletion a second time in a day means it, or is an attacker that a person
// must see.
const repairEvery = 24 * time.Hour

const repairRunbook = "functions/alerting/README.md#repair"

// repairTime is longer than a tick can take.
const repairTime = time.Minute

// Why the deletion is canceled and the key is left disabled.
const (
	wasDown    = "the key was not enabled before its deletion was scheduled"
	notEnabled = "no read shows that the key was enabled before its deletion was scheduled"
)

// planRepair notes that a scheduled deletion of a key in use is to be undone, if the owner opted in. The tick does it some minutes
// later: events come in any order, and one that shows that the key was disabled before may be on its way. The incident is as
// it was before the event.
func (f *Function) planRepair(i *ledger.Incident, e cmek.Event, facts Facts, repeat bool) {
	if !i.Open() {
		i.Repair = nil
	}
	kind := kind(e)
	switch {
	case !e.Succeeded():
	case kind == risk.State && i.Repair != nil && !happened(e).After(happened(i.Repair.Event)):
		i.Repair.Not = wasDown
	case f.Repairer != nil && kind == risk.Scheduled && !repeat && readable(e.Key) && facts.Usage.InUse() && !facts.Replica:
		i.Repair = &ledger.Repair{Event: e, Due: time.Now().Add(f.Settings.RepairAfter)}
		if i.Recovered.IsZero() && i.GoodSince.IsZero() && (i.Open() || i.Closing.Asked()) {
			i.Repair.Not = wasDown
		}
	}
}

// repair cancels the scheduled deletion and, if the key was seen enabled before, enables the key; unless something speaks against it
// or the key is not scheduled for deletion any more. It reports what it did. It is begun once; a result that could not be reported
// then is reported by the next tick.
func (f *Function) repair(ctx context.Context, i *ledger.Incident) error {
	e, begun := i.Repair.Event, i.Repair.Begun
	if !begun.IsZero() && time.Since(begun) < repairTime {
		return nil // another tick does it
	}
	key, unread := f.KMS.Key(ctx, e.Key)
	if begun.IsZero() && unread == nil && key.State != cmek.KeyDeletionScheduled {
		f.Log.Info("nothing to repair", "key", e.Key, "state", key.State)
		return f.forgetRepair(ctx, i)
	}
	var why, disabled string
	if begun.IsZero() {
		var err error
		if why, err = f.handsOff(ctx, e); err != nil {
			return err
		}
		if disabled, err = f.leftDisabled(ctx, e); err != nil {
			return err
		}
		if unread != nil {
			disabled = "its state could not be read just before"
		}
		now, mine := time.Now(), true
		if why == "" {
			if _, err := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(i *ledger.Incident) error {
				if mine = i.Repair != nil && i.Repair.Event.ID == e.ID && i.Repair.Begun.IsZero(); !mine {
					return ledger.ErrUnchanged // another tick was quicker
				}
				disabled = cmp.Or(i.Repair.Not, disabled) // an event may have come meanwhile
				if now.Sub(i.Repaired) < repairEvery {
					why = "it canceled a deletion of the key or tried to at " + i.Repaired.UTC().Format(time.RFC3339) + ", and does so at most once a day"
					return ledger.ErrUnchanged
				}
				i.Repaired, i.Repair.Begun = now, now
				return nil
			}); err != nil {
				return fmt.Errorf("note the repair: %w", err)
			}
		}
		if !mine {
			return nil
		}
	}
	sent := alert.Alert{
		ID: i.DedupKey + "@" + e.ID + "/repair", DedupKey: i.DedupKey, Audience: alert.Owners, Severity: alert.High, Change: e.Change, Key: e.Key,
		Clusters: withImpacts(i.Alert.Clusters, nil), ClusterCount: i.Alert.ClusterCount, Time: time.Now(), Runbook: repairRunbook,
	}
	row, _ := risk.Of(e.Change)
	steps := row.Steps(risk.Case{Event: e, Key: key, KeyKnown: unread == nil, InUse: true})
	switch {
	case !begun.IsZero():
		sent.Summary = fmt.Sprintf("keyturn began to undo the scheduled deletion of key %s at %s; the result was not recorded", e.Key.ID(), begun.UTC().Format(time.RFC3339))
	case why != "":
		sent.Summary = fmt.Sprintf("keyturn does not change key %s: %s", e.Key.ID(), why)
	default:
		sent.Summary, steps = f.undo(ctx, e, disabled, steps)
		unread = errUndone // the state that was read is not the key's any more
	}
	sent.RecoverySteps = steps
	if unread == nil {
		sent.Impact = fmt.Sprintf("The key's state is %q.", key.State)
		if key.State.Usable() {
			sent.RecoverySteps = afterRepair
		}
	}
	if err := f.Notifier.Notify(ctx, sent); err != nil {
		return fmt.Errorf("report the repair: %w", err)
	}
	f.Log.Info("repair", "key", e.Key, "summary", sent.Summary)
	return f.forgetRepair(ctx, i)
}

var errUndone = errors.New("the key was changed after it was read")

// undo cancels the deletion and, unless disabled says why not, enables the key.
func (f *Function) undo(ctx context.Context, e cmek.Event, disabled string, steps []string) (summary string, left []string) {
	if err := f.Repairer.CancelDeletion(ctx, e.Key); err != nil {
		return fmt.Sprintf("keyturn tried to cancel the deletion of key %s: %v", e.Key.ID(), err), steps
	}
	if disabled != "" {
		return fmt.Sprintf("keyturn canceled the deletion of key %s and left it disabled: %s", e.Key.ID(), disabled), steps[1:]
	}
	if err := f.Repairer.Enable(ctx, e.Key); err != nil {
		return fmt.Sprintf("keyturn canceled the deletion of key %s and could not enable it: %v", e.Key.ID(), err), steps[1:]
	}
	return fmt.Sprintf("keyturn canceled the deletion of key %s and enabled it again", e.Key.ID()), afterRepair
}

// forgetRepair notes that the repair is over, unless another one was planned meanwhile.
func (f *Function) forgetRepair(ctx context.Context, done *ledger.Incident) error {
	_, err := f.Ledger.UpdateIncident(ctx, done.DedupKey, func(i *ledger.Incident) error {
		if i.Repair == nil || i.Repair.Event.ID != done.Repair.Event.ID {
			return ledger.ErrUnchanged
		}
		i.Repair = nil
		return nil
	})
	return err
}

// afterRepair is what is left to do once the key can be used again.
var afterRepair = []string{"Find out who scheduled the deletion, and why.", risk.CheckClusters}

// byRepair reports whether the event is the record of a repair, made or tried, by keyturn itself: its role made the call while the
// ledger says that a repair of the key was begun. What cannot be read is no repair: somebody may have taken the role over.
func (f *Function) byRepair(ctx context.Context, e cmek.Event) bool {
	kind := kind(e)
	if f.RepairRole == "" || kind != risk.Canceled && kind != risk.Restored || !caller(e).Same(inAccount(f.RepairRole, e.Key.Account())) {
		return false
	}
	row, _ := risk.Of(e.Change)
	i, err := f.incident(ctx, alert.IncidentKey(row.Incident, subject(e)))
	if err != nil {
		f.Log.Warn("earlier repair not read", "event", e.ID, "key", e.Key, "error", err)
		return false
	}
	return !i.Repaired.IsZero() && e.Time.Sub(i.Repaired).Abs() <= repairSpan
}

// repairSpan is how long before or after a repair was begun its calls are recorded: they follow at once, and clocks differ.
const repairSpan = 5 * time.Minute

// handsOff says why a key in use must not be changed at all, or "".
func (f *Function) handsOff(ctx context.Context, e cmek.Event) (string, error) {
	if h, held, err := f.Ledger.HoldOnKey(ctx, e.Key, time.Now()); err != nil || held {
		return onHold(h), err
	}
	holds, err := f.Ledger.Holds(ctx)
	if err != nil {
		return "", err
	}
	clusters, err := f.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return "", err
	}
	used := false
	for _, c := range clusters {
		if h, held := holds.Find(c.ID, "", time.Now()); held {
			return onHold(h), nil
		}
		if revoked(c.CMEK) {
			return "the CMEK of cluster " + named(c) + " is being revoked, or was", nil
		}
		used = used || slices.ContainsFunc(Uses([]*ledger.Cluster{c}), func(u Use) bool { return u.Spec.URI == e.Key })
	}
	if !used {
		return "no cluster uses it any more", nil
	}
	return "", nil
}

// onHold says that the hold stands.
func onHold(h cmek.Hold) string {
	return fmt.Sprintf("%s is on hold until %s: %s", h.Subject(), h.Until.UTC().Format(time.RFC3339), h.Reason)
}

// leftDisabled says why the key is not enabled, or "" if the sweep saw it enabled before its deletion was scheduled, and nothing
// says that it was disabled since. The absence of bad news is no such sign: events get lost.
func (f *Function) leftDisabled(ctx context.Context, e cmek.Event) (string, error) {
	clusters, err := f.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return "", err
	}
	for _, c := range clusters {
		for _, alarm := range c.Alarms {
			if alarm.Alert.Key == e.Key && alarm.Alert.Change == alert.ChangeKeyUnusable && (e.Time.IsZero() || alarm.Since.Before(e.Time)) {
				return wasDown, nil
			}
		}
	}
	noted, err := f.Ledger.StateNoted(ctx, e.Key)
	if err != nil {
		return "", err
	}
	if e.Time.IsZero() || !noted.SeenWithin(cmek.KeyEnabled, happened(e), stateFresh) {
		return notEnabled, nil
	}
	return "", nil
}

// stateFresh is how old the last read that showed the key enabled may be: the sweep notes it once an hour.
const stateFresh = 2 * time.Hour

// revoked reports whether anything of the CMEK is in one of the REVOK… statuses.
func revoked(info cmek.ClusterInfo) bool {
	is := func(s cmek.Status) bool { return strings.HasPrefix(string(s), "REVOK") }
	return is(info.Status) || slices.ContainsFunc(info.RegionInfos, func(r cmek.RegionInfo) bool {
		return is(r.Status) || slices.ContainsFunc(r.KeyInfos, func(k cmek.KeyInfo) bool { return is(k.Status) })
	})
}
