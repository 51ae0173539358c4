package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// One row for each sentence of the IAM and KMS guides that decides whether a role may use a key.
func TestKeyAccess(t *testing.T) {
	grant := allow("cmek", aws(role), published)
	delegation := allow("root", aws(root), `"kms:*"`)
	kmsAllowed := text(allow("", "", `"kms:*"`))
	for _, r := range []struct {
		name      string
		key       cmek.KeyURI // key if empty
		keyPolicy []string
		role      string // role if empty
		identity  []string
		allRead   bool
		boundary  string
		unread    bool
		want      policy.Decision
		why       string
	}{
		// The key policy names the role.
		{name: "the published key policy is enough by itself",
			keyPolicy: []string{grant}, want: policy.Allowed, why: `statement "cmek" of the key policy allows it`},
		{name: "an empty key policy allows nothing", want: policy.Denied, why: "no statement of the key policy allows it"},
		{name: "the account's own policies do not matter beside it",
			keyPolicy: []string{grant}, allRead: true, want: policy.Allowed},
		{name: "actions are compared without regard to case",
			keyPolicy: []string{allow("", aws(role), `"KMS:*"`)}, want: policy.Allowed},
		{name: "* is every action", keyPolicy: []string{allow("", aws(role), `"*"`)}, want: policy.Allowed},
		{name: "? is one character", keyPolicy: []string{allow("", aws(role), `"kms:?*"`)}, want: policy.Allowed},
		{name: "NotAction allows everything else",
			keyPolicy: []string{`{"Effect":"Allow","Principal":` + aws(role) + `,"NotAction":"kms:PutKeyPolicy","Resource":"*"}`}, want: policy.Allowed},
		{name: "the resource may be the key's own ARN",
			keyPolicy: []string{allow("", aws(role), published, `"Resource":"`+key+`"`)}, want: policy.Allowed},
		{name: "a resource that is another key has no effect",
			keyPolicy: []string{allow("", aws(role), published, `"Resource":"arn:aws:kms:us-east-1:111122223333:key/other"`)}, want: policy.Denied},
		{name: "NotResource that names the key spares it",
			keyPolicy: []string{allow("", aws(role), published, `"NotResource":"`+key+`"`)}, want: policy.Denied},
		{name: "a statement without a resource is accepted and has no effect",
			keyPolicy: []string{`{"Effect":"Allow","Principal":` + aws(role) + `,"Action":"kms:*"}`}, want: policy.Denied},
		{name: "a statement without an action is accepted and has no effect",
			keyPolicy: []string{`{"Effect":"Allow","Principal":` + aws(role) + `,"Resource":"*"}`}, want: policy.Denied},
		{name: "a resource with a policy variable depends on the call",
			keyPolicy: []string{allow("", aws(role), published, `"Resource":"arn:aws:kms:*:*:key/${aws:PrincipalTag/key}"`)}, want: policy.CannotTell, why: "depends on the call"},
		{name: "whether an alias is the key that a resource names cannot be told",
			key: "arn:aws:kms:us-east-1:111122223333:alias/cmek", keyPolicy: []string{allow("", aws(role), published, `"Resource":"`+key+`"`)}, want: policy.CannotTell},
		{name: "another role of the account is not the role",
			keyPolicy: []string{allow("", aws(role+"-2"), published)}, want: policy.Denied},
		{name: "the path is part of the ARN",
			keyPolicy: []string{allow("", aws("arn:aws:iam::111122223333:role/crdb/payments-cmek"), published)}, want: policy.Denied},
		{name: "services, providers and canonical users are never the role",
			keyPolicy: []string{allow("", `{"Service":"kms.amazonaws.com","Federated":"x","CanonicalUser":"y"}`, published)}, want: policy.Denied},
		{name: "a statement without a principal is for nobody", keyPolicy: []string{allow("", "", published)}, want: policy.Denied},

		// A deleted principal.
		{name: "a role made anew does not match the id of the deleted one",
			keyPolicy: []string{allow("", aws("AROAEXAMPLEEXAMPLE123"), published)}, want: policy.Denied, why: "deleted principal AROAEXAMPLEEXAMPLE123"},
		{name: "a deleted user's id matches nobody either",
			keyPolicy: []string{allow("", aws("AIDAEXAMPLEEXAMPLE123"), published)}, want: policy.Denied, why: "deleted principal AIDAEXAMPLEEXAMPLE123"},

		// Sessions and patterns.
		{name: "a session of the role may or may not be the cluster's",
			keyPolicy: []string{allow("", aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), published)}, want: policy.CannotTell, why: "session"},
		{name: "a denied session of the role may or may not be the cluster's",
			keyPolicy: []string{grant, deny("", aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), `"kms:*"`)}, want: policy.CannotTell, why: "session"},
		{name: "a session of another role is not the role's",
			keyPolicy: []string{allow("", aws("arn:aws:sts::111122223333:assumed-role/payments/cmek"), published)}, want: policy.Denied},
		{name: "a session is not limited by the boundary of its role",
			keyPolicy: []string{allow("", aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), published)}, boundary: text(allow("", "", `"s3:*"`)), want: policy.CannotTell, why: "session"},
		{name: "a session is limited by a Deny in the boundary of its role",
			keyPolicy: []string{allow("", aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), published)}, boundary: text(deny("", "", `"kms:*"`)), want: policy.Denied, why: "boundary denies it"},
		{name: "a session beside the role that a boundary cuts off",
			keyPolicy: []string{grant, allow("", aws("arn:aws:sts::111122223333:assumed-role/payments-cmek/s"), published)}, boundary: text(allow("", "", `"s3:*"`)), want: policy.CannotTell, why: "session"},
		{name: "a session of another role, with the boundary",
			keyPolicy: []string{allow("", aws("arn:aws:sts::111122223333:assumed-role/payments/payments-cmek/s"), published)}, boundary: text(allow("", "", `"s3:*"`)), want: policy.Denied},
		{name: "a session of a role of that name in another account",
			keyPolicy: []string{allow("", aws("arn:aws:sts::999988887777:assumed-role/payments-cmek/s"), published)}, boundary: text(allow("", "", `"s3:*"`)), want: policy.Denied},
		{name: "a role whose path looks like a session",
			keyPolicy: []string{allow("", aws("arn:aws:iam::111122223333:assumed-role/payments-cmek/s"), published)}, want: policy.Denied},
		{name: "a session in another account needs its identity policies too",
			keyPolicy: []string{allow("", aws("arn:aws:sts::999988887777:assumed-role/cmek/s"), published)}, role: "arn:aws:iam::999988887777:role/cmek", allRead: true, want: policy.Denied},
		{name: "a pattern is limited by the boundary",
			keyPolicy: []string{allow("", aws("arn:aws:iam::111122223333:role/*"), published)}, boundary: text(allow("", "", `"s3:*"`)), want: policy.Denied},
		{name: "AWS defines no wildcard within a principal",
			keyPolicy: []string{allow("", aws("arn:aws:iam::111122223333:role/*"), published)}, want: policy.CannotTell, why: "pattern"},

		// The key policy leaves it to IAM.
		{name: "a statement for the account needs the identity policies, which nobody read",
			keyPolicy: []string{delegation}, want: policy.CannotTell, why: "identity policies of the role were not all read"},
		{name: "an account id is its root ARN",
			keyPolicy: []string{allow("", aws(account), `"kms:*"`)}, want: policy.CannotTell},
		{name: "with an identity policy that allows it the account statement is enough",
			keyPolicy: []string{delegation}, identity: []string{kmsAllowed}, want: policy.Allowed},
		{name: "without any identity policy it is not",
			keyPolicy: []string{delegation}, allRead: true, want: policy.Denied, why: "no identity policy of the role allows it"},
		{name: "an identity policy about another key does not count",
			keyPolicy: []string{delegation}, identity: []string{text(allow("", "", `"kms:*"`, `"Resource":"arn:aws:kms:us-east-1:111122223333:key/other"`))}, allRead: true, want: policy.Denied},
		{name: "identity policies have no effect if the key policy does not name the account",
			keyPolicy: []string{allow("", aws(admin), `"kms:*"`)}, identity: []string{kmsAllowed}, allRead: true, want: policy.Denied},
		{name: "another account's statement is not for the role",
			keyPolicy: []string{allow("", aws(stranger), `"kms:*"`)}, identity: []string{kmsAllowed}, want: policy.Denied},

		// Role and key in different accounts.
		{name: "across accounts a named role needs its identity policies too",
			keyPolicy: []string{allow("", aws("arn:aws:iam::999988887777:role/cmek"), published)}, role: "arn:aws:iam::999988887777:role/cmek", want: policy.CannotTell},
		{name: "across accounts both sides together allow",
			keyPolicy: []string{allow("", aws("arn:aws:iam::999988887777:role/cmek"), published)}, role: "arn:aws:iam::999988887777:role/cmek", identity: []string{kmsAllowed}, want: policy.Allowed},
		{name: "across accounts the key policy alone does not allow",
			keyPolicy: []string{allow("", aws("arn:aws:iam::999988887777:role/cmek"), published)}, role: "arn:aws:iam::999988887777:role/cmek", allRead: true, want: policy.Denied},

		// Explicit denials.
		{name: "a Deny of the role wins", keyPolicy: []string{grant, deny("stop", aws(role), `"kms:*"`)}, want: policy.Denied, why: `statement "stop" of the key policy denies it`},
		{name: "a Deny of everybody wins", keyPolicy: []string{grant, deny("", `"*"`, `"*"`)}, want: policy.Denied},
		{name: "a Deny of the account is for its roles", keyPolicy: []string{grant, deny("", aws(root), `"kms:*"`)}, want: policy.Denied},
		{name: "a Deny of somebody else is not", keyPolicy: []string{grant, deny("", aws(admin, stranger), `"kms:*"`)}, want: policy.Allowed},
		{name: "a Deny of other actions is not", keyPolicy: []string{grant, deny("", `"*"`, `"kms:ScheduleKeyDeletion"`)}, want: policy.Allowed},
		{name: "a Deny in an identity policy wins",
			keyPolicy: []string{grant}, identity: []string{text(deny("freeze", "", `"kms:*"`))}, want: policy.Denied, why: `statement "freeze" of an identity policy denies it`},
		{name: "a Deny in the permissions boundary wins",
			keyPolicy: []string{grant}, boundary: text(allow("", "", `"*"`), deny("", "", `"kms:*"`)), want: policy.Denied, why: "of the permissions boundary denies it"},
		{name: "a Deny with a condition that depends on the call may or may not hold",
			keyPolicy: []string{grant, deny("vpc", `"*"`, `"kms:*"`, when("StringNotEquals", "aws:SourceVpce", "vpce-1"))}, want: policy.CannotTell,
			why: `statement "vpc" denies it only if aws:SourceVpce StringNotEquals vpce-1`},
		{name: "a Deny without TLS never holds: KMS takes no such call",
			keyPolicy: []string{grant, deny("", `"*"`, `"kms:*"`, when("Bool", "aws:SecureTransport", "false"))}, want: policy.Allowed},
		{name: "a Deny of other accounts spares the role",
			keyPolicy: []string{grant, deny("", `"*"`, `"kms:*"`, when("StringNotEquals", "aws:PrincipalAccount", account))}, want: policy.Allowed},

		// NotPrincipal.
		{name: "a Deny of all but somebody else hits the role",
			keyPolicy: []string{grant, `{"Effect":"Deny","NotPrincipal":` + aws(admin) + `,"Action":"kms:*","Resource":"*"}`}, want: policy.Denied},
		{name: "a Deny of all but the role may hit its sessions",
			keyPolicy: []string{grant, `{"Effect":"Deny","NotPrincipal":` + aws(role, root) + `,"Action":"kms:*","Resource":"*"}`}, want: policy.CannotTell, why: "sessions of the role"},
		{name: "a Deny of all but everybody hits nobody",
			keyPolicy: []string{grant, `{"Effect":"Deny","NotPrincipal":"*","Action":"kms:*","Resource":"*"}`}, want: policy.Allowed},
		{name: "an Allow with NotPrincipal is not defined",
			keyPolicy: []string{`{"Effect":"Allow","NotPrincipal":` + aws(admin) + `,"Action":"kms:*","Resource":"*"}`}, want: policy.CannotTell, why: "NotPrincipal"},

		// Everybody and conditions.
		{name: "everybody includes the role", keyPolicy: []string{allow("", `"*"`, `"kms:*"`)}, want: policy.Allowed},
		{name: "everybody in the account includes the role",
			keyPolicy: []string{allow("", `{"AWS":"*"}`, `"kms:*"`, when("StringEquals", "kms:CallerAccount", account))}, want: policy.Allowed},
		{name: "everybody in another account does not",
			keyPolicy: []string{allow("other", `{"AWS":"*"}`, `"kms:*"`, when("StringEquals", "kms:CallerAccount", stranger))}, want: policy.Denied,
			why: `statement "other" allows it only if kms:CallerAccount StringEquals 999988887777`},
		{name: "a condition on the role's ARN is met",
			keyPolicy: []string{allow("", `"*"`, `"kms:*"`, when("ArnLike", "AWS:principalarn", "arn:aws:iam::*:role/*-cmek"))}, want: policy.Allowed},
		{name: "a wildcard in an ARN does not reach across a colon",
			keyPolicy: []string{allow("", `"*"`, `"kms:*"`, when("ArnLike", "aws:PrincipalArn", "arn:*:role/payments-cmek:*:*:*"))}, want: policy.Denied},
		{name: "an Allow with a condition that depends on the call may or may not hold",
			keyPolicy: []string{allow("", aws(role), published, when("StringEquals", "kms:ViaService", "s3.us-east-1.amazonaws.com"))}, want: policy.CannotTell, why: "kms:ViaService"},
		{name: "an operator that is not known may or may not hold",
			keyPolicy: []string{allow("", aws(role), published, when("ForAnyValue:StringEquals", "aws:PrincipalArn", role))}, want: policy.CannotTell},
		{name: "an empty condition is none",
			keyPolicy: []string{allow("", aws(role), published, `"Condition":{}`)}, want: policy.Allowed},
		{name: "a certain Allow beside an uncertain one is enough",
			keyPolicy: []string{allow("", aws(role), published, when("StringEquals", "kms:ViaService", "x")), grant}, want: policy.Allowed},

		// The permissions boundary.
		{name: "a boundary without KMS cuts off a role that the key policy names",
			keyPolicy: []string{grant}, boundary: text(allow("", "", `"s3:*"`)), want: policy.Denied, why: "the permissions boundary of the role does not allow it"},
		{name: "a boundary with KMS does not", keyPolicy: []string{grant}, boundary: kmsAllowed, want: policy.Allowed},
		{name: "a boundary grants nothing", boundary: kmsAllowed, want: policy.Denied},
		{name: "a boundary that was not read may cut it off",
			keyPolicy: []string{grant}, unread: true, want: policy.CannotTell, why: "the permissions boundary of the role was not read"},
		{name: "a boundary limits identity policies",
			keyPolicy: []string{delegation}, identity: []string{kmsAllowed}, boundary: text(allow("", "", `"s3:*"`)), want: policy.Denied},
		{name: "whether a boundary limits a grant to everybody is not documented",
			keyPolicy: []string{allow("", `"*"`, `"kms:*"`)}, boundary: text(allow("", "", `"s3:*"`)), want: policy.CannotTell},

		// The reason is that of the statement that decides, or comes nearest: the first of equals.
		{name: "the nearest statement is the reason, whatever follows",
			keyPolicy: []string{allow("near", aws(role), `"kms:*"`, when("StringEquals", "kms:CallerAccount", stranger)), allow("far", aws(role), `"s3:*"`)},
			want:      policy.Denied, why: `statement "near" allows it only if kms:CallerAccount StringEquals ` + stranger},
		{name: "what may allow it is the reason, whatever comes near",
			keyPolicy: []string{allow("vpc", aws(role), published, when("StringEquals", "aws:SourceVpc", "vpc-1")), allow("near", aws(role), `"kms:*"`, when("StringEquals", "kms:CallerAccount", stranger))},
			want:      policy.CannotTell, why: `statement "vpc" allows it only if aws:SourceVpc StringEquals vpc-1`},
		{name: "the first Deny is the reason", keyPolicy: []string{grant}, identity: []string{text(deny("one", "", `"kms:*"`), deny("two", "", `"kms:*"`))},
			want: policy.Denied, why: `statement "one" of an identity policy denies it`},
		{name: "the first condition is the reason",
			keyPolicy: []string{allow("cmek", aws(role), published, `"Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1","aws:SourceVpce":"vpce-1"}}`)},
			want:      policy.CannotTell, why: `statement "cmek" allows it only if aws:SourceVpc StringEquals vpc-1`},

		// What cannot be read.
		{name: "a role ARN cut short", keyPolicy: []string{grant}, role: "arn:aws", want: policy.CannotTell, why: "is not a role ARN"},
		{name: "what only looks like a role ARN", keyPolicy: []string{grant}, role: "urn:aws:iam::" + account + ":role/payments-cmek", want: policy.CannotTell, why: "is not a role ARN"},
		{name: "something that is no role ARN", keyPolicy: []string{grant}, role: "payments-cmek", want: policy.CannotTell, why: "is not a role ARN"},
		{name: "a key of another cloud", key: "projects/p/locations/l/keyRings/r/cryptoKeys/k", keyPolicy: []string{grant}, want: policy.CannotTell, why: "is not an AWS KMS key ARN"},
	} {
		t.Run(r.name, func(t *testing.T) {
			who := policy.Role{ARN: role, AllRead: r.allRead, BoundaryUnread: r.unread}
			if r.role != "" {
				who.ARN = r.role
			}
			for _, identity := range r.identity {
				who.Policies = append(who.Policies, parse(t, identity))
			}
			if r.boundary != "" {
				boundary := parse(t, r.boundary)
				who.Boundary = &boundary
			}
			uri := r.key
			if uri == "" {
				uri = key
			}
			access := policy.KeyAccess(doc(t, r.keyPolicy...), uri, who)
			if access.Decision() != r.want {
				t.Fatalf("the role is %s, want %s: %v", access.Decision(), r.want, access.Verdicts)
			}
			for action, v := range access.Verdicts {
				if v.Decision != r.want || v.Why == "" || !strings.Contains(v.Why, r.why) {
					t.Errorf("%s is %s because %q, want %s because %q", action, v.Decision, v.Why, r.want, r.why)
				}
			}
		})
	}
}

