package checks

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// keyPolicy is the key's policy; bad is set if it cannot be understood.
func (s *scope) keyPolicy() (d policy.Document, bad *verdict) {
	d, err := policy.Parse(s.key.Policy.Value)
	if err != nil {
		v := unknown("the key policy cannot be understood: %v", err)
		return d, &v
	}
	return d, nil
}

// requested reports whether Cockroach Labs asks for the action (CockroachDB docs, "Manage customer-managed encryption keys").
func requested(action string) bool {
	return slices.Contains([]string{"kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"}, action) ||
		strings.HasPrefix(action, "kms:GenerateDataKey") || strings.HasPrefix(action, "kms:ReEncrypt")
}

func awsExact(s *scope) verdict {
	document, bad := s.keyPolicy()
	if bad != nil {
		return *bad
	}
	arn := string(s.principal.ID)
	if s.principal.Policies.Value.Missing {
		return fail("role %s does not exist", clip(arn)).as(alert.Critical)
	}
	role, err := policy.ParseRole(arn, s.principal.Policies.Value.Text)
	if err != nil {
		return unknown("the role's policies cannot be understood: %v", err)
	}
	got := policy.KeyAccess(document, s.key.URI, role)
	var found problems
	switch got.Decision() {
	case policy.Denied:
		found.add(alert.Critical, "%s", strings.Join(got.Sentences(), "; "))
	case policy.CannotTell:
		found.cannotTell("%s", strings.Join(got.Sentences(), "; "))
	case policy.Allowed:
	}
	var extra []string
	for _, g := range policy.KeyGrants(document, s.key.URI) {
		if cmek.Principal(g.Principal.ID).Same(s.principal.ID) {
			extra = append(extra, slices.DeleteFunc(slices.Clone(g.Actions), requested)...)
		}
	}
	if len(extra) > 0 {
		found.add(alert.Medium, "the key policy also lets the role call %s", sentences(extra))
	}
	return found.verdict("the role may do all that the cluster needs, and the key policy grants it no more")
}

func awsFixExact(s *scope, p *plan) {
	if s.principal.Policies.Value.Missing {
		p.say("Create the role again with the same name and path, and its trust policy as CMEK-16 asks for. Then save the key policy again: it names the deleted role's unique id (CMEK-15).")
	}
	p.editKeyPolicy(s.key.URI, "allow "+clip(string(s.principal.ID))+" exactly kms:Encrypt, kms:Decrypt, kms:GenerateDataKey*, kms:DescribeKey and kms:ReEncrypt*, without conditions.")
	p.say("If the key policy is right, look for a Deny or a permissions boundary at the role:")
	p.run("aws iam get-role", nil, "role-name", s.principal.ID.Name())
}

func awsPublic(s *scope) verdict {
	document, bad := s.keyPolicy()
	if bad != nil {
		return *bad
	}
	var found problems
	for _, g := range policy.KeyGrants(document, s.key.URI) {
		if g.Public() {
			found.add(alert.Critical, "%s", g.String())
		}
	}
	return found.verdict("the key policy lets nobody do anything without a name or a condition")
}

func awsFixPublic(s *scope, p *plan) {
	p.editKeyPolicy(s.key.URI, `replace the principal "*" by those that need the key, or add a condition on their account.`)
}

// decrypts reports whether any of the actions turns ciphertext into something that can be read. A grant names operations without prefix.
func decrypts(actions []string) bool {
	return slices.ContainsFunc(actions, func(a string) bool {
		a = strings.TrimPrefix(a, "kms:")
		return a == "Decrypt" || a == "ReEncryptFrom" || a == "CreateGrant" || a == "DeriveSharedSecret"
	})
}

// expected are who may decrypt with the key: the principals of the clusters that use or used it, and the declared ones.
func (s *scope) expected() (names []string) {
	for _, p := range s.own().principals {
		names = append(names, string(p))
	}
	names = append(names, s.declared.Principals...)
	return append(names, s.declared.key(s.key.URI).Principals...)
}

// expects reports whether a principal of AWS is an expected one, by itself or by its account. The key's own account as such is expected:
// its grant leaves the decision to IAM policies, which are Security Hub's to check (KMS.1, KMS.2).
func (s *scope) expects(p policy.Principal) bool {
	if p.Kind == policy.Account && p.ID == s.key.URI.Account() {
		return true
	}
	return slices.ContainsFunc(s.expected(), func(name string) bool {
		return name != "" && (cmek.Principal(p.ID).Same(cmek.Principal(name)) || name == p.ID || name == p.Account())
	})
}

