package policy_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

func TestDiffKeyPolicy_saysWhoGainedAndLost(t *testing.T) {
	use := allow("cmek", aws(role), published)
	manage := allow("admin", aws(root), `"kms:*"`)
	for _, r := range []struct {
		name          string
		before, after []string
		want          []string
	}{
		{name: "nothing changed", before: []string{manage, use}, after: []string{manage, use}},
		{name: "only the spelling changed", before: []string{manage, use},
			after: []string{allow("CMEK", aws(role), `["kms:encrypt","kms:Decrypt","kms:DescribeKey","kms:GenerateDataKey*","kms:ReEncrypt*"]`), allow("admin", aws(account), `["kms:*"]`)}},
		{name: "the role lost one action", before: []string{manage, use},
			after: []string{allow("admin", aws(admin), `"kms:*"`), allow("cmek", aws(role), `["kms:Encrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"]`)},
			want:  []string{role + " lost kms:Decrypt: no statement of the key policy allows it", admin + " may now call kms:*", "account " + account + " may no longer call kms:*"}},
		{name: "the role lost its statement", before: []string{use}, after: nil,
			want: []string{role + " lost kms:Encrypt, kms:Decrypt, kms:GenerateDataKey*, kms:DescribeKey, kms:ReEncrypt*: no statement of the key policy allows it"}},
		{name: "the role is denied", before: []string{manage, use}, after: []string{manage, use, deny("freeze", aws(role), published)},
			want: []string{role + ` lost kms:Encrypt, kms:Decrypt, kms:GenerateDataKey*, kms:DescribeKey, kms:ReEncrypt*: statement "freeze" of the key policy denies it`}},
		{name: "the role got it back", before: []string{allow("cmek", aws(role), `"kms:DescribeKey"`)}, after: []string{allow("cmek", aws(role), `["kms:Decrypt","kms:DescribeKey"]`)},
			want: []string{role + ` gained kms:Decrypt: statement "cmek" of the key policy allows it`}},
		{name: "a condition makes it uncertain", before: []string{allow("cmek", aws(role), `"kms:Decrypt"`)}, after: []string{allow("cmek", aws(role), `"kms:Decrypt"`, when("StringEquals", "aws:SourceVpce", "vpce-1"))},
			want: []string{role + ` may have lost kms:Decrypt: statement "cmek" allows it only if aws:SourceVpce StringEquals vpce-1`}},
		{name: "an account gained access", before: []string{manage}, after: []string{manage, allow("", aws(stranger), `"kms:Decrypt"`)},
			want: []string{"account " + stranger + " may now call kms:Decrypt"}},
		{name: "everybody gained access", before: []string{manage}, after: []string{manage, allow("", `{"Service":"logs.amazonaws.com","AWS":"*"}`, `"kms:CreateGrant"`)},
			want: []string{"everybody may now call kms:CreateGrant", "service logs.amazonaws.com may now call kms:CreateGrant"}},
		{name: "a condition of everybody's went away", before: []string{manage, allow("", `"*"`, `"kms:Sign"`, when("StringEquals", "aws:PrincipalOrgID", "o-1"))},
			after: []string{manage, allow("", `"*"`, `"kms:Sign"`)}, want: []string{"everybody may now call kms:Sign"}},
		{name: "a condition was added", before: []string{manage, allow("", aws(stranger), `"kms:Sign"`)}, after: []string{manage, allow("", aws(stranger), `"kms:Sign"`, when("StringEquals", "kms:ViaService", "x"))},
			want: []string{"account " + stranger + " may call kms:Sign if kms:ViaService StringEquals x, no longer at all times"}},
		{name: "a Deny went away", before: []string{manage, allow("", aws(stranger), `"kms:Sign"`), deny("", aws(stranger), `"kms:*"`)},
			after: []string{manage, allow("", aws(stranger), `"kms:Sign"`)}, want: []string{"account " + stranger + " may now call kms:Sign"}},
		{name: "the managing statement is gone", before: []string{allow("admin", aws(admin), `"kms:Put*"`), use}, after: []string{use},
			want: []string{admin + " may no longer call kms:PutKeyPolicy", `statement "admin" removed: nobody can manage the key any more`}},
		{name: "the managing statement without a name is gone", before: []string{allow("", aws(admin), `"kms:Put*"`), use}, after: []string{use},
			want: []string{admin + " may no longer call kms:PutKeyPolicy", "nobody can manage the key any more"}},
		{name: "another statement is gone, too", before: []string{allow("sign", aws(stranger), `"kms:Sign"`), allow("admin", aws(admin), `"kms:Put*"`)}, after: nil,
			want: []string{"account " + stranger + " may no longer call kms:Sign", admin + " may no longer call kms:PutKeyPolicy", `statement "admin" removed: nobody can manage the key any more`}},
		{name: "a condition came with another action", before: []string{manage, allow("", aws(stranger), `"kms:Sign"`)}, after: []string{manage, allow("", aws(stranger), `"kms:Verify"`, when("StringEquals", "kms:ViaService", "x"))},
			want: []string{"account " + stranger + " may now call kms:Verify if kms:ViaService StringEquals x", "account " + stranger + " may no longer call kms:Sign"}},
		{name: "the managing statement is empty now", before: []string{allow("admin", aws(admin), `"kms:Put*"`), use}, after: []string{allow("admin", aws("AROAEXAMPLEEXAMPLE123"), `"kms:Put*"`), use},
			want: []string{admin + " may no longer call kms:PutKeyPolicy",
				"the policy names AROAEXAMPLEEXAMPLE123, a role or user that was deleted: it matches nobody, not even a new one of the same name",
				"nobody can manage the key any more"}},
		{name: "somebody else manages the key now", before: []string{allow("admin", aws(admin), `"kms:Put*"`)}, after: []string{allow("root", aws(root), `"kms:Put*"`)},
			want: []string{"account " + account + " may now call kms:PutKeyPolicy", admin + " may no longer call kms:PutKeyPolicy"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			expectSentences(t, policy.DiffKeyPolicy(doc(t, r.before...), doc(t, r.after...), key, policy.Role{ARN: role}), r.want...)
		})
	}
}

