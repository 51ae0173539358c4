package checks

import (
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// health: what clusters need can be used, now and as long as backups need it.
var health = []Check{
	{
		ID: "CMEK-05", Title: "Key usable",
		Clause:     "A key that a cluster uses is enabled, symmetric, for encryption, the customer's own, and in an expected account.",
		Severities: []alert.Severity{alert.Critical}, Subject: KeySubject,
		Needs: []Need{needDescription, needUses},
		AWS:   Rule{judge: judgeUsable(awsFit), fix: awsFixUsable, GoesWith: []string{"CMEK-06", "CMEK-11", "CMEK-24"}},
		GCP:   Rule{judge: judgeUsable(gcpFit), fix: gcpFixUsable, GoesWith: []string{"CMEK-06"}},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "SC-12"), cite(iso, isoVersion, byStave, "A.8.24"), cite(pci, pciVersion, byStave, "3.6.1"),
			cite(soc2, socVersion, byStave, "CC6.1")),
		Mirrors: []string{alert.KeyUnusable},
	},
	{
		ID: "CMEK-06", Title: "Key not pending deletion",
		Clause:     "No key and no key version that a cluster or a backup needs is destroyed or scheduled to be.",
		Severities: []alert.Severity{alert.Critical}, Subject: KeySubject,
		Needs: []Need{needDescription, needUses, needRetention},
		AWS:   Rule{judge: awsDeletion, fix: awsFixDeletion, GoesWith: []string{"CMEK-05", "CMEK-07", "CMEK-24", "CMEK-31"}},
		GCP:   Rule{judge: gcpDeletion, fix: gcpFixDeletion, GoesWith: []string{"CMEK-05", "CMEK-07"}},
		Citations: slices.Concat(cite(hub, hubVersion, byAWS, "KMS.3"), cite(nist, nistRev, bySteampipe, "SA-9(6)", "SC-12", "SC-12(2)", "SC-12(6)"),
			cite(pci, pciVersion, bySteampipe, "3.5.1.1", "3.5.1.3", "3.6.1.2", "3.6.1.3", "3.6.1.4", "3.7.1", "3.7.2", "3.7.4", "3.7.6", "3.7.7"),
			cite(soc2, socVersion, bySteampipe, "CC6.1", "CC6.2"), cite(iso, isoVersion, byProwler, "A.8.24")),
		Mirrors: []string{alert.KeyUnusable},
	},
	{
		ID: "CMEK-07", Title: "Old keys and versions stay enabled",
		Clause:     "A past key, or an older version of a key, stays enabled until no backup needs it.",
		Severities: []alert.Severity{alert.Critical}, Subject: KeySubject,
		Needs:     []Need{needDescription, needUses, needRetention},
		AWS:       Rule{judge: awsOld, fix: awsFixUsable, GoesWith: []string{"CMEK-06", "CMEK-31"}},
		GCP:       Rule{judge: gcpOld, fix: gcpFixOld, GoesWith: []string{"CMEK-06"}},
		Citations: none,
		Mirrors:   []string{alert.KeyUnusable},
	},
}

func judgeUsable(fit func(*scope, *problems)) func(*scope) verdict {
	return func(s *scope) verdict {
		if why := s.unused(); why != "" {
			return notApplicable("%s (CMEK-07)", why)
		}
		var found problems
		key := s.key.Description.Value
		switch {
		case key.State.Unusable():
			found.add(alert.Critical, "the key is %s", key.State)
		case !key.State.Usable():
			found.cannotTell("the key is %s", clip(string(key.State)))
		}
		if key.State != cmek.KeyNotFound {
			fit(s, &found)
		}
		if allowed := s.declared.Accounts; len(allowed) > 0 && !slices.Contains(allowed, s.key.URI.Account()) {
			found.add(alert.Critical, "the key is in %s, which is not among the declared accounts", clip(s.key.URI.Account()))
		}
		return found.verdict("the key is %s", key.State)
	}
}