func awsExpected(s *scope) verdict {
	document, bad := s.keyPolicy()
	if bad != nil {
		return *bad
	}
	var found problems
	for _, g := range policy.KeyGrants(document, s.key.URI) {
		if decryptsByPolicy(g.Actions) && !s.expects(g.Principal) {
			found.add(alert.High, "by the key policy, %s", g.String())
		}
	}
	for _, g := range s.key.Grants.Value {
		if decrypts(g.Operations) && !s.grantExpected(g) {
			found.add(alert.High, "by grant %s, %s may %s", clip(g.ID), clip(g.Grantee), clip(strings.Join(slices.Sorted(slices.Values(g.Operations)), ", ")))
		}
	}
	return found.verdict("by its policy and grants only expected principals can decrypt; what IAM policies of its own account add is Security Hub's to check")
}

// decryptsByPolicy leaves out who may only make grants: that is the administrators' right in the default key policy.
func decryptsByPolicy(actions []string) bool {
	return slices.Contains(actions, "kms:Decrypt") || slices.Contains(actions, "kms:ReEncryptFrom")
}

func (s *scope) grantExpected(g KeyGrant) bool {
	return slices.ContainsFunc(s.expected(), func(name string) bool {
		return name != "" && (name == g.Grantee || cmek.Principal(g.Grantee).Same(cmek.Principal(name)))
	})
}

func awsFixExpected(s *scope, p *plan) {
	p.editKeyPolicy(s.key.URI, "remove kms:Decrypt and kms:ReEncryptFrom from every principal that should not have them.")
	for _, g := range s.key.Grants.Value {
		if decrypts(g.Operations) && !s.grantExpected(g) {
			p.kms(s.key.URI, "revoke-grant", "grant-id", g.ID)
		}
	}
	p.say("Declare those that should have them under principals in keyturn.yaml.")
}

func awsOrphans(s *scope) verdict {
	document, bad := s.keyPolicy()
	if bad != nil {
		return *bad
	}
	deleted := document.Deleted()
	if len(deleted) == 0 {
		return pass("the key policy names no deleted principal")
	}
	severity := alert.Medium
	grants := policy.KeyGrants(document, s.key.URI)
	for _, p := range s.own().acting {
		if !slices.ContainsFunc(grants, func(g policy.Grant) bool { return cmek.Principal(g.Principal.ID).Same(p) }) {
			severity = alert.Critical
		}
	}
	return fail("the key policy names %s, which matches nobody, not even a new role of the same name", sentences(deleted)).as(severity)
}

func awsFixOrphans(s *scope, p *plan) {
	p.editKeyPolicy(s.key.URI, "replace each unique id (AROA…, AIDA…) by the ARN of the role or user that it stands for, or remove it.")
}

func awsTrust(s *scope) verdict {
	if s.principal.Trust.Value.Missing {
		return fail("the role does not exist")
	}
	document, err := policy.Parse(s.principal.Trust.Value.Text)
	if err != nil {
		return unknown("the trust policy cannot be understood: %v", err)
	}
	clusters := s.principal.Clusters.Value
	if len(clusters) == 0 {
		return notApplicable("no cluster acts as the role")
	}
	accounts := map[string]bool{}
	for _, c := range clusters {
		accounts[c.AccountID] = true
	}
	var found problems
	if s.facts.Organization.Value == "" {
		found.cannotTell("the organization's id is not known")
	}
	for account := range accounts {
		if account == "" {
			found.cannotTell("the Cloud API does not tell the account of a cluster")
			continue
		}
		trust := policy.RoleTrust(document, account, s.facts.Organization.Value)
		switch trust.Assume.Decision {
		case policy.Denied:
			found.add(alert.Critical, "account %s of a cluster cannot assume the role: %s", clip(account), trust.Assume.Why)
		case policy.CannotTell:
			found.cannotTell("whether account %s of a cluster can assume the role: %s", clip(account), trust.Assume.Why)
		case policy.Allowed:
		}
		for _, gap := range trust.Gaps {
			if gap.Decision == policy.CannotTell {
				found.cannotTell("whether account %s can assume the role %s", clip(account), gap.How)
				continue
			}
			found.add(alert.Critical, "account %s can assume the role %s", clip(account), gap.How)
		}
		for _, other := range trust.Others {
			if !accounts[other.Principal.Account()] {
				found.add(alert.Critical, "%s", other.String())
			}
		}
		for _, id := range trust.Deleted {
			found.add(alert.Critical, "the trust policy names the deleted principal %s", clip(id))
		}
	}
	return found.verdict("the role trusts the accounts of its clusters with the organization's external id, and nobody else")
}

