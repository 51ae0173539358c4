package alerting

import (
	"fmt"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// trust judges a new trust policy for each cluster that assumes the principal.
func (j *judgement) trust(uses []Use) {
	mine := j.about(uses)
	if len(mine) == 0 {
		j.anybodyAssumes()
		return
	}
	type assumer struct {
		principal cmek.Principal
		account   string
	}
	var accounts []string
	var assumers []assumer
	for _, use := range mine {
		accounts, assumers = append(accounts, use.CloudAccount), append(assumers, assumer{use.Spec.AuthPrincipal, use.CloudAccount})
	}
	assumers = unique(assumers)
	same := len(assumers) <= mostPairs
	for _, a := range most(j, assumers, mostPairs, "clusters' accounts") {
		principal := a.principal
		read := j.docs.trust(principal)
		if read.Missing && j.event.Policy == "" {
			j.CutsOff = true
			j.Words, same = append(j.Words, fmt.Sprintf("%s does not exist", principal)), false
			continue
		}
		after, text, ok := j.after(read, "the new trust policy of "+string(principal))
		if !ok {
			same = false
			continue
		}
		before, equal := j.documentBefore(text, string(principal))
		if equal {
			continue
		}
		same = false
		j.assume(policy.RoleTrust(after, a.account, j.docs.OrganizationID), before, after, unique(accounts))
	}
	j.Same = same
}

// assume adds whether a cluster's account may assume the principal, and who else may.
func (j *judgement) assume(trust policy.Trust, before *policy.Document, after policy.Document, accounts []string) {
	switch {
	case trust.Assume.Decision == policy.Denied: // whatever the external id is
		j.CutsOff = true
	case trust.ExternalID == "":
		j.unclear("the organization's id, which must be the external id, is not configured (KEYTURN_ORGANIZATION_ID)")
	case trust.Assume.Decision == policy.CannotTell:
		j.unclear("%s", trust.Assume.Why)
	}
	var changed []string
	if before != nil {
		changed = policy.DiffTrust(*before, after, trust.AccountID, trust.ExternalID)
	} else {
		j.Words = append(j.Words, "the previous trust policy is not known")
	}
	outsiders := policy.Outsiders(trust.Others, accounts...)
	j.Exposes = j.Exposes || len(trust.Gaps) > 0 || len(outsiders) > 0
	if len(changed) == 0 {
		changed = trust.Sentences() // what was wrong before is wrong still
	}
	j.Words = append(j.Words, changed...)
}

// anybodyAssumes judges a trust policy where the clusters' account is not known: nobody may assume the principal, everybody may,
// or another account than its own may without an external id.
func (j *judgement) anybodyAssumes() {
	after, _, ok := j.after(Document{}, "the new trust policy")
	if !ok {
		return
	}
	own := j.event.Account
	for _, grant := range policy.TrustGrants(after) {
		if grant.Principal.Kind == policy.Everybody {
			j.Exposes = true
			j.Words = append(j.Words, grant.String())
			continue
		}
		account := grant.Principal.Account()
		if account == "" || account == own {
			continue
		}
		for _, gap := range policy.RoleTrust(after, account, "").Gaps {
			if !gap.Everybody {
				j.Exposes = true
				j.Words = append(j.Words, fmt.Sprintf("%s, %s", grant, gap.How))
			}
		}
	}
	if policy.ForeignTrust(after, own, j.docs.OrganizationID).Decision == policy.Denied {
		j.CutsOff = true
		j.Words = append(j.Words, "no other account may assume the role any more, and a cluster's account is another one")
		return
	}
	j.unclear("the account that the clusters run in is not known")
}
