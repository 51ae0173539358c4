package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// effect judges a new policy by itself: the one before it is not known here, and clusters are those that the ledger knows.
// nil: the event changes no policy, or the call failed.
func (j judge) effect(e cmek.Event, clusters []*ledger.Cluster) *alerting.Effect {
	switch e.Change {
	case cmek.KeyPolicyReplaced, cmek.RoleTrustChanged, cmek.RolePolicyChanged, cmek.BoundaryChanged:
	default:
		return nil
	}
	if !e.Succeeded() {
		return nil
	}
	if e.Policy == "" {
		return &alerting.Effect{Unclear: "the record does not carry the policy's document"}
	}
	document, err := policy.Parse(e.Policy)
	if err != nil {
		return &alerting.Effect{Unclear: fmt.Sprintf("the policy cannot be read (%v)", err)}
	}
	var result alerting.Effect
	switch {
	case e.Change == cmek.KeyPolicyReplaced:
		result = keyPolicyEffect(document, e.Key, principals(clusters))
	case e.Change == cmek.RoleTrustChanged && len(clusters) > 0:
		result = trustEffect(document, clusters, j.organizationID)
	case e.Change == cmek.RoleTrustChanged:
		result = looseTrust(document, e.Account)
	default:
		result = rolePolicyEffect(document, e)
	}
	for i, sentence := range result.Words {
		if !strings.HasPrefix(sentence, "arn:") && 'a' <= sentence[0] && sentence[0] <= 'z' {
			sentence = strings.ToUpper(sentence[:1]) + sentence[1:]
		}
		result.Words[i] = sentence + "."
	}
	return &result
}

// keyPolicyEffect says whether the roles may still use the key, and who outside of the key's account may. Without roles it
// can only tell that nobody may.
func keyPolicyEffect(d policy.Document, key cmek.KeyURI, roles []cmek.Principal) (result alerting.Effect) {
	grants, known := policy.KeyGrants(d, key), []string{key.Account()}
	for _, role := range roles {
		access := policy.KeyAccess(d, key, policy.Role{ARN: string(role)})
		known = append(known, string(role))
		result.CutsOff = result.CutsOff || access.Decision() == policy.Denied
		if access.Decision() == policy.CannotTell {
			result.Unclear = "the key policy leaves it to other policies or to conditions"
		}
		result.Words = append(result.Words, access.Sentences()...)
	}
	if len(roles) == 0 {
		result.Unclear = "the role that they act as is not known here"
		if nobody := denied(grants, policy.KeyActions); len(nobody) > 0 {
			result.CutsOff, result.Unclear = true, ""
			result.Words = append(result.Words, "nobody may "+strings.Join(nobody, ", ")+" any more")
		}
	}
	for _, grant := range policy.Outsiders(grants, known...) {
		result.Exposes = true
		result.Words = append(result.Words, grant.String())
	}
	return result
}

// denied lists the actions that no grant gives to anybody.
func denied(grants []policy.Grant, actions []string) []string {
	return slices.DeleteFunc(slices.Clone(actions), func(action string) bool {
		return slices.ContainsFunc(grants, func(g policy.Grant) bool { return slices.Contains(g.Actions, action) })
	})
}

// trustEffect says whether the clusters' accounts may still assume the role, and who else may.
func trustEffect(d policy.Document, clusters []*ledger.Cluster, organizationID string) (result alerting.Effect) {
	if organizationID == "" {
		result.Unclear = "the organization's id, which must be the external id, is not configured (KEYTURN_ORGANIZATION_ID)"
	}
	var accounts []string
	for _, c := range clusters {
		if slices.Contains(accounts, c.Cluster.AccountID) {
			continue
		}
		accounts = append(accounts, c.Cluster.AccountID)
		trust := policy.RoleTrust(d, c.Cluster.AccountID, organizationID)
		result.CutsOff = result.CutsOff || trust.Assume.Decision == policy.Denied && organizationID != ""
		result.Exposes = result.Exposes || len(trust.Gaps) > 0
		if trust.Assume.Decision == policy.CannotTell && organizationID != "" {
			result.Unclear = trust.Assume.Why
		}
		trust.Others = nil // told below, once for all accounts
		result.Words = append(result.Words, trust.Sentences()...)
	}
	for _, grant := range policy.Outsiders(policy.TrustGrants(d), accounts...) {
		result.Exposes = true
		result.Words = append(result.Words, grant.String())
	}
	return result
}

// looseTrust says what a trust policy tells without knowing the clusters' account: that nobody may assume the role, that
// everybody may, or that another account than the role's own may without an external id.
func looseTrust(d policy.Document, own string) (result alerting.Effect) {
	grants := policy.TrustGrants(d)
	if len(grants) == 0 {
		return alerting.Effect{CutsOff: true, Words: []string{"nobody may assume the role any more"}}
	}
	result.Unclear = "the account that they belong to is not known here"
	for _, grant := range grants {
		account := grant.Principal.Account()
		gaps := policy.RoleTrust(d, account, "").Gaps
		if grant.Public() || account != own && len(gaps) > 0 {
			result.Exposes = true
			result.Words = append(result.Words, grant.String()+", without an external id")
		}
	}
	return result
}

// rolePolicyEffect says whether a policy that was put on a role keeps it from using any key of its account: an explicit Deny
// wins wherever it is. What the policy allows says nothing, because the key policy may allow it, too.
func rolePolicyEffect(d policy.Document, e cmek.Event) alerting.Effect {
	anyKey, err := cmek.AWSKeyARN("", "us-east-1", e.Account, "00000000-0000-0000-0000-000000000000")
	if err != nil {
		return alerting.Effect{Unclear: "the record does not name the role's account"}
	}
	role := e.Role
	if !strings.HasPrefix(role, "arn:") {
		role = "arn:aws:iam::" + e.Account + ":role/" + e.Role
	}
	allowed := policy.Document{Statements: []policy.Statement{{
		Effect: policy.Allow, Actions: []string{"kms:*"}, Resources: []string{"*"}, Principals: []policy.Principal{{Kind: policy.Identity, ID: role}},
	}}}
	access := policy.KeyAccess(allowed, anyKey, policy.Role{ARN: role, Policies: []policy.Document{d}})
	result := alerting.Effect{CutsOff: access.Decision() == policy.Denied}
	if result.CutsOff {
		result.Words = access.Sentences()
	} else {
		result.Unclear = "the role's other policies are not known here"
	}
	return result
}

// principals lists who the clusters act as, each once.
func principals(clusters []*ledger.Cluster) (list []cmek.Principal) {
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			current, n := info.Current()
			if p := current.Spec.AuthPrincipal; n == 1 && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}
