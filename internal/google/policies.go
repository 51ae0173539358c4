package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// Hosts of the APIs that hold policies.
const (
	kmsHost             = "cloudkms.googleapis.com"
	iamHost             = "iam.googleapis.com"
	resourceManagerHost = "cloudresourcemanager.googleapis.com"
)

// Policies reads what decides about the use of keys: allow policies, deny policies, roles, and service accounts. It reads as
// package policy/google evaluates, and is safe for concurrent use.
type Policies struct{ rest rest }

// NewPolicies returns a reader of policies.
func NewPolicies(config Config) *Policies { return &Policies{config.rest()} }

// Unread is a document that was not read, on which an answer depends.
type Unread struct {
	What google.Missing
	// Err is why. It wraps cmek.ErrDenied if we may not, cmek.ErrNotFound if the API says that there is none.
	Err error
}

// String names the document, with the permission that reading it takes, and why it was not read.
func (u Unread) String() string { return fmt.Sprintf("%s: %v", u.What, u.Err) }

// mostDocuments bounds the reads for one question: a key, its ring, its project, ten folders and the organization, each with
// deny policies (cloud.google.com/resource-manager/docs/cloud-platform-resource-hierarchy), and some tens of custom roles.
const mostDocuments = 80

// Complete reads what a question lacks, until its answer depends on nothing that can be read and was not: missing lists what the
// answer by the documents so far depends on, as [google.Access.Missing] does. Documents that are there already stay, so an event's
// own ones go before what can be read. What could not be read is named, each once, in the order of reading, and is not among the
// documents.
func (p *Policies) Complete(ctx context.Context, docs google.Documents, missing func(google.Documents) []google.Missing) (google.Documents, []Unread) {
	tried := map[google.Missing]bool{}
	var unread []Unread
	for {
		next := slices.DeleteFunc(missing(docs), func(m google.Missing) bool { return tried[m] || !readable(m) })
		if len(next) == 0 {
			return docs, unread
		}
		for _, m := range next {
			if tried[m] {
				continue
			}
			tried[m] = true
			if len(tried) > mostDocuments {
				return docs, append(unread, Unread{m, fmt.Errorf("the answer takes more than %d documents", mostDocuments)})
			}
			read, err := p.add(ctx, docs, m)
			if err != nil {
				unread = append(unread, Unread{m, err})
				continue
			}
			docs = read
		}
	}
}

// readable reports whether there is something to read. Who belongs to a group, and whether a condition is met, is not in IAM.
func readable(m google.Missing) bool {
	switch m.Kind {
	case google.MissingPolicy, google.MissingDenies, google.MissingParents, google.MissingRole:
		return true
	}
	return false
}

// add returns the documents with the missing one.
func (p *Policies) add(ctx context.Context, docs google.Documents, m google.Missing) (google.Documents, error) {
	switch m.Kind {
	case google.MissingPolicy:
		read, err := p.Policy(ctx, m.Name)
		return docs.With(m.Name, read), err
	case google.MissingDenies:
		read, err := p.DenyPolicies(ctx, m.Name)
		return docs.WithDenies(m.Name, read...), err
	case google.MissingParents:
		read, err := p.Parents(ctx, m.Name)
		return docs.WithParents(m.Name, read...), err
	default:
		read, err := p.Role(ctx, m.Name)
		return docs.WithRole(read), err
	}
}

// Policy reads the allow policy of a key, a key ring, a service account, a project, a folder or an organization, named as in
// [google.Documents]. It asks for version 3, without which conditions are left out (IAM documentation, "Allow policies").
func (p *Policies) Policy(ctx context.Context, resource string) (google.Policy, error) {
	doing := "read policy of " + clip(resource)
	var q request
	const version = "options.requestedPolicyVersion"
	switch kind := resourceKind(resource); kind {
	case "cryptoKeys", "keyRings":
		q = request{host: kmsHost, path: "/v1/" + resource + ":getIamPolicy", query: url.Values{version: {"3"}}}
	case "serviceAccounts":
		q = request{method: http.MethodPost, host: iamHost, path: "/v1/" + resource + ":getIamPolicy", query: url.Values{version: {"3"}}}
	case "projects", "folders", "organizations":
		q = request{
			method: http.MethodPost, host: resourceManagerHost, path: "/v3/" + resource + ":getIamPolicy",
			body: []byte(`{"options":{"requestedPolicyVersion":3}}`), header: http.Header{"Content-Type": {"application/json"}},
		}
	default:
		return google.Policy{}, fmt.Errorf("%s: not a resource whose policy can be read", doing)
	}
	text, err := p.rest.call(ctx, q)
	if err != nil {
		return google.Policy{}, explain(err, doing)
	}
	read, err := google.ParsePolicy(string(text))
	if err != nil {
		return google.Policy{}, explain(err, doing)
	}
	return read, nil
}

