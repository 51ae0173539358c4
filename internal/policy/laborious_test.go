package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

// unknown is a list of actions that no catalog knows.
func unknown(n int, first string) string {
	names := []string{first}
	for i := range n {
		names = append(names, fmt.Sprintf("kms:unknown%d", i))
	}
	return `["` + strings.Join(names, `","`) + `"]`
}

// Unknown actions beyond a bound are one grant, which only a Deny of all actions takes away.
func TestKeyGrants_manyUnknownActions(t *testing.T) {
	granted := func(statements ...string) bool {
		for _, g := range policy.KeyGrants(doc(t, statements...), key) {
			for _, action := range g.Actions {
				if strings.Contains(action, "other actions") {
					return true
				}
			}
		}
		return false
	}
	many := allow("", aws(stranger), unknown(500, "kms:first"))
	if !granted(many) || !granted(many, deny("", `"*"`, `"kms:(*"`)) || granted(many, deny("", `"*"`, `"kms:*"`)) || granted(allow("", aws(stranger), unknown(50, "kms:first"))) {
		t.Error("unknown actions beyond 100 are to be granted as one, unless a Deny covers all actions")
	}
	before, after := doc(t, many), doc(t, allow("", aws(stranger), strings.Replace(unknown(500, "kms:first"), "unknown400", "other400", 1)))
	if len(policy.Gained(policy.KeyGrants(before, key), policy.KeyGrants(after, key))) == 0 {
		t.Error("a change among the other actions is overlooked")
	}
}

// Actions that nobody lists one by one are given by an Allow of all but some, and taken by no Deny of all but some.
func TestKeyGrants_unknownActionsByExclusion(t *testing.T) {
	const other = "arn:aws:iam::444455556666:role/other"
	many := allow("", aws(stranger), unknown(120, "kms:first"))
	all := func(effect, except string) string {
		return `{"Effect":"` + effect + `","Principal":{"AWS":"` + other + `"},"NotAction":` + except + `,"Resource":"*"}`
	}
	for _, row := range []struct {
		name       string
		statements []string
		want       bool
	}{
		{"all but one", []string{many, all("Allow", `"kms:ScheduleKeyDeletion"`)}, true}, {"all but those of another service", []string{many, all("Allow", `"s3:*"`)}, true},
		{"all but all", []string{many, all("Allow", `"*"`)}, false}, {"all but those of the service", []string{many, all("Allow", `["s3:*","KMS:*"]`)}, false},
		{"a denial of all but one", []string{many, allow("", aws(other), `"kms:*"`), all("Deny", `"kms:ScheduleKeyDeletion"`)}, true}, {"one action", []string{many, allow("", aws(other), `"kms:Decrypt"`)}, false},
	} {
		got := false
		for _, g := range policy.KeyGrants(doc(t, row.statements...), key) {
			got = got || g.Principal.ID == other && strings.Contains(strings.Join(g.Actions, " "), "other actions")
		}
		if got != row.want {
			t.Errorf("%s: the other actions are granted: %t, want %t", row.name, got, row.want)
		}
	}
}

func TestDigest_isOfTheMeaning(t *testing.T) {
	a, b := doc(t, allow("one", aws(role), `["kms:Decrypt","kms:Encrypt"]`)), doc(t, allow("two", aws(role), `["kms:encrypt","kms:Decrypt"]`))
	if policy.Digest(a) != policy.Digest(b) || policy.Digest(a) == policy.Digest(doc(t, allow("one", aws(role), `"kms:Decrypt"`))) {
		t.Error("documents of one meaning are to have one digest, and no others")
	}
}
