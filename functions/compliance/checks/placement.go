package checks

import (
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// placement: where keys are, who shares them, and how long a deletion waits.
var placement = []Check{
	{
		ID: "CMEK-21", Title: "Multi-Region key consistent",
		Clause:     "Every key of a multi-Region key that a cluster names exists, and all of them have the same policy.",
		Severities: []alert.Severity{alert.Medium}, Subject: KeySubject,
		Needs:     []Need{needDescription, needUses},
		AWS:       Rule{Needs: []Need{needPolicy, needReplicas}, judge: awsReplicas, fix: awsFixReplicas},
		GCP:       Rule{NotApplicable: "a key of Cloud KMS has one location and no replicas with policies of their own"},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "AC-3", "SC-12"), cite(pci, pciVersion, byStave, "3.5"), cite(soc2, socVersion, byStave, "CC6.1")),
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-22", Title: "Key in the cluster's region",
		Clause:     "A key is in the region of the cluster that it protects, or in a location that is declared for it.",
		Severities: []alert.Severity{alert.Medium}, Subject: RegionSubject,
		Needs:     []Need{needInfo, needCMEK},
		AWS:       Rule{judge: judgeLocation, fix: fixLocation},
		GCP:       Rule{judge: judgeLocation, fix: fixLocation},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "SC-12", "SC-13", "CP-6"), cite(iso, isoVersion, byStave, "A.5.34")),
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-23", Title: "Key not shared too widely",
		Clause:     "A key is used in one environment, and by no more clusters than declared.",
		Severities: []alert.Severity{alert.Medium, alert.Low}, Subject: KeySubject,
		Needs:     []Need{needUses},
		AWS:       Rule{judge: judgeShared, fix: fixShared},
		GCP:       Rule{judge: judgeShared, fix: fixShared},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "SC-12", "SC-28"), cite(pci, pciVersion, byStave, "3.6.1"), cite(soc2, socVersion, byStave, "CC6.7")),
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-24", Title: "Deletion waits long enough",
		Clause:     "The deletion of a key or a version waits at least as long as declared, so that somebody notices.",
		Severities: []alert.Severity{alert.High}, Subject: KeySubject,
		Needs:     []Need{needDescription, needUses},
		AWS:       Rule{judge: awsWindow, fix: awsFixWindow, GoesWith: []string{"CMEK-05", "CMEK-06"}},
		GCP:       Rule{judge: gcpWindow, fix: gcpFixWindow},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "SC-12(1)"), cite(pci, pciVersion, byStave, "3.6.1.4"), cite(soc2, socVersion, byStave, "A1.1")),
		Mirrors:   []string{},
	},
}

func awsReplicas(s *scope) verdict {
	key := s.key.Description.Value
	if !s.key.URI.IsMultiRegion() {
		return notApplicable("the key is not a multi-Region key")
	}
	if key.Primary == "" {
		return unknown("the KMS does not tell the key's primary")
	}
	related := append([]cmek.KeyURI{key.Primary}, key.Replicas...)
	var found problems
	for _, u := range s.key.Uses.Value {
		if InForce(u.Status) && !slices.ContainsFunc(related, func(r cmek.KeyURI) bool { return sameKey(r, u.Spec.URI) }) {
			found.add(alert.Medium, "cluster %s names %s, which is no replica of the key", clip(u.ClusterName), u.Spec.URI)
		}
	}
	own, bad := s.keyPolicy()
	if bad != nil {
		return *bad
	}
	for _, r := range related {
		if sameKey(r, s.key.URI) {
			continue
		}
		text, ok := s.key.Replicas.Value[r]
		other, err := policy.Parse(text)
		switch {
		case !ok:
			found.cannotTell("the policy of %s was not read", r)
		case err != nil:
			found.cannotTell("the policy of %s cannot be understood: %v", r, err)
		case !policy.Equal(own, other):
			found.add(alert.Medium, "the policy of %s is another one", r)
		}
	}
	return found.verdict("all %d related keys exist and have the same policy", len(related))
}

func awsFixReplicas(s *scope, p *plan) {
	p.say("Create the missing replicas from the primary key, and give all of them the same policy; each has its own:")
	p.kms(s.key.URI, "get-key-policy", "policy-name", "default", "query", "Policy", "output", "text")
	p.steps[len(p.steps)-1] += " > " + policyFile
	for _, r := range slices.Sorted(maps.Keys(s.key.Replicas.Value)) {
		if !sameKey(r, s.key.URI) {
			p.kms(r, "put-key-policy", "policy-name", "default", "policy", "file://"+policyFile)
		}
	}
}

