package checks

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// use: backups, changes outside keyturn, its own credential, keys that are to go, and aliases.
var use = []Check{
	{
		ID: "CMEK-27", Title: "Backups fresh",
		Clause:     "The newest managed backup is not older than a few times the configured frequency: backups stop silently when a key is lost.",
		Severities: []alert.Severity{alert.High}, Subject: ClusterSubject,
		Needs:     []Need{needInfo, needBackups},
		AWS:       Rule{judge: judgeBackups, fix: fixBackups},
		GCP:       Rule{judge: judgeBackups, fix: fixBackups},
		Citations: none,
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-29", Title: "No change of the CMEK outside keyturn",
		Clause:     "Every change of the CMEK in the organization's audit log is one that keyturn requested.",
		Severities: []alert.Severity{alert.Medium}, Subject: ClusterSubject,
		Needs:     []Need{needInfo, needAudit, needRequests},
		AWS:       Rule{judge: judgeAudit, fix: fixAudit},
		GCP:       Rule{judge: judgeAudit, fix: fixAudit},
		Citations: cite(nist, nistRev, byInference, "IR-5"),
		Mirrors:   []string{},
		OptIn:     "no audit credential is declared, and the audit log takes one (audit_credential)",
	},
	{
		ID: "CMEK-30", Title: "Credential young and narrow",
		Clause:     "The API key of keyturn is younger than declared, and its service account has no role beyond Cluster Operator.",
		Severities: []alert.Severity{alert.Medium}, Subject: CredentialSubject,
		Needs:     []Need{needCreated, needRoles},
		AWS:       Rule{judge: judgeCredential, fix: awsFixCredential},
		GCP:       Rule{judge: judgeCredential, fix: gcpFixCredential},
		Citations: none,
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-31", Title: "Retired key really unused",
		Clause:     "A key that is to be deleted was not used for the declared time, and nobody has a grant on it.",
		Severities: []alert.Severity{alert.High}, Subject: KeySubject,
		Needs:     []Need{needUses, needDescription, needLastUse},
		AWS:       Rule{Needs: []Need{needGrants}, judge: judgeRetired, fix: awsFixRetired, GoesWith: []string{"CMEK-06", "CMEK-07"}},
		GCP:       Rule{judge: judgeRetired, fix: gcpFixRetired},
		Citations: cite(iso, isoVersion, byProwler, "A.8.24"),
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-32", Title: "Key in use is the chosen one",
		Clause:     "A region uses the key that an order of keyturn last moved it to, and the one that its alias points to.",
		Severities: []alert.Severity{alert.High}, Subject: RegionSubject,
		Needs:     []Need{needInfo, needCMEK, needMoves},
		AWS:       Rule{Needs: []Need{needPins}, judge: awsChosen, fix: awsFixChosen},
		GCP:       Rule{judge: judgeMove, fix: fixMove},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "CM-2"), cite(pci, pciVersion, byStave, "3.6.1"), cite(soc2, socVersion, byStave, "CC6.1")),
		Mirrors:   []string{alert.OrderUndone},
	},
}

func judgeBackups(s *scope) verdict {
	b := s.cluster.Backups.Value
	if b.Frequency <= 0 {
		return fail("managed backups are off")
	}
	limit := time.Duration(s.declared.Thresholds.BackupFactor) * b.Frequency
	created := s.cluster.Info.Value.CreatedAt
	switch {
	case b.Newest.IsZero() && !created.IsZero() && !s.future(created) && s.now.Sub(created) <= limit:
		return notApplicable("the cluster is of %s, too young to have a backup", at(created))
	case b.Newest.IsZero():
		return fail("there is no backup of the last %s", span(limit))
	case s.future(b.Newest):
		return unknown("the newest backup is of %s, which is in the future", at(b.Newest))
	case s.now.Sub(b.Newest) > limit:
		return fail("the newest backup is of %s, older than %s", at(b.Newest), span(limit))
	}
	return pass("the newest backup is of %s; %s are allowed", at(b.Newest), span(limit))
}

func fixBackups(s *scope, p *plan) {
	if s.cluster.Backups.Value.Frequency <= 0 {
		p.say("Switch on managed backups of cluster " + clip(s.cluster.ID) + " in its backup configuration at CockroachDB Cloud.")
		return
	}
	p.say("Check that the cluster can use its keys (CMEK-05, CMEK-12), then ask Cockroach Labs' support why backups of cluster " + clip(s.cluster.ID) + " stopped. Nobody is notified of that by e-mail.")
	p.cluster(s, "status")
}

