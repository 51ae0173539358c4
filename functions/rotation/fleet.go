package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Fleet holds the ledger items of all clusters of each key, by its canonical URI. One item nil among them stands for those that
// cannot be decoded.
type Fleet map[string][]*ledger.Cluster

// place is a cluster with open work for one version of a key that waits to be sent.
type place struct {
	cluster *ledger.Cluster
	// refusals and refusedSince are the work's refusals in a row; tried is when the last of them was answered.
	refusals     int
	refusedSince time.Time
	tried        time.Time
	notBefore    time.Time
	// lost: a request of it was given up without a trace, and may have arrived all the same; lostTwice: so was a second one.
	lost, lostTwice bool
	// detained: it waits for something of its own.
	detained bool
}

// fleet is what the clusters of one key have come to with one version of it.
type fleet struct {
	// waiting are the clusters whose PUT is still to be sent, in order; flying those with one under way.
	waiting []place
	flying  []*ledger.Cluster
	// canaryDone: our PUT has re-encrypted one of them.
	canaryDone bool
	// stopped names the first cluster whose failure stops the others; "" for none.
	stopped string
}

// order says why the work must wait for other clusters of its key, and until when it should; "" if it may be sent. One canary
// cluster goes first, then at most InFlight at a time, in order. A failure stops the rest; a canary that is refused keeps the
// rest waiting for half an hour, then another one goes first.
func (d decision) order(w ledger.Work, key cmek.Key) (why string, until time.Time) {
	next := d.now.Add(orderWait)
	if slices.Contains(d.Fleet[w.Key.Canonical()], nil) {
		return "the ledger's item of another cluster of the key cannot be read", next
	}
	f := d.fleet(w, key.Version)
	if w.Failed > 0 { // the one retry goes before all others, which wait for its outcome
		if len(f.flying) == 0 {
			return "", time.Time{}
		}
		return fmt.Sprintf("waits for cluster %s of the same key", named(f.flying[0])), next
	}
	if f.stopped != "" {
		return "stopped: " + f.stopped, next
	}
	if f.canaryDone {
		ready := slices.DeleteFunc(f.waiting, func(p place) bool { return d.now.Before(p.notBefore) || p.detained && !d.self(p) })
		ahead := max(0, slices.IndexFunc(ready, d.self))
		if len(f.flying)+ahead >= d.settings.InFlight {
			return fmt.Sprintf("next in order: %d before it, %d in progress", ahead, len(f.flying)), next
		}
		return "", time.Time{}
	}
	if len(f.flying) > 0 {
		return "waits for the canary " + named(f.flying[0]), next
	}
	canary := d.canary(f.waiting)
	if canary.cluster.ID != d.item.ID {
		why := "waits for the canary " + named(canary.cluster)
		if canary.refusals > 0 {
			why += ", which is refused"
		}
		return why, next
	}
	if last := lastProbe(f.waiting, d.item.ID, d.now); !last.IsZero() && d.now.Before(last.Add(probeEvery)) {
		return "several clusters were refused with this key: one request an hour", last.Add(probeEvery)
	}
	return "", time.Time{}
}

func (d decision) self(p place) bool { return p.cluster.ID == d.item.ID }

// canary is the cluster that goes first: one that has been tried and is not done yet, else the one labeled so, else the first by
// name. One that has been refused for longer than canaryPatience comes after the others, of which those with another principal are
// preferred; when all have been, the one that was tried longest ago is next.
func (d decision) canary(waiting []place) place {
	var patient, tired []place
	for _, p := range waiting {
		if tiredOf(p, d.now) {
			tired = append(tired, p)
		} else {
			patient = append(patient, p)
		}
	}
	if len(patient) == 0 {
		return slices.MinFunc(tired, func(a, b place) int { return a.tried.Compare(b.tried) })
	}
	return slices.MinFunc(patient, func(a, b place) int {
		return cmp.Or(cmp.Compare(untried(a), untried(b)), cmp.Compare(shared(a.cluster, tired), shared(b.cluster, tired)), rank(a.cluster, b.cluster))
	})
}