func judgeLocation(s *scope) verdict {
	if !s.cluster.CMEK.Value.HasKeys() {
		return notApplicable("the cluster has no CMEK (CMEK-01)")
	}
	_, current := s.region()
	if len(current) == 0 {
		return notApplicable("no key of the region is in force (CMEK-02)")
	}
	allowed := append([]string{s.subject.Region}, s.declared.Residency[s.subject.Region]...)
	var found problems
	for _, info := range current {
		if location := info.Spec.URI.Location(); !slices.Contains(allowed, location) {
			found.add(alert.Medium, "key %s is in %s, not in %s", info.Spec.URI, clip(location), clip(listed(allowed)))
		}
	}
	return found.verdict("the key is in %s", current[0].Spec.URI.Location())
}

func fixLocation(s *scope, p *plan) {
	p.say("Create a key in " + clip(s.subject.Region) + " and move the region to it (keyturn rotate --to), or declare under residency in keyturn.yaml where the region's key may be.")
}

func judgeShared(s *scope) verdict {
	if why := s.unused(); why != "" {
		return notApplicable("%s", why)
	}
	clusters, environments := map[string]bool{}, map[string]bool{}
	for _, u := range s.key.Uses.Value {
		if InForce(u.Status) {
			clusters[u.ClusterID] = true
			environments[s.declared.environment(u.ClusterID, u.Labels)] = true
		}
	}
	var found problems
	if most := s.declared.Thresholds.ClustersPerKey; len(clusters) > most {
		found.add(alert.Low, "%d clusters use the key, more than %d", len(clusters), most)
	}
	undeclared := environments[""]
	delete(environments, "")
	where := "in one environment"
	if len(environments) == 0 && len(clusters) > 1 {
		where = "of which no environment is declared"
	}
	switch {
	case len(environments) > 1:
		found.add(alert.Medium, "environments %s share the key", clip(listed(slices.Sorted(maps.Keys(environments)))))
	case len(environments) == 1 && undeclared:
		found.cannotTell("some of its clusters have no environment")
	}
	return found.verdict("clusters that use the key: %d, %s", len(clusters), where)
}

func fixShared(_ *scope, p *plan) {
	p.say("Create a key for each environment and move clusters to it, one at a time (keyturn rotate --to). If it is meant to be shared, declare an exception or another clusters_per_key.")
}

func awsWindow(s *scope) verdict {
	key := s.key.Description.Value
	switch {
	case len(s.own().all) == 0:
		return notApplicable("no cluster names the key")
	case key.State != cmek.KeyDeletionScheduled:
		return notApplicable("no deletion is scheduled, and AWS KMS asks for the waiting period only then")
	}
	return s.window(key.DeletionWindow, "the scheduled deletion")
}

func gcpWindow(s *scope) verdict {
	if len(s.own().all) == 0 {
		return notApplicable("no cluster names the key")
	}
	return s.window(s.key.Description.Value.DeletionWindow, "a destruction")
}

func (s *scope) window(window time.Duration, what string) verdict {
	least := days(s.declared.Thresholds.DeletionWindowDays)
	switch {
	case window <= 0:
		return unknown("it is not known how long %s waits", what)
	case window < least:
		return fail("%s waits %s, less than %s", what, span(window), span(least))
	}
	return pass("%s waits %s", what, span(window))
}

func awsFixWindow(s *scope, p *plan) {
	awsFixDeletion(s, p)
	if len(s.own().inForce) == 0 {
		p.say("If nothing needs the key any more (keyturn retire), schedule its deletion again, with the longest wait:")
		p.kms(s.key.URI, "schedule-key-deletion", "pending-window-in-days", "30")
	}
}

func gcpFixWindow(s *scope, p *plan) {
	p.say("The duration is fixed when a key is created. Create a key with a longer one, and move the clusters to it (keyturn rotate --to):")
	uri := s.key.URI
	p.run("gcloud kms keys create", []string{uri.ID() + "-2"}, append([]string{"purpose", "encryption",
		"destroy-scheduled-duration", number(s.declared.Thresholds.DeletionWindowDays) + "d"}, keyFlags(uri)...)...)
}
