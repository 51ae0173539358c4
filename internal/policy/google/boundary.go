package google

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// Boundary is a principal access boundary policy as it is bound to the principals of a project, folder or organization
// (google.iam.v3.PolicyBinding with its PrincipalAccessBoundaryPolicy). A principal that is bound by such policies can use only what at
// least one of them lists, whatever other policies grant (IAM documentation, "Principal access boundary policies").
type Boundary struct {
	// Name is the last part of the policy's name.
	Name string
	// Condition says which of the principals are bound; nil for all.
	Condition *Condition
	// Resources are the projects, folders and organizations that the policy lists; what is below them counts, too.
	Resources []string
	// Version is the enforcement version, which says which permissions can be blocked: a number, or "latest".
	Version string
}

// blockedFrom is the first enforcement version that can block a permission (IAM documentation, "Principal Access Boundary policy
// enforcement version permissions"). Each version blocks what those before do.
var blockedFrom = map[Permission]int{Encrypt: 4, Decrypt: 4, Impersonate: 3}

// latest is an enforcement version that is not before any of blockedFrom.
const latest = "latest"

// blocks decides whether the policy can block the permission.
func (b Boundary) blocks(p Permission) finding {
	version, err := strconv.Atoi(b.Version)
	if err != nil && b.Version != latest {
		name := fmt.Sprintf("the enforcement version %q of the principal access boundary policy %s can block %s", clip(b.Version), clip(b.Name), p)
		return unknown("it is not certain that "+name, MissingCondition, name)
	}
	return finding{is: truthOf(b.Version == latest || version >= blockedFrom[p])}
}

// binds decides whether the account is one of the principals that the binding is about.
func (b Boundary) binds(who ServiceAccount) finding {
	return facts{principal: "iam.googleapis.com/ServiceAccount", subject: who.email()}.meets(b.Condition)
}

// lists decides whether the policy lists the request's resource, or what is above it. The project's number is not known, nor is what
// stands above a project that was not read.
func (b Boundary) lists(r request) finding {
	var result finding
	for _, name := range b.Resources {
		resource := strings.TrimPrefix(name, "//cloudresourcemanager.googleapis.com/")
		switch id, isProject := strings.CutPrefix(resource, "projects/"); {
		case slices.Contains(r.levels, resource):
			result.add(finding{is: yes})
		case isProject && isNumber(id):
			result.add(unknown("whether "+clip(resource)+" is "+r.project()+" is not known", MissingCondition, clip(resource)+" is "+r.project()))
		case !isProject && !r.top:
			result.add(unreadLevel(maybe, Missing{MissingParents, r.project()}))
		}
	}
	return result
}

// bounded decides whether a principal access boundary takes the permission from the account. Bindings that were not read may bind it, and
// may make it eligible as well.
func (r request) bounded(who ServiceAccount, p Permission, unread truth) finding {
	project := who.project()
	if project == "" {
		return finding{unread, "the e-mail " + clip(who.Email) + " does not say whose principal access boundaries bind it", nil}
	}
	var bound, eligible finding
	both := func(f finding) {
		bound.add(f)
		eligible.add(f)
	}
	above, known := r.Parents[project]
	for _, level := range slices.Concat([]string{project}, above) {
		list, read := r.Boundaries[level]
		if !read {
			both(unreadLevel(unread, Missing{MissingBoundaries, level}))
		}
		for _, b := range list {
			binds := b.binds(who)
			one := all(binds, b.blocks(p))
			one.why = fmt.Sprintf("principal access boundary policy %q, which binds the principals of %s, does not list %s or what is above it%s", clip(b.Name), label(level), label(r.project()), suffix(one))
			bound.add(one)
			eligible.add(all(binds, b.lists(r)))
		}
	}
	if !known {
		both(unreadLevel(unread, Missing{MissingParents, project}))
	}
	why := bound.why
	if bound.is == yes && eligible.is == maybe {
		why = eligible.why
	}
	eligible.is = eligible.is.not()
	result := all(bound, eligible)
	result.why = why
	return result
}

// ParseBoundaries reads the boundaries of a project, folder or organization, as [Boundaries] names them.
func ParseBoundaries(text string) ([]Boundary, error) {
	var list []struct {
		Binding struct {
			Policy    string          `json:"policy"`
			Condition *jsonExpression `json:"condition"`
		} `json:"binding"`
		Policy struct {
			Name    string `json:"name"`
			Details *struct {
				Rules *[]struct {
					Resources []string `json:"resources"`
					Effect    string   `json:"effect"`
				} `json:"rules"`
				Version string `json:"enforcementVersion"`
			} `json:"details"`
		} `json:"policy"`
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("parse principal access boundaries: %d bytes are more than any may have", len(text))
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("parse principal access boundaries: " + clip(err.Error()))
	}
	if list == nil {
		return nil, errors.New("parse principal access boundaries: not an array")
	}
	boundaries := []Boundary{}
	for _, one := range list {
		d := one.Policy.Details
		if d == nil || d.Rules == nil || one.Policy.Name == "" {
			return nil, fmt.Errorf("parse principal access boundaries: policy %q has no rules, or no name", clip(one.Binding.Policy))
		}
		b := Boundary{Name: one.Policy.Name[strings.LastIndex(one.Policy.Name, "/")+1:], Condition: one.Binding.Condition.condition(), Version: d.Version}
		for _, rule := range *d.Rules {
			if rule.Effect != "ALLOW" {
				return nil, fmt.Errorf("parse principal access boundaries: policy %q: effect %q: want ALLOW", clip(b.Name), clip(rule.Effect))
			}
			b.Resources = append(b.Resources, rule.Resources...)
		}
		boundaries = append(boundaries, b)
	}
	return boundaries, nil
}

// WithBoundaries is the documents with other principal access boundaries of the principals of the project, folder or organization.
func (d Documents) WithBoundaries(resource string, list ...Boundary) Documents {
	d.Boundaries = replaced(d.Boundaries, resource, list)
	return d
}

// WithPrincipals is the documents with what others say of the principals of their projects: what is above these, and what bounds them.
func (d Documents) WithPrincipals(o Documents) Documents {
	for project, above := range o.Parents {
		d = d.WithParents(project, above...)
	}
	for resource, list := range o.Boundaries {
		d = d.WithBoundaries(resource, list...)
	}
	return d
}