// tiredOf reports whether a cluster was refused, or its requests got lost, for so long that another one is canary.
func tiredOf(p place, now time.Time) bool {
	return p.refusals > 0 && now.Sub(p.refusedSince) >= canaryPatience || p.lostTwice
}

// untried is 0 if a request of the cluster was sent and its outcome is open: refused, or lost without a trace; 1 otherwise.
func untried(p place) int {
	if p.lost || p.refusals > 0 {
		return 0
	}
	return 1
}

// shared is 1 if the cluster assumes a principal that one of the others does, 0 otherwise.
func shared(c *ledger.Cluster, others []place) int {
	for _, p := range others {
		for _, principal := range principals(p.cluster) {
			if slices.Contains(principals(c), principal) {
				return 1
			}
		}
	}
	return 0
}

func principals(c *ledger.Cluster) (list []string) {
	for _, info := range c.CMEK.RegionInfos {
		for _, k := range info.KeyInfos {
			list = append(list, k.Spec.AuthPrincipal.Canonical())
		}
	}
	return list
}

// lastProbe is when a PUT was last refused, if the key was refused for a canary before the one that is next; zero otherwise.
// The first PUT of a new canary does not wait for it.
func lastProbe(waiting []place, self string, now time.Time) (last time.Time) {
	tired, fresh := 0, false
	for _, p := range waiting {
		if tiredOf(p, now) {
			tired++
		}
		if p.cluster.ID == self && p.refusals == 0 {
			fresh = true
		}
		if p.tried.After(last) {
			last = p.tried
		}
	}
	if tired == 0 || tired == 1 && fresh || tired == 1 && len(waiting) == 1 {
		return time.Time{}
	}
	return last
}

// rank orders clusters: those labeled keyturn=canary first, then by name.
func rank(a, b *ledger.Cluster) int {
	label := func(c *ledger.Cluster) int {
		if c.Cluster.Labels["keyturn"] == "canary" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(label(a), label(b)), cmp.Compare(a.Cluster.Name, b.Cluster.Name), cmp.Compare(a.ID, b.ID))
}

// byRank orders a batch of due clusters: those that could be read last time first, then as the fleet's order has it, so that it does not
// depend on when within a minute each became due.
func byRank(a, b *ledger.Cluster) int {
	return cmp.Or(cmp.Compare(min(a.Failures, 1), min(b.Failures, 1)), rank(a, b))
}

// fleet sums up what the clusters of the work's key have come to with the version.
func (d decision) fleet(w ledger.Work, version cmek.KeyVersion) fleet {
	var f fleet
	all := d.Fleet[w.Key.Canonical()]
	if !slices.ContainsFunc(all, func(c *ledger.Cluster) bool { return c.ID == d.item.ID }) {
		all = append(slices.Clone(all), d.item)
	}
	opened := w.Since
	all = slices.DeleteFunc(slices.Clone(all), func(c *ledger.Cluster) bool { return c == nil })
	for _, c := range all {
		for _, other := range c.Work {
			if concerns(other, w.Key, version) && other.Since.Before(opened) {
				opened = other.Since
			}
		}
	}
	for _, c := range all {
		if c.ID == d.item.ID {
			c = d.item
		}
		f.canaryDone = f.canaryDone || slices.ContainsFunc(c.Done, func(done ledger.Done) bool {
			// That a key re-encrypts under a new version does not show that a cluster can be moved to it.
			return done.Followed && done.Version == version && done.Key.SameKey(w.Key) && (w.Order == "" || done.Order != "")
		})
		if region := failedIn(c, w.Key, version, opened); region != "" && f.stopped == "" && c.ID != d.item.ID {
			f.stopped = fmt.Sprintf("the re-encryption of cluster %s failed in %s", named(c), region)
		}
		if c.ID != d.item.ID && slices.ContainsFunc(c.Work, func(o ledger.Work) bool {
			return concerns(o, w.Key, version) && (o.State == ledger.Requested && o.Lost < 2 || o.Claimed(d.now))
		}) && !hiddenFor(c, d.now) {
			f.flying = append(f.flying, c)
			continue
		}
		if p, ok := waits(c, w.Key, version); ok || c.ID == d.item.ID {
			f.waiting = append(f.waiting, p)
		}
	}
	slices.SortFunc(f.waiting, func(a, b place) int { return rank(a.cluster, b.cluster) })
	return f
}