// equal adds a problem unless a word of the KMS is the expected one. A word that the KMS left out is not known.
func (p *problems) equal(what, got, want string) {
	switch got {
	case want:
	case "":
		p.cannotTell("the KMS does not tell the key's %s", what)
	default:
		p.add(alert.Critical, "the key's %s is %s instead of %s", what, clip(got), want)
	}
}

func awsFit(s *scope, found *problems) {
	key := s.key.Description.Value
	found.equal("usage", key.Purpose, "ENCRYPT_DECRYPT")
	found.equal("spec", key.Spec, "SYMMETRIC_DEFAULT")
	found.equal("manager", key.Manager, "CUSTOMER")
}

func gcpFit(s *scope, found *problems) {
	found.equal("purpose", s.key.Description.Value.Purpose, "ENCRYPT_DECRYPT")
}

// disturbed are the states that end in destruction.
func disturbed(state cmek.KeyState) bool {
	return state == cmek.KeyDeletionScheduled || state == cmek.KeyDestroyed || state == cmek.KeyNotFound
}

func awsDeletion(s *scope) verdict {
	key := s.key.Description.Value
	if len(s.own().all) == 0 {
		return notApplicable("no cluster names the key")
	}
	if !disturbed(key.State) {
		if key.State == "" || key.State == cmek.KeyUnknown {
			return unknown("the KMS does not tell the key's state")
		}
		return pass("no deletion is scheduled; the key is %s", key.State)
	}
	ends := ""
	if !key.DeletionDate.IsZero() {
		ends = ", final on " + at(key.DeletionDate)
	}
	return s.unlessDone(s.neededKey(), fmt.Sprintf("the key is %s%s", key.State, ends))
}

// unlessDone fails with what is wrong with a key or version, unless nothing needs it any more.
func (s *scope) unlessDone(n need, wrong string) verdict {
	switch {
	case len(n.inUse) > 1:
		return fail("%s, and %s (and %d more)", wrong, n.inUse[0], len(n.inUse)-1)
	case len(n.inUse) > 0:
		return fail("%s, and %s", wrong, n.inUse[0])
	case n.unclear != "":
		return unknown("%s, and %s", wrong, n.unclear)
	case s.now.Before(n.until):
		return fail("%s, and backups may need it until %s", wrong, day(n.until))
	}
	return pass("%s, and nothing needs it since %s", wrong, day(n.until))
}

func gcpDeletion(s *scope) verdict {
	return s.versions("no version that is needed is scheduled for destruction", disturbed, func(cmek.KeyVersionInfo) bool { return true })
}

// versions judges the key's versions that are in a bad state, or in one that is not known.
func (s *scope) versions(good string, bad func(cmek.KeyState) bool, of func(cmek.KeyVersionInfo) bool) verdict {
	key := s.key.Description.Value
	switch {
	case len(s.own().all) == 0:
		return notApplicable("no cluster names the key")
	case key.State == cmek.KeyNotFound:
		return s.unlessDone(s.neededKey(), "the key does not exist")
	case len(key.Versions) == 0:
		return unknown("the KMS shows no version of the key")
	}
	var found problems
	for _, u := range s.own().inForce {
		if !u.Done.IsZero() && u.Done.Scheme == key.Version.Scheme && key.Position(u.Done) < 0 {
			found.cannotTell("the KMS does not show version %s, which the store key of region %s of cluster %s is encrypted under", clip(u.Done.ID), clip(u.Region), clip(u.ClusterName))
		}
	}
	for _, v := range key.Versions {
		told := v.State != "" && v.State != cmek.KeyUnknown
		if told && !bad(v.State) || !of(v) {
			continue
		}
		wrong := fmt.Sprintf("version %s is %s", clip(v.Version.ID), v.State)
		if !v.DeletionDate.IsZero() {
			wrong += ", final on " + at(v.DeletionDate)
		}
		switch one := s.unlessDone(s.neededVersion(v.Version), wrong); one.result {
		case Fail:
			if !told {
				found.cannotTell("the state of version %s: the KMS shows %q", clip(v.Version.ID), clip(string(v.State)))
				continue
			}
			found.add(alert.Critical, "%s", one.why)
		case Error:
			found.cannotTell("%s", one.why)
		case Pass, NotApplicable:
		}
	}
	return found.verdict("%s", good)
}

