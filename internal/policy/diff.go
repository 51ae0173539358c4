package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Unmanageable is how the sentence ends that says that a key policy has no [Managers] any more.
const Unmanageable = "nobody can manage the key any more"

// DiffKeyPolicy describes what a new key policy means: for the clusters' roles first, then for everybody else, then
// for whoever has to repair it. It is empty if the change means nothing for access.
func DiffKeyPolicy(before, after Document, key cmek.KeyURI, roles ...Role) []string {
	if Equal(before, after) {
		return nil
	}
	var sentences []string
	var names []Principal
	for _, role := range roles {
		sentences = append(sentences, DiffAccess(KeyAccess(before, key, role), KeyAccess(after, key, role))...)
		names = append(names, Principal{Identity, role.ARN})
	}
	sentences = append(sentences, diffGrants(withoutUse(KeyGrants(before, key), names), withoutUse(KeyGrants(after, key), names))...)
	sentences = append(sentences, newlyDeleted(before, after)...)
	if len(Managers(before, key)) > 0 && len(Managers(after, key)) == 0 {
		if removed := removedManager(before, after, key); removed != "" {
			return append(sentences, removed+" removed: "+Unmanageable)
		}
		return append(sentences, Unmanageable)
	}
	return sentences
}

// DiffAccess describes what a change of any policy took from the role, gave to it, or made uncertain.
func DiffAccess(before, after Access) []string {
	turned := func(to Decision, from ...Decision) []string {
		return slices.DeleteFunc(after.With(to), func(action string) bool {
			return !slices.Contains(from, before.Verdicts[action].Decision)
		})
	}
	sentences := after.describe("%s lost %s: %s", turned(Denied, Allowed))
	sentences = append(sentences, after.describe("%s certainly may not call %s: %s", turned(Denied, CannotTell))...)
	sentences = append(sentences, after.describe("%s may have lost %s: %s", turned(CannotTell, Allowed))...)
	sentences = append(sentences, after.describe("%s may have gained %s: %s", turned(CannotTell, Denied))...)
	sentences = append(sentences, after.describe("%s gained %s: %s", turned(Allowed, Denied))...)
	return append(sentences, after.describe("%s certainly may call %s: %s", turned(Allowed, CannotTell))...)
}

// DiffTrust describes what a new trust policy means: for the cluster's account first, then for all others.
func DiffTrust(before, after Document, account, external string) []string {
	if Equal(before, after) {
		return nil
	}
	was, is := RoleTrust(before, account, external), RoleTrust(after, account, external)
	var sentences []string
	if was.Assume.Decision != is.Assume.Decision {
		verb := map[Decision]string{Allowed: "may now", Denied: "can no longer", CannotTell: "may no longer be able to"}[is.Assume.Decision]
		if was.Assume.Decision == Denied && is.Assume.Decision == CannotTell {
			verb = "may now be able to"
		}
		sentences = append(sentences, fmt.Sprintf("account %s %s assume the role with the external id %q: %s", account, verb, external, is.Assume.Why))
	}
	// What is open to everybody is among the grants to others.
	ofAccount := func(gaps []Gap) []Gap {
		return slices.DeleteFunc(slices.Clone(gaps), func(g Gap) bool { return g.Everybody })
	}
	wasOpen, isOpen := ofAccount(was.Gaps), ofAccount(is.Gaps)
	for _, gap := range isOpen {
		asOpen := func(g Gap) bool { return g.How == gap.How && (g.Decision == Allowed || g.Decision == gap.Decision) }
		if !slices.ContainsFunc(wasOpen, asOpen) {
			sentences = append(sentences, fmt.Sprintf("ExternalId condition removed or weakened: %s now assume the role %s", is.subject(gap), gap.How))
		}
	}
	for _, gap := range wasOpen {
		if !slices.ContainsFunc(isOpen, func(g Gap) bool { return g.How == gap.How }) {
			sentences = append(sentences, fmt.Sprintf("account %s may no longer assume the role %s", account, gap.How))
		}
	}
	sentences = append(sentences, diffGrants(was.Others, is.Others)...)
	return append(sentences, newlyDeleted(before, after)...)
}

// diffGrants describes who may do more, who may do the same only under conditions, and who may do less.
func diffGrants(before, after []Grant) []string {
	var sentences []string
	said := map[string]bool{}
	add := func(sentence string) {
		if !said[sentence] {
			sentences, said[sentence] = append(sentences, sentence), true
		}
	}
	for _, g := range Gained(before, after) {
		add(g.with("may now"))
	}
	now := indexed(after)
	for _, lost := range Gained(after, before) {
		gone := lost.only(func(action string) bool {
			return !now.some(lost.Principal, func(g Grant) bool { return slices.Contains(g.Actions, action) })
		})
		if len(gone.Actions) > 0 {
			gone.Conditions = nil
			add(gone.with("may no longer"))
		}
		if len(lost.Conditions) > 0 {
			continue
		}
		for _, g := range now[lost.Principal] {
			kept := g.only(func(action string) bool { return slices.Contains(lost.Actions, action) })
			if len(kept.Actions) > 0 {
				add(kept.with("may") + ", no longer at all times")
			}
		}
	}
	return sentences
}

// withoutUse leaves out what DiffAccess describes better, the roles' own use of the key, and key pairs, which no cluster uses.
func withoutUse(grants []Grant, roles []Principal) []Grant {
	rest := slices.Clone(grants)
	for i, g := range rest {
		if slices.Contains(roles, g.Principal) {
			rest[i] = g.only(func(action string) bool {
				return !slices.Contains(KeyActions, action) && !strings.HasPrefix(action, "kms:GenerateDataKeyPair")
			})
		}
	}
	return rest
}

func newlyDeleted(before, after Document) []string {
	var sentences []string
	known := map[string]bool{}
	for _, id := range before.Deleted() {
		known[id] = true
	}
	for _, id := range after.Deleted() {
		if !known[id] {
			sentences = append(sentences, fmt.Sprintf("the policy names %s, a role or user that was deleted: it matches nobody, not even a new one of the same name", clip(id)))
		}
	}
	return sentences
}

// removedManager names the statement that allowed somebody to manage the key and has no successor of the same Sid.
func removedManager(before, after Document, key cmek.KeyURI) string {
	for _, s := range before.Statements {
		manages := len(Managers(Document{Statements: []Statement{s}}, key)) > 0
		if manages && s.Sid != "" && !slices.ContainsFunc(after.Statements, func(a Statement) bool { return a.Sid == s.Sid }) {
			return s.label()
		}
	}
	return ""
}
