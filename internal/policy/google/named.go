package google

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Named documents: what is read of a hierarchy is kept under a name each, as JSON text. The allow policy of a resource has the
// resource's name, and a role its own. What else is read of a resource has its name with an ending.
const (
	deniesEnding     = "#denies"
	boundariesEnding = "#boundaries"
	parentsEnding    = "#parents"
	stateEnding      = "#state"
)

// Denies is the name of the deny policies that are attached to a project, folder or organization: a JSON array of them, each as
// iam.googleapis.com/v2 returns a single one.
func Denies(resource string) string { return resource + deniesEnding }

// Boundaries is the name of the principal access boundaries that bind the principals of a project, folder or organization: a JSON array of
// {"binding": B, "policy": P}, each as iam.googleapis.com/v3 returns it.
func Boundaries(resource string) string { return resource + boundariesEnding }

// Parents is the name of what is above a project, as [ParseParents] reads it.
func Parents(project string) string { return project + parentsEnding }

// State is the name of a service account itself, as iam.googleapis.com returns it.
func State(account cmek.Principal) string {
	return ServiceAccount{Email: string(account)}.named() + stateEnding
}

// ResourceOf is the resource name of a service account, under which its allow policy is kept.
func ResourceOf(account cmek.Principal) string { return ServiceAccount{Email: string(account)}.named() }

// named is the account's resource, also where the e-mail does not say which project it belongs to.
func (a ServiceAccount) named() string {
	if a.project() == "" {
		return "projects/-/serviceAccounts/" + a.email()
	}
	return a.resource()
}

// MissingIn is what a document of that name shows, and of what: a [MissingKind] with the name of the resource, the role or the
// service account.
func MissingIn(name string) Missing {
	resource, ending, _ := strings.Cut(name, "#")
	switch "#" + ending {
	case deniesEnding:
		return Missing{MissingDenies, resource}
	case boundariesEnding:
		return Missing{MissingBoundaries, resource}
	case parentsEnding:
		return Missing{MissingParents, resource}
	case stateEnding:
		_, email, _ := strings.Cut(resource, "/serviceAccounts/")
		return Missing{MissingIdentity, email}
	}
	if strings.Contains("/"+name, "/roles/") {
		return Missing{MissingRole, name}
	}
	return Missing{MissingPolicy, name}
}

// CockroachAccount is the service account of Cockroach Labs that acts as the customer's for a cluster: crl-kms-user- with the last 12
// characters of the cluster's id, in the cluster's project (CockroachDB Cloud documentation, "Manage CMEK"). ok is false if it is not known.
func CockroachAccount(clusterID, project string) (account ServiceAccount, ok bool) {
	const tail = 12
	if len(clusterID) < tail || !cmek.IsProject(project) {
		return ServiceAccount{}, false
	}
	return ServiceAccount{Email: strings.ToLower("crl-kms-user-" + clusterID[len(clusterID)-tail:] + "@" + Domain(project))}, true
}

// Domain is the domain of the service accounts of a project. Those of example.com:p are in p.example.com.
func Domain(project string) string {
	if owner, name, scoped := strings.Cut(project, ":"); scoped {
		project = name + "." + owner
	}
	return project + ".iam.gserviceaccount.com"
}

// mostNamed bounds what is named for one question: a key, its ring, its project, ten folders and the organization, each with deny
// policies (cloud.google.com/resource-manager/docs/cloud-platform-resource-hierarchy), the same of another project with the service
// account, with what bounds its principals, and some tens of custom roles.
const mostNamed = 100

// Deciding names the documents that decide whether the account may use the key, and whether the others may act as the account: the
// allow policies and deny policies of all levels, what is above the projects, the account itself, what bounds it, and the roles that these
// policies give any of them and that are not documented. known are the texts that were read so far, by name; with more of them more may be
// named. It names them in one order, each once.
func Deciding(key cmek.KeyURI, account cmek.Principal, known map[string]string, others ...ServiceAccount) []string {
	var docs Documents
	add := func(name string) {
		if read, err := docs.Add(name, known[name]); err == nil { // else it is as if it was not read
			docs = read
		}
	}
	target := ServiceAccount{Email: string(account)}
	names := []string{State(account)}
	var levels []string
	for _, on := range []func() request{
		func() request { return keyRequest(docs, key, time.Time{}) },
		func() request { return actAsRequest(docs, target, time.Time{}) },
	} {
		if on().err != "" {
			continue
		}
		parents := on().project() + parentsEnding
		add(parents)
		names, levels = append(names, parents), append(levels, on().levels...)
	}
	if project := target.project(); project != "" {
		for _, level := range append([]string{project}, docs.Parents[project]...) {
			names = append(names, Boundaries(level))
		}
	}
	levels = unique(levels)
	for _, level := range levels {
		add(level)
		names = append(names, level)
		if attaches(level) {
			names = append(names, Denies(level))
		}
	}
	for _, level := range levels {
		for _, b := range docs.Policies[level].Bindings {
			role, _, _ := strings.Cut(b.Role, hiddenCondition)
			if _, documented := predefined[role]; !documented && b.mayMean(append(others, target)) {
				names = append(names, role)
			}
		}
	}
	names = unique(names)
	return names[:min(len(names), mostNamed)]
}