// mostDenies is how many deny policies a project, folder or organization may have (cloud.google.com/iam/quotas).
const mostDenies = 500

// DenyPolicies reads all deny policies that are attached to a project, folder or organization, with their rules. A list leaves the
// rules out, so each is read.
func (p *Policies) DenyPolicies(ctx context.Context, resource string) ([]google.DenyPolicy, error) {
	doing := "read deny policies of " + clip(resource)
	if kind := resourceKind(resource); kind != "projects" && kind != "folders" && kind != "organizations" {
		return nil, fmt.Errorf("%s: none can be attached to it", doing)
	}
	// An attachment point is a part of the path as a whole (IAM API v2, policies.listPolicies).
	path := "/v2/policies/" + url.PathEscape(resourceManagerHost+"/"+resource) + "/denypolicies"
	names, err := p.denyPolicies(ctx, path)
	if err != nil {
		return nil, explain(err, doing)
	}
	var read []google.DenyPolicy
	for _, name := range names {
		text, err := p.rest.call(ctx, request{host: iamHost, path: path + "/" + name})
		if err != nil {
			return nil, explain(err, doing)
		}
		one, err := google.ParseDenyPolicy(string(text))
		if err == nil && one.Name != name {
			err = fmt.Errorf("the answer is about %q", clip(one.Name))
		}
		if err != nil {
			return nil, explain(err, doing)
		}
		read = append(read, one)
	}
	return read, nil
}

// denyName is what the last part of a deny policy's name may hold.
var denyName = regexp.MustCompile(`^[a-z0-9.-]{1,63}$`)

// denyPolicies lists the last parts of the names.
func (p *Policies) denyPolicies(ctx context.Context, path string) (names []string, err error) {
	token := ""
	for range mostDenies {
		query := url.Values{}
		if token != "" {
			query.Set("pageToken", token)
		}
		text, err := p.rest.call(ctx, request{host: iamHost, path: path, query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			Policies []struct {
				Name string `json:"name"`
			} `json:"policies"`
			NextPageToken string `json:"nextPageToken"`
		}
		if err := only(text, &page, "policies", "nextPageToken"); err != nil {
			return nil, err
		}
		for _, one := range page.Policies {
			name := one.Name[strings.LastIndex(one.Name, "/")+1:]
			if !denyName.MatchString(name) {
				return nil, fmt.Errorf("%q is not the name of a deny policy", clip(one.Name))
			}
			names = append(names, name)
		}
		if len(names) > mostDenies {
			break
		}
		if token = page.NextPageToken; token == "" {
			return names, nil
		}
	}
	return nil, fmt.Errorf("more than %d, or pages without end", mostDenies)
}

// only reads an object that has no other members: of an answer in which nothing must be there, this is all that shows that it is
// the API's.
func only(text []byte, into any, members ...string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return errors.New("the answer is not an object of JSON")
	}
	for name := range fields {
		if !slices.Contains(members, name) {
			return fmt.Errorf("the answer has a member %q", clip(name))
		}
	}
	if fields == nil {
		return errors.New("the answer is null")
	}
	if err := json.Unmarshal(text, into); err != nil {
		return errors.New("the answer has members of another type")
	}
	return nil
}

// Parents reads what is above a project (projects/P), nearest first: folders, and the organization if the project belongs to one.
// It takes resourcemanager.projects.get on the project alone (Resource Manager API v1, projects.getAncestry).
func (p *Policies) Parents(ctx context.Context, project string) ([]string, error) {
	doing := "read what is above " + clip(project)
	if resourceKind(project) != "projects" {
		return nil, fmt.Errorf("%s: not a project", doing)
	}
	text, err := p.rest.call(ctx, request{
		method: http.MethodPost, host: resourceManagerHost, path: "/v1/" + project + ":getAncestry",
		body: []byte("{}"), header: http.Header{"Content-Type": {"application/json"}},
	})
	if err != nil {
		return nil, explain(err, doing)
	}
	var answer struct {
		Ancestor []struct {
			ResourceID struct {
				Type string `json:"type"`
				ID   string `json:"id"`
			} `json:"resourceId"`
		} `json:"ancestor"`
	}
	if json.Unmarshal(text, &answer) != nil || len(answer.Ancestor) == 0 {
		return nil, fmt.Errorf("%s: %w: no ancestors", doing, cmek.ErrIncomplete)
	}
	var above []string
	for i, one := range answer.Ancestor {
		name := one.ResourceID.Type + "s/" + one.ResourceID.ID
		last := i == len(answer.Ancestor)-1
		switch one.ResourceID.Type {
		case "project":
			if i != 0 || !sameResource(name+"/", project+"/") {
				return nil, fmt.Errorf("%s: the answer is about %q", doing, clip(name))
			}
			continue
		case "folder", "organization":
		default:
			return nil, fmt.Errorf("%s: %q is no kind of ancestor", doing, clip(one.ResourceID.Type))
		}
		// Folders are always within an organization, which is on top.
		if i == 0 || last != (one.ResourceID.Type == "organization") || resourceKind(name) == "" {
			return nil, fmt.Errorf("%s: %w: %q is ancestor %d of %d", doing, cmek.ErrIncomplete, clip(name), i, len(answer.Ancestor))
		}
		above = append(above, name)
	}
	return above, nil
}

