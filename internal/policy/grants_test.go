package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

func sentences(grants []policy.Grant) []string {
	var all []string
	for _, g := range grants {
		all = append(all, g.String())
	}
	return all
}

func TestKeyGrants_sayWhoMayDoWhat(t *testing.T) {
	for _, r := range []struct {
		name   string
		policy []string
		want   []string
	}{
		{"each principal, the widest first", []string{allow("", aws(admin, root, stranger, "*"), `"kms:Decrypt"`)},
			[]string{"everybody may kms:Decrypt", "account " + account + " may kms:Decrypt", "account " + stranger + " may kms:Decrypt", admin + " may kms:Decrypt"}},
		{"services and other principals", []string{allow("", `{"Service":"logs.amazonaws.com","CanonicalUser":"79a5"}`, `"kms:Encrypt"`)},
			[]string{"service logs.amazonaws.com may kms:Encrypt", "canonical user 79a5 may kms:Encrypt"}},
		{"all actions are one wildcard, families another", []string{allow("", aws(admin), `"*"`), allow("", aws(role), published)},
			[]string{admin + " may kms:*", role + " may kms:Encrypt, kms:Decrypt, kms:GenerateDataKey*, kms:DescribeKey, kms:ReEncrypt*"}},
		{"a long rest is counted", []string{allow("", aws(admin), `["kms:Disable*","kms:Enable*","kms:Put*","kms:Update*","kms:Get*"]`)},
			[]string{admin + " may kms:DisableKey, kms:DisableKeyRotation, kms:EnableKey, kms:EnableKeyRotation, kms:GetKeyLastUsage, kms:GetKeyPolicy, kms:GetKeyRotationStatus, kms:GetParametersForImport and 5 more"}},
		{"an action that is newer than this program", []string{allow("", aws(stranger), `"kms:Teleport*"`)},
			[]string{"account " + stranger + " may kms:Teleport*"}},
		{"deleted principals, other services and other keys grant nothing", []string{
			allow("", aws("AROAEXAMPLEEXAMPLE123"), `"kms:*"`), allow("", aws(stranger), `"s3:*"`),
			allow("", aws(stranger), `"kms:*"`, `"Resource":"arn:aws:kms:us-east-1:111122223333:key/other"`)}, nil},
		{"a resource that depends on the call is a doubt", []string{allow("abac", `"*"`, `"kms:Decrypt"`, `"Resource":"arn:aws:kms:*:*:key/${aws:PrincipalTag/key}"`)},
			[]string{`everybody may kms:Decrypt if statement "abac" covers the call`}},
		{"everybody under a condition", []string{allow("", `"*"`, `"kms:Decrypt"`, when("StringEquals", "kms:ViaService", "s3.amazonaws.com"))},
			[]string{"everybody may kms:Decrypt if kms:ViaService StringEquals s3.amazonaws.com"}},
		{"everybody confined to accounts is these accounts",
			[]string{allow("", `"*"`, `"kms:Decrypt"`, `"Condition":{"StringEquals":{"kms:CallerAccount":["`+stranger+`","`+account+`"],"kms:ViaService":"s3.amazonaws.com"}}`)},
			[]string{"account " + account + " may kms:Decrypt if kms:ViaService StringEquals s3.amazonaws.com", "account " + stranger + " may kms:Decrypt if kms:ViaService StringEquals s3.amazonaws.com"}},
		{"everybody confined to a role is this role", []string{allow("", `"*"`, `"kms:Decrypt"`, when("ArnEquals", "aws:PrincipalArn", admin))},
			[]string{admin + " may kms:Decrypt"}},
		{"a pattern does not confine", []string{allow("", `"*"`, `"kms:Decrypt"`, when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/a"))},
			[]string{"everybody may kms:Decrypt if aws:PrincipalArn ArnLike arn:aws:iam::*:role/a"}},
		{"a condition that the principal cannot meet", []string{allow("", aws(stranger), `"kms:Decrypt"`, when("StringEquals", "aws:PrincipalAccount", account))}, nil},
		{"what is granted at all times is not said again", []string{
			allow("", aws(admin), `["kms:Decrypt","kms:Encrypt"]`, when("StringEquals", "kms:ViaService", "x")), allow("", aws(admin), `"kms:Encrypt"`)},
			[]string{admin + " may kms:Encrypt", admin + " may kms:Decrypt if kms:ViaService StringEquals x"}},
		{"a Deny takes away what it names", []string{allow("", aws(stranger), `["kms:Decrypt","kms:Encrypt"]`), deny("", `"*"`, `"kms:Decrypt"`)},
			[]string{"account " + stranger + " may kms:Encrypt"}},
		{"a Deny of an account is for its roles", []string{allow("", aws(admin), `"kms:Encrypt"`), deny("", aws(root), `"kms:*"`)}, nil},
		{"a Deny of one role leaves the rest of the account", []string{allow("", aws(root), `"kms:Encrypt"`), deny("", aws(admin), `"kms:*"`)},
			[]string{"account " + account + " may kms:Encrypt"}},
		{"a Deny of outsiders closes an open door", []string{allow("", aws("*", stranger, root), `"kms:Decrypt"`),
			deny("outsiders", `"*"`, `"kms:*"`, when("StringNotEquals", "aws:PrincipalAccount", account))},
			[]string{`everybody may kms:Decrypt if statement "outsiders" does not deny it`, "account " + account + " may kms:Decrypt"}},
		{"a Deny with NotPrincipal is a doubt", []string{allow("", aws(stranger, admin), `"kms:Decrypt"`),
			`{"Sid":"but","Effect":"Deny","NotPrincipal":` + aws(admin) + `,"Action":"kms:*","Resource":"*"}`},
			[]string{"account " + stranger + ` may kms:Decrypt if statement "but" does not deny it`, admin + " may kms:Decrypt"}},
		{"an Allow with NotPrincipal is everybody else", []string{`{"Effect":"Allow","NotPrincipal":` + aws(admin) + `,"Action":"kms:Decrypt","Resource":"*"}`},
			[]string{"everybody may kms:Decrypt if not named in the NotPrincipal of statement 1"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			expectSentences(t, sentences(policy.KeyGrants(doc(t, r.policy...), key)), r.want...)
		})
	}
}

// Everybody under a condition on who calls is whom the condition is about, as far as its values are literal.
func TestKeyGrants_confineEverybody(t *testing.T) {
	const own, foreign, organization, everybody = "account " + account, "account " + stranger, "organization o-1", "everybody"
	for _, tc := range []struct{ condition, want string }{
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Admin_*"), own},
		{when("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), own},
		{when("ArnLike", "AWS:principalarn", "arn:aws:iam::111122223333:*"), own},
		{when("ArnLike", "aws:PrincipalArn", "arn:*:iam:*:111122223333:role/?"), own},
		{when("StringLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), own},
		{when("StringEquals", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), own},
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/${aws:PrincipalTag/r}"), own},
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::999988887777:role/*"), foreign},
		{`"Condition":{"ArnLike":{"aws:PrincipalArn":["arn:aws:iam::111122223333:role/a*","arn:aws:iam::999988887777:role/b*"]}}`, own + ", " + foreign},
		{`"Condition":{"ArnLike":{"aws:PrincipalArn":["arn:aws:iam::111122223333:role/a*","` + admin + `"]}}`, own + ", " + admin},
		{`"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/a"},"StringEquals":{"aws:PrincipalAccount":"111122223333"}}`, own},
		{when("StringEquals", "aws:PrincipalAccount", account), own},
		{when("StringLike", "aws:PrincipalAccount", account), own},
		{when("StringEquals", "aws:SourceAccount", account), own},
		{when("StringEquals", "aws:PrincipalOrgID", "o-1"), organization},

		// Near misses: anybody may meet them.
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/x"), everybody},
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::11112222333?:role/x"), everybody},
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::${aws:PrincipalAccount}:role/x"), everybody},
		{when("ArnLike", "aws:PrincipalArn", "arn:${x}:iam::111122223333:role/x*"), everybody},
		{when("ArnLike", "aws:PrincipalArn", "*111122223333*"), everybody},
		{when("ArnLike", "aws:PrincipalArn", "arn:aws:*:111122223333:role/x"), everybody},
		// arn:aws:iam::999988887777:role/a:iam::111122223333:role/x is a role of the stranger's, and matches.
		{when("StringLike", "aws:PrincipalArn", "arn:*:iam::111122223333:role/x"), everybody},
		{when("StringLike", "aws:PrincipalArn", "arn:aws:iam:?:111122223333:role/x"), everybody},
		{`"Condition":{"ArnLike":{"aws:PrincipalArn":["arn:aws:iam::111122223333:role/*","arn:aws:iam::*:role/x"]}}`, everybody},
		{`"Condition":{"ArnLike":{"aws:PrincipalArn":[]}}`, "nobody"},
		{when("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), everybody},
		{when("StringNotEquals", "aws:PrincipalAccount", account), everybody},
		{when("ArnLikeIfExists", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), everybody},
		{when("ForAllValues:ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"), everybody},
		{when("StringEqualsIgnoreCase", "aws:PrincipalAccount", account), everybody},
		{when("StringLike", "aws:PrincipalAccount", "1111*"), everybody},
		{when("StringEquals", "aws:PrincipalAccount", "*"), everybody},
		{when("StringEquals", "aws:SourceAccount", "11112222333"), everybody},
		{when("StringEquals", "aws:PrincipalOrgID", "*"), everybody},
		{when("StringLike", "aws:PrincipalOrgID", "o-*"), everybody},
		{when("StringNotEquals", "aws:PrincipalOrgID", "o-1"), everybody},
		{when("StringEquals", "aws:PrincipalTag/account", account), everybody},
		{when("ArnLike", "aws:SourceArn", "arn:aws:iam::111122223333:role/*"), everybody},
	} {
		var who []string
		for _, g := range policy.KeyGrants(doc(t, allow("", `"*"`, `"kms:Decrypt"`, tc.condition)), key) {
			who = append(who, g.Principal.String())
			if g.Public() {
				t.Errorf("%s is public", tc.condition)
			}
		}
		if got := strings.Join(who, ", "); got != tc.want && tc.want != "nobody" || tc.want == "nobody" && got != "" && got != everybody {
			t.Errorf("%s is for %q, want %q", tc.condition, got, tc.want)
		}
	}
}

func TestOutsidersAreAllWhoAreNotKnown(t *testing.T) {
	grants := policy.KeyGrants(doc(t, allow("", `{"AWS":["*","`+root+`","`+admin+`","`+stranger+`","arn:aws:iam::777766665555:role/x"],"Service":["logs.amazonaws.com","s3.amazonaws.com"]}`, `"kms:Decrypt"`)), key)
	expectSentences(t, sentences(policy.Outsiders(grants, account, "777766665555", "logs.amazonaws.com")),
		"everybody may kms:Decrypt", "account "+stranger+" may kms:Decrypt", "service s3.amazonaws.com may kms:Decrypt")
	organization := policy.KeyGrants(doc(t, allow("", `"*"`, `"kms:Decrypt"`, when("StringEquals", "aws:PrincipalOrgID", "o-1"))), key)
	for known, want := range map[string]int{"o-1": 0, "o-12": 1, account: 1, "": 1} {
		if got := policy.Outsiders(organization, known); len(got) != want {
			t.Errorf("with %q known the organization makes %d outsiders, want %d", known, len(got), want)
		}
	}
	if got := policy.Outsiders(grants, account, ""); len(got) != 5 {
		t.Errorf("an empty name in the list of the known makes %d outsiders, want 5", len(got))
	}
}

func TestPublicIsEverybodyAtAllTimes(t *testing.T) {
	for statement, want := range map[string]bool{
		allow("", `"*"`, `"kms:Decrypt"`):                                                      true,
		allow("", `{"AWS":"*"}`, `"kms:Decrypt"`):                                              true,
		allow("", `"*"`, `"kms:Decrypt"`, when("StringEquals", "aws:PrincipalOrgID", "o-1")):   false,
		allow("", `"*"`, `"kms:Decrypt"`, when("StringEquals", "kms:CallerAccount", stranger)): false,
		allow("", `"*"`, `"kms:Decrypt"`, when("Bool", "aws:SecureTransport", "true")):         true,
		allow("", aws(stranger), `"kms:Decrypt"`):                                              false,
	} {
		grants := policy.KeyGrants(doc(t, statement), key)
		if got := slices.ContainsFunc(grants, policy.Grant.Public); got != want {
			t.Errorf("%s is public: %t, want %t", statement, got, want)
		}
	}
}

func TestGainedIsWhatWasNotGrantedBefore(t *testing.T) {
	conditional := allow("", aws(stranger), `"kms:Decrypt"`, when("StringEquals", "kms:ViaService", "x"))
	free := allow("", aws(stranger), `"kms:Decrypt"`)
	for _, r := range []struct {
		name          string
		before, after string
		want          []string
	}{
		{"the same", free, free, nil},
		{"another spelling of the same", free, allow("sid", aws("arn:aws:iam::"+stranger+":root"), `["kms:decrypt"]`), nil},
		{"another action", free, allow("", aws(stranger), `["kms:Encrypt","kms:Decrypt"]`), []string{"account " + stranger + " may kms:Encrypt"}},
		{"a condition added", free, conditional, nil},
		{"a condition removed", conditional, free, []string{"account " + stranger + " may kms:Decrypt"}},
		{"a condition changed", conditional, allow("", aws(stranger), `"kms:Decrypt"`, when("StringEquals", "kms:ViaService", "y")),
			[]string{"account " + stranger + " may kms:Decrypt if kms:ViaService StringEquals y"}},
		{"somebody after everybody", allow("", `"*"`, `"kms:Decrypt"`), free, nil},
		{"everybody after somebody", free, allow("", `"*"`, `"kms:Decrypt"`), []string{"everybody may kms:Decrypt"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			got := policy.Gained(policy.KeyGrants(doc(t, r.before), key), policy.KeyGrants(doc(t, r.after), key))
			expectSentences(t, sentences(got), r.want...)
		})
	}
}

func TestManagers_mayReplaceTheKeyPolicy(t *testing.T) {
	d := doc(t, allow("", aws(root, admin, stranger, "AROAEXAMPLEEXAMPLE123"), `"kms:Put*"`), allow("", aws(role), published))
	want := []policy.Principal{{Kind: policy.Account, ID: account}, {Kind: policy.Identity, ID: admin}}
	if got := policy.Managers(d, key); !slices.Equal(got, want) {
		t.Errorf("managers are %v, want %v", got, want)
	}
}
