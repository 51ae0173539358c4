package google

import (
	"bytes"
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

// Policies reads what decides about the use of keys: allow policies, deny policies, roles, and service accounts. It names and reads
// documents as package policy/google evaluates them, and is safe for concurrent use.
type Policies struct{ rest rest }

// NewPolicies returns a reader of policies.
func NewPolicies(config Config) *Policies { return &Policies{config.rest()} }

// Deciding names the documents of all levels that can be read, as [google.Deciding] does.
func (p *Policies) Deciding(use cmek.Use, known map[string]string) []string {
	if use.Spec.Type != cmek.GCPCloudKMS {
		return nil
	}
	var others []google.ServiceAccount
	if by, ok := google.CockroachAccount(use.ClusterID, use.CloudAccount); ok {
		others = append(others, by)
	}
	return google.Deciding(use.Spec.URI, use.Spec.AuthPrincipal, known, others...)
}

// Document reads a document that Deciding names. A text that cannot be understood is an error.
func (p *Policies) Document(ctx context.Context, name string) (string, error) {
	switch m := google.MissingIn(name); m.Kind {
	case google.MissingDenies:
		return p.denyPolicies(ctx, m.Name)
	case google.MissingBoundaries:
		return p.boundaries(ctx, m.Name)
	case google.MissingParents:
		return p.parents(ctx, m.Name)
	case google.MissingRole:
		return p.role(ctx, m.Name)
	case google.MissingIdentity:
		return p.serviceAccount(ctx, cmek.Principal(m.Name))
	default:
		return p.policy(ctx, m.Name)
	}
}

// policy reads the allow policy of a key, a key ring, a service account, a project, a folder or an organization, named as in
// [google.Documents]. It asks for version 3, without which conditions are left out (IAM documentation, "Allow policies").
func (p *Policies) policy(ctx context.Context, resource string) (string, error) {
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
			body: []byte(`{"options":{"requestedPolicyVersion":3}}`), header: jsonBody(),
		}
	default:
		return "", fmt.Errorf("%s: not a resource whose policy can be read", doing)
	}
	text, err := p.rest.call(ctx, q)
	if err == nil {
		_, err = google.ParsePolicy(string(text))
	}
	if err != nil {
		return "", explain(err, doing)
	}
	return compact(text), nil
}

// mostDenies is how many deny policies a project, folder or organization may have (cloud.google.com/iam/quotas).
const mostDenies = 500

// denyPolicies reads all deny policies that are attached to a project, folder or organization, with their rules. A list leaves the
// rules out, so each is read.
func (p *Policies) denyPolicies(ctx context.Context, resource string) (string, error) {
	doing := "read deny policies of " + clip(resource)
	if kind := resourceKind(resource); kind != "projects" && kind != "folders" && kind != "organizations" {
		return "", fmt.Errorf("%s: none can be attached to it", doing)
	}
	// An attachment point is a part of the path as a whole (IAM API v2, policies.listPolicies).
	path := "/v2/policies/" + url.PathEscape(resourceManagerHost+"/"+resource) + "/denypolicies"
	names, err := p.denyNames(ctx, path)
	if err != nil {
		return "", explain(err, doing)
	}
	read := []string{}
	for _, name := range names {
		text, err := p.rest.call(ctx, request{host: iamHost, path: path + "/" + name})
		if err != nil {
			return "", explain(err, doing)
		}
		one, err := google.ParseDenyPolicy(string(text))
		if err == nil && one.Name != name {
			err = fmt.Errorf("the answer is about %q", clip(one.Name))
		}
		if err != nil {
			return "", explain(err, doing)
		}
		read = append(read, compact(text))
	}
	return "[" + strings.Join(read, ",") + "]", nil
}

// denyName is what the last part of a deny policy's name may hold.
var denyName = regexp.MustCompile(`^[a-z0-9.-]{1,63}$`)