func parse(t testing.TB, text string) policy.Document {
	t.Helper()
	d, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestKeyAccessTellsActionsApart(t *testing.T) {
	access := policy.KeyAccess(doc(t,
		allow("use", aws(role), `["kms:Encrypt","kms:DescribeKey","kms:GenerateDataKey"]`),
		allow("vpc", aws(role), `"kms:ReEncrypt*"`, when("StringEquals", "aws:SourceVpc", "vpc-1")),
	), key, policy.Role{ARN: role})
	if got := access.Decision(); got != policy.Denied {
		t.Errorf("the decision is %s, want %s: an action is missing", got, policy.Denied)
	}
	if got := access.With(policy.Allowed); !slices.Equal(got, []string{"kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"}) {
		t.Errorf("allowed are %v", got)
	}
	expectSentences(t, access.Sentences(),
		role+" may not call kms:Decrypt, kms:GenerateDataKeyWithoutPlaintext: no statement of the key policy allows it",
		"it is unclear whether "+role+` may call kms:ReEncrypt*: statement "vpc" allows it only if aws:SourceVpc StringEquals vpc-1`)
}

func TestZeroValuesCannotTell(t *testing.T) {
	if got := (policy.Access{}).Decision(); got != policy.CannotTell || got != (policy.Verdict{}).Decision || got.String() != "cannot tell" {
		t.Errorf("an access that nobody decided is %q, want cannot tell", got)
	}
}