func awsOld(s *scope) verdict {
	key := s.key.Description.Value
	switch {
	case len(s.own().all) == 0:
		return notApplicable("no cluster names the key")
	case len(s.own().inForce) > 0:
		return notApplicable("a cluster uses the key, and AWS KMS keeps all of its material (CMEK-05, CMEK-06)")
	case key.State.Usable():
		return pass("the past key is %s", key.State)
	case !key.State.Unusable():
		return unknown("the past key is %s", clip(string(key.State)))
	}
	return s.unlessDone(s.neededKey(), fmt.Sprintf("the past key is %s", key.State))
}

func gcpOld(s *scope) verdict {
	inUse, current := len(s.own().inForce) > 0, s.key.Description.Value.Version
	return s.versions("every older version that is needed is enabled", cmek.KeyState.Unusable, func(v cmek.KeyVersionInfo) bool {
		return !inUse || v.Version != current
	})
}

func awsFixUsable(s *scope, p *plan) {
	switch s.key.Description.Value.State {
	case cmek.KeyDisabled:
		p.kms(s.key.URI, "enable-key")
	case cmek.KeyDeletionScheduled:
		awsFixDeletion(s, p)
	case cmek.KeyPendingImport:
		p.say("Import the key's material again, the same that it had:")
		p.kms(s.key.URI, "get-parameters-for-import", "wrapping-algorithm", "RSAES_OAEP_SHA_256", "wrapping-key-spec", "RSA_4096")
	default:
		p.say("Check the key. If it cannot be used as it is, move its clusters to another one (keyturn rotate --to).")
		p.kms(s.key.URI, "describe-key")
	}
}

func awsFixDeletion(s *scope, p *plan) {
	if s.key.Description.Value.State != cmek.KeyDeletionScheduled {
		p.say("A deleted key cannot be restored. Contact AWS Support and Cockroach Labs at once, and do not restart nodes of the clusters.")
		return
	}
	p.say("Cancel the deletion, which leaves the key disabled, and enable it:")
	p.kms(s.key.URI, "cancel-key-deletion")
	p.kms(s.key.URI, "enable-key")
}

func gcpFixUsable(s *scope, p *plan) {
	key := s.key.Description.Value
	if key.Version.IsZero() || key.State == cmek.KeyNotFound || key.State == cmek.KeyDestroyed || key.State == cmek.KeyEnabled {
		p.say("Check the key. If it cannot be used as it is, move its clusters to another one (keyturn rotate --to).")
		p.gcloud(s.key.URI, "describe")
		return
	}
	gcpRestore(s.key.URI, key.Version, key.State, p)
}

func gcpRestore(uri cmek.KeyURI, version cmek.KeyVersion, state cmek.KeyState, p *plan) {
	switch state {
	case cmek.KeyDestroyed:
		p.say("Version " + clip(version.ID) + " is destroyed and cannot be restored. Contact Google Cloud support and Cockroach Labs at once.")
	case cmek.KeyDeletionScheduled:
		p.say("Restore the version, which leaves it disabled, and enable it:")
		p.version(uri, version, "restore")
		p.version(uri, version, "enable")
	default:
		p.version(uri, version, "enable")
	}
}

func gcpFixDeletion(s *scope, p *plan) { gcpFixVersions(s, p, disturbed) }

func gcpFixOld(s *scope, p *plan) {
	gcpFixVersions(s, p, cmek.KeyState.Unusable)
}

func gcpFixVersions(s *scope, p *plan, bad func(cmek.KeyState) bool) {
	for _, v := range s.key.Description.Value.Versions {
		if n := s.neededVersion(v.Version); bad(v.State) && (len(n.inUse) > 0 || s.now.Before(n.until)) {
			gcpRestore(s.key.URI, v.Version, v.State, p)
		}
	}
	if len(p.steps) == 0 {
		p.gcloud(s.key.URI, "describe")
	}
}
