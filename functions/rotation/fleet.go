package rotation

import (
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// turn decides whether it is the turn of one region's work among all clusters of its key: one canary cluster goes first, then
// at most inFlight clusters at a time; a failure of any stops the rest. The fleet is every cluster that names the key.
func turn(fleet []*ledger.Cluster, self string, work ledger.Work, inFlight int) (ok bool, why string) {
	canaryDone := false
	var flying []*ledger.Cluster
	for _, c := range fleet {
		for _, d := range c.Done {
			canaryDone = canaryDone || d.Followed && d.Version == work.Version && d.Key.SameKey(work.Key)
		}
		if failed := failedRegion(c, work, self); failed != "" {
			return false, fmt.Sprintf("stopped: the rotation of cluster %s failed in %s", named(c), failed)
		}
		if c.ID != self && slices.ContainsFunc(c.Work, func(w ledger.Work) bool {
			return w.State == ledger.Requested && w.Version == work.Version && w.Key.SameKey(work.Key)
		}) {
			flying = append(flying, c)
		}
	}
	switch {
	case !canaryDone && len(flying) > 0:
		return false, "waits for the canary " + named(flying[0])
	case len(flying) >= inFlight:
		return false, fmt.Sprintf("waits for its turn: %d clusters of the key are in flight", len(flying))
	}
	return true, ""
}

// failedRegion returns a region of the cluster, other than the work's own, whose rotation with the work's key failed: by our
// request, or as the last read showed it.
func failedRegion(c *ledger.Cluster, work ledger.Work, self string) string {
	own := func(region string) bool { return c.ID == self && region == work.Region }
	for _, w := range c.Work {
		if w.Failed > 0 && w.Version == work.Version && w.Key.SameKey(work.Key) && !own(w.Region) {
			return w.Region
		}
	}
	if c.Gone || c.Cluster.Labels["keyturn"] == "off" || c.CMEK.Status.HandsOff() {
		return ""
	}
	for _, info := range c.CMEK.RegionInfos {
		if info.Status.Failed() && !info.Status.HandsOff() && inForce(info, work.Key) && !own(info.Region) && !released(c, info.Region) {
			return info.Region
		}
	}
	return ""
}

// inForce reports whether the region still has to do with the key: a key that is DISABLED there is a past one.
func inForce(info cmek.RegionInfo, key cmek.KeyURI) bool {
	return slices.ContainsFunc(info.KeyInfos, func(k cmek.KeyInfo) bool {
		return k.Spec.URI.SameKey(key) && k.Status != cmek.Disabled
	})
}

// released reports whether an operator has let the region's work try again, or the others go on without it.
func released(c *ledger.Cluster, region string) bool {
	return slices.Contains(c.Released, region) || slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Region == region && w.Released })
}

func named(c *ledger.Cluster) string {
	if c.Cluster.Name != "" {
		return c.Cluster.Name
	}
	return c.ID
}