func judgeAudit(s *scope) verdict {
	var found problems
	for _, e := range s.cluster.Audit.Value {
		ours := slices.ContainsFunc(s.cluster.Requests.Value, func(r Request) bool { return r.At.Sub(e.At).Abs() <= clocks })
		switch {
		case e.Error != "" || e.Action != AuditUpdate && e.Action != AuditRevoke:
		case e.Action == AuditRevoke:
			found.add(alert.Medium, "%s revoked the CMEK on %s (entry %s); keyturn never does", clip(e.By), at(e.At), clip(e.ID))
		case !ours:
			found.add(alert.Medium, "%s changed the CMEK on %s (entry %s), and keyturn sent nothing then", clip(e.By), at(e.At), clip(e.ID))
		}
	}
	return found.verdict("all %d entries about the CMEK are requests of keyturn or failed", len(s.cluster.Audit.Value))
}

func fixAudit(s *scope, p *plan) {
	p.say("Ask who made the change whether it was planned. If it was, declare an exception; if not, replace that credential.")
	p.cluster(s, "status")
}

// The roles of the Cloud API that a credential of keyturn may have.
var allowedRoles = []string{"CLUSTER_OPERATOR_WRITER", "ORG_MEMBER", "AUDITOR"}

func judgeCredential(s *scope) verdict {
	created, limit := s.credential.Created.Value, days(s.declared.Thresholds.CredentialDays)
	var found problems
	switch {
	case created.IsZero():
		found.cannotTell("when the credential was made")
	case s.future(created):
		found.cannotTell("when the credential was made: %s is in the future", at(created))
	case s.now.Sub(created) > limit:
		found.add(alert.Medium, "the credential is of %s, older than %s", day(created), span(limit))
	}
	if !s.declared.AuditCredential {
		return found.verdict("the credential is of %s; its roles are not read, since no audit credential is declared", day(created))
	}
	roles := s.credential.Roles.Value
	if len(roles) == 0 {
		found.cannotTell("which roles the credential has")
	}
	for _, role := range roles {
		if !slices.Contains(allowedRoles, role) {
			found.add(alert.Medium, "the service account has role %s", clip(role))
		}
	}
	return found.verdict("the credential is of %s and has no role but %s", day(created), clip(listed(slices.Sorted(slices.Values(roles)))))
}

const newKey = "Create a new API key for keyturn's service account at Cockroach Labs, with the role Cluster Operator only. Write it into " + secretFile + ", store it, and delete the file:"

func awsFixCredential(s *scope, p *plan) {
	p.say(newKey)
	p.run("aws secretsmanager put-secret-value", nil, "secret-id", s.credential.Name, "secret-string", "file://"+secretFile)
	p.say("Delete the old API key when keyturn's next sweep is complete.")
}

func gcpFixCredential(s *scope, p *plan) {
	p.say(newKey)
	p.run("gcloud secrets versions add", []string{s.credential.Name}, "data-file", secretFile)
	p.say("Delete the old API key when keyturn's next sweep is complete.")
}

func judgeRetired(s *scope) verdict {
	key, last := s.key.Description.Value, s.key.LastUse.Value
	watch := days(s.declared.Thresholds.WatchDays)
	switch {
	case len(s.own().inForce) > 0 && !s.declared.key(s.key.URI).Retired:
		return notApplicable("a cluster uses the key")
	case len(s.own().inForce) > 0:
		return fail("the key is declared as retired, and a cluster uses it")
	case !s.declared.key(s.key.URI).Retired && key.State != cmek.KeyDeletionScheduled:
		return notApplicable("the key is neither declared as retired nor scheduled for deletion")
	}
	var found problems
	if len(s.key.Grants.Value) > 0 && s.cloud == AWS {
		found.add(alert.High, "grants on the key: %d", len(s.key.Grants.Value))
	}
	switch {
	case last.Tracked.IsZero():
		found.cannotTell("since when uses of the key are recorded")
	case !last.At.IsZero() && s.now.Sub(last.At) < watch:
		found.add(alert.High, "the key was used on %s (%s), less than %s ago", at(last.At), clip(last.Operation), span(watch))
	case s.now.Sub(last.Tracked) < watch:
		found.add(alert.High, "uses of the key are recorded since %s only, less than %s", at(last.Tracked), span(watch))
	}
	return found.verdict("the key was not used for %s", span(watch))
}

const keepKey = "Do not delete the key while a cluster uses it: take back retired under keys in keyturn.yaml, or move the cluster to another key."

func awsFixRetired(s *scope, p *plan) {
	if len(s.own().inForce) > 0 {
		p.say(keepKey)
		return
	}
	p.say("Find out who used the key, before it is disabled or deleted:")
	p.run("aws cloudtrail lookup-events", nil, "region", s.key.URI.Location(), "lookup-attributes", "AttributeKey=ResourceName,AttributeValue="+string(s.key.URI))
	if s.key.Description.Value.State == cmek.KeyDeletionScheduled {
		awsFixDeletion(s, p)
	}
}

