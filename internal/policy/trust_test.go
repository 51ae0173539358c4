package policy_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

const assume = `"sts:AssumeRole"`

// One row for each way in which a trust policy can differ from the documented one.
func TestRoleTrust(t *testing.T) {
	guarded := allow("crl", aws(cluster), assume, when("StringEquals", "sts:ExternalId", org))
	for _, r := range []struct {
		name  string
		trust []string
		want  policy.Decision
		// sentences are all that is wrong, in order; each only has to contain the text.
		sentences []string
	}{
		{name: "the documented trust policy is as it should be", trust: []string{guarded}, want: policy.Allowed},
		{name: "the account may be named by its root ARN",
			trust: []string{allow("", aws("arn:aws:iam::"+cluster+":root"), assume, when("StringEquals", "sts:ExternalId", org))}, want: policy.Allowed},
		{name: "the condition key is compared without regard to case",
			trust: []string{allow("", aws(cluster), `"STS:assumerole"`, when("StringEquals", "STS:EXTERNALID", org))}, want: policy.Allowed},
		{name: "StringLike without a wildcard is as strict",
			trust: []string{allow("", aws(cluster), assume, when("StringLike", "sts:ExternalId", org))}, want: policy.Allowed},
		{name: "an empty policy", want: policy.Denied, sentences: []string{"cannot assume the role with the external id"}},
		{name: "the wrong account", trust: []string{allow("", aws(stranger), assume, when("StringEquals", "sts:ExternalId", org))}, want: policy.Denied,
			sentences: []string{"no statement of the trust policy names the account", "account " + stranger + " may assume the role if sts:ExternalId StringEquals " + org}},
		{name: "the wrong external id", trust: []string{allow("", aws(cluster), assume, when("StringEquals", "sts:ExternalId", "x"))}, want: policy.Denied,
			sentences: []string{"statement 1 (Allow) applies only if sts:ExternalId StringEquals x", `may assume the role with the external id "x"`}},
		{name: "another action", trust: []string{allow("", aws(cluster), `"sts:TagSession"`, when("StringEquals", "sts:ExternalId", org))}, want: policy.Denied,
			sentences: []string{"statement 1 is not about sts:AssumeRole"}},
		{name: "no condition at all", trust: []string{allow("", aws(cluster), assume)}, want: policy.Allowed,
			sentences: []string{"account " + cluster + " may assume the role without an external id", "account " + cluster + " may assume the role with any external id"}},
		{name: "a second statement without the condition", trust: []string{guarded, allow("", aws(cluster), assume)}, want: policy.Allowed,
			sentences: []string{"without an external id", "with any external id"}},
		{name: "IfExists lets those in who send none", trust: []string{allow("", aws(cluster), assume, when("StringEqualsIfExists", "sts:ExternalId", org))}, want: policy.Allowed,
			sentences: []string{"without an external id"}},
		{name: "Null asks for any value", trust: []string{allow("", aws(cluster), assume, when("Null", "sts:ExternalId", "false"))}, want: policy.Allowed,
			sentences: []string{"with any external id"}},
		{name: "a wildcard lets any value in", trust: []string{allow("", aws(cluster), assume, when("StringLike", "sts:ExternalId", "*"))}, want: policy.Allowed,
			sentences: []string{"with any external id"}},
		{name: "a prefix lets some values in", trust: []string{allow("", aws(cluster), assume, when("StringLike", "sts:ExternalId", "0f3c*"))}, want: policy.Allowed,
			sentences: []string{`with the external id "0f3c*"`}},
		{name: "a second value lets a second customer in",
			trust: []string{allow("", aws(cluster), assume, `"Condition":{"StringEquals":{"sts:ExternalId":["`+org+`","other"]}}`)}, want: policy.Allowed,
			sentences: []string{`with the external id "other"`}},
		{name: "a negated operator lets all others in", trust: []string{allow("", aws(cluster), assume, when("StringNotEquals", "sts:ExternalId", "x"))}, want: policy.Allowed,
			sentences: []string{"without an external id", "with any external id"}},
		{name: "everybody, guarded", trust: []string{allow("", `"*"`, assume, when("StringEquals", "sts:ExternalId", org))}, want: policy.Allowed,
			sentences: []string{"everybody may assume the role if sts:ExternalId StringEquals " + org}},
		{name: "everybody", trust: []string{guarded, allow("", `{"AWS":"*"}`, assume)}, want: policy.Allowed,
			sentences: []string{"without an external id", "with any external id", "everybody may assume the role"}},
		{name: "another account as well", trust: []string{guarded, allow("", aws(stranger, admin), assume)}, want: policy.Allowed,
			sentences: []string{"account " + stranger + " may assume the role", admin + " may assume the role"}},
		{name: "a service and a provider as well",
			trust: []string{guarded, allow("", `{"Service":"ec2.amazonaws.com","Federated":"accounts.google.com"}`, `"sts:*"`)}, want: policy.Allowed,
			sentences: []string{"service ec2.amazonaws.com may sts:AssumeRole, sts:AssumeRoleWithSAML", "federated provider accounts.google.com may"}},
		{name: "one role of the account may or may not be the cluster's",
			trust: []string{allow("one", aws("arn:aws:iam::"+cluster+":role/crdb"), assume, when("StringEquals", "sts:ExternalId", org))}, want: policy.CannotTell,
			sentences: []string{"cannot tell whether account " + cluster + " may assume the role"}},
		{name: "a condition that depends on the call",
			trust: []string{allow("ip", aws(cluster), assume, `"Condition":{"StringEquals":{"sts:ExternalId":"`+org+`"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`)}, want: policy.CannotTell,
			sentences: []string{"aws:SourceIp IpAddress 192.0.2.0/24"}},
		{name: "an uncertain gap is said to be uncertain",
			trust: []string{guarded, allow("", aws(cluster), assume, when("IpAddress", "aws:SourceIp", "192.0.2.0/24"))}, want: policy.Allowed,
			sentences: []string{"cannot tell whether account " + cluster + " may assume the role without", "cannot tell whether account " + cluster + " may assume the role with any"}},
		{name: "a certain gap beside an uncertain one is said as well",
			trust: []string{guarded, allow("", aws(cluster), assume, when("IpAddress", "aws:SourceIp", "192.0.2.0/24")), allow("", aws(cluster), assume, when("StringEquals", "sts:ExternalId", "x"))}, want: policy.Allowed,
			sentences: []string{"cannot tell", "cannot tell", "account " + cluster + ` may assume the role with the external id "x"`}},
		{name: "a Deny wins", trust: []string{guarded, deny("stop", `"*"`, `"sts:*"`)}, want: policy.Denied,
			sentences: []string{`statement "stop" of the trust policy denies it`}},
		{name: "a Deny of all without the external id closes the gap",
			trust: []string{allow("", aws(cluster), assume), deny("", `"*"`, assume, when("StringNotEquals", "sts:ExternalId", org))}, want: policy.Allowed},
		{name: "a NotPrincipal may or may not mean the account",
			trust: []string{guarded, `{"Effect":"Deny","NotPrincipal":` + aws(cluster) + `,"Action":` + assume + `}`}, want: policy.CannotTell,
			sentences: []string{"cannot tell"}},
		{name: "a deleted principal lets nobody in", trust: []string{guarded, allow("", aws("AROAEXAMPLEEXAMPLE123"), assume)}, want: policy.Allowed},
	} {
		t.Run(r.name, func(t *testing.T) {
			trust := policy.RoleTrust(doc(t, r.trust...), cluster, org)
			if trust.Assume.Decision != r.want || trust.Assume.Why == "" {
				t.Errorf("the account is %s because %q, want %s", trust.Assume.Decision, trust.Assume.Why, r.want)
			}
			got := trust.Sentences()
			if len(got) != len(r.sentences) {
				t.Fatalf("said %q, want %q", got, r.sentences)
			}
			for i, want := range r.sentences {
				if !strings.Contains(got[i], want) {
					t.Errorf("said %q, want it to say %q", got[i], want)
				}
			}
			if trust.OK() != (len(got) == 0) {
				t.Errorf("OK is %t with the sentences %q", trust.OK(), got)
			}
		})
	}
}

func TestRoleTrustDoesNotGuessWhatItWasNotTold(t *testing.T) {
	d := doc(t, allow("crl", aws(cluster), assume, when("StringEquals", "sts:ExternalId", org)))
	if trust := policy.RoleTrust(d, cluster, ""); trust.Assume.Decision != policy.CannotTell || len(trust.Gaps) > 0 {
		t.Errorf("with an unknown organization the account is %s with gaps %v, want cannot tell and none", trust.Assume.Decision, trust.Gaps)
	}
	if trust := policy.RoleTrust(d, "", org); trust.Assume.Decision != policy.CannotTell || len(trust.Others) > 0 {
		t.Errorf("with an unknown account it is %s with others %v, want cannot tell and none", trust.Assume.Decision, trust.Others)
	}
	if trust := policy.RoleTrust(doc(t, allow("", `"*"`, assume)), "", ""); len(trust.Others) != 1 || !trust.Others[0].Public() {
		t.Errorf("others are %v, want everybody whatever the account", trust.Others)
	}
}
