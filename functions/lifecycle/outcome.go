package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// sight is what was read of a cluster to tell what became of a request. What could not be read is nil.
type sight struct {
	at      time.Time
	cluster *cmek.Cluster
	cmek    *cmek.ClusterInfo
}

// Kinds of evidence that the request took effect.
const (
	evidenceKey     = "the key sent is shown"
	evidenceRegion  = "the region sent is shown"
	evidenceStatus  = "the revocation is shown"
	evidenceUpdated = "updated_at moved"
)

// follow takes a read over into the operation: it ends it if the read says how it ended, and returns why it goes on otherwise. It is pure,
// and changes nothing that the operation's slices and pointers lead to.
func follow(o ledger.Operation, s sight, now time.Time, set Settings) (ledger.Operation, string) {
	if s.cluster == nil || s.cmek == nil || s.at.Before(o.Sent) {
		return o, "the outcome was not read yet"
	}
	if kind := trace(o, *s.cluster, *s.cmek); o.Evidence.IsZero() && kind != "" {
		o.Evidence = ledger.Evidence{Kind: kind, At: s.at}
	}
	if o.Answer == nil && o.Evidence.IsZero() && now.Before(o.Sent.Add(ledger.ClaimTime)) {
		return o, "the request may be on its way"
	}
	o.Timeline = sighted(o.Timeline, *s.cluster, *s.cmek, s.at)
	rest, why := rest(o, *s.cluster, *s.cmek)
	switch {
	case rest == "":
		o.Final = ledger.Final{}
	case rest != o.Final.Status:
		o.Final = ledger.Final{Status: rest, Since: s.at}
	}
	accepted := o.Answer != nil && o.Answer.Outcome == cmek.Accepted
	grace := set.Grace
	if accepted {
		grace = ledger.LongestOperation
	}
	switch confirmed := o.Final.Since.Add(set.Confirm); {
	case o.Evidence.IsZero() && !now.Before(o.Sent.Add(grace)) && s.cluster.Busy() == "":
		return ended(o, ledger.OperationLost, fmt.Sprintf("the request left no trace within %s; the same command begins again, with new checks", grace), now), ""
	case o.Evidence.IsZero():
		return o, "no trace of the request yet"
	case o.Final.IsZero():
		return o, why
	case s.at.Before(confirmed):
		return o, fmt.Sprintf("%s, read once; the end counts when it is read again", o.Final.Status)
	case o.Final.Status.Failed() || strings.HasSuffix(string(o.Final.Status), "_FAILED"):
		return ended(o, ledger.OperationFailed, string(o.Final.Status)+userMessage(o, *s.cmek), now), ""
	}
	return ended(o, ledger.OperationDone, o.Evidence.Kind+", "+string(o.Final.Status)+" in two reads", now), ""
}

// ended is the operation at its end.
func ended(o ledger.Operation, result ledger.OperationResult, why string, now time.Time) ledger.Operation {
	o.Ended, o.Result, o.Why = now, result, why
	return o
}

// trace returns the kind of evidence that a read shows of what was asked for and was not there at the baseline; "" for none. Somebody else
// who asked for the very same at the same time cannot be told from us, and need not be.
func trace(o ledger.Operation, c cmek.Cluster, info cmek.ClusterInfo) string {
	if o.Baseline == nil {
		return ""
	}
	if o.Kind == ledger.OperationRevoke {
		for _, r := range info.RegionInfos {
			was, _ := o.Baseline.CMEK.Region(r.Region)
			if revoking(r.Status) && r.Status != was.Status {
				return evidenceStatus
			}
		}
		if revoking(info.Status) && info.Status != o.Baseline.CMEK.Status {
			return evidenceStatus
		}
		return ""
	}
	for _, name := range sorted(o.Nodes) {
		if hasRegion(c, name) && !hasRegion(cmek.Cluster{Regions: o.Baseline.Regions}, name) {
			return evidenceRegion
		}
	}
	for _, spec := range o.Specs {
		is, shown := keyOf(info, spec)
		was, known := keyOf(o.Baseline.CMEK, spec)
		switch {
		case !shown:
		case !known:
			return evidenceKey
		case is.UpdatedAt.After(was.UpdatedAt) && !was.UpdatedAt.IsZero():
			return evidenceUpdated
		case (is.Status.InProgress() || is.Status.Failed() || is.Status == cmek.Enabled) && is.Status != was.Status:
			return evidenceKey
		}
	}
	return ""
}

func revoking(s cmek.Status) bool {
	return s == cmek.Revoked || s == cmek.Revoking || s == cmek.RevokeFailed
}

// keyOf is the newest info of exactly that key spec in the region, and whether there is one.
func keyOf(info cmek.ClusterInfo, spec cmek.RegionSpec) (cmek.KeyInfo, bool) {
	region, _ := info.Region(spec.Region)
	region.KeyInfos = slices.Clone(region.KeyInfos)
	region.KeyInfos = slices.DeleteFunc(region.KeyInfos, func(k cmek.KeyInfo) bool { return k.Spec != spec.KeySpec })
	k := region.Newest(spec.KeySpec.URI)
	return k, k.Spec.URI != ""
}