// denyNames lists the last parts of the names.
func (p *Policies) denyNames(ctx context.Context, path string) (names []string, err error) {
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

// mostBoundaries bounds the principal access boundary policies of one set of principals, of which there may be ten
// (cloud.google.com/iam/quotas).
const mostBoundaries = 100

// boundaryName is what the name of a principal access boundary policy may be.
var boundaryName = regexp.MustCompile(`^organizations/[0-9]{1,20}/locations/[a-z0-9-]{1,63}/principalAccessBoundaryPolicies/[a-z0-9.-]{1,63}$`)

// boundaries reads the principal access boundary policies that are bound to the principals of a project, folder or organization: each binding
// with its policy (IAM API v3, policyBindings.searchTargetPolicyBindings and principalAccessBoundaryPolicies.get).
func (p *Policies) boundaries(ctx context.Context, resource string) (string, error) {
	doing := "read principal access boundaries of " + clip(resource)
	if kind := resourceKind(resource); kind != "projects" && kind != "folders" && kind != "organizations" {
		return "", fmt.Errorf("%s: none can be bound to its principals", doing)
	}
	bindings, err := p.bindingsTo(ctx, resource)
	if err != nil {
		return "", explain(err, doing)
	}
	read := []string{}
	for _, text := range bindings {
		var binding struct {
			Policy string `json:"policy"`
			Kind   string `json:"policyKind"`
		}
		if err := json.Unmarshal(text, &binding); err != nil {
			return "", fmt.Errorf("%s: a binding has members of another type", doing)
		}
		if binding.Kind == "ACCESS" {
			continue // a policy of another kind, which gives or takes none of the permissions that keys need
		}
		if !boundaryName.MatchString(binding.Policy) {
			return "", fmt.Errorf("%s: %q is not the name of a principal access boundary policy", doing, clip(binding.Policy))
		}
		one, err := p.rest.call(ctx, request{host: iamHost, path: "/v3/" + binding.Policy})
		if err != nil {
			return "", explain(err, doing)
		}
		var policy struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(one, &policy) != nil || policy.Name != binding.Policy {
			return "", fmt.Errorf("%s: the answer is about %q", doing, clip(policy.Name))
		}
		read = append(read, `{"binding":`+compact(text)+`,"policy":`+compact(one)+`}`)
	}
	list := "[" + strings.Join(read, ",") + "]"
	if _, err := google.ParseBoundaries(list); err != nil {
		return "", explain(err, doing)
	}
	return list, nil
}

// bindingsTo lists the bindings of policies to the principals of a project, folder or organization.
func (p *Policies) bindingsTo(ctx context.Context, resource string) (list []json.RawMessage, err error) {
	query := url.Values{"target": {"//" + resourceManagerHost + "/" + resource}}
	for range mostBoundaries {
		text, err := p.rest.call(ctx, request{host: iamHost, path: "/v3/" + resource + "/locations/global/policyBindings:searchTargetPolicyBindings", query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			Bindings      []json.RawMessage `json:"policyBindings"`
			NextPageToken string            `json:"nextPageToken"`
		}
		if err := only(text, &page, "policyBindings", "nextPageToken"); err != nil {
			return nil, err
		}
		if list = append(list, page.Bindings...); len(list) > mostBoundaries {
			break
		}
		if page.NextPageToken == "" {
			return list, nil
		}
		query.Set("pageToken", page.NextPageToken)
	}
	return nil, fmt.Errorf("more than %d, or pages without end", mostBoundaries)
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

// parents reads what is above a project (projects/P), nearest first: folders, and the organization if the project belongs to one.
// It takes resourcemanager.projects.get on the project alone (Resource Manager API v1, projects.getAncestry).
func (p *Policies) parents(ctx context.Context, project string) (string, error) {
	doing := "read what is above " + clip(project)
	if resourceKind(project) != "projects" {
		return "", fmt.Errorf("%s: not a project", doing)
	}
	text, err := p.rest.call(ctx, request{
		method: http.MethodPost, host: resourceManagerHost, path: "/v1/" + project + ":getAncestry",
		body: []byte("{}"), header: jsonBody(),
	})
	if err != nil {
		return "", explain(err, doing)
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
		return "", fmt.Errorf("%s: %w: no ancestors", doing, cmek.ErrIncomplete)
	}
	above := []string{}
	for i, one := range answer.Ancestor {
		name := one.ResourceID.Type + "s/" + one.ResourceID.ID
		last := i == len(answer.Ancestor)-1
		switch one.ResourceID.Type {
		case "project":
			if i != 0 || !sameResource(name+"/", project+"/") {
				return "", fmt.Errorf("%s: the answer is about %q", doing, clip(name))
			}
			continue
		case "folder", "organization":
		default:
			return "", fmt.Errorf("%s: %q is no kind of ancestor", doing, clip(one.ResourceID.Type))
		}
		// Folders are always within an organization, which is on top.
		if i == 0 || last != (one.ResourceID.Type == "organization") || resourceKind(name) == "" {
			return "", fmt.Errorf("%s: %w: %q is ancestor %d of %d", doing, cmek.ErrIncomplete, clip(name), i, len(answer.Ancestor))
		}
		above = append(above, name)
	}
	list, err := json.Marshal(above)
	return string(list), err
}

// role reads what a role includes: a predefined one, or a custom one of a project or an organization. One that does not exist is
// cmek.ErrNotFound.
func (p *Policies) role(ctx context.Context, name string) (string, error) {
	doing := "read role " + clip(name)
	if !isRole(name) {
		return "", fmt.Errorf("%s: not the name of a role", doing)
	}
	text, err := p.rest.call(ctx, request{host: iamHost, path: "/v1/" + name})
	if err != nil {
		return "", explain(err, doing)
	}
	read, err := google.ParseRole(string(text))
	if err == nil && !sameRole(read.Name, name) {
		err = fmt.Errorf("the answer is about %q", clip(read.Name))
	}
	if err != nil {
		return "", explain(err, doing)
	}
	return compact(text), nil
}

// serviceAccount reads a service account. One that does not exist is cmek.ErrNotFound.
//
// It is named with its project: with "-" in its place, which is left for accounts whose e-mail names none, an account that does
// not exist is refused instead (IAM API, projects.serviceAccounts.get).
func (p *Policies) serviceAccount(ctx context.Context, account cmek.Principal) (string, error) {
	doing := "read service account " + clip(string(account))
	resource := google.ResourceOf(account)
	if resourceKind(resource) == "" {
		return "", fmt.Errorf("%s: not the e-mail of a service account", doing)
	}
	text, err := p.rest.call(ctx, request{host: iamHost, path: "/v1/" + resource})
	if err != nil {
		return "", explain(err, doing)
	}
	read, err := google.ParseServiceAccount(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w: %w", doing, cmek.ErrIncomplete, err)
	case read.Email != strings.ToLower(string(account)):
		return "", fmt.Errorf("%s: the answer is about %q", doing, clip(read.Email))
	}
	return compact(text), nil
}

// compact is JSON without the white space of an answer, which says nothing.
func compact(text []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return string(text)
	}
	return b.String()
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
