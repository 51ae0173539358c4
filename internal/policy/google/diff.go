package google

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// With is the documents with another allow policy of the resource. The documents themselves stay as they are.
func (d Documents) With(resource string, p Policy) Documents {
	d.Policies = replaced(d.Policies, resource, p)
	return d
}

// WithDenies is the documents with other deny policies of the project, folder or organization.
func (d Documents) WithDenies(resource string, policies ...DenyPolicy) Documents {
	d.Denies = replaced(d.Denies, resource, policies)
	return d
}

// WithRole is the documents with the role as it is given.
func (d Documents) WithRole(r Role) Documents {
	d.Roles = replaced(d.Roles, r.Name, r)
	return d
}

// WithParents is the documents with what is above the project, nearest first.
func (d Documents) WithParents(project string, parents ...string) Documents {
	d.Parents = replaced(d.Parents, project, parents)
	return d
}

func replaced[V any](old map[string]V, name string, v V) map[string]V {
	changed := map[string]V{name: v}
	for other, value := range old {
		if other != name {
			changed[other] = value
		}
	}
	return changed
}

// DiffKey describes what a change of any of the documents means for the use of a key: for the accounts first, then for everybody
// whom the policies name. It is empty if nobody gained or lost anything.
func DiffKey(before, after Documents, key cmek.KeyURI, at time.Time, accounts ...ServiceAccount) []string {
	var sentences []string
	for _, account := range accounts {
		sentences = append(sentences, DiffAccess(KeyAccess(before, key, account, at), KeyAccess(after, key, account, at))...)
	}
	return append(sentences, diffOthers(keyRequest(before, key, at), keyRequest(after, key, at), KeyPermissions, accounts)...)
}

// DiffActAs describes what a change means for the right to act as the target, as [DiffKey] does.
func DiffActAs(before, after Documents, target ServiceAccount, at time.Time, accounts ...ServiceAccount) []string {
	var sentences []string
	for _, account := range accounts {
		sentences = append(sentences, DiffAccess(ActAs(before, target, account, at), ActAs(after, target, account, at))...)
	}
	return append(sentences, diffOthers(actAsRequest(before, target, at), actAsRequest(after, target, at), ActAsPermissions, accounts)...)
}

// DiffAccess describes what a change took from the account, gave to it, or made certain or uncertain. What was read counts where
// the whole answer is uncertain before and after.
func DiffAccess(before, after Access) []string {
	var sentences []string
	for _, change := range changes {
		permissions := slices.DeleteFunc(after.permissions(), func(p Permission) bool {
			return changed(before.Verdicts[p], after.Verdicts[p]) != change
		})
		sentences = append(sentences, after.describe(change, permissions)...)
	}
	return sentences
}

// What a change of a verdict means, as patterns of sentences, the losses first.
const (
	lost          = "%s lost the right to %s: %s"
	certainlyNot  = "%s certainly may not %s: %s"
	mayHaveLost   = "%s may have lost the right to %s: %s"
	mayHaveGained = "%s may have gained the right to %s: %s"
	gained        = "%s gained the right to %s: %s"
	certainlyMay  = "%s certainly may %s: %s"
)

var changes = []string{lost, certainlyNot, mayHaveLost, mayHaveGained, gained, certainlyMay}

func changed(before, after Verdict) string {
	worth := func(d policy.Decision) int {
		return slices.Index([]policy.Decision{policy.Denied, policy.CannotTell, policy.Allowed}, d)
	}
	less := worth(after.Decision) < worth(before.Decision) || after.Decision == before.Decision && worth(after.ByRead) < worth(before.ByRead)
	more := worth(after.Decision) > worth(before.Decision) || after.Decision == before.Decision && worth(after.ByRead) > worth(before.ByRead)
	switch {
	case less && after.Decision == policy.CannotTell:
		return mayHaveLost
	case more && after.Decision == policy.CannotTell:
		return mayHaveGained
	case less && before.ByRead == policy.Allowed:
		return lost
	case more && before.ByRead == policy.Denied:
		return gained
	case less:
		return certainlyNot
	case more:
		return certainlyMay
	}
	return ""
}

// diffOthers describes who else may do more, who may do the same only under conditions, and who may do less, and which deleted
// principals the policies name now.
func diffOthers(before, after request, permissions []Permission, accounts []ServiceAccount) []string {
	own := func(g Grant) bool {
		return slices.ContainsFunc(accounts, func(a ServiceAccount) bool { return fold(g.Member) == longAccountPrefix+a.email() })
	}
	was, is := slices.DeleteFunc(before.grants(permissions), own), slices.DeleteFunc(after.grants(permissions), own)
	var sentences []string
	for _, g := range Gained(was, is) {
		sentences = append(sentences, g.with("may now"))
	}
	now := indexed(is)
	for _, g := range Gained(is, was) {
		gone := g.only(func(p Permission) bool {
			return !slices.ContainsFunc(now[fold(g.Member)], func(n Grant) bool { return slices.Contains(n.Permissions, p) })
		})
		if gone.Conditions = nil; len(gone.Permissions) > 0 {
			sentences = append(sentences, gone.with("may no longer"))
		}
		for _, n := range now[fold(g.Member)] {
			kept := n.only(func(p Permission) bool { return len(g.Conditions) == 0 && slices.Contains(g.Permissions, p) })
			if len(kept.Permissions) > 0 {
				sentences = append(sentences, kept.with("may")+", no longer at all times")
			}
		}
	}
	known := before.deleted()
	for _, identifier := range after.deleted() {
		if !slices.Contains(known, identifier) {
			sentences = append(sentences, fmt.Sprintf("the policies name %s: it matches nobody, not even a new one of the same e-mail", clip(identifier)))
		}
	}
	return unique(sentences)
}

// deleted lists the deleted principals that bindings of the levels name.
func (r request) deleted() (identifiers []string) {
	for _, level := range r.levels {
		for _, b := range r.Policies[level].Bindings {
			for _, member := range b.Members {
				if strings.HasPrefix(member, deletedPrefix) {
					identifiers = append(identifiers, member)
				}
			}
		}
	}
	return unique(identifiers)
}
