package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Equal reports whether two documents mean the same: they consist of the same statements, in whatever order, with the same actions,
// resources, principals and conditions, in whatever order and spelling. The names of statements do not matter. False means
// only that the documents differ, not that anybody gained or lost access.
func Equal(a, b Document) bool {
	before, after := a.meaning(), b.meaning()
	variable := func(statement string) bool { return strings.Contains(statement, "${") }
	if a.hasVariables() != b.hasVariables() && slices.ContainsFunc(before, variable) {
		return false
	}
	return slices.Equal(before, after)
}

// Digest stands for what the document means: documents of one digest are [Equal].
func Digest(d Document) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%t %q", d.hasVariables(), d.meaning()))
	return hex.EncodeToString(sum[:])
}

// hasVariables reports whether ${…} stands for a value in the document's version of the policy language.
func (d Document) hasVariables() bool { return d.Version == "2012-10-17" }

// meaning is one text for each statement, the same for all its spellings, sorted and without repeats.
func (d Document) meaning() []string {
	var all []string
	for _, s := range d.Statements {
		var conditions []string
		for _, c := range s.Conditions {
			conditions = append(conditions, fmt.Sprintf("%q %q %q", c.Operator, strings.ToLower(c.Key), sorted(c.Values)))
		}
		all = append(all, fmt.Sprintf("%q %q %q %q %q %q %q %q", s.Effect, principals(s.Principals), principals(s.NotPrincipals),
			actions(s.Actions), actions(s.NotActions), sorted(s.Resources), sorted(s.NotResources), sorted(conditions)))
	}
	return sorted(all)
}

func sorted[T cmp.Ordered](list []T) []T { return slices.Compact(slices.Sorted(slices.Values(list))) }

func actions(list []string) (lower []string) {
	for _, action := range list {
		lower = append(lower, strings.ToLower(action))
	}
	return sorted(lower)
}

func principals(list []Principal) (texts []string) {
	for _, p := range list {
		texts = append(texts, fmt.Sprintf("%q %q", p.Kind, p.ID))
	}
	return sorted(texts)
}
