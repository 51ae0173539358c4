package google

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Grant is what the policies that were read let one principal do with a resource, under one set of conditions.
type Grant struct {
	// Member is the principal's identifier, as the policy writes it.
	Member string
	// On is the resource's name.
	On string
	// Permissions are in the order of [KeyPermissions] and [ActAsPermissions].
	Permissions []Permission
	// Conditions are phrases that follow "if", for what cannot be decided; none means at the time asked about.
	Conditions []string
}

// Public reports whether the grant is to everybody on the internet, or to everybody with a Google account, without a condition.
func (g Grant) Public() bool {
	return len(g.Conditions) == 0 && (fold(g.Member) == everybody || g.Member == "allAuthenticatedUsers")
}

// String is the grant as a sentence.
func (g Grant) String() string { return g.with("may") }

func (g Grant) with(verb string) string {
	sentence := fmt.Sprintf("%s %s %s", clip(g.Member), verb, inWords(g.Permissions, g.On))
	if len(g.Conditions) > 0 {
		sentence += " if " + listed(g.Conditions, " and ")
	}
	return sentence
}

// KeyGrants lists the principals that the policies name and that may use the key, sorted. Whatever is doubtful counts as
// granted, under the condition that makes it so; deleted principals are left out. Policies that were not read grant nothing.
func KeyGrants(docs Documents, key cmek.KeyURI, at time.Time) []Grant {
	return keyRequest(docs, key, at).grants(KeyPermissions)
}

// ActAsGrants lists who may act as the service account, as [KeyGrants] does.
func ActAsGrants(docs Documents, target ServiceAccount, at time.Time) []Grant {
	return actAsRequest(docs, target, at).grants(ActAsPermissions)
}

// Outsiders keeps the grants to principals that are not known. Known are identifiers as policies write them and domains, which
// stand for all e-mails in them: P.iam.gserviceaccount.com for the service accounts of project P.
func Outsiders(grants []Grant, known ...string) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		return slices.ContainsFunc(known, func(k string) bool {
			return fold(k) == fold(g.Member) || k != "" && strings.EqualFold(k, domain(g.Member))
		})
	})
}

// domain is the domain of a member's e-mail; "" if it has none.
func domain(member string) string {
	if kind, name, _ := strings.Cut(member, ":"); kind == "domain" {
		return name
	}
	_, after, _ := strings.Cut(member, "@")
	domain, _, _ := strings.Cut(after, "?")
	return domain
}

// Gained lists what is granted after that was not before: new principals, new permissions, and those whose conditions went away
// or changed. A condition added to what had none is no gain.
func Gained(before, after []Grant) (gained []Grant) {
	had := indexed(before)
	for _, g := range after {
		more := g.only(func(p Permission) bool {
			return !slices.ContainsFunc(had[fold(g.Member)], func(b Grant) bool {
				return slices.Contains(b.Permissions, p) && (len(b.Conditions) == 0 || slices.Equal(b.Conditions, g.Conditions))
			})
		})
		if len(more.Permissions) > 0 {
			gained = append(gained, more)
		}
	}
	return gained
}

// indexed are grants by principal. A policy may have thousands of both.
func indexed(grants []Grant) map[string][]Grant {
	of := map[string][]Grant{}
	for _, g := range grants {
		of[fold(g.Member)] = append(of[fold(g.Member)], g)
	}
	return of
}

// only is the grant with those of its permissions that are wanted.
func (g Grant) only(wanted func(Permission) bool) Grant {
	g.Permissions = slices.DeleteFunc(slices.Clone(g.Permissions), func(p Permission) bool { return !wanted(p) })
	return g
}

func (r request) grants(permissions []Permission) (grants []Grant) {
	for _, level := range r.levels {
		read := r.Policies[level]
		for _, b := range read.Bindings {
			condition := r.condition(b, read.dropsConditions())
			for _, p := range permissions {
				role := r.gives(b.Role, p)
				for _, member := range unique(b.Members) {
					denied := r.deniesTo(fold(member), p)
					if all(role, condition, denied).is == no || strings.HasPrefix(member, deletedPrefix) {
						continue
					}
					grants = append(grants, Grant{member, r.resource, []Permission{p}, phrases(b, role, condition, denied)})
				}
			}
		}
	}
	return tidy(grants)
}

// phrases are the conditions of a grant that cannot be decided.
func phrases(b Binding, role, condition, denied finding) (list []string) {
	if role.is == maybe {
		list = append(list, "role "+clip(b.Role)+" includes it")
	}
	if condition.is == maybe {
		list = append(list, clip(condition.missing[0].Name))
	}
	if denied.is == maybe {
		list = append(list, denied.why)
	}
	return list
}

// deniesTo decides whether no deny rule that was read takes the permission from a principal, by its identifier.
func (r request) deniesTo(member string, p Permission) finding {
	var denied finding
	for _, level := range r.levels {
		for _, d := range r.Denies[level] {
			for i, rule := range d.Rules {
				var in, out truth
				for _, identifier := range rule.DeniedPrincipals {
					in = max(in, contains(fold(identifier), member))
				}
				for _, identifier := range rule.ExceptionPrincipals {
					out = max(out, overlaps(fold(identifier), member))
				}
				is := all(finding{is: in}, finding{is: out.not()}, rule.covers(p), r.facts.meets(rule.Condition)).is
				denied.add(finding{is: is, why: fmt.Sprintf("rule %d of deny policy %q of %s does not deny it", i+1, clip(d.Name), label(level))})
			}
		}
	}
	denied.is = denied.is.not()
	return denied
}

// contains decides whether all of a principal are among those that an identifier means, overlaps whether some are. Both are folded.
func contains(identifier, member string) truth {
	switch {
	case identifier == member, identifier == everybody:
		return yes
	case isOne(identifier), member == everybody, member == "allAuthenticatedUsers":
		return no
	}
	return maybe
}

func overlaps(identifier, member string) truth {
	switch {
	case identifier == member, identifier == everybody:
		return yes
	case isOne(identifier) && isOne(member):
		return no
	}
	return maybe
}

// isOne reports whether an identifier means a single principal.
func isOne(identifier string) bool { return strings.HasPrefix(identifier, "principal://") }

// tidy merges the permissions of one principal under the same conditions, drops conditional grants of what is granted without
// one, and sorts.
func tidy(list []Grant) (grants []Grant) {
	always := map[string]bool{}
	at := map[string]int{}
	for _, g := range list {
		if len(g.Conditions) == 0 {
			always[fold(g.Member)+" "+string(g.Permissions[0])] = true
		}
	}
	for _, g := range list {
		id := fold(g.Member) + " " + strings.Join(g.Conditions, " and ")
		i, known := at[id]
		switch {
		case len(g.Conditions) > 0 && always[fold(g.Member)+" "+string(g.Permissions[0])]:
		case !known:
			at[id] = len(grants)
			grants = append(grants, g)
		case !slices.Contains(grants[i].Permissions, g.Permissions[0]):
			grants[i].Permissions = append(grants[i].Permissions, g.Permissions[0])
		}
	}
	for _, g := range grants {
		slices.SortFunc(g.Permissions, func(a, b Permission) int {
			return cmp.Compare(slices.Index(KeyPermissions, a), slices.Index(KeyPermissions, b))
		})
	}
	slices.SortStableFunc(grants, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(fold(a.Member), fold(b.Member)), slices.Compare(a.Conditions, b.Conditions))
	})
	return grants
}
