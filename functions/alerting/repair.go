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

// repair cancels a scheduled deletion of a key in use and enables the key, if the owner opted in. It says what it did. The
// incident is as it was before the event. After an error nothing was done that is not told, and the event comes again.
func (f *Function) repair(ctx context.Context, e cmek.Event, facts Facts, incident *ledger.Incident) error {
	if f.Repairer == nil || e.Change != cmek.DeletionWasScheduled || !e.Succeeded() || !readable(e.Key) || !facts.Usage.InUse() {
		return nil
	}
	why, err := f.handsOff(ctx, e, incident)
	if err != nil {
		return err
	}
	told := cmek.Alert{
		DedupKey: incident.DedupKey, Audience: cmek.Owners, Severity: cmek.High, Change: e.Change, Key: e.Key, Clusters: facts.Usage.Clusters,
		Time: time.Now(), Runbook: repairRunbook,
	}
	if why == "" {
		now := time.Now()
		if _, err := f.Ledger.UpdateIncident(ctx, incident.DedupKey, func(i *ledger.Incident) error {
			if now.Sub(i.Repaired) < repairEvery {
				why = "it did so or tried to at " + i.Repaired.UTC().Format(time.RFC3339) + ", and does so once a day at most"
				return ledger.ErrUnchanged
			}
			i.Repaired = now
			return nil
		}); err != nil {
			return fmt.Errorf("note the repair: %w", err)
		}
	}
	switch {
	case why != "":
		told.Summary = fmt.Sprintf("keyturn leaves key %s as it is: %s", e.Key.ID(), why)
		if facts.KeyKnown {
			told.Consequence = fmt.Sprintf("The key's state is %q.", facts.Key.State)
		}
		told.WayBack = WayBack(e, facts.Key)
	default:
		told.Summary, told.WayBack = f.undo(ctx, e)
	}
	told.ID = incident.DedupKey + "@" + e.ID + "/repair"
	if err := f.Notifier.Notify(ctx, told); err != nil {
		return fmt.Errorf("tell about the repair: %w", err)
	}
	f.Log.Info("repair", "key", e.Key, "summary", told.Summary)
	return nil
}

func (f *Function) undo(ctx context.Context, e cmek.Event) (summary string, wayBack []string) {
	if err := f.Repairer.CancelDeletion(ctx, e.Key); err != nil {
		return fmt.Sprintf("keyturn tried to cancel the deletion of key %s and failed: %v", e.Key.ID(), err), WayBack(e, cmek.Key{})
	}
	if err := f.Repairer.Enable(ctx, e.Key); err != nil {
		return fmt.Sprintf("keyturn canceled the deletion of key %s but could not enable it: %v", e.Key.ID(), err), WayBack(e, cmek.Key{})[1:]
	}
	return fmt.Sprintf("keyturn canceled the deletion of key %s and enabled it again", e.Key.ID()), []string{"Find out who scheduled the deletion, and why.", checkClusters}
}

// byRepair reports whether the event is the record of a repair, made or tried, by keyturn itself.
func (f *Function) byRepair(e cmek.Event) bool {
	return (e.Change == cmek.DeletionWasCanceled || e.Change == cmek.KeyWasEnabled) &&
		madeAs(e, strings.ReplaceAll(f.RepairRole, "{account}", e.Key.Account()))
}

// handsOff says why a key in use must not be repaired, or "".
func (f *Function) handsOff(ctx context.Context, e cmek.Event, incident *ledger.Incident) (string, error) {
	const wasDown = "the key was not enabled before"
	if incident.Recovered.IsZero() && incident.GoodSince.IsZero() {
		switch {
		case incident.Open():
			return wasDown, nil
		case incident.Closing.Asked():
			return "its last incident was closed by hand, and nothing says that it was enabled since", nil
		}
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
