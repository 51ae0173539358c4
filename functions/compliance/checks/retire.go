package checks

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Permission is whether a key or a version may be disabled or deleted.
type Permission string

// The permissions. Never: something uses it now. NotKnown: it is not proven that nothing does, so it must be kept. NotBefore: nothing
// is known to need it from a date on; one in the past is the only yes.
const (
	Never     Permission = "NEVER"
	NotBefore Permission = "NOT BEFORE"
	NotKnown  Permission = "NOT KNOWN"
)

// Retirement is the decision about one key, or one version of it.
type Retirement struct {
	Key cmek.KeyURI `json:"key"`
	// Version is zero for the whole key.
	Version    cmek.KeyVersion `json:"version,omitzero"`
	Permission Permission      `json:"permission"`
	// NotBefore is set with that permission only.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Reasons say what decided, sorted; there is at least one. Grants are the permissions that are missing to know.
	Reasons []string `json:"reasons"`
	Grants  []string `json:"grants,omitempty"`
	// Unrelated: every cluster was read, and nothing ties the key to one. It is not known whether it may go, and that is no matter of CMEK:
	// whoever judges every key of a plan says nothing about it.
	Unrelated bool `json:"unrelated,omitempty"`
}

// Allowed reports whether it may be disabled or deleted at now.
func (r Retirement) Allowed(now time.Time) bool {
	return r.Permission == NotBefore && !r.NotBefore.After(now)
}

// Retire decides whether a key, or the version of it unless that is zero, may be disabled or deleted. Whatever is not proven keeps it:
// a restore of a managed backup needs the version that the backup was written under (CockroachDB docs, "Customer-Managed
// Encryption Keys": backups).
func Retire(key Key, version cmek.KeyVersion, now time.Time) Retirement {
	r := Retirement{Key: key.URI, Version: version}
	if key.unrelated(now) {
		r.Unrelated = true
		return r.decide(NotKnown, time.Time{}, []string{
			"every cluster was read, and none names the key, now or in the past", "nothing else that keyturn knows ties the key to a cluster",
			"the Cloud API shows no keys of clusters that were deleted",
		})
	}
	s := &scope{world: &world{now: now}, key: &key}
	needs := []Need{needUses, needDescription, needRetention, needLastUse}
	if cloudOf(key.URI) == AWS {
		needs = append(needs, needGrants)
	}
	unread := map[string]bool{}
	var unknown []string
	for _, n := range needs {
		reading := n.of(s)[0]
		if why := n.unread(*reading.Reading, now); why != "" {
			unread[n.Name] = true
			unknown = append(unknown, n.Name+" "+why)
			if reading.Grant != "" {
				r.Grants = append(r.Grants, reading.Grant)
			}
		}
	}
	// Uses that were read prove that the key is in use, however old the reading is; only those without problem prove the contrary.
	n := s.neededKey()
	switch {
	case cloudOf(key.URI) == AWS && !version.IsZero():
		return r.decide(Never, time.Time{}, []string{"AWS KMS keeps the versions of a key together: ask about the key"})
	case !version.IsZero() && unread[needDescription.Name]:
		n = need{unclear: "the key's versions were not read"}
	case !version.IsZero():
		n = s.neededVersion(version)
	}
	if len(n.inUse) > 0 {
		return r.decide(Never, time.Time{}, n.inUse)
	}
	if replicas := key.otherReplicas(); version.IsZero() && !unread[needDescription.Name] && len(replicas) > 0 && sameKey(key.Description.Value.Primary, key.URI) {
		return r.decide(Never, time.Time{}, []string{fmt.Sprintf("it is the primary key of %s", listed(replicas))})
	}
	if n.unclear != "" && !unread[needUses.Name] {
		unknown = append(unknown, n.unclear)
	}
	if len(key.Uses.Value) == 0 {
		unknown = append(unknown, key.Ties.Value...)
		if why := needTies.unread(key.Ties.Reading, now); why != "" && !unread[needUses.Name] {
			unknown = append(unknown, needTies.Name+" "+why)
		}
	}
	if !unread[needGrants.Name] && cloudOf(key.URI) == AWS {
		for _, g := range key.Grants.Value {
			unknown = append(unknown, fmt.Sprintf("grant %s lets %s use it", clip(g.ID), clip(g.Grantee)))
		}
	}
	if len(unknown) > 0 {
		return r.decide(NotKnown, time.Time{}, unknown)
	}
	last := key.LastUse.Value
	until, reasons := n.until, []string{n.why}
	retention := key.Retention.Value
	switch {
	case last.Tracked.IsZero():
		return r.decide(NotKnown, time.Time{}, []string{"it is not known since when uses of the key are recorded"})
	case last.At.After(n.left.Add(clocks)) && version.IsZero():
		reasons = append(reasons, fmt.Sprintf("it was used on %s (%s), after the last cluster left it; that counts as if it were a backup", at(last.At), clip(cmp.Or(last.Operation, "operation not known"))))
		until = later(until, last.At.Add(retention))
	case last.Tracked.After(n.left) && version.IsZero():
		reasons = append(reasons, fmt.Sprintf("uses are recorded since %s only", at(last.Tracked)))
		until = later(until, last.Tracked.Add(retention))
	}
	return r.decide(NotBefore, until, append(reasons, fmt.Sprintf("the longest backup retention of its clusters is %s", span(retention))))
}

