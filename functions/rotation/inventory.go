package rotation

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Reads are what was read about one cluster for one decision. What is nil or empty was not read.
type Reads struct {
	// At is when the reading began.
	At      time.Time
	Cluster *cmek.Cluster
	// Listed: Cluster is from a list. That says nothing about whether the cluster itself may be read.
	Listed bool
	// Hidden: the Cloud API does not show the cluster to our API key. It may exist all the same.
	Hidden bool
	// CMEK is without regions if the API shows none.
	CMEK *cmek.ClusterInfo
	Keys map[cmek.KeyURI]KeyFact
	// Projects are the projects that could be read, by the names by which the cluster names them.
	Projects       map[string]cmek.Project
	Paused         ledger.Pause
	Holds          cmek.Holds
	Orders         []ledger.Order
	Pins           []PinFact
	Moves          map[string]Move
	Fleet          Fleet
	UpdatedAtMoves bool
}

// Reasons why a cluster that had a CMEK is unread.
const (
	whyHidden = "the Cloud API no longer shows the cluster to keyturn's API key"
	whyNoCMEK = "the Cloud API shows no CMEK of the cluster, although a CMEK cannot be switched off"
)

// absorb takes reads over into the item's inventory and returns the facts for a decision. A read is a claim: one that shows less
// than before, or an earlier state, changes nothing until it is sure. Only a cluster that is said to be deleted is gone, and
// only a region that two reads show neither in the cluster nor in its CMEK.
func absorb(item *ledger.Cluster, r Reads, now time.Time) Facts {
	before := fingerprint(item)
	f := Facts{ReadAt: r.At, Listed: r.Listed, Keys: r.Keys, Paused: r.Paused, Holds: r.Holds, Orders: r.Orders, Moves: r.Moves, Fleet: r.Fleet, UpdatedAtMoves: r.UpdatedAtMoves}
	if r.Cluster != nil {
		reportOptOut(item, *r.Cluster, now)
		item.Cluster, f.ClusterRead = *r.Cluster, true
		// One that was forgotten stays so until its CMEK is shown again.
		item.Gone = r.Cluster.State == cmek.StateDeleted || item.Gone && (r.CMEK == nil || !r.CMEK.HasKeys())
	}
	known := item.CMEK.HasKeys()
	switch {
	case item.Gone:
		item.Unread, item.Older = ledger.Unread{}, ledger.OlderRead{}
	case r.Hidden && known:
		unread(item, whyHidden, r.At)
	case r.CMEK != nil && !r.CMEK.HasKeys() && known:
		unread(item, whyNoCMEK, r.At)
	case r.CMEK != nil:
		item.Unread = ledger.Unread{}
		absorbCMEK(item, &f, withoutFuture(*r.CMEK, now), r)
	}
	item.LearnProjects(r.Projects)
	f.Cluster, f.CMEK, f.Gone, f.Unread = item.Cluster, item.CMEK, item.Gone, item.Unread.Why
	f.Pins = r.Pins
	f.Orders = append(slices.Clip(f.Orders), absorbPins(item, f, now)...)
	// A read that shows nothing new is noted twice a day only, so that an idle fleet costs no writes.
	if f.CMEKRead && (fingerprint(item) != before || now.Sub(item.SeenAt) > forgottenAfter/2) {
		item.SeenAt = now
	}
	return f
}

func unread(item *ledger.Cluster, why string, at time.Time) {
	if item.Unread.IsZero() {
		item.Unread.Since = at
	}
	item.Unread.Why = why
}

func absorbCMEK(item *ledger.Cluster, f *Facts, info cmek.ClusterInfo, r Reads) {
	if older(item.CMEK, info) {
		print := printOf(info)
		if item.Older.Print != print {
			item.Older = ledger.OlderRead{Since: r.At, Print: print}
		}
		item.Older.Count++
		if item.Older.Count < olderReads || r.At.Sub(item.Older.Since) < olderLimit {
			f.Older = true
			return
		}
		item.Tell(rewoundAlert(item, r.At))
		for i, w := range item.Work { // what the later state seemed to show of a request did not happen
			if w.Request != nil && !w.Request.Ended {
				again := *w.Request
				again.Evidence, again.Final = ledger.Evidence{}, ledger.Final{}
				item.Work[i].Request = &again
			}
		}
	}
	item.Older = ledger.OlderRead{}
	f.CMEKRead = true
	f.Undated = undated(info)
	info = withNewestSeen(info, item.CMEK)
	f.Unshown = keepUnshown(item, &info, r)
	item.CMEK = info
	item.Skipped = slices.DeleteFunc(item.Skipped, func(region string) bool {
		shown, ok := info.Region(region)
		failed := slices.ContainsFunc(item.Work, func(w ledger.Work) bool { return w.Region == region && w.Failed > 0 })
		return !failed && (!ok || !shown.Status.Failed())
	})
}

