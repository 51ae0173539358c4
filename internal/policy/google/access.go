package google

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// KeyAccess decides whether the account may use the key at that time: [KeyPermissions].
//
// A deny rule of the project or above wins, and so does a principal access boundary of the account's own project or above; else a binding of the key, its key ring, its project or above must give a role that
// includes the permission (IAM documentation, "Policy types": policy evaluation). A key that is not one of Cloud KMS, and an
// account without an e-mail, can not be told about. A zero time makes conditions about time uncertain.
func KeyAccess(docs Documents, key cmek.KeyURI, account ServiceAccount, at time.Time) Access {
	on := keyRequest(docs, key, at)
	access := Access{Who: account.email(), On: on.resource}
	access.Verdicts = on.decide(account, KeyPermissions)
	return access
}

// ActAs decides whether the account by may act as the target at that time: [ActAsPermissions], on the target, its project or
// above. The project is the one that the target's e-mail names; without one it can not be told.
func ActAs(docs Documents, target, by ServiceAccount, at time.Time) Access {
	on := actAsRequest(docs, target, at)
	access := Access{Who: by.email(), On: on.resource}
	access.Verdicts = on.decide(by, ActAsPermissions)
	return access
}

// request is the use of one resource, with what the documents say about it.
type request struct {
	Documents
	resource string
	// err is why nothing can be told; unusable why nobody can use the resource.
	err, unusable string
	// levels are the resource and what is above it, as far as it is known; top is false if there may be more.
	levels []string
	top    bool
	// bounds: principal access boundaries of the account count.
	bounds bool
	facts  facts
}

func keyRequest(docs Documents, key cmek.KeyURI, at time.Time) request {
	name := key.Canonical()
	r := request{Documents: docs, resource: name, bounds: true, facts: facts{name: name, kind: "cloudkms.googleapis.com/CryptoKey", service: "cloudkms.googleapis.com", at: at}}
	if key.Type() != cmek.GCPCloudKMS || key.Account() == "" {
		r.err = fmt.Sprintf("%q is not a Cloud KMS key", clip(string(key)))
		return r
	}
	ring, _, _ := strings.Cut(name, "/cryptoKeys/")
	return r.below("projects/"+key.Account(), name, ring)
}

func actAsRequest(docs Documents, target ServiceAccount, at time.Time) request {
	r := request{Documents: docs, resource: target.resource(), facts: facts{at: at}}
	if target.project() == "" {
		r.err = fmt.Sprintf("the e-mail %q does not say which project the service account belongs to", clip(target.Email))
		return r
	}
	r.unusable = target.unusable()
	return r.below(target.project(), r.resource)
}

// below sets the levels of a resource in a project.
func (r request) below(project string, levels ...string) request {
	parents, known := r.Parents[project]
	r.levels, r.top = slices.Concat(levels, []string{project}, parents), known
	return r
}

// unusable is why nobody can use the account or act as it; "" if they can.
func (a ServiceAccount) unusable() string {
	switch {
	case a.Missing:
		return "service account " + clip(a.Email) + " does not exist"
	case a.Disabled:
		return "service account " + clip(a.Email) + " is disabled"
	}
	return ""
}

func (r request) decide(who ServiceAccount, permissions []Permission) map[Permission]Verdict {
	verdicts := map[Permission]Verdict{}
	for _, p := range permissions {
		switch unusable := cmp.Or(who.unusable(), r.unusable); {
		case r.err == "" && !strings.Contains(who.Email, "@"):
			verdicts[p] = Verdict{Verdict: policy.Verdict{Why: fmt.Sprintf("%q is not the e-mail of a service account", clip(who.Email))}}
		case r.err != "":
			verdicts[p] = Verdict{Verdict: policy.Verdict{Why: r.err}}
		case unusable != "":
			verdicts[p] = Verdict{policy.Verdict{Decision: policy.Denied, Why: unusable}, policy.Denied, nil}
		default:
			verdict := both(r.granted(who, p, maybe), r.takenAway(who, p, maybe))
			verdict.ByRead = both(r.granted(who, p, no), r.takenAway(who, p, no)).Decision
			verdicts[p] = verdict
		}
	}
	return verdicts
}

// both is the decision by what grants and what denies.
func both(granted, denied finding) Verdict {
	certain := func(d policy.Decision, why string) Verdict {
		return Verdict{Verdict: policy.Verdict{Decision: d, Why: why}}
	}
	switch {
	case denied.is == yes:
		return certain(policy.Denied, denied.why)
	case granted.is == no:
		return certain(policy.Denied, granted.why)
	case granted.is == yes && denied.is == no:
		return certain(policy.Allowed, granted.why)
	}
	result := Verdict{Verdict: policy.Verdict{Why: granted.why}}
	if granted.is == yes {
		result.Why = denied.why
	}
	for _, f := range []finding{granted, denied} {
		result.Missing = append(result.Missing, f.missing...)
	}
	result.Missing = unique(result.Missing)
	return result
}

// granted decides whether a binding gives the account the permission. A policy that was not read counts as unread: a maybe, or
// a no for what was read alone.
func (r request) granted(who ServiceAccount, p Permission, unread truth) finding {
	var near string // what comes nearest to a grant, if nothing is one
	var result finding
	for _, level := range r.levels {
		read, ok := r.Policies[level]
		if !ok {
			result.add(unreadLevel(unread, Missing{MissingPolicy, level}))
		}
		for i, b := range read.Bindings {
			one := r.binding(who, p, b, read.dropsConditions())
			if one.is == no && near == "" && one.why != "" {
				near = fmt.Sprintf("; binding %d of %s: %s", i+1, label(level), one.why)
			}
			one.why = fmt.Sprintf("binding %d of %s gives it %s%s", i+1, label(level), clip(b.Role), suffix(one))
			result.add(one)
		}
	}
	if !r.top {
		result.add(unreadLevel(unread, Missing{MissingParents, r.project()}))
	}
	if result.is == no {
		result.why = "no binding of " + r.inLevels() + " gives it" + near
	}
	return result
}

