package checks

import (
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// coverage: every cluster and region has a key, and rotations are followed. The checks are about CockroachDB Cloud and so the same on
// both clouds.
var coverage = []Check{
	{
		ID: "CMEK-01", Title: "CMEK enabled",
		Clause:     "Every cluster in scope has customer-managed encryption keys in force.",
		Severities: []alert.Severity{alert.High}, Subject: ClusterSubject,
		Needs:     []Need{needInfo, needCMEK},
		AWS:       Rule{judge: judgeEnabled, fix: fixEnabled},
		GCP:       Rule{judge: judgeEnabled, fix: fixEnabled},
		Citations: cite(ccc, cccVersion, byProwler, "CCC.Core.CN11.AR03"),
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-02", Title: "A key in every region",
		Clause:     "Every region of a cluster with CMEK has a key that is in force.",
		Severities: []alert.Severity{alert.Critical}, Subject: RegionSubject,
		Needs:     []Need{needInfo, needCMEK},
		AWS:       Rule{judge: judgeRegion, fix: fixRegion},
		GCP:       Rule{judge: judgeRegion, fix: fixRegion},
		Citations: none,
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-03", Title: "No failed or stuck operation",
		Clause:     "No status of the region's CMEK is a failure, and no operation runs longer than the limit.",
		Severities: []alert.Severity{alert.Critical, alert.High}, Subject: RegionSubject,
		Needs:     []Need{needInfo, needCMEK},
		AWS:       Rule{judge: judgeOperation, fix: fixOperation, GoesWith: []string{"CMEK-04"}},
		GCP:       Rule{judge: judgeOperation, fix: fixOperation, GoesWith: []string{"CMEK-04"}},
		Citations: none,
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-04", Title: "Store key re-encrypted after rotation",
		Clause:     "The region's store key is re-encrypted under the key's current version within the time allowed after a rotation.",
		Severities: []alert.Severity{alert.High}, Subject: RegionSubject,
		Needs:     []Need{needInfo, needCMEK, needDone, needDescription, needFirstSeen},
		AWS:       Rule{judge: judgeFollowed, fix: fixFollowed, GoesWith: []string{"CMEK-03"}},
		GCP:       Rule{judge: judgeFollowed, fix: fixFollowed, GoesWith: []string{"CMEK-03"}},
		Citations: slices.Concat(cite(nist, nistRev, byInference, "SC-12"), cite(pci, pciVersion, byInference, "3.7.4")),
		Mirrors:   []string{},
	},
}

func judgeEnabled(s *scope) verdict {
	info := s.cluster.CMEK.Value
	switch {
	case !info.HasKeys():
		return fail("the cluster has no CMEK")
	case protects(info.Status):
		return pass("CMEK status is %s", info.Status)
	case !slices.Contains(cmek.Statuses, info.Status):
		return unknown("CMEK status %q is not known", clip(string(info.Status)))
	}
	return fail("CMEK status is %s", info.Status)
}

func fixEnabled(s *scope, p *plan) {
	if s.cluster.CMEK.Value.HasKeys() {
		p.say(afterRevoke)
		return
	}
	p.say("Create a key in each region (" + listed(regionNames(s.cluster)) + ") and enable CMEK for the cluster, or declare it under out_of_scope with the reason.")
	p.run("keyturn cmek", []string{s.cluster.ID})
}

func regionNames(c *Cluster) (names []string) {
	for _, r := range c.Info.Value.Regions {
		names = append(names, clip(r.Name))
	}
	slices.Sort(names)
	return names
}

// afterRevoke: CockroachDB docs, "Manage customer-managed encryption keys", Revoke access.
const afterRevoke = "Ask Cockroach Labs' support to bring the CMEK back into force: the API has no way to do so."

func judgeRegion(s *scope) verdict {
	if s.subject.Region == unknownRegion {
		return unknown("the Cloud API shows no region of the cluster")
	}
	if !s.cluster.CMEK.Value.HasKeys() {
		return notApplicable("the cluster has no CMEK (CMEK-01)")
	}
	if !slices.ContainsFunc(s.cluster.Info.Value.Regions, func(r cmek.Region) bool { return r.Name == s.subject.Region }) {
		return unknown("the CMEK has the region, but the cluster does not list it")
	}
	r, current := s.region()
	if len(current) > 0 {
		return pass("key %s is %s", current[0].Spec.URI, current[0].Status)
	}
	for _, info := range r.KeyInfos {
		if !slices.Contains(cmek.Statuses, info.Status) {
			return unknown("status %q of key %s is not known", clip(string(info.Status)), info.Spec.URI)
		}
	}
	if r.Region == "" {
		return fail("the CMEK does not have the region")
	}
	return fail("no key of the region is %s; the region is %s", cmek.Enabled, clip(string(r.Status)))
}

func fixRegion(s *scope, p *plan) {
	if r, _ := s.region(); r.Status == cmek.Revoked || r.Status == cmek.Revoking {
		p.say(afterRevoke)
		return
	}
	p.say("Create a key for region " + clip(s.subject.Region) + ", allow the cluster's principal to use it, and add the region with its key to the CMEK of cluster " + clip(s.cluster.ID) + ".")
	p.run("keyturn cmek", []string{s.cluster.ID})
}

func judgeOperation(s *scope) verdict {
	limit := time.Duration(s.declared.Thresholds.StuckHours) * time.Hour
	if !s.cluster.CMEK.Value.HasKeys() {
		return notApplicable("the cluster has no CMEK (CMEK-01)")
	}
	r, _ := s.region()
	if r.Region == "" {
		return notApplicable("the CMEK does not have the region (CMEK-02)")
	}
	var found problems
	judge := func(what string, status cmek.Status, since time.Time) {
		switch {
		case !slices.Contains(cmek.Statuses, status):
			found.cannotTell("status %q of %s is not known", clip(string(status)), what)
		case strings.HasSuffix(string(status), "_FAILED"):
			found.add(alert.Critical, "%s is %s", what, status)
		case !strings.HasSuffix(string(status), "ING"):
		case since.IsZero() || s.future(since):
			found.cannotTell("%s is %s, and the Cloud API does not tell since when", what, status)
		case s.now.Sub(since) > limit:
			found.add(alert.High, "%s is %s since %s, longer than %s", what, status, at(since), span(limit))
		}
	}
	// The status of the whole is that of an operation in any of its regions.
	judge("the cluster's CMEK", s.cluster.CMEK.Value.Status, updated(s.cluster.CMEK.Value.RegionInfos...))
	judge("the region", r.Status, updated(r))
	for _, info := range r.KeyInfos {
		if newest := r.Newest(info.Spec.URI); newest == info {
			judge("key "+string(info.Spec.URI), info.Status, info.UpdatedAt)
		}
	}
	if s.cluster.Info.Value.OperationStatus == cmek.CMEKOperationFailed {
		found.add(alert.Critical, "the cluster's last operation is %s", cmek.CMEKOperationFailed)
	}
	return found.verdict("nothing failed, and nothing runs longer than %s", span(limit))
}

func fixOperation(s *scope, p *plan) {
	p.say("Read what Cockroach Labs says about it, and whether the key can be used (CMEK-05, CMEK-12):")
	p.cluster(s, "status")
	p.say("When the cause is fixed, let keyturn try again:")
	p.cluster(s, "retry")
}

// updated is when a key info of the regions last changed.
func updated(regions ...cmek.RegionInfo) (newest time.Time) {
	for _, r := range regions {
		for _, info := range r.KeyInfos {
			newest = later(newest, info.UpdatedAt)
		}
	}
	return newest
}

// longestOperation is how long after its beginning a re-encryption may still change a key info.
const longestOperation = 2 * time.Hour

func judgeFollowed(s *scope) verdict {
	if !s.cluster.CMEK.Value.HasKeys() {
		return notApplicable("the cluster has no CMEK (CMEK-01)")
	}
	_, current := s.region()
	switch {
	case len(current) == 0:
		return notApplicable("no key of the region is in force (CMEK-02)")
	case len(current) > 1:
		return unknown("%d keys of the region are in force, so it is not known which protects the store key", len(current))
	}
	info := current[0]
	k := s.keyOf(info.Spec.URI)
	key := k.Description.Value
	if key.Version.IsZero() {
		return unknown("the KMS does not tell the current version of key %s", k.URI)
	}
	rotated := key.RotatedAt
	if rotated.IsZero() {
		rotated = k.FirstSeen.Value
	}
	done := s.cluster.done(s.subject.Region, k.URI)
	switch {
	case done.Version == key.Version:
		return pass("re-encrypted under the current version %s on %s", key.Version.Short(), at(done.At))
	case !done.Version.IsZero() && done.Version.Scheme != key.Version.Scheme:
		return unknown("the ledger has version %s and the KMS shows %s: they cannot be compared", done.Version.Short(), key.Version.Short())
	case done.Version.IsZero() && key.NeverRotated:
		return pass("the key was never rotated")
	case s.future(rotated):
		return unknown("the key was rotated on %s, which is in the future", at(rotated))
	case done.Version.IsZero() && !rotated.IsZero() && info.Status == cmek.Enabled && !s.future(info.UpdatedAt) && info.UpdatedAt.After(rotated.Add(key.Settle+longestOperation)):
		return pass("the key info was updated on %s, after the rotation", at(info.UpdatedAt))
	case rotated.IsZero() && done.Version.IsZero():
		return unknown("the ledger has no re-encryption of the region, and it is not known when the key was rotated")
	case rotated.IsZero():
		return fail("the store key is under version %s, and the current one is %s since an unknown time", done.Version.Short(), key.Version.Short())
	}
	limit := time.Duration(s.declared.Thresholds.FollowHours) * time.Hour
	if s.now.Sub(rotated) <= limit {
		return pass("rotated on %s, and %s are allowed to follow", at(rotated), span(limit))
	}
	return fail("rotated on %s to version %s, and the store key is not re-encrypted after %s", at(rotated), key.Version.Short(), span(s.now.Sub(rotated)))
}

// done is the last re-encryption of the region with the key; zero if there is none.
func (c *Cluster) done(region string, uri cmek.KeyURI) (last Done) {
	for _, d := range c.Done.Value {
		if d.Region == region && sameKey(d.URI, uri) && !d.At.Before(last.At) {
			last = d
		}
	}
	return last
}

func fixFollowed(s *scope, p *plan) {
	p.say("See why keyturn has not followed the rotation:")
	p.cluster(s, "status")
	p.say("If the work is blocked, let keyturn try again:")
	p.cluster(s, "retry")
}

func listed(words []string) string {
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " and " + words[last]
	}
	return strings.Join(words, "")
}