func (b Binding) mayMean(accounts []ServiceAccount) bool {
	return slices.ContainsFunc(b.Members, func(member string) bool {
		return slices.ContainsFunc(accounts, func(a ServiceAccount) bool { return a.includes(member).is != no })
	})
}

// Reaches reports whether a document of that name may count for the use of the key as the account: it is one of a level of theirs, or
// a role that a policy of such a level gives. What is above a project that was not read may be anything.
func Reaches(docs Documents, name string, key cmek.KeyURI, account cmek.Principal) bool {
	m := MissingIn(name)
	return slices.ContainsFunc([]request{keyRequest(docs, key, time.Time{}), actAsRequest(docs, ServiceAccount{Email: string(account)}, time.Time{})}, func(r request) bool {
		if r.err != "" {
			return true
		}
		if m.Kind != MissingRole {
			return slices.Contains(r.levels, m.Name) || !r.top && isAboveProjects(m.Name)
		}
		return !r.top || slices.ContainsFunc(r.levels, func(level string) bool {
			read, known := docs.Policies[level]
			return !known || slices.ContainsFunc(read.Bindings, func(b Binding) bool {
				role, _, _ := strings.Cut(b.Role, hiddenCondition)
				return role == name
			})
		})
	})
}

func isAboveProjects(resource string) bool {
	return strings.HasPrefix(resource, "folders/") || strings.HasPrefix(resource, "organizations/")
}

// ReadAll puts named texts together. What cannot be understood is left out, as if it was not read, and problems says why.
func ReadAll(texts map[string]string) (docs Documents, problems map[string]error) {
	problems = map[string]error{}
	for name, text := range texts {
		read, err := docs.Add(name, text)
		if err != nil {
			problems[name] = err
			continue
		}
		docs = read
	}
	return docs, problems
}

// Add is the documents with a named one. With an error they are as before.
func (d Documents) Add(name, text string) (Documents, error) {
	switch m := MissingIn(name); m.Kind {
	case MissingDenies:
		policies, err := ParseDenyPolicies(text)
		if err != nil {
			return d, err
		}
		return d.WithDenies(m.Name, policies...), nil
	case MissingBoundaries:
		list, err := ParseBoundaries(text)
		if err != nil {
			return d, err
		}
		return d.WithBoundaries(m.Name, list...), nil
	case MissingParents:
		parents, err := ParseParents(text)
		if err != nil {
			return d, err
		}
		return d.WithParents(m.Name, parents...), nil
	case MissingRole:
		role, err := ParseRole(text)
		if err != nil {
			return d, err
		}
		role.Name = m.Name // the answer may name the project by its number
		return d.WithRole(role), nil
	case MissingIdentity:
		return d, nil // an account is no document of a hierarchy
	default:
		p, err := ParsePolicy(text)
		if err != nil {
			return d, err
		}
		return d.With(m.Name, p), nil
	}
}

// ParseDenyPolicies reads all deny policies of a resource, as [Denies] names them.
func ParseDenyPolicies(text string) ([]DenyPolicy, error) {
	var list []jsontext.Value
	if err := json.Unmarshal([]byte(text), &list); err != nil || list == nil {
		return nil, errors.New("parse deny policies: not an array")
	}
	policies := make([]DenyPolicy, 0, len(list))
	for _, one := range list {
		p, err := ParseDenyPolicy(string(one))
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	return policies, nil
}

// ParseParents reads what is above a project, nearest first: a JSON array of resource names.
func ParseParents(text string) ([]string, error) {
	var parents []string
	if err := json.Unmarshal([]byte(text), &parents); err != nil || parents == nil {
		return nil, errors.New("parse parents: not an array of names")
	}
	return parents, nil
}

// ParseServiceAccount reads a service account as iam.googleapis.com returns it. Without an e-mail or a unique id it is none.
func ParseServiceAccount(text string) (ServiceAccount, error) {
	var answer struct {
		Email    string `json:"email"`
		UniqueID string `json:"uniqueId"`
		Disabled bool   `json:"disabled"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return ServiceAccount{}, errors.New("parse service account: " + clip(err.Error()))
	}
	if answer.Email == "" || answer.UniqueID == "" || strings.Trim(answer.UniqueID, "0123456789") != "" {
		return ServiceAccount{}, errors.New("parse service account: no e-mail, or no unique id")
	}
	return ServiceAccount{Email: strings.ToLower(answer.Email), UniqueID: answer.UniqueID, Disabled: answer.Disabled}, nil
}