func suffix(f finding) string {
	if f.is == maybe {
		return ", but " + f.why
	}
	return f.why
}

// binding decides whether a binding gives the account the permission. The reason for a no is empty unless it is a near miss.
func (r request) binding(who ServiceAccount, p Permission, b Binding, conditionsDropped bool) finding {
	role := r.gives(b.Role, p)
	if role.is == no {
		return finding{}
	}
	var member finding
	for _, m := range b.Members {
		one := who.includes(m)
		if member.add(one); member.is == no && member.why == "" {
			member.why = one.why
		}
	}
	if member.is == no {
		return member
	}
	condition := r.condition(b, conditionsDropped)
	result := all(member, role, condition)
	if result.is == yes {
		result.why = condition.why
	}
	return result
}

// condition decides whether a binding's condition is met. One that the text does not show is a maybe.
func (r request) condition(b Binding, dropped bool) finding {
	if b.Condition == nil && (dropped || strings.Contains(b.Role, hiddenCondition)) {
		return unknown("the policy was read with a version below 3, which leaves out its condition", MissingCondition, "the condition of "+clip(b.Role)+", which a read with requestedPolicyVersion 3 shows, is met")
	}
	return r.facts.meets(b.Condition)
}

// takenAway decides whether something takes the permission from the account, whatever bindings give.
func (r request) takenAway(who ServiceAccount, p Permission, unread truth) finding {
	result := r.denied(who, p, unread)
	if r.bounds {
		result.add(r.bounded(who, p, unread))
	}
	return result
}

// denied decides whether a deny rule takes the permission from the account.
func (r request) denied(who ServiceAccount, p Permission, unread truth) finding {
	var result finding
	for _, level := range r.levels {
		if !attaches(level) {
			continue
		}
		policies, ok := r.Denies[level]
		if !ok {
			result.add(unreadLevel(unread, Missing{MissingDenies, level}))
		}
		for _, d := range policies {
			for i, rule := range d.Rules {
				one := r.rule(who, p, rule)
				one.why = fmt.Sprintf("rule %d of deny policy %q of %s denies it%s", i+1, clip(d.Name), label(level), suffix(one))
				result.add(one)
			}
		}
	}
	if !r.top {
		result.add(unreadLevel(unread, Missing{MissingParents, r.project()}))
	}
	return result
}

func (r request) rule(who ServiceAccount, p Permission, rule DenyRule) finding {
	covered := rule.covers(p)
	if covered.is == no {
		return finding{}
	}
	var denied, excepted finding
	for _, identifier := range rule.DeniedPrincipals {
		denied.add(who.includes(identifier))
	}
	for _, identifier := range rule.ExceptionPrincipals {
		excepted.add(who.includes(identifier))
	}
	excepted.is = excepted.is.not()
	return all(denied, excepted, covered, r.facts.meets(rule.Condition))
}

// covers decides whether the rule denies the permission.
func (r DenyRule) covers(p Permission) finding {
	named := func(patterns []string) (result truth) {
		for _, pattern := range patterns {
			result = max(result, matches(pattern, p))
		}
		return result
	}
	if is := min(named(r.DeniedPermissions), named(r.ExceptionPermissions).not()); is != maybe {
		return finding{is: is}
	}
	return unknown("it is not certain that the rule is about "+string(p), MissingCondition, "the rule denies "+string(p))
}

// matches decides whether a pattern of a deny rule means the permission. Deny policies name permissions SERVICE_FQDN/RESOURCE.VERB, with
// * for all verbs or all resources (IAM documentation, "Permissions supported in deny policies"). Some permissions have aliases
// there: one of the service that mints tokens may be that of minting them.
func matches(pattern string, p Permission) truth {
	service, rest, _ := strings.Cut(string(p), ".")
	resource, verb, _ := strings.Cut(rest, ".")
	itsService, itsRest, _ := strings.Cut(pattern, "/")
	itsResource, itsVerb, hasVerb := strings.Cut(itsRest, ".")
	switch {
	case p == Impersonate && itsService == "iamcredentials.googleapis.com":
		return maybe
	case itsService != service+".googleapis.com":
		return no
	case itsRest == "*": // a form that is not documented
		return maybe
	}
	return truthOf(hasVerb && (itsResource == "*" || itsResource == resource) && (itsVerb == "*" || itsVerb == verb))
}

// unreadLevel is what is known of a level that was not read.
func unreadLevel(is truth, missing Missing) finding {
	name := label(missing.Name)
	why := map[MissingKind]string{MissingPolicy: "the policy of " + name + " was not read", MissingDenies: "the deny policies of " + name + " were not read",
		MissingBoundaries: "the principal access boundaries of " + name + " were not read", MissingParents: "what is above " + name + " was not read"}[missing.Kind]
	return finding{is, why, []Missing{missing}}
}

// attaches reports whether deny policies can be attached to a resource: to projects, folders and organizations only.
func attaches(resource string) bool {
	return slices.Contains([]string{"project", "folder", "organization"}, kind(resource))
}

// project is the project of the request's resource.
func (r request) project() string {
	for _, level := range r.levels {
		if kind(level) == "project" {
			return level
		}
	}
	return ""
}

// inLevels lists the levels of the request.
func (r request) inLevels() string {
	var names []string
	for _, level := range r.levels {
		names = append(names, label(level))
	}
	return listed(names, ", ")
}