// rest is the state in which no operation runs; "" with the reason if one may.
func rest(o ledger.Operation, c cmek.Cluster, info cmek.ClusterInfo) (cmek.Status, string) {
	if failed := failure(o, c, info); failed != "" {
		return failed, ""
	}
	if reached(o, c, info) {
		if o.Kind == ledger.OperationRevoke {
			return cmek.Revoked, ""
		}
		return cmek.Enabled, ""
	}
	if busy := c.Busy(); busy != "" {
		return "", busy
	}
	return "", "status " + string(statusOf(info))
}

// failure is a failed status that the baseline did not show, at what was asked for; "" for none.
func failure(o ledger.Operation, c cmek.Cluster, info cmek.ClusterInfo) cmek.Status {
	if strings.HasSuffix(c.OperationStatus, "_FAILED") && o.Baseline != nil && c.OperationStatus != o.Baseline.Operation {
		return cmek.Status(c.OperationStatus)
	}
	regions := map[string]bool{}
	for _, spec := range o.Specs {
		regions[spec.Region] = true
		if k, _ := keyOf(info, spec); k.Status.Failed() && newStatus(o, spec, k) {
			return k.Status
		}
	}
	for _, r := range info.RegionInfos {
		var was cmek.RegionInfo
		if o.Baseline != nil {
			was, _ = o.Baseline.CMEK.Region(r.Region)
		}
		if (regions[r.Region] || o.Kind == ledger.OperationRevoke) && r.Status.Failed() && r.Status != was.Status {
			return r.Status
		}
	}
	return ""
}

// newStatus reports whether a failed key differs from what it was at the baseline.
func newStatus(o ledger.Operation, spec cmek.RegionSpec, k cmek.KeyInfo) bool {
	if o.Baseline == nil {
		return true
	}
	was, known := keyOf(o.Baseline.CMEK, spec)
	return !known || was.Status != k.Status || k.UpdatedAt.After(was.UpdatedAt)
}

// reached reports whether a read shows all that was asked for, with nothing running. Every region of the baseline must still be shown.
func reached(o ledger.Operation, c cmek.Cluster, info cmek.ClusterInfo) bool {
	if o.Baseline != nil {
		for _, r := range o.Baseline.Regions {
			if !hasRegion(c, r.Name) {
				return false
			}
		}
	}
	if o.Kind == ledger.OperationRevoke {
		idle := c.State != cmek.StateLocked && c.OperationStatus != cmek.CMEKOperationRunning
		return idle && len(info.RegionInfos) > 0 && !slices.ContainsFunc(info.RegionInfos, func(r cmek.RegionInfo) bool { return r.Status != cmek.Revoked })
	}
	if c.Busy() != "" {
		return false
	}
	for name, nodes := range o.Nodes {
		if !slices.Contains(c.Regions, cmek.Region{Name: name, NodeCount: nodes}) {
			return false
		}
	}
	for _, spec := range o.Specs {
		region, _ := info.Region(spec.Region)
		current, distinct := region.Current()
		if region.Status != cmek.Enabled || distinct != 1 || current.Spec != spec.KeySpec {
			return false
		}
	}
	return true
}

// userMessage is what Cockroach Labs says about the keys that were sent, or about those that are in force.
func userMessage(o ledger.Operation, info cmek.ClusterInfo) string {
	specs := o.Specs
	if len(specs) == 0 {
		specs = inForce(info)
	}
	var said []string
	for _, spec := range specs {
		if k, _ := keyOf(info, spec); k.UserMessage != "" {
			said = append(said, fmt.Sprintf("%s: %q", spec.Region, k.UserMessage))
		}
	}
	if len(said) == 0 {
		return ""
	}
	return ": " + strings.Join(said, ", ")
}

// sighted adds a read to a timeline, unless it shows what was seen last.
func sighted(timeline []ledger.OperationSighting, c cmek.Cluster, info cmek.ClusterInfo, at time.Time) []ledger.OperationSighting {
	const kept = 24
	s := ledger.OperationSighting{At: at, State: c.State, Operation: c.OperationStatus, CMEK: info.Status, Regions: map[string]cmek.Status{}}
	for _, r := range info.RegionInfos {
		s.Regions[r.Region] = r.Status
	}
	if n := len(timeline); n > 0 {
		last := timeline[n-1]
		if last.State == s.State && last.Operation == s.Operation && last.CMEK == s.CMEK && maps.Equal(last.Regions, s.Regions) {
			return timeline
		}
	}
	timeline = append(slices.Clone(timeline), s)
	if len(timeline) > kept {
		timeline = slices.Delete(timeline, kept/2, kept/2+1)
	}
	return timeline
}
