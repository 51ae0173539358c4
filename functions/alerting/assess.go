package alerting

import (
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Facts are what was read about an event in the time there was.
type Facts struct {
	Usage Usage
	// Key is the key's state now; KeyKnown is false if it could not be read in time.
	Key      cmek.Key
	KeyKnown bool
	// Effect is set for changes of policies.
	Effect *Effect
	// Impacts says what fails at each cluster and when, by its id, as far as it was read.
	Impacts map[string]string
	// Own is true if what was changed is keyturn's own, OwnCaller if one of keyturn's functions made the call.
	Own, OwnCaller bool
	// Replica is true if the key is a replica of a multi-Region key that no cluster names.
	Replica bool
	// Keys are the keys that the clusters use as the principal of the event.
	Keys []cmek.KeyURI
	// Wraps are the versions of the event's key that the clusters' store keys were last re-encrypted under, WrapsKnown is true if they are
	// known of every region that uses the key.
	Wraps      []cmek.KeyVersion
	WrapsKnown bool
	// Above is the folder or organization that the event's project was directly below before the event; "" if that is not known.
	Above string
	// Pinned is true if regions of clusters follow the event's alias.
	Pinned bool
	// ByCluster is true if the principal of the call is that of a cluster that uses the key.
	ByCluster bool
	// ByRepair is true if the call was a repair by keyturn itself.
	ByRepair bool
	// Hold is the operator's order about the key or one of the clusters, nil if there is none.
	Hold *cmek.Hold
	// NoInventory is true if nobody could be asked which principals are clusters'. ByCluster says nothing then.
	NoInventory bool
}

// about is the event with the facts that its row is asked with.
func (f Facts) about(e cmek.Event) risk.Case {
	return risk.Case{
		Event: e, Key: f.Key, KeyKnown: f.KeyKnown, Effect: f.Effect, InUse: f.Usage.InUse(),
		Own: f.Own, Replica: f.Replica, NoInventory: f.NoInventory, Keys: f.Keys,
		Wraps: f.Wraps, WrapsKnown: f.WrapsKnown, Pinned: f.Pinned, Above: f.Above,
	}
}

// Assessment is the verdict about one event.
type Assessment struct {
	// Entry is the entry of the catalog of risky changes, as "RK-01"; "" if the event is none.
	Entry string
	// Change is that of the event, or what it turns out to be with what is known.
	Change   cmek.Change
	Severity alert.Severity
	// Unused is what the severity would be if nobody used the key, and the severity if that is certain.
	Unused alert.Severity
	// Incident names what is broken from now on, without the key; "" if nothing is, or if it has no end that could be seen.
	Incident string
	// Recovery: the event may end an incident of its kind. It does so only together with good reads of the state.
	Recovery bool
	// Summary is one line; Impact what fails and when.
	Summary, Impact string
	// RecoverySteps are what to do about it, one step an entry.
	RecoverySteps []string
	// Deadline is when it becomes final; zero if it does not, or if that is not known.
	Deadline time.Time
	// Grouped: a deployment changed keyturn's own parts, which belongs together with its other changes.
	Grouped bool
}

// Assess judges one event by its row in the catalog. It is pure. A change that is not in the catalog, and a use that is none of
// ours, is alert.None.
func Assess(e cmek.Event, f Facts) Assessment {
	c := f.about(e)
	row, _ := risk.For(c)
	a := Assessment{Entry: row.Entry, Change: row.Change, Severity: row.Rate(c), Unused: alert.None}
	if harmless(e, f) {
		a.Severity = alert.None
	}
	if f.ByRepair && a.Severity != alert.None {
		// The repair has said what it did. Only an enabled key is a recovery.
		enabled := row.Kind == risk.Restored || f.KeyKnown && f.Key.State.Usable()
		a.Severity, a.Recovery = alert.None, e.Succeeded() && enabled
	}
	if a.Severity == alert.None {
		return a
	}
	a.Incident, a.Recovery = row.Opens(c), row.Restores(c)
	a.Summary, a.Impact, a.Deadline = summary(row, c, f.Usage), row.Impact(c), row.Deadline(c)
	a.RecoverySteps = row.Steps(c)
	a.Grouped = c.Own && c.Deployed() && !row.Kind.Used()
	a.Unused = row.Unused(c, a.Severity)
	if !row.Everybody(c) && f.Usage.Unused() {
		a.Severity, a.Incident = a.Unused, ""
	}
	return a
}

// harmless reports uses that need no alert: a cluster's own, and a stranger's that failed or that no known cluster's key saw.
func harmless(e cmek.Event, f Facts) bool {
	switch row, _ := risk.Of(e.Change); {
	case row.Kind == risk.Refused:
		return !f.ByCluster
	case row.Kind == risk.Assumed && f.Own:
		return f.OwnCaller || !e.Succeeded()
	case row.Kind.Used():
		return f.ByCluster || !f.Usage.InUse() || !e.Succeeded() || row.Rate(f.about(e)) == alert.None
	}
	return false
}