// Role reads what a role includes: a predefined one, or a custom one of a project or an organization. One that does not exist is
// cmek.ErrNotFound.
func (p *Policies) Role(ctx context.Context, name string) (google.Role, error) {
	doing := "read role " + clip(name)
	if !isRole(name) {
		return google.Role{}, fmt.Errorf("%s: not the name of a role", doing)
	}
	text, err := p.rest.call(ctx, request{host: iamHost, path: "/v1/" + name})
	if err != nil {
		return google.Role{}, explain(err, doing)
	}
	read, err := google.ParseRole(string(text))
	if err == nil && !sameRole(read.Name, name) {
		err = fmt.Errorf("the answer is about %q", clip(read.Name))
	}
	if err != nil {
		return google.Role{}, explain(err, doing)
	}
	read.Name = name
	return read, nil
}

// ServiceAccount reads a service account. One that does not exist is not an error, but Missing.
//
// It is named with its project: with "-" in its place, which is left for accounts whose e-mail names none, an account that does
// not exist is refused instead (IAM API, projects.serviceAccounts.get).
func (p *Policies) ServiceAccount(ctx context.Context, account cmek.Principal) (google.ServiceAccount, error) {
	doing := "read service account " + clip(string(account))
	email := strings.ToLower(strings.TrimSpace(string(account)))
	project := cmek.Principal(email).Account()
	if project == "" {
		project = "-"
	}
	resource := "projects/" + project + "/serviceAccounts/" + email
	if resourceKind(resource) == "" {
		return google.ServiceAccount{}, fmt.Errorf("%s: not the e-mail of a service account", doing)
	}
	text, err := p.rest.call(ctx, request{host: iamHost, path: "/v1/" + resource})
	if err != nil {
		if err = explain(err, doing); errors.Is(err, cmek.ErrNotFound) {
			return google.ServiceAccount{Email: email, Missing: true}, nil
		}
		return google.ServiceAccount{}, err
	}
	var answer struct {
		Email    string `json:"email"`
		UniqueID string `json:"uniqueId"`
		Disabled bool   `json:"disabled"`
	}
	switch {
	case json.Unmarshal(text, &answer) != nil:
		return google.ServiceAccount{}, fmt.Errorf("%s: the answer is not an account", doing)
	case !strings.EqualFold(answer.Email, email):
		return google.ServiceAccount{}, fmt.Errorf("%s: the answer is about %q", doing, clip(answer.Email))
	case answer.UniqueID == "" || !isNumber(answer.UniqueID):
		return google.ServiceAccount{}, fmt.Errorf("%s: %w: no unique id", doing, cmek.ErrIncomplete)
	}
	return google.ServiceAccount{Email: email, UniqueID: answer.UniqueID, Disabled: answer.Disabled}, nil
}

// Project reads a project's two names: its id, by which people call it, and its number, by which some events do. Either may be
// asked for.
func (p *Policies) Project(ctx context.Context, name string) (id, number string, err error) {
	doing := "read project " + clip(name)
	if !cmek.IsProject(name) {
		return "", "", fmt.Errorf("%s: not the name of a project", doing)
	}
	text, err := p.rest.call(ctx, request{host: resourceManagerHost, path: "/v3/projects/" + name})
	if err != nil {
		return "", "", explain(err, doing)
	}
	var answer struct {
		Name      string `json:"name"`
		ProjectID string `json:"projectId"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return "", "", fmt.Errorf("%s: the answer is not a project", doing)
	}
	number = strings.TrimPrefix(answer.Name, "projects/")
	switch {
	case number == "" || !isNumber(number) || !cmek.IsProject(answer.ProjectID) || isNumber(answer.ProjectID):
		return "", "", fmt.Errorf("%s: %w: no number, or no id", doing, cmek.ErrIncomplete)
	case name != number && name != answer.ProjectID:
		return "", "", fmt.Errorf("%s: the answer is about %q", doing, clip(answer.ProjectID))
	}
	return answer.ProjectID, number, nil
}
