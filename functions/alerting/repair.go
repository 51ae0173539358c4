package alerting

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// repairEvery bounds repairs: whoever schedules a deletion a second time in a day means it, or is an attacker that a person
// must see.
const repairEvery = 24 * time.Hour

const repairRunbook = "functions/alerting/README.md#repair"

// repairTime is longer than a tick can take.
const repairTime = time.Minute

const wasDown = "the key was not enabled before"

// planRepair notes that a scheduled deletion of a key in use is to be undone, if the owner opted in. It is done some minutes later,
// by the tick: events come in any order, and one that tells that the key was disabled before may be on its way. The incident is as
// it was before the event.
func (f *Function) planRepair(i *ledger.Incident, e cmek.Event, facts Facts, repeat bool) {
	if !i.Open() {
		i.Repair = nil
	}
	switch {
	case !e.Succeeded():
	case e.Change == cmek.KeyWasDisabled && i.Repair != nil && !happened(e).After(happened(i.Repair.Event)):
		i.Repair.Not = wasDown
	case f.Repairer != nil && e.Change == cmek.DeletionWasScheduled && !repeat && readable(e.Key) && facts.Usage.InUse():
		i.Repair = &ledger.Repair{Event: e, Due: time.Now().Add(f.Settings.RepairAfter)}
		if i.Recovered.IsZero() && i.GoodSince.IsZero() {
			switch {
			case i.Open():
				i.Repair.Not = wasDown
			case i.Closing.Asked():
				i.Repair.Not = "its last incident was closed by hand, and nothing says that it was enabled since"
			}
		}
	}
}

// repair cancels the scheduled deletion and enables the key, unless something speaks against it or it is not scheduled for deletion
// any more. It says what it did. It is begun once; what could not be told then, the next tick tells.
func (f *Function) repair(ctx context.Context, i *ledger.Incident) error {
	e, begun := i.Repair.Event, i.Repair.Begun
	if !begun.IsZero() && time.Since(begun) < repairTime {
		return nil // another tick is at it
	}
	key, unread := f.KMS.Key(ctx, e.Key)
	if begun.IsZero() && unread == nil && key.State != cmek.KeyDeletionScheduled {
		f.Log.Info("nothing to repair", "key", e.Key, "state", key.State)
		return f.forgetRepair(ctx, i)
	}
	var why string
	if begun.IsZero() {
		var err error
		if why, err = f.handsOff(ctx, i.Repair); err != nil {
			return err
		}
	}
	told := cmek.Alert{
		ID: i.DedupKey + "@" + e.ID + "/repair", DedupKey: i.DedupKey, Audience: cmek.Owners, Severity: cmek.High, Change: e.Change, Key: e.Key,
		Clusters: unharmed(i.Alert.Clusters), ClusterCount: i.Alert.ClusterCount, Time: time.Now(), Runbook: repairRunbook,
	}
	mine := true
	if why == "" && begun.IsZero() {
		now := time.Now()
		if _, err := f.Ledger.UpdateIncident(ctx, i.DedupKey, func(i *ledger.Incident) error {
			if mine = i.Repair != nil && i.Repair.Event.ID == e.ID && i.Repair.Begun.IsZero(); !mine {
				return ledger.ErrUnchanged // another tick was quicker
			}
			why = i.Repair.Not // an event came meanwhile
			if now.Sub(i.Repaired) < repairEvery {
				why = "it did so or tried to at " + i.Repaired.UTC().Format(time.RFC3339) + ", and does so once a day at most"
			}
			if why != "" {
				return ledger.ErrUnchanged
			}
			i.Repaired, i.Repair.Begun = now, now
			return nil
		}); err != nil {
			return fmt.Errorf("note the repair: %w", err)
		}
	}
	switch {
	case !mine:
		return nil
	case why == "" && begun.IsZero():
		told.Summary, told.WayBack = f.undo(ctx, e)
	case !begun.IsZero():
		told.Summary = fmt.Sprintf("keyturn began to undo the scheduled deletion of key %s at %s, and could not tell what came of it then",
			e.Key.ID(), begun.UTC().Format(time.RFC3339))
	default:
		told.Summary = fmt.Sprintf("keyturn leaves key %s as it is: %s", e.Key.ID(), why)
	}
	if told.WayBack == nil {
		if unread == nil {
			told.Consequence = fmt.Sprintf("The key's state is %q.", key.State)
		}
		if told.WayBack = WayBack(e, key); key.State.Usable() {
			told.WayBack = afterRepair
		}
	}
	if err := f.Notifier.Notify(ctx, told); err != nil {
		return fmt.Errorf("tell about the repair: %w", err)
	}
	f.Log.Info("repair", "key", e.Key, "summary", told.Summary)
	return f.forgetRepair(ctx, i)
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
var afterRepair = []string{"Find out who scheduled the deletion, and why.", checkClusters}

// unharmed are the clusters without what would have become of them.
func unharmed(clusters []cmek.AffectedCluster) []cmek.AffectedCluster {
	clusters = slices.Clone(clusters)
	for i := range clusters {
		clusters[i].Harm = ""
	}
	return clusters
}

func (f *Function) undo(ctx context.Context, e cmek.Event) (summary string, wayBack []string) {
	if err := f.Repairer.CancelDeletion(ctx, e.Key); err != nil {
		return fmt.Sprintf("keyturn tried to cancel the deletion of key %s and failed: %v", e.Key.ID(), err), WayBack(e, cmek.Key{})
	}
	if err := f.Repairer.Enable(ctx, e.Key); err != nil {
		return fmt.Sprintf("keyturn canceled the deletion of key %s but could not enable it: %v", e.Key.ID(), err), WayBack(e, cmek.Key{})[1:]
	}
	return fmt.Sprintf("keyturn canceled the deletion of key %s and enabled it again", e.Key.ID()), afterRepair
}

// byRepair reports whether the event is the record of a repair, made or tried, by keyturn itself.
func (f *Function) byRepair(e cmek.Event) bool {
	return (e.Change == cmek.DeletionWasCanceled || e.Change == cmek.KeyWasEnabled) &&
		madeAs(e, strings.ReplaceAll(f.RepairRole, "{account}", e.Key.Account()))
}

// handsOff says why a key in use must not be repaired, or "".
func (f *Function) handsOff(ctx context.Context, plan *ledger.Repair) (string, error) {
	e := plan.Event
	if plan.Not != "" {
		return plan.Not, nil
	}
	declared, err := f.Ledger.Declared(ctx, e.Key)
	if err != nil {
		return "", err
	}
	if declared.Active() {
		return "an incident is declared on it since " + declared.Since.UTC().Format(time.RFC3339), nil
	}
	clusters, err := f.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return "", err
	}
	for _, c := range clusters {
		if revoked(c.CMEK) {
			return "cluster " + named(c) + " is being revoked, or was", nil
		}
		for _, alarm := range c.Alarms {
			if alarm.Alert.Key.SameKey(e.Key) && alarm.Alert.Change == "key unusable" && (e.Time.IsZero() || alarm.Since.Before(e.Time)) {
				return wasDown, nil
			}
		}
	}
	return "", nil
}

// revoked reports whether anything of the CMEK is in one of the REVOK… statuses.
func revoked(info cmek.ClusterInfo) bool {
	is := func(s cmek.Status) bool { return strings.HasPrefix(string(s), "REVOK") }
	return is(info.Status) || slices.ContainsFunc(info.RegionInfos, func(r cmek.RegionInfo) bool {
		return is(r.Status) || slices.ContainsFunc(r.KeyInfos, func(k cmek.KeyInfo) bool { return is(k.Status) })
	})
}
