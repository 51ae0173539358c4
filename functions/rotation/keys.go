package rotation

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Kinds of incidents about keys.
const (
	keyUnusable   = alert.KeyUnusable
	keyUnreadable = "key-unreadable"
)

// regionKey is a key of a region.
type regionKey struct {
	region string
	uri    cmek.KeyURI
}

// keysNeeded lists the keys that a decision about the works needs, in the API's order, so that a run can be repeated. read is the
// CMEK as read, nil if it was not.
func keysNeeded(c *ledger.Cluster, works []ledger.Work, read *cmek.ClusterInfo, follows func(cmek.KeyType) bool) (keys []regionKey) {
	// Of the inventory, too: it decides if the read is older.
	shown := c.CMEK.RegionInfos
	if read != nil {
		shown = append(slices.Clone(read.RegionInfos), shown...)
	}
	wanted := map[string]bool{}
	for _, work := range works {
		wanted[work.Region] = wanted[work.Region] || work.State != ledger.Requested
	}
	for _, info := range shown {
		if len(works) > 0 && !wanted[info.Region] {
			continue
		}
		uris := map[cmek.KeyURI]bool{}
		if spec, n := info.Current(); n == 1 {
			uris[spec.Spec.URI] = follows(spec.Spec.Type)
		}
		if spec := failedSpec(c, info); info.Status.Failed() && spec.URI != "" {
			uris[spec.URI] = follows(spec.Type)
		}
		for _, k := range info.KeyInfos {
			if uris[k.Spec.URI] {
				keys = append(keys, regionKey{info.Region, k.Spec.URI})
			}
		}
	}
	return keys
}

// troubleForgotten is when trouble with a key that is no longer read is checked: it is forgotten if no cluster needs the key.
const troubleForgotten = 3 * time.Hour

func aboutKeys(dedupKey string) bool {
	kind := dedupKey
	for i := range dedupKey {
		if dedupKey[i] == '/' {
			kind = dedupKey[:i]
			break
		}
	}
	return kind == keyUnusable || kind == keyUnreadable
}

// troubles is what is wrong with keys after these reads.
func troubles(known map[string]ledger.KeyTrouble, read map[cmek.KeyURI]KeyFact, now time.Time) map[string]ledger.KeyTrouble {
	all := maps.Clone(known)
	if all == nil {
		all = map[string]ledger.KeyTrouble{}
	}
	for uri, fact := range read {
		was := all[string(uri)]
		t := ledger.KeyTrouble{Since: was.Since, Read: now}
		var off *cmek.SwitchedOffError
		switch {
		case errors.As(fact.Err, &off):
			t.Kind, t.Reason, t.Help, t.Count = keyUnreadable, off.What, off.Help, keyFailuresToReport
		case errors.Is(fact.Err, cmek.ErrDenied):
			t.Kind, t.Reason, t.Count = keyUnreadable, "access denied", keyFailuresToReport
		case fact.Err != nil:
			t.Kind, t.Reason, t.Count = keyUnreadable, fact.Err.Error(), was.Count+1
		case fact.Key.State.Unusable():
			t.Kind, t.Reason, t.Deadline, t.Count = keyUnusable, string(fact.Key.State), fact.Key.DeletionDate, keyFailuresToReport
			if fact.Key.Version.Scheme == cmek.Primary {
				t.Version = fact.Key.Version.ID
			}
		case !fact.Key.State.Usable() && was.Kind != "":
			continue // passing: it says neither
		default:
			delete(all, string(uri))
			continue
		}
		if t.Since.IsZero() || was.Kind != t.Kind {
			t.Since = now
		}
		if was.Kind == keyUnusable && t.Kind == keyUnreadable {
			was.Read = now
			all[string(uri)] = was // not read says nothing about the key: it stays as it was
			continue
		}
		all[string(uri)] = t
	}
	return all
}

// forgetUnused leaves out trouble with keys that no read has reached for long and no cluster needs any more. As long as one does,
// not reading a key says nothing about it.
func forgetUnused(all map[string]ledger.KeyTrouble, now time.Time, byKey func(cmek.KeyURI) ([]*ledger.Cluster, error)) (map[string]ledger.KeyTrouble, error) {
	kept := map[string]ledger.KeyTrouble{}
	var problems []error
	for _, uri := range slices.Sorted(maps.Keys(all)) {
		t := all[uri]
		if now.Sub(t.Read) > troubleForgotten {
			clusters, err := byKey(cmek.KeyURI(uri))
			needed := slices.ContainsFunc(clusters, func(c *ledger.Cluster) bool {
				return slices.ContainsFunc(c.CMEK.RegionInfos, func(r cmek.RegionInfo) bool { return inForce(r, cmek.KeyURI(uri)) })
			})
			if err == nil && !needed {
				continue
			}
			problems = append(problems, err)
			t.Read = now // looked after; not asked again at once
		}
		kept[uri] = t
	}
	return kept, errors.Join(problems...)
}

// sameTroubles reports whether nothing is new but the time of the reads.
func sameTroubles(a, b map[string]ledger.KeyTrouble) bool {
	return maps.EqualFunc(a, b, func(x, y ledger.KeyTrouble) bool {
		return x.Kind == y.Kind && x.Reason == y.Reason && x.Version == y.Version && x.Deadline.Equal(y.Deadline) && (x.Count >= keyFailuresToReport) == (y.Count >= keyFailuresToReport)
	})
}