func TestDiffAccessSaysWhatARolePolicyTook(t *testing.T) {
	keyPolicy := doc(t, allow("cmek", aws(role), `["kms:Decrypt","kms:DescribeKey"]`), allow("root", aws(root), `"kms:Encrypt"`))
	noKMS, freeze := doc(t, allow("", "", `"s3:*"`)), doc(t, deny("freeze", "", `"kms:Decrypt"`))
	encrypt := doc(t, allow("", "", `"kms:Encrypt"`))
	for _, r := range []struct {
		name          string
		before, after policy.Role
		want          []string
	}{
		{"a boundary", policy.Role{AllRead: true}, policy.Role{AllRead: true, Boundary: &noKMS},
			[]string{role + " lost kms:Decrypt, kms:DescribeKey: the permissions boundary of the role does not allow it"}},
		{"a Deny", policy.Role{AllRead: true}, policy.Role{AllRead: true, Policies: []policy.Document{freeze}},
			[]string{role + ` lost kms:Decrypt: statement "freeze" of an identity policy denies it`}},
		{"an Allow that the key policy asked for", policy.Role{AllRead: true}, policy.Role{Policies: []policy.Document{encrypt}},
			[]string{role + ` gained kms:Encrypt: statement "root" of the key policy allows it`}},
		{"a boundary that was not read", policy.Role{AllRead: true}, policy.Role{AllRead: true, BoundaryUnread: true},
			[]string{role + " may have lost kms:Decrypt, kms:DescribeKey: the permissions boundary of the role was not read"}},
		{"certainty that it may", policy.Role{}, policy.Role{Policies: []policy.Document{encrypt}},
			[]string{role + ` certainly may call kms:Encrypt: statement "root" of the key policy allows it`}},
		{"certainty that it may not", policy.Role{}, policy.Role{AllRead: true},
			[]string{role + " certainly may not call kms:Encrypt: the key policy leaves it to IAM, and no identity policy of the role allows it"}},
		{"a doubt that it may", policy.Role{AllRead: true}, policy.Role{},
			[]string{role + " may have gained kms:Encrypt: the key policy leaves it to IAM, and the identity policies of the role were not all read"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.before.ARN, r.after.ARN = role, role
			expectSentences(t, policy.DiffAccess(policy.KeyAccess(keyPolicy, key, r.before), policy.KeyAccess(keyPolicy, key, r.after)), r.want...)
		})
	}
}