func awsFixTrust(s *scope, p *plan) {
	name := s.principal.ID.Name()
	p.run("aws iam get-role", nil, "role-name", name, "query", "Role.AssumeRolePolicyDocument")
	p.steps[len(p.steps)-1] += " > " + policyFile
	var accounts []string
	for _, c := range s.principal.Clusters.Value {
		accounts = append(accounts, clip(c.AccountID))
	}
	slices.Sort(accounts)
	p.say("In " + policyFile + ", allow sts:AssumeRole to " + listed(slices.Compact(accounts)) + ` with the condition StringEquals sts:ExternalId "` +
		clip(s.facts.Organization.Value) + `", and to nobody else.`)
	p.run("aws iam update-assume-role-policy", nil, "role-name", name, "policy-document", "file://"+policyFile)
}

// The actions of AWS KMS that administer a key, as far as they matter for duties, and those that use it.
var (
	awsAdministers = []string{"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant", "kms:DeleteImportedKeyMaterial"}
	awsUses        = []string{"kms:Decrypt", "kms:ReEncryptFrom"}
)

func awsDuties(s *scope) verdict {
	document, bad := s.keyPolicy()
	if bad != nil {
		return *bad
	}
	actions := map[policy.Principal][]string{}
	for _, g := range policy.KeyGrants(document, s.key.URI) {
		actions[g.Principal] = append(actions[g.Principal], g.Actions...)
	}
	var found problems
	for principal, may := range actions {
		has := func(list []string) bool {
			return slices.ContainsFunc(list, func(a string) bool { return slices.Contains(may, a) })
		}
		if principal.Kind == policy.Account && principal.ID == s.key.URI.Account() || !has(awsAdministers) || !has(awsUses) {
			continue
		}
		severity := alert.Medium
		if principal.Account() != s.key.URI.Account() || slices.ContainsFunc(s.own().acting, cmek.Principal(principal.ID).Same) {
			severity = alert.High // somebody outside acts with it
		}
		found.add(severity, "%s administers the key and can decrypt with it", principal.String())
	}
	return found.verdict("nobody whom the key policy names both administers the key and can decrypt with it")
}

func awsFixDuties(s *scope, p *plan) {
	p.editKeyPolicy(s.key.URI, "leave administration (kms:PutKeyPolicy, kms:ScheduleKeyDeletion, kms:DisableKey, kms:CreateGrant, …) and use (kms:Decrypt, kms:ReEncrypt*) to different principals.")
}

func awsGrants(s *scope) verdict {
	var found problems
	for _, g := range s.key.Grants.Value {
		s.judgeGrant(g, &found)
	}
	if len(s.key.Grants.Value) == 0 {
		return pass("the key has no grants")
	}
	return found.verdict("all grants are to expected principals, without further grants, and younger than the last rotation")
}

func (s *scope) judgeGrant(g KeyGrant, found *problems) {
	key := s.key.Description.Value
	switch {
	case !s.grantExpected(g):
		found.add(alert.Medium, "grant %s is to %s, who is not expected", clip(g.ID), clip(g.Grantee))
	case slices.Contains(g.Operations, "CreateGrant"):
		found.add(alert.Medium, "grant %s lets %s make further grants", clip(g.ID), clip(g.Grantee))
	case key.NeverRotated:
	case key.RotatedAt.IsZero() || g.CreatedAt.IsZero():
		found.cannotTell("whether grant %s is older than the last rotation", clip(g.ID))
	case g.CreatedAt.Before(key.RotatedAt):
		found.add(alert.Medium, "grant %s to %s is of %s, before the last rotation on %s", clip(g.ID), clip(g.Grantee), day(g.CreatedAt), day(key.RotatedAt))
	}
}

func awsFixGrants(s *scope, p *plan) {
	p.say("Revoke what nothing needs: no documentation of CockroachDB Cloud asks for grants. Whoever needs a grant can make a new one.")
	for _, g := range s.key.Grants.Value {
		var wrong problems
		if s.judgeGrant(g, &wrong); len(wrong.lines) > 0 {
			p.kms(s.key.URI, "revoke-grant", "grant-id", g.ID)
		}
	}
}
