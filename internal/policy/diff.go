package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// DiffKeyPolicy says in sentences what a new key policy means: for the cluster's role first, then for everybody else, then
// for whoever has to repair it. It is empty if the change means nothing for access.
func DiffKeyPolicy(before, after Document, key cmek.KeyURI, role Role) []string {
	sentences := DiffAccess(KeyAccess(before, key, role), KeyAccess(after, key, role))
	sentences = append(sentences, diffGrants(withoutUse(KeyGrants(before, key), role.ARN), withoutUse(KeyGrants(after, key), role.ARN))...)
	sentences = append(sentences, newlyDeleted(before, after)...)
	if len(Managers(before, key)) > 0 && len(Managers(after, key)) == 0 {
		const consequence = "nobody can manage the key any more"
		if removed := removedManager(before, after, key); removed != "" {
			return append(sentences, removed+" removed: "+consequence)
		}
		return append(sentences, consequence)
	}
	return sentences
}

// DiffAccess says what a change of any policy took from the role, gave to it, or made uncertain.
func DiffAccess(before, after Access) []string {
	turned := func(to Decision, from ...Decision) []string {
		return slices.DeleteFunc(after.With(to), func(action string) bool {
			return !slices.Contains(from, before.Verdicts[action].Decision)
		})
	}
	sentences := after.say("%s lost %s: %s", turned(Denied, Allowed))
	sentences = append(sentences, after.say("%s certainly may not %s: %s", turned(Denied, CannotTell))...)
	sentences = append(sentences, after.say("%s may have lost %s: %s", turned(CannotTell, Allowed))...)
	sentences = append(sentences, after.say("%s may have gained %s: %s", turned(CannotTell, Denied))...)
	sentences = append(sentences, after.say("%s gained %s: %s", turned(Allowed, Denied))...)
	return append(sentences, after.say("%s certainly may %s: %s", turned(Allowed, CannotTell))...)
}

// DiffTrust says in sentences what a new trust policy means: for the cluster's account first, then for all others.
func DiffTrust(before, after Document, account, external string) []string {
	was, is := RoleTrust(before, account, external), RoleTrust(after, account, external)
	var sentences []string
	if was.Assume.Decision != is.Assume.Decision {
		verb := map[Decision]string{Allowed: "may now", Denied: "can no longer", CannotTell: "can perhaps no longer"}[is.Assume.Decision]
		if was.Assume.Decision == Denied && is.Assume.Decision == CannotTell {
			verb = "may perhaps now"
		}
		sentences = append(sentences, fmt.Sprintf("account %s %s assume the role with the external id %q: %s", account, verb, external, is.Assume.Why))
	}
	for _, gap := range is.Gaps {
		asOpen := func(g Gap) bool { return g.How == gap.How && (g.Decision == Allowed || g.Decision == gap.Decision) }
		if !slices.ContainsFunc(was.Gaps, asOpen) {
			sentences = append(sentences, fmt.Sprintf("ExternalId condition removed or weakened: %s now assume the role %s", is.subject(gap), gap.How))
		}
	}
	for _, gap := range was.Gaps {
		if !slices.ContainsFunc(is.Gaps, func(g Gap) bool { return g.How == gap.How }) {
			sentences = append(sentences, fmt.Sprintf("account %s may no longer assume the role %s", account, gap.How))
		}
	}
	sentences = append(sentences, diffGrants(was.Others, is.Others)...)
	return append(sentences, newlyDeleted(before, after)...)
}

// diffGrants says who may do more, who may do the same only under conditions, and who may do less.
func diffGrants(before, after []Grant) []string {
	var sentences []string
	add := func(sentence string) {
		if !slices.Contains(sentences, sentence) {
			sentences = append(sentences, sentence)
		}
	}
	for _, g := range Gained(before, after) {
		add(g.say("may now"))
	}
	for _, lost := range Gained(after, before) {
		if gone := lost.only(func(action string) bool { return !lost.Principal.mayIn(after, action) }); len(gone.Actions) > 0 {
			gone.Conditions = nil
			add(gone.say("may no longer"))
		}
		for _, g := range after {
			kept := g.only(func(action string) bool { return slices.Contains(lost.Actions, action) })
			if g.Principal == lost.Principal && len(lost.Conditions) == 0 && len(kept.Actions) > 0 {
				add(kept.say("may") + ", no longer at all times")
			}
		}
	}
	return sentences
}

// mayIn reports whether the grants let the principal do the action at all.
func (p Principal) mayIn(grants []Grant, action string) bool {
	return slices.ContainsFunc(grants, func(g Grant) bool {
		return (g.Principal == p || g.Principal.Kind == Everybody) && slices.Contains(g.Actions, action)
	})
}

// withoutUse leaves out what DiffAccess says better, the role's own use of the key, and key pairs, which no cluster uses.
func withoutUse(grants []Grant, role string) []Grant {
	rest := slices.Clone(grants)
	for i, g := range rest {
		if g.Principal == (Principal{Identity, role}) {
			rest[i] = g.only(func(action string) bool {
				return !slices.Contains(KeyActions, action) && !strings.HasPrefix(action, "kms:GenerateDataKeyPair")
			})
		}
	}
	return rest
}

func newlyDeleted(before, after Document) []string {
	var sentences []string
	for _, id := range after.Deleted() {
		if !slices.Contains(before.Deleted(), id) {
			sentences = append(sentences, fmt.Sprintf("the policy names %s, a role or user that was deleted: it matches nobody, not even a new one of the same name", clip(id)))
		}
	}
	return sentences
}

// removedManager names the statement that let somebody manage the key and has no successor of the same Sid.
func removedManager(before, after Document, key cmek.KeyURI) string {
	for _, s := range before.Statements {
		manages := len(Managers(Document{[]Statement{s}}, key)) > 0
		if manages && s.Sid != "" && !slices.ContainsFunc(after.Statements, func(a Statement) bool { return a.Sid == s.Sid }) {
			return s.label()
		}
	}
	return ""
}