func TestDiffTrust_saysWhoGainedAndLost(t *testing.T) {
	guarded := allow("crl", aws(cluster), assume, when("StringEquals", "sts:ExternalId", org))
	open := allow("crl", aws(cluster), assume)
	ofOrg := ` the role with the external id "` + org + `": `
	for _, r := range []struct {
		name          string
		before, after []string
		want          []string
	}{
		{"nothing changed", []string{guarded}, []string{guarded}, nil},
		{"the condition is gone", []string{guarded}, []string{open}, []string{
			"ExternalId condition removed or weakened: account " + cluster + " may now assume the role without an external id",
			"ExternalId condition removed or weakened: account " + cluster + " may now assume the role with any external id"}},
		{"the condition is back", []string{open}, []string{guarded}, []string{
			"account " + cluster + " may no longer assume the role without an external id",
			"account " + cluster + " may no longer assume the role with any external id"}},
		{"the account is gone", []string{guarded}, nil, []string{
			"account " + cluster + " can no longer assume" + ofOrg + "no statement of the trust policy names the account"}},
		{"the account is back", nil, []string{guarded}, []string{
			"account " + cluster + " may now assume" + ofOrg + `statement "crl" of the trust policy allows it`}},
		{"the account is uncertain", []string{guarded}, []string{allow("crl", aws("arn:aws:iam::"+cluster+":role/x"), assume, when("StringEquals", "sts:ExternalId", org))}, []string{
			"account " + cluster + " may no longer be able to assume" + ofOrg + `statement "crl" of the trust policy names single principals of the account, which may or may not be the cluster's`}},
		{"another external id", []string{guarded}, []string{allow("crl", aws(cluster), assume, when("StringEquals", "sts:ExternalId", "x"))}, []string{
			"account " + cluster + " can no longer assume" + ofOrg + `statement "crl" allows it only if sts:ExternalId StringEquals x`,
			"ExternalId condition removed or weakened: account " + cluster + ` may now assume the role with the external id "x"`}},
		{"a gap that became less certain", []string{open}, []string{allow("crl", aws(cluster), assume, when("IpAddress", "aws:SourceIp", "192.0.2.0/24"))}, []string{
			"account " + cluster + " may no longer be able to assume" + ofOrg + `statement "crl" allows it only if aws:SourceIp IpAddress 192.0.2.0/24`}},
		{"another account", []string{guarded}, []string{guarded, allow("", aws(stranger), assume)}, []string{"account " + stranger + " may now assume the role"}},
		{"another account no longer", []string{guarded, allow("", aws(stranger), assume)}, []string{guarded}, []string{"account " + stranger + " may no longer assume the role"}},
		{"an organization", []string{guarded}, []string{guarded, allow("", `"*"`, assume, when("StringEquals", "aws:PrincipalOrgID", "o-1"))}, []string{
			"ExternalId condition removed or weakened: it is unclear whether account " + cluster + " may now assume the role without an external id",
			"ExternalId condition removed or weakened: it is unclear whether account " + cluster + " may now assume the role with any external id",
			"organization o-1 may now assume the role"}},
		{"everybody with the external id", []string{guarded}, []string{guarded, allow("", `"*"`, assume, when("StringEquals", "sts:ExternalId", org))}, []string{
			"everybody may now assume the role if sts:ExternalId StringEquals " + org}},
		{"only with the external id any more", []string{allow("", `"*"`, assume)}, []string{allow("", `"*"`, assume, when("StringEquals", "sts:ExternalId", org))}, []string{
			"account " + cluster + " may no longer assume the role without an external id",
			"account " + cluster + " may no longer assume the role with any external id",
			"everybody may assume the role if sts:ExternalId StringEquals " + org + ", no longer at all times"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			expectSentences(t, policy.DiffTrust(doc(t, r.before...), doc(t, r.after...), cluster, org), r.want...)
		})
	}
}
