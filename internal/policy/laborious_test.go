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

func TestDigest_isOfTheMeaning(t *testing.T) {
	a, b := doc(t, allow("one", aws(role), `["kms:Decrypt","kms:Encrypt"]`)), doc(t, allow("two", aws(role), `["kms:encrypt","kms:Decrypt"]`))
	if policy.Digest(a) != policy.Digest(b) || policy.Digest(a) == policy.Digest(doc(t, allow("one", aws(role), `"kms:Decrypt"`))) {
		t.Error("documents of one meaning are to have one digest, and no others")
	}
}