// Stopped reports whether the work, of cluster c, waits behind a failure of another of the clusters: then time alone does not
// bring it on.
func Stopped(clusters []*ledger.Cluster, c *ledger.Cluster, w ledger.Work, now time.Time) bool {
	d := decision{Facts: Facts{Fleet: Fleet{w.Key.Canonical(): clusters}}, item: c, now: now}
	return w.State == ledger.Due && w.Failed == 0 && d.fleet(w, w.Version).stopped != ""
}

// hiddenFor reports whether a cluster has not been shown for so long that others need not wait for its request.
func hiddenFor(c *ledger.Cluster, now time.Time) bool {
	return !c.Unread.IsZero() && now.Sub(c.Unread.Since) >= canaryPatience
}

// concerns reports whether the work is for the key's version. Work whose version is not known yet is for the current one.
func concerns(w ledger.Work, key cmek.KeyURI, version cmek.KeyVersion) bool {
	return w.Key.SameKey(key) && (w.Version == version || w.Version.IsZero())
}

// waits returns the cluster's place among those whose PUT for the key's version is still to be sent, and whether it has one.
func waits(c *ledger.Cluster, key cmek.KeyURI, version cmek.KeyVersion) (p place, is bool) {
	p.cluster = c
	ready := false
	for _, w := range c.Work {
		if !concerns(w, key, version) || w.State != ledger.Due {
			continue
		}
		if w.Attempts > 0 && w.Request != nil {
			p.refusals, p.refusedSince, p.tried = w.Attempts, w.RefusedSince, w.Request.Answered
		}
		p.notBefore = latest(p.notBefore, w.NotBefore)
		p.lost, p.lostTwice = p.lost || w.Lost > 0, p.lostTwice || w.Lost > 1
		ready = ready || !w.Detained
	}
	p.detained = !ready
	ok := ready || p.lost // what was lost may be in progress: nobody else goes first
	return p, ok && c.Unread.IsZero() && !leftAlone(c)
}

// leftAlone reports whether nothing is sent to the cluster, whatever happens to its key.
func leftAlone(c *ledger.Cluster) bool {
	return c.Gone || off(c.Cluster) || c.CMEK.Status.HandsOff()
}

// failedIn returns a region of the cluster whose re-encryption under the key failed: by our request, or by one that began after
// this version's work was opened. A cluster that is left alone stops nobody.
func failedIn(c *ledger.Cluster, key cmek.KeyURI, version cmek.KeyVersion, opened time.Time) string {
	if leftAlone(c) {
		return ""
	}
	for _, w := range c.Work {
		if w.Failed > 0 && concerns(w, key, version) && !slices.Contains(c.Skipped, w.Region) {
			return w.Region
		}
	}
	for _, info := range c.CMEK.RegionInfos {
		if (info.Status == cmek.RotateFailed || info.Status == cmek.EnableFailed) && inForce(info, key) &&
			!failedAt(info).Before(opened.Add(-clockOffset)) && !skipped(c, info.Region) {
			return info.Region
		}
	}
	return ""
}

// failedAt is when the region's failure was last changed, by the API's clock; the far future if it does not say.
func failedAt(info cmek.RegionInfo) (at time.Time) {
	for _, k := range info.KeyInfos {
		if k.Status.Failed() || k.Status == cmek.Enabled {
			at = latest(at, k.UpdatedAt)
		}
	}
	if at.IsZero() {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return at
}

// inForce reports whether the region still has to do with the key: a key that is DISABLED there is a past one.
func inForce(info cmek.RegionInfo, key cmek.KeyURI) bool {
	return slices.ContainsFunc(info.KeyInfos, func(k cmek.KeyInfo) bool {
		return k.Spec.URI.SameKey(key) && k.Status != cmek.Disabled
	})
}

// skipped reports whether an operator has let the others go on without the region, or its work try again.
func skipped(c *ledger.Cluster, region string) bool {
	return slices.Contains(c.Skipped, region) || slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Region == region && w.Retried })
}

func named(c *ledger.Cluster) string {
	if c.Cluster.Name != "" {
		return c.Cluster.Name
	}
	return c.ID
}