func gcpFixRetired(s *scope, p *plan) {
	if len(s.own().inForce) > 0 {
		p.say(keepKey)
		return
	}
	p.say("Find out who used the key, before a version is disabled or destroyed:")
	p.run("gcloud logging read", []string{`protoPayload.serviceName="cloudkms.googleapis.com" AND protoPayload.resourceName:"` + googleName(s.key.URI) + `"`}, "freshness", "90d", "project", s.key.URI.Account())
}

// chosen is the verdict on the region's one key, if something chose it.
func (s *scope) chosen(by string, chosen bool, judge func(uri cmek.KeyURI) verdict) verdict {
	_, current := s.region()
	switch {
	case !chosen:
		return notApplicable("%s", by)
	case len(current) == 0:
		return notApplicable("no key of the region is in force (CMEK-02)")
	case len(current) > 1:
		return unknown("%d keys of the region are in force", len(current))
	}
	return judge(current[0].Spec.URI)
}

func (s *scope) move() (Move, bool) {
	return first(s.cluster.Moves.Value, func(m Move) bool { return m.Region == s.subject.Region })
}

func (s *scope) pin() (Pin, bool) {
	return first(s.cluster.Pins.Value, func(p Pin) bool { return p.Region == s.subject.Region })
}

func first[T any](all []T, is func(T) bool) (found T, ok bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	return found, false
}

// judgeMove finds that a region left the key that it was moved to. Terraform does so without showing it, by an edit of the resource while its
// configuration names the key of before.
func judgeMove(s *scope) verdict {
	m, moved := s.move()
	return s.chosen("no order of keyturn moved the region", moved, func(uri cmek.KeyURI) verdict {
		switch {
		case !sameKey(uri, m.To) && m.AcceptedBy != "":
			return fail("%s accepted %s as the region's key on %s, and it uses %s", clip(m.AcceptedBy), m.To, at(m.At), uri)
		case !sameKey(uri, m.To):
			return fail("the region was moved to %s on %s, and it uses %s", m.To, at(m.At), uri)
		case m.AcceptedBy != "" && m.Reason != "":
			return pass("the region uses the key that %s accepted on %s: %s", clip(m.AcceptedBy), at(m.At), clip(m.Reason))
		case m.AcceptedBy != "":
			return pass("the region uses the key that %s accepted on %s", clip(m.AcceptedBy), at(m.At))
		}
		return pass("the region uses the key that it was moved to on %s", at(m.At))
	})
}

func fixMove(s *scope, p *plan) {
	m, _ := s.move()
	p.say("Find out who sent the PUT. If Terraform manages the CMEK, apply nothing there until its configuration names " + clip(string(m.To)) +
		": its plan does not show that an edit puts the other key back. The command prints the steps in their order, with the folder in place of TERRAFORM.")
	p.run("keyturn rotate", []string{s.cluster.ID}, "region", s.subject.Region, "to", string(m.To), "terraform", "TERRAFORM")
	if _, current := s.region(); len(current) == 1 {
		p.say("If the region is to stay on its key, accept that key; nothing is sent. Replace REASON:")
		p.run("keyturn rotate", []string{s.cluster.ID}, "region", s.subject.Region, "to", string(current[0].Spec.URI), "reason", "REASON")
	}
}

// awsChosen is about the order, and about the alias that the region follows.
func awsChosen(s *scope) verdict {
	move, alias := judgeMove(s), awsAlias(s)
	_, moved := s.move()
	_, pinned := s.pin()
	switch {
	case !moved && !pinned:
		return notApplicable("no order of keyturn moved the region, and it follows no alias")
	case move.result == Fail || alias.result == NotApplicable:
		return move
	}
	return alias
}

func awsFixChosen(s *scope, p *plan) {
	if judgeMove(s).result == Fail {
		fixMove(s, p)
		return
	}
	awsFixAlias(s, p)
}

func awsAlias(s *scope) verdict {
	pin, pinned := s.pin()
	return s.chosen("the region follows no alias", pinned, func(uri cmek.KeyURI) verdict {
		switch {
		case pin.Target == "":
			return fail("alias %s points to no key", clip(pin.Alias))
		case !sameKey(pin.Target, uri):
			return fail("alias %s points to %s, and the region uses %s", clip(pin.Alias), pin.Target, uri)
		default:
			return pass("alias %s points to the key that the region uses", clip(pin.Alias))
		}
	})
}

func awsFixAlias(s *scope, p *plan) {
	_, current := s.region()
	alias := cmek.KeyURI(s.cluster.Pins.Value[slices.IndexFunc(s.cluster.Pins.Value, func(p Pin) bool { return p.Region == s.subject.Region })].Alias)
	p.say("If the alias is right, see why keyturn has not followed it:")
	p.cluster(s, "status")
	p.say("If the alias is wrong, point it to the key in use:")
	p.run("aws kms update-alias", nil, "region", alias.Location(), "alias-name", alias.ID(), "target-key-id", string(current[0].Spec.URI))
}
