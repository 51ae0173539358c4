package policy_test

import (
	"fmt"
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
			[]string{"everybody may call kms:Decrypt", "account " + account + " may call kms:Decrypt", "account " + stranger + " may call kms:Decrypt", admin + " may call kms:Decrypt"}},
		{"services and other principals", []string{allow("", `{"Service":"logs.amazonaws.com","CanonicalUser":"79a5"}`, `"kms:Encrypt"`)},
			[]string{"service logs.amazonaws.com may call kms:Encrypt", "canonical user 79a5 may call kms:Encrypt"}},
		{"all actions are one wildcard, families another", []string{allow("", aws(admin), `"*"`), allow("", aws(role), published)},
			[]string{admin + " may call kms:*", role + " may call kms:Encrypt, kms:Decrypt, kms:GenerateDataKey*, kms:DescribeKey, kms:ReEncrypt*"}},
		{"a long rest is counted", []string{allow("", aws(admin), `["kms:Disable*","kms:Enable*","kms:Put*","kms:Update*","kms:Get*"]`)},
			[]string{admin + " may call kms:DisableKey, kms:DisableKeyRotation, kms:EnableKey, kms:EnableKeyRotation, kms:GetKeyLastUsage, kms:GetKeyPolicy, kms:GetKeyRotationStatus, kms:GetParametersForImport and 5 more"}},
		{"an action that is newer than this program", []string{allow("", aws(stranger), `"kms:Teleport*"`)},
			[]string{"account " + stranger + " may call kms:Teleport*"}},
		{"deleted principals, other services and other keys grant nothing", []string{
			allow("", aws("AROAEXAMPLEEXAMPLE123"), `"kms:*"`), allow("", aws(stranger), `"s3:*"`),
			allow("", aws(stranger), `"kms:*"`, `"Resource":"arn:aws:kms:us-east-1:111122223333:key/other"`)}, nil},
		{"a resource that depends on the call is a doubt", []string{allow("abac", `"*"`, `"kms:Decrypt"`, `"Resource":"arn:aws:kms:*:*:key/${aws:PrincipalTag/key}"`)},
			[]string{`everybody may call kms:Decrypt if statement "abac" covers the call`}},
		{"everybody under a condition", []string{allow("", `"*"`, `"kms:Decrypt"`, when("StringEquals", "kms:ViaService", "s3.amazonaws.com"))},
			[]string{"everybody may call kms:Decrypt if kms:ViaService StringEquals s3.amazonaws.com"}},
		{"everybody confined to accounts is these accounts",
			[]string{allow("", `"*"`, `"kms:Decrypt"`, `"Condition":{"StringEquals":{"kms:CallerAccount":["`+stranger+`","`+account+`"],"kms:ViaService":"s3.amazonaws.com"}}`)},
			[]string{"account " + account + " may call kms:Decrypt if kms:ViaService StringEquals s3.amazonaws.com", "account " + stranger + " may call kms:Decrypt if kms:ViaService StringEquals s3.amazonaws.com"}},
		{"everybody confined to a role is this role", []string{allow("", `"*"`, `"kms:Decrypt"`, when("ArnEquals", "aws:PrincipalArn", admin))},
			[]string{admin + " may call kms:Decrypt"}},
		{"a pattern does not confine", []string{allow("", `"*"`, `"kms:Decrypt"`, when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/a"))},
			[]string{"everybody may call kms:Decrypt if aws:PrincipalArn ArnLike arn:aws:iam::*:role/a"}},
		{"a condition that the principal cannot meet", []string{allow("", aws(stranger), `"kms:Decrypt"`, when("StringEquals", "aws:PrincipalAccount", account))}, nil},
		{"what is granted at all times is not said again", []string{
			allow("", aws(admin), `["kms:Decrypt","kms:Encrypt"]`, when("StringEquals", "kms:ViaService", "x")), allow("", aws(admin), `"kms:Encrypt"`)},
			[]string{admin + " may call kms:Encrypt", admin + " may call kms:Decrypt if kms:ViaService StringEquals x"}},
		{"a Deny takes away what it names", []string{allow("", aws(stranger), `["kms:Decrypt","kms:Encrypt"]`), deny("", `"*"`, `"kms:Decrypt"`)},
			[]string{"account " + stranger + " may call kms:Encrypt"}},
		{"a Deny of an account is for its roles", []string{allow("", aws(admin), `"kms:Encrypt"`), deny("", aws(root), `"kms:*"`)}, nil},
		{"a Deny of one role leaves the rest of the account", []string{allow("", aws(root), `"kms:Encrypt"`), deny("", aws(admin), `"kms:*"`)},
			[]string{"account " + account + " may call kms:Encrypt"}},
		{"a Deny of outsiders closes an open door", []string{allow("", aws("*", stranger, root), `"kms:Decrypt"`),
			deny("outsiders", `"*"`, `"kms:*"`, when("StringNotEquals", "aws:PrincipalAccount", account))},
			[]string{`everybody may call kms:Decrypt if statement "outsiders" does not deny it`, "account " + account + " may call kms:Decrypt"}},
		{"a Deny with NotPrincipal is a doubt", []string{allow("", aws(stranger, admin), `"kms:Decrypt"`),
			`{"Sid":"but","Effect":"Deny","NotPrincipal":` + aws(admin) + `,"Action":"kms:*","Resource":"*"}`},
			[]string{"account " + stranger + ` may call kms:Decrypt if statement "but" does not deny it`, admin + " may call kms:Decrypt"}},
		{"an Allow with NotPrincipal is everybody else", []string{`{"Effect":"Allow","NotPrincipal":` + aws(admin) + `,"Action":"kms:Decrypt","Resource":"*"}`},
			[]string{"everybody may call kms:Decrypt if not named in the NotPrincipal of statement 1"}},
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
		"everybody may call kms:Decrypt", "account "+stranger+" may call kms:Decrypt", "service s3.amazonaws.com may call kms:Decrypt")
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
		{"another action", free, allow("", aws(stranger), `["kms:Encrypt","kms:Decrypt"]`), []string{"account " + stranger + " may call kms:Encrypt"}},
		{"a condition added", free, conditional, nil},
		{"a condition removed", conditional, free, []string{"account " + stranger + " may call kms:Decrypt"}},
		{"a condition changed", conditional, allow("", aws(stranger), `"kms:Decrypt"`, when("StringEquals", "kms:ViaService", "y")),
			[]string{"account " + stranger + " may call kms:Decrypt if kms:ViaService StringEquals y"}},
		{"somebody after everybody", allow("", `"*"`, `"kms:Decrypt"`), free, nil},
		{"everybody after somebody", free, allow("", `"*"`, `"kms:Decrypt"`), []string{"everybody may call kms:Decrypt"}},
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

func TestKeyGrants_boundsAndRepeats(t *testing.T) {
	grants := func(statements ...string) []policy.Grant { return policy.KeyGrants(doc(t, statements...), key) }
	if all := grants(allow("", aws(stranger), `"kms:*"`)); len(all) != 1 || all[0].String() != "account "+stranger+" may call kms:*" || strings.Contains(strings.Join(all[0].Actions, " "), "other actions") {
		t.Errorf("kms:* is granted as %v", all)
	}
	sometimes := allow("", aws(stranger), `"kms:Sign"`, when("StringEquals", "kms:ViaService", "x"))
	if all := grants(allow("", aws(stranger), `"kms:Sign"`), sometimes); len(all) != 1 || len(all[0].Conditions) > 0 {
		t.Errorf("an action that is granted at all times and under a condition is granted as %v", all)
	}
	for length, asItself := range map[int]bool{64: true, 65: false} {
		action := "kms:" + strings.Repeat("x", length-len("kms:"))
		if got := strings.Contains(fmt.Sprint(grants(allow("", aws(stranger), `"`+action+`"`))), action); got != asItself {
			t.Errorf("an action of %d characters is granted as itself: %t", length, got)
		}
	}
	eight := `["kms:Sign","kms:Verify","kms:EnableKey","kms:DisableKey","kms:ListGrants","kms:CreateAlias","kms:DeleteAlias","kms:UpdateAlias"]`
	nine := strings.Replace(eight, "[", `["kms:VerifyMac",`, 1)
	if got := grants(allow("", aws(stranger), eight))[0].String(); strings.Contains(got, "more") || !strings.Contains(got, "kms:Verify") {
		t.Errorf("eight actions read %q", got)
	}
	if got := grants(allow("", aws(stranger), nine))[0].String(); !strings.HasSuffix(got, " and 1 more") {
		t.Errorf("nine actions read %q", got)
	}
	// aws:PrincipalArn is that of a session's role, and nothing is known of it for a provider of identities.
	for _, principal := range []string{aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), `{"Federated":"arn:aws:iam::111122223333:saml-provider/x"}`} {
		if all := grants(allow("", principal, `"kms:Sign"`, when("ArnEquals", "aws:PrincipalArn", role))); len(all) != 1 || len(all[0].Conditions) != 1 {
			t.Errorf("%s may sign by %v, want a grant under a condition", principal, all)
		}
	}
}

func TestPrincipal_whoIsMeant(t *testing.T) {
	long := strings.Repeat("x", 120)
	for id, want := range map[string]struct{ account, text string }{
		"arn:aws:iam::111122223333:role/x": {account, "arn:aws:iam::111122223333:role/x"},
		"arn:aws:iam::*:role/x":            {"", "arn:aws:iam::*:role/x"},
		"a:b:c:d:111122223333":             {"", "a:b:c:d:111122223333"},
		"somebody":                         {"", "somebody"},
		"AROA:x":                           {"", "AROA:x"},
		long:                               {"", long},
		long + "x":                         {"", long + "…"},
	} {
		d := doc(t, allow("", aws(id), `"kms:Sign"`))
		p := d.Statements[0].Principals[0]
		if p.Kind != policy.Identity || p.Account() != want.account || p.String() != want.text {
			t.Errorf("%q is %s %q of account %q, want %q of %q", id, p.Kind, p.String(), p.Account(), want.text, want.account)
		}
	}
}