// keepUnshown keeps the regions that the inventory has and the read does not show, and returns them, until a second read shows
// them neither in the cluster nor in its CMEK.
func keepUnshown(item *ledger.Cluster, info *cmek.ClusterInfo, r Reads) (unshown []string) {
	clusterTells := r.Cluster != nil && len(r.Cluster.Regions) > 0
	absent, partial := map[string]time.Time{}, map[string]time.Time{}
	if !clusterTells {
		absent, partial = maps.Clone(item.Absent), maps.Clone(item.Partial)
	}
	for _, known := range item.CMEK.RegionInfos {
		at := slices.IndexFunc(info.RegionInfos, func(r cmek.RegionInfo) bool { return r.Region == known.Region })
		// A CMEK cannot be switched off: a region that had keys and shows none was not read.
		empty := at >= 0 && len(info.RegionInfos[at].KeyInfos) == 0 && len(known.KeyInfos) > 0
		shown := at >= 0 && !empty
		inCluster := slices.ContainsFunc(item.Cluster.Regions, func(c cmek.Region) bool { return c.Name == known.Region })
		switch {
		case shown && !clusterTells:
			delete(absent, known.Region)
		case clusterTells && shown != inCluster:
			partial[known.Region] = since(item.Partial, known.Region, r.At)
		case clusterTells && !shown && !empty:
			absent[known.Region] = since(item.Absent, known.Region, r.At)
			if r.At.Sub(absent[known.Region]) >= confirmMin {
				delete(absent, known.Region)
				continue // gone
			}
		}
		if !shown {
			unshown = append(unshown, known.Region)
			if empty {
				info.RegionInfos = slices.Delete(slices.Clone(info.RegionInfos), at, at+1)
			}
			info.RegionInfos = append(slices.Clip(info.RegionInfos), known)
		}
	}
	item.Absent, item.Partial = absent, partial
	return unshown
}

// since is when the region was first noted; now if it was not yet.
func since(noted map[string]time.Time, region string, now time.Time) time.Time {
	if at, ok := noted[region]; ok {
		return at
	}
	return now
}

// older reports whether a read shows an earlier state than the inventory: a key that it no longer names, or one with an earlier
// updated_at. The Cloud API lists current and past keys, so a key does not vanish.
func older(known, read cmek.ClusterInfo) bool {
	for _, was := range known.RegionInfos {
		is, ok := read.Region(was.Region)
		if !ok || len(is.KeyInfos) == 0 {
			continue
		}
		for _, k := range was.KeyInfos {
			then, _ := lastUpdate(was, k.Spec.URI)
			now, shown := lastUpdate(is, k.Spec.URI)
			if !shown || !now.IsZero() && now.Before(then) {
				return true
			}
		}
	}
	return false
}

// lastUpdate is the latest updated_at of the key's infos, past ones included, and whether there is one. The key's newest info
// would not do: which one that is changes with their statuses, and may lead back to an earlier updated_at.
func lastUpdate(info cmek.RegionInfo, uri cmek.KeyURI) (at time.Time, shown bool) {
	for _, k := range info.KeyInfos {
		if k.Spec.URI == uri {
			at, shown = latest(at, k.UpdatedAt), true
		}
	}
	return at, shown
}

// withoutFuture leaves out each updated_at that is so far ahead of us that it cannot be one.
func withoutFuture(info cmek.ClusterInfo, now time.Time) cmek.ClusterInfo {
	info.RegionInfos = slices.Clone(info.RegionInfos)
	for i, r := range info.RegionInfos {
		info.RegionInfos[i].KeyInfos = slices.Clone(r.KeyInfos)
		for j, k := range r.KeyInfos {
			if k.UpdatedAt.After(now.Add(aheadMax)) {
				info.RegionInfos[i].KeyInfos[j].UpdatedAt = time.Time{}
			}
		}
	}
	return info
}

// undated lists the regions and keys of which the read shows no updated_at that can be used.
func undated(info cmek.ClusterInfo) map[string]bool {
	found := map[string]bool{}
	for _, r := range info.RegionInfos {
		for _, k := range r.KeyInfos {
			if r.Newest(k.Spec.URI).UpdatedAt.IsZero() {
				found[undatedName(r.Region, k.Spec.URI)] = true
			}
		}
	}
	return found
}

func undatedName(region string, uri cmek.KeyURI) string { return region + " " + string(uri) }

// withNewestSeen fills in each updated_at that the read leaves out with the one known before, so that a later read that is older
// is still told from it.
func withNewestSeen(info, known cmek.ClusterInfo) cmek.ClusterInfo {
	info.RegionInfos = slices.Clone(info.RegionInfos)
	for i, r := range info.RegionInfos {
		was, ok := known.Region(r.Region)
		if !ok {
			continue
		}
		info.RegionInfos[i].KeyInfos = slices.Clone(r.KeyInfos)
		for j, k := range r.KeyInfos {
			same := func(old cmek.KeyInfo) bool { return old.Spec.URI == k.Spec.URI && old.CreatedAt.Equal(k.CreatedAt) }
			if n := slices.IndexFunc(was.KeyInfos, same); n >= 0 && k.UpdatedAt.IsZero() {
				info.RegionInfos[i].KeyInfos[j].UpdatedAt = was.KeyInfos[n].UpdatedAt
			}
		}
	}
	return info
}

// printOf identifies what a read shows. The order of regions and keys, which the API does not document, does not matter.
func printOf(info cmek.ClusterInfo) string {
	info.RegionInfos = slices.Clone(info.RegionInfos)
	slices.SortFunc(info.RegionInfos, func(a, b cmek.RegionInfo) int { return cmp.Compare(a.Region, b.Region) })
	for i, r := range info.RegionInfos {
		infos := slices.Clone(r.KeyInfos)
		for j := range infos {
			infos[j].UserMessage = "" // free text
		}
		slices.SortFunc(infos, func(a, b cmek.KeyInfo) int {
			return cmp.Or(cmp.Compare(a.Spec.URI, b.Spec.URI), a.CreatedAt.Compare(b.CreatedAt), a.UpdatedAt.Compare(b.UpdatedAt),
				cmp.Compare(a.Status, b.Status), cmp.Compare(a.Spec.AuthPrincipal, b.Spec.AuthPrincipal))
		})
		info.RegionInfos[i].KeyInfos = infos
	}
	data, _ := json.Marshal(info) // plain fields, and times that the API wrote as RFC 3339
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// fingerprint identifies the inventory, to tell whether a read showed anything new.
func fingerprint(item *ledger.Cluster) string {
	data, _ := json.Marshal(item.Cluster)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]) + printOf(item.CMEK)
}
