package policy_test

import (
	"slices"
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
			sentences: []string{"statement 1 allows it only if sts:ExternalId StringEquals x", `may assume the role with the external id "x"`}},
		{name: "another action", trust: []string{allow("", aws(cluster), `"sts:TagSession"`, when("StringEquals", "sts:ExternalId", org))}, want: policy.Denied,
			sentences: []string{"statement 1 is not about sts:AssumeRole"}},
		{name: "no condition at all", trust: []string{allow("", aws(cluster), assume)}, want: policy.Allowed,
			sentences: []string{"account " + cluster + " may assume the role without an external id", "account " + cluster + " may assume the role with any external id"}},
		{name: "a second statement without the condition", trust: []string{guarded, allow("", aws(cluster), assume)}, want: policy.Allowed,
			sentences: []string{"without an external id", "with any external id"}},
		{name: "IfExists admits those who send none", trust: []string{allow("", aws(cluster), assume, when("StringEqualsIfExists", "sts:ExternalId", org))}, want: policy.Allowed,
			sentences: []string{"without an external id"}},
		{name: "Null asks for any value", trust: []string{allow("", aws(cluster), assume, when("Null", "sts:ExternalId", "false"))}, want: policy.Allowed,
			sentences: []string{"with any external id"}},
		{name: "a wildcard admits any value", trust: []string{allow("", aws(cluster), assume, when("StringLike", "sts:ExternalId", "*"))}, want: policy.Allowed,
			sentences: []string{"with any external id"}},
		{name: "a prefix admits some values", trust: []string{allow("", aws(cluster), assume, when("StringLike", "sts:ExternalId", "0f3c*"))}, want: policy.Allowed,
			sentences: []string{`with the external id "0f3c*"`}},
		{name: "a second value admits a second customer",
			trust: []string{allow("", aws(cluster), assume, `"Condition":{"StringEquals":{"sts:ExternalId":["`+org+`","other"]}}`)}, want: policy.Allowed,
			sentences: []string{`with the external id "other"`}},
		{name: "a negated operator admits all others", trust: []string{allow("", aws(cluster), assume, when("StringNotEquals", "sts:ExternalId", "x"))}, want: policy.Allowed,
			sentences: []string{"without an external id", "with any external id"}},
		{name: "everybody, guarded", trust: []string{allow("", `"*"`, assume, when("StringEquals", "sts:ExternalId", org))}, want: policy.Allowed,
			sentences: []string{`everybody may assume the role with the external id "` + org + `"`}},
		{name: "everybody", trust: []string{guarded, allow("", `{"AWS":"*"}`, assume)}, want: policy.Allowed,
			sentences: []string{"without an external id", "with any external id", "everybody may assume the role"}},
		{name: "everybody of another account by the pattern of its roles",
			trust: []string{allow("", `"*"`, assume, when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::"+stranger+":role/*"))}, want: policy.Denied,
			sentences: []string{"no statement of the trust policy names the account", "account " + stranger + " may assume the role if aws:PrincipalArn"}},
		{name: "everybody of the account by the pattern of its roles",
			trust: []string{allow("", `"*"`, assume, `"Condition":{"StringEquals":{"sts:ExternalId":"`+org+`"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::`+cluster+`:role/*"}}`)}, want: policy.CannotTell,
			sentences: []string{"it is unclear whether account " + cluster}},
		{name: "a Deny of another account by the pattern of its roles",
			trust: []string{guarded, deny("", `"*"`, assume, when("ArnLike", "aws:PrincipalArn", "arn:aws:iam::"+stranger+":role/*"))}, want: policy.Allowed},
		{name: "another account as well", trust: []string{guarded, allow("", aws(stranger, admin), assume)}, want: policy.Allowed,
			sentences: []string{"account " + stranger + " may assume the role", admin + " may assume the role"}},
		{name: "a service and a provider as well",
			trust: []string{guarded, allow("", `{"Service":"ec2.amazonaws.com","Federated":"accounts.google.com"}`, `"sts:*"`)}, want: policy.Allowed,
			sentences: []string{"service ec2.amazonaws.com may call sts:AssumeRole, sts:AssumeRoleWithSAML", "federated provider accounts.google.com may"}},
		{name: "one role of the account may or may not be the cluster's",
			trust: []string{allow("one", aws("arn:aws:iam::"+cluster+":role/crdb"), assume, when("StringEquals", "sts:ExternalId", org))}, want: policy.CannotTell,
			sentences: []string{"it is unclear whether account " + cluster + " may assume the role"}},
		{name: "a condition that depends on the call",
			trust: []string{allow("ip", aws(cluster), assume, `"Condition":{"StringEquals":{"sts:ExternalId":"`+org+`"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`)}, want: policy.CannotTell,
			sentences: []string{"aws:SourceIp IpAddress 192.0.2.0/24"}},
		{name: "an uncertain gap is said to be uncertain",
			trust: []string{guarded, allow("", aws(cluster), assume, when("IpAddress", "aws:SourceIp", "192.0.2.0/24"))}, want: policy.Allowed,
			sentences: []string{"it is unclear whether account " + cluster + " may assume the role without", "it is unclear whether account " + cluster + " may assume the role with any"}},
		{name: "a certain gap beside an uncertain one is said as well",
			trust: []string{guarded, allow("", aws(cluster), assume, when("IpAddress", "aws:SourceIp", "192.0.2.0/24")), allow("", aws(cluster), assume, when("StringEquals", "sts:ExternalId", "x"))}, want: policy.Allowed,
			sentences: []string{"unclear", "unclear", "account " + cluster + ` may assume the role with the external id "x"`}},
		{name: "a Deny wins", trust: []string{guarded, deny("stop", `"*"`, `"sts:*"`)}, want: policy.Denied,
			sentences: []string{`statement "stop" of the trust policy denies it`}},
		{name: "a Deny of all without the external id closes the gap",
			trust: []string{allow("", aws(cluster), assume), deny("", `"*"`, assume, when("StringNotEquals", "sts:ExternalId", org))}, want: policy.Allowed},
		{name: "a NotPrincipal may or may not mean the account",
			trust: []string{guarded, `{"Effect":"Deny","NotPrincipal":` + aws(cluster) + `,"Action":` + assume + `}`}, want: policy.CannotTell,
			sentences: []string{"unclear"}},
		{name: "a deleted principal admits nobody", trust: []string{guarded, allow("", aws("AROAEXAMPLEEXAMPLE123"), assume)}, want: policy.Allowed},
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

func TestRoleTrust_doesNotGuessWhatIsUnknown(t *testing.T) {
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

func TestForeignTrust_decidesWithoutTheClustersAccount(t *testing.T) {
	guarded := allow("crl", aws(cluster), assume, when("StringEquals", "sts:ExternalId", org))
	ofOrg := when("StringEquals", "sts:ExternalId", org)
	both := func(operator, key, value string) string {
		condition := `"Condition":{"StringEquals":{"sts:ExternalId":"` + org + `"},"` + operator + `":{"` + key + `":"` + value + `"}}`
		return strings.Replace(condition, `"},"StringEquals":{"`, `","`, 1)
	}
	for _, tc := range []struct {
		name  string
		trust []string
		want  policy.Decision
		why   string
	}{
		{"nobody at all", nil, policy.Denied, "no statement of the trust policy allows another account"},
		{"a service alone", []string{allow("", `{"Service":"ec2.amazonaws.com"}`, assume)}, policy.Denied, ""},
		{"a provider alone", []string{allow("", `{"Federated":"accounts.google.com"}`, `"sts:*"`)}, policy.Denied, ""},
		{"a deleted principal alone", []string{allow("", aws("AROAEXAMPLEEXAMPLE123"), assume)}, policy.Denied, ""},
		{"the own account alone", []string{allow("", aws(root), assume, ofOrg)}, policy.Denied, ""},
		{"a role of the own account alone", []string{allow("", aws(admin), assume, ofOrg)}, policy.Denied, ""},
		{"everybody of the own account", []string{allow("", `"*"`, assume, both("ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*"))}, policy.Denied, ""},
		{"everybody of the own account by id", []string{allow("", `"*"`, assume, both("StringLike", "aws:PrincipalAccount", account))}, policy.Denied, ""},
		{"everybody, denied to all other accounts", []string{allow("", `"*"`, assume, ofOrg), deny("", `"*"`, assume, when("StringNotEquals", "aws:PrincipalAccount", account))}, policy.Denied, ""},
		{"another account without the action", []string{allow("", aws(cluster), `"sts:TagSession"`, ofOrg)}, policy.Denied, ""},
		{"another account with another external id", []string{allow("", aws(cluster), assume, when("StringEquals", "sts:ExternalId", "x"))}, policy.Denied, ""},
		{"another account, denied", []string{guarded, deny("", aws(cluster), assume)}, policy.Denied, ""},

		{"another account", []string{guarded}, policy.CannotTell, "the cluster's account is not known; the trust policy names account " + cluster},
		{"a role of another account", []string{allow("", aws("arn:aws:iam::"+cluster+":role/x"), assume, ofOrg)}, policy.CannotTell, cluster},
		{"another account after the own", []string{allow("", aws(account, cluster), assume, ofOrg)}, policy.CannotTell, cluster},
		{"everybody of another account", []string{allow("", `"*"`, assume, both("StringEquals", "aws:PrincipalAccount", cluster))}, policy.CannotTell, cluster},
		{"everybody of some accounts", []string{allow("", `"*"`, assume, both("StringLike", "aws:PrincipalAccount", "4444*"))}, policy.CannotTell, "4444*"},
		{"everybody in an organization", []string{allow("", `"*"`, assume, both("StringEquals", "aws:PrincipalOrgID", "o-1"))}, policy.CannotTell, "o-1"},
		{"everybody but some", []string{`{"Effect":"Allow","NotPrincipal":` + aws(admin) + `,"Action":` + assume + `}`}, policy.CannotTell, "NotPrincipal"},
		{"everybody from an address", []string{allow("", `"*"`, assume, when("IpAddress", "aws:SourceIp", "192.0.2.0/24"))}, policy.CannotTell, "192.0.2.0/24"},

		{"everybody", []string{allow("", `"*"`, assume)}, policy.Allowed, ""},
		{"everybody with the external id", []string{allow("", `"*"`, assume, ofOrg)}, policy.Allowed, ""},
		{"everybody but the own account", []string{allow("", `"*"`, assume, both("StringNotEquals", "aws:PrincipalAccount", account))}, policy.Allowed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := policy.ForeignTrust(doc(t, tc.trust...), account, org)
			if got.Decision != tc.want || got.Why == "" || !strings.Contains(got.Why, tc.why) {
				t.Errorf("another account is %s because %q, want %s because %q", got.Decision, got.Why, tc.want, tc.why)
			}
			// Who does not know the role's own account either is less certain, and never decides otherwise.
			if loose := policy.RoleTrust(doc(t, tc.trust...), "", org).Assume; loose.Decision != tc.want && loose.Decision != policy.CannotTell {
				t.Errorf("without the own account it is %s, want %s or cannot tell", loose.Decision, tc.want)
			}
		})
	}
	if got := policy.ForeignTrust(doc(t, guarded), account, ""); got.Decision != policy.CannotTell {
		t.Errorf("without the external id it is %s, want cannot tell", got.Decision)
	}
	if got := policy.ForeignTrust(doc(t, allow("", `{"Service":"ec2.amazonaws.com"}`, assume)), "", ""); got.Decision != policy.Denied {
		t.Errorf("a service alone is %s when nothing is known, want denied", got.Decision)
	}
}

func TestRoleTrust_namesWhatIsOpenToEverybody(t *testing.T) {
	open := policy.Gap{Everybody: true, How: `with the external id "` + org + `"`, Decision: policy.Allowed}
	guarded := allow("crl", aws(cluster), assume, when("StringEquals", "sts:ExternalId", org))
	for _, tc := range []struct {
		name  string
		trust []string
		want  []policy.Gap
	}{
		{"everybody with it", []string{allow("", `"*"`, assume, when("StringEquals", "sts:ExternalId", org))}, []policy.Gap{open}},
		{"everybody with it, beside the cluster", []string{guarded, allow("", `{"AWS":"*"}`, `"sts:*"`, when("StringEquals", "STS:externalid", org))}, []policy.Gap{open}},
		{"everybody with one of two", []string{allow("", `"*"`, assume, `"Condition":{"StringEquals":{"sts:ExternalId":["`+org+`","other"]}}`)},
			[]policy.Gap{open, {Everybody: true, How: `with the external id "other"`, Decision: policy.Allowed}}},
		{"the cluster's account alone", []string{guarded}, nil},
		{"everybody of the cluster's account", []string{allow("", `"*"`, assume, `"Condition":{"StringEquals":{"sts:ExternalId":"`+org+`","aws:PrincipalAccount":"`+cluster+`"}}`)}, nil},
		{"everybody under a further condition", []string{allow("", `"*"`, assume, `"Condition":{"StringEquals":{"sts:ExternalId":"`+org+`","aws:SourceVpc":"v"}}`)}, nil},
		{"everybody with another condition", []string{allow("", `"*"`, assume, when("StringEquals", "aws:SourceVpc", "v"))}, nil},
		{"everybody, of whom it is denied to some", []string{allow("", `"*"`, assume, when("StringEquals", "sts:ExternalId", org)), deny("", `"*"`, assume, when("StringEquals", "aws:SourceVpc", "v"))}, nil},
		{"everybody, for another action", []string{allow("", `"*"`, `"sts:TagSession"`, when("StringEquals", "sts:ExternalId", org))}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, account := range []string{"", cluster} {
				var got []policy.Gap
				trust := policy.RoleTrust(doc(t, tc.trust...), account, org)
				for _, gap := range trust.Gaps {
					if gap.Everybody {
						got = append(got, gap)
					}
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("for account %q it is open %v, want %v", account, got, tc.want)
				}
				for _, gap := range got {
					if sentence := "everybody may assume the role " + gap.How; !slices.Contains(trust.Sentences(), sentence) || trust.OK() {
						t.Errorf("said %q, want %q", trust.Sentences(), sentence)
					}
				}
			}
		})
	}
}

// A gap that was there before is no news; another one is, also one that is only certain now.
func TestDiffTrust_gaps(t *testing.T) {
	with := func(ids ...string) policy.Document {
		return doc(t, allow("", aws(cluster), assume, `"Condition":{"StringEquals":{"sts:ExternalId":["`+strings.Join(append(ids, org), `","`)+`"]}}`))
	}
	open := func(extra ...string) policy.Document { return doc(t, allow("", aws(cluster), assume, extra...)) }
	vpc := when("StringEquals", "aws:SourceVpc", "vpc-1")
	now, gone := "ExternalId condition removed or weakened: account "+cluster+" may now assume the role ", "account "+cluster+" may no longer assume the role "
	for name, tc := range map[string]struct {
		before, after policy.Document
		want          []string
		not           []string
	}{
		"another id is taken, too":       {with(), with("x"), []string{now + `with the external id "x"`}, nil},
		"another id in place of one":     {with("x"), with("y"), []string{now + `with the external id "y"`, gone + `with the external id "x"`}, nil},
		"the other id is refused again":  {with("x"), with(), []string{gone + `with the external id "x"`}, []string{"weakened"}},
		"what was perhaps is for sure":   {open(vpc), open(), []string{now + "without an external id"}, []string{"no longer assume"}},
		"what was for sure is perhaps":   {open(), open(vpc), nil, []string{"weakened", "no longer assume the role without"}},
		"what was and is stays unspoken": {with("x"), with("x", "y"), []string{now + `with the external id "y"`}, []string{`"x"`}},
	} {
		got := strings.Join(policy.DiffTrust(tc.before, tc.after, cluster, org), ". ")
		for _, want := range tc.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q lacks %q", name, got, want)
			}
		}
		for _, not := range tc.not {
			if strings.Contains(got, not) {
				t.Errorf("%s: %q has %q", name, got, not)
			}
		}
	}
}