// keyConditions is one alert for each cause. Clusters are asked for where an alert is new or has become another one.
func keyConditions(troubles map[string]ledger.KeyTrouble, byKey func(cmek.KeyURI) ([]*ledger.Cluster, error)) (found []alert.Alert, err error) {
	var problems []error
	unreadable := map[string][]string{} // by account and reason
	for _, uri := range slices.Sorted(maps.Keys(troubles)) {
		t, key := troubles[uri], cmek.KeyURI(uri)
		if t.Count < keyFailuresToReport {
			continue
		}
		if t.Kind == keyUnreadable {
			cause := keyUnreadable + "/" + key.Account()
			switch {
			case len(t.Help) > 0: // one cause for all keys in its reach
				cause += "/" + t.Reason
			case t.Reason != "access denied":
				cause = keyUnreadable + "/" + string(key)
			}
			unreadable[cause] = append(unreadable[cause], uri)
			continue
		}
		a := unusableAlert(key, t)
		var err error
		a.Clusters, err = clustersOf(byKey, key)
		problems = append(problems, err)
		found = append(found, a)
	}
	for _, cause := range slices.Sorted(maps.Keys(unreadable)) {
		a, err := unreadableAlert(cause, unreadable[cause], troubles, byKey)
		problems = append(problems, err)
		found = append(found, a)
	}
	return found, errors.Join(problems...)
}

// clustersOf lists the clusters that need the keys now, with their regions.
func clustersOf(byKey func(cmek.KeyURI) ([]*ledger.Cluster, error), keys ...cmek.KeyURI) (all []alert.AffectedCluster, err error) {
	var problems []error
	for _, key := range keys {
		clusters, err := byKey(key)
		problems = append(problems, err)
		for _, c := range clusters {
			i := slices.IndexFunc(all, func(a alert.AffectedCluster) bool { return a.ID == c.ID })
			if i < 0 {
				i, all = len(all), append(all, alert.AffectedCluster{ID: c.ID, Name: c.Cluster.Name})
			}
			for _, info := range c.CMEK.RegionInfos {
				if spec, n := info.Current(); n == 1 && spec.Spec.URI == c.Spelled(key) {
					all[i].Regions = append(all[i].Regions, info.Region)
				}
			}
		}
	}
	return all, errors.Join(problems...)
}

func unusableAlert(key cmek.KeyURI, t ledger.KeyTrouble) alert.Alert {
	return alert.Alert{
		// By the region's own URI: a replica of a multi-Region key is disabled and deleted on its own.
		DedupKey: alert.IncidentKey(keyUnusable, troubled(key, t)), Audience: alert.Owners, Severity: alert.Critical, Change: changeKeyUnusable, Key: key,
		Deadline:      t.Deadline,
		Summary:       fmt.Sprintf("Key %s in %s is %s", key.ID(), key.Location(), t.Reason),
		Impact:        "Nodes that restart cannot rejoin their cluster, and managed backups fail silently. Running nodes continue with the keys that they hold in memory.",
		RecoverySteps: recoverySteps(key, t),
	}
}

// troubled names what is unusable as alerting does, so that both mean the same incident: the key, or its version on Cloud KMS.
func troubled(key cmek.KeyURI, t ledger.KeyTrouble) string {
	if t.Version == "" {
		return string(key)
	}
	return string(key) + "/cryptoKeyVersions/" + t.Version
}

// keysListed bounds the keys that an alert names, and those whose clusters it asks for.
const keysListed = 50

func unreadableAlert(cause string, uris []string, troubles map[string]ledger.KeyTrouble, byKey func(cmek.KeyURI) ([]*ledger.Cluster, error)) (alert.Alert, error) {
	var keys []cmek.KeyURI
	for _, uri := range uris[:min(len(uris), keysListed)] {
		keys = append(keys, cmek.KeyURI(uri))
	}
	first := keys[0]
	reason, help := troubles[string(first)].Reason, troubles[string(first)].Help
	a := alert.Alert{
		DedupKey: cause, Audience: alert.Operations, Severity: alert.High, Change: changeKeyUnreadable, Key: first,
		Summary:       fmt.Sprintf("keyturn cannot read key %s: %s", first.ID(), reason),
		Impact:        "Rotations of these keys cannot be followed, and whether the keys are healthy is not known. This says nothing about the keys themselves.",
		RecoverySteps: allowReads(first),
	}
	if len(help) > 0 {
		a.RecoverySteps = help
	}
	if len(uris) > 1 {
		a.Key = ""
		a.Summary = fmt.Sprintf("keyturn cannot read %d keys of account %s: %s", len(uris), cmp.Or(first.Account(), "unknown"), reason)
		a.RecoverySteps = []string{allowReadsOfAll(first)}
		if len(help) > 0 {
			a.RecoverySteps = slices.Clone(help)
		}
		for _, key := range keys {
			a.RecoverySteps = append(a.RecoverySteps, "Key "+string(key)+".")
		}
		if more := len(uris) - len(keys); more > 0 {
			a.RecoverySteps = append(a.RecoverySteps, fmt.Sprintf("And %d more keys.", more))
		}
	}
	var err error
	a.Clusters, err = clustersOf(byKey, keys...)
	return a, err
}
