package google_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/policy/google"
)

func TestDiffDenials(t *testing.T) {
	const (
		everybody = "principalSet://goog/public:all"
		account   = "principal://iam.googleapis.com/projects/-/serviceAccounts/cmek@keys-prod.iam.gserviceaccount.com"
		group     = "principalSet://goog/group/ops@example.com"
		decrypt   = "cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt"
		encrypt   = "cloudkms.googleapis.com/cryptoKeyVersions.useToEncrypt"
		anyUse    = "cloudkms.googleapis.com/cryptoKeyVersions.*"
		mint      = "iam.googleapis.com/serviceAccounts.getAccessToken"
		elsewhere = "compute.googleapis.com/instances.delete"
		tagged    = `resource.matchTag("9/env", "prod")`
	)
	one := func(members, permissions []string, edits ...func(*google.DenyRule)) google.DenyRule {
		r := google.DenyRule{DeniedPrincipals: members, DeniedPermissions: permissions}
		for _, edit := range edits {
			edit(&r)
		}
		return r
	}
	list := func(words ...string) []string { return words }
	except := func(members ...string) func(*google.DenyRule) {
		return func(r *google.DenyRule) { r.ExceptionPrincipals = members }
	}
	when := func(r *google.DenyRule) { r.Condition = &google.Condition{Expression: tagged} }
	rules := func(rules ...google.DenyRule) []google.DenyRule { return rules }
	for _, r := range []struct {
		name          string
		before, after []google.DenyRule
		want          []string
	}{
		{"nothing", nil, nil, nil},
		{"the same", rules(one(list(everybody), list(decrypt))), rules(one(list(everybody), list(decrypt))), nil},
		{"the same in two rules, in another order", rules(one(list(everybody, group), list(decrypt, encrypt))),
			rules(one(list(group), list(encrypt)), one(list(everybody), list(anyUse)), one(list(group), list(decrypt))), nil},
		{"the same in another case", rules(one(list(account), list(decrypt))), rules(one(list("principal://iam.googleapis.com/projects/-/serviceAccounts/CMEK@keys-prod.iam.gserviceaccount.com"), list(decrypt))), nil},
		{"a new rule", nil, rules(one(list(everybody), list(decrypt))), list(everybody + " is newly denied decrypting with the keys of project keys-prod")},
		{"a rule about both", nil, rules(one(list(account), list(anyUse, mint))),
			list(account + " is newly denied encrypting and decrypting with the keys of project keys-prod, and acting as the service accounts of project keys-prod")},
		{"a rule that is gone", rules(one(list(everybody), list(decrypt))), nil, list(everybody + " is no longer denied decrypting with the keys of project keys-prod")},
		{"one more permission", rules(one(list(everybody), list(decrypt))), rules(one(list(everybody), list(anyUse))), list(everybody + " is newly denied encrypting with the keys of project keys-prod")},
		{"another principal", rules(one(list(group), list(decrypt))), rules(one(list(everybody), list(decrypt))),
			list(everybody+" is newly denied decrypting with the keys of project keys-prod", group+" is no longer denied decrypting with the keys of project keys-prod")},
		{"about something else", nil, rules(one(list(everybody), list(elsewhere))), nil},
		{"an exception of the permission", rules(one(list(everybody), list(anyUse))),
			rules(one(list(everybody), list(anyUse), func(r *google.DenyRule) { r.ExceptionPermissions = list(decrypt) })),
			list(everybody + " is no longer denied decrypting with the keys of project keys-prod")},
		{"a new exception", rules(one(list(everybody), list(decrypt))), rules(one(list(everybody), list(decrypt), except(account))),
			list(account + " is newly excepted where " + everybody + " is denied decrypting with the keys of project keys-prod")},
		{"an exception that is gone", rules(one(list(everybody), list(anyUse), except(account, group))), rules(one(list(everybody), list(anyUse), except(group))),
			list(account + " is no longer excepted where " + everybody + " is denied encrypting and decrypting with the keys of project keys-prod")},
		{"exceptions in another order", rules(one(list(everybody), list(decrypt), except(account, group))), rules(one(list(everybody), list(decrypt), except(group, account, group))), nil},
		{"a rule with an exception", nil, rules(one(list(everybody), list(decrypt), except(group))),
			list(everybody + " is newly denied decrypting with the keys of project keys-prod, except " + group)},
		{"a condition that is gone", rules(one(list(everybody), list(decrypt), when)), rules(one(list(everybody), list(decrypt))),
			list(everybody+" is newly denied decrypting with the keys of project keys-prod", everybody+" is no longer denied decrypting with the keys of project keys-prod, if "+tagged)},
	} {
		t.Run(r.name, func(t *testing.T) {
			denials := func(rules []google.DenyRule) []google.Denial {
				return google.Denials("projects/keys-prod", google.DenyPolicy{Name: "guard", Rules: rules})
			}
			expectSentences(t, google.DiffDenials(denials(r.before), denials(r.after)), r.want...)
		})
	}
}