// unrelated reports whether nothing ties the key to a cluster. What was not read may be what does.
func (k *Key) unrelated(now time.Time) bool {
	return needUses.unread(k.Uses.Reading, now) == "" && len(k.Uses.Value) == 0 && needTies.unread(k.Ties.Reading, now) == "" && len(k.Ties.Value) == 0
}

func (r Retirement) decide(p Permission, notBefore time.Time, reasons []string) Retirement {
	r.Permission, r.NotBefore = p, notBefore
	r.Reasons = slices.Compact(slices.Sorted(slices.Values(reasons)))
	r.Grants = slices.Compact(slices.Sorted(slices.Values(r.Grants)))
	return r
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// need is until when clusters and their backups need a key or a version. inUse: what uses it now. unclear: nobody can tell.
// Otherwise left is when the last region left it, until is that plus the retention of backups, and why says so.
type need struct {
	inUse        []string
	unclear, why string
	left, until  time.Time
}

// neededKey is by when nothing needs the key, by the key infos of all clusters.
func (s *scope) neededKey() need {
	var n need
	for _, u := range s.own().all {
		switch {
		case InForce(u.Status):
			n.inUse = append(n.inUse, fmt.Sprintf("cluster %s uses it in %s (%s)", clip(u.ClusterName), clip(u.Region), clip(string(u.Status))))
		case !u.Deleted.IsZero():
			n.unclear = cmp.Or(s.keptFor(u), n.unclear)
		case u.Until.IsZero():
			n.unclear = fmt.Sprintf("it is not known when cluster %s left it in %s", clip(u.ClusterName), clip(u.Region))
		case u.Until.After(n.left):
			n.left = u.Until
			n.why = fmt.Sprintf("the last region that used it, %s of cluster %s, left it on %s", clip(u.Region), clip(u.ClusterName), at(u.Until))
		}
	}
	return s.closed(n)
}

// LongestRetention is the longest time that a cluster can be configured to keep its backups (CockroachDB docs, "Managed Backups": 2, 7, 30,
// 90 or 365 days). Whether those of a deleted cluster are kept as long is not documented, and its configuration cannot be read any more.
const LongestRetention = 365 * 24 * time.Hour

// keptFor is why a backup of a deleted cluster may need what the cluster used; "" once none can.
func (s *scope) keptFor(u Use) string {
	if s.now.Sub(u.Deleted) > LongestRetention {
		return ""
	}
	return fmt.Sprintf("cluster %s used it in %s and was deleted on %s, and how long its backups are kept is not known", clip(u.ClusterName), clip(u.Region), day(u.Deleted))
}

// closed adds the retention, or why there is no date.
func (s *scope) closed(n need) need {
	switch {
	case n.unclear != "":
	case len(s.own().all) == 0:
		n.unclear = "no cluster names the key, so it is not known which backups were written under it"
	case s.key.Retention.Value <= 0:
		n.unclear = "the backup retention of its clusters is not known"
	default:
		n.until = n.left.Add(s.key.Retention.Value)
	}
	return n
}

// neededVersion is by when nothing needs the version. A region leaves a version when its store key is re-encrypted under a newer one.
func (s *scope) neededVersion(version cmek.KeyVersion) need {
	key := s.key.Description.Value
	if version == key.Version {
		if n := s.neededKey(); len(n.inUse) > 0 || len(s.own().all) == 0 {
			return n
		}
	}
	if key.Position(version) < 0 {
		return need{unclear: fmt.Sprintf("the KMS does not show version %s", clip(version.ID))}
	}
	var n need
	for _, u := range s.own().all {
		if !u.Deleted.IsZero() {
			n.unclear = cmp.Or(s.keptFor(u), n.unclear)
			continue
		}
		where := fmt.Sprintf("region %s of cluster %s", clip(u.Region), clip(u.ClusterName))
		left := u.DoneAt
		if !InForce(u.Status) {
			left = u.Until // the region left all versions
		} else {
			switch {
			case u.Done == version:
				n.inUse = append(n.inUse, "the store key of "+where+" is encrypted under it")
				continue
			case u.Done.IsZero():
				n.unclear = "it is not known which version the store key of " + where + " is encrypted under"
				continue
			case key.Position(u.Done) < 0:
				n.unclear = "the KMS does not show the version that the store key of " + where + " is encrypted under"
				continue
			case key.Position(version) > key.Position(u.Done):
				n.inUse = append(n.inUse, "it is newer than the version that the store key of "+where+" is encrypted under")
				continue
			}
		}
		if left.IsZero() {
			n.unclear = "it is not known when " + where + " left it"
			continue
		}
		if left.After(n.left) {
			n.left, n.why = left, fmt.Sprintf("the last to leave it, %s, did so on %s", where, at(left))
		}
	}
	return s.closed(n)
}

// otherReplicas are the replicas of a primary multi-Region key.
func (k *Key) otherReplicas() (others []string) {
	for _, r := range k.Description.Value.Replicas {
		if !sameKey(r, k.URI) {
			others = append(others, string(r))
		}
	}
	slices.Sort(others)
	return others
}
