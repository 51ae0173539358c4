package simulator

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/policy/google"
)

// Principal access boundaries: cloud.google.com/iam/docs/reference/rest/v3, policyBindings and principalAccessBoundaryPolicies.

// boundaryPolicy is google.iam.v3.PrincipalAccessBoundaryPolicy.
type boundaryPolicy struct {
	Name    string `json:"name"`
	UID     string `json:"uid"`
	Details struct {
		Rules []struct {
			Description string   `json:"description,omitempty"`
			Resources   []string `json:"resources"`
			Effect      string   `json:"effect"`
		} `json:"rules"`
		Version string `json:"enforcementVersion,omitempty"`
	} `json:"details"`
}

// boundPolicy is google.iam.v3.PolicyBinding.
type boundPolicy struct {
	Name      string           `json:"name"`
	UID       string           `json:"uid"`
	Target    bindingTarget    `json:"target"`
	Kind      string           `json:"policyKind"`
	Policy    string           `json:"policy"`
	Condition *policyCondition `json:"condition,omitempty"`
}

type bindingTarget struct {
	PrincipalSet string `json:"principalSet"`
}

// defaultEnforcement is the enforcement version of a policy that names none.
const defaultEnforcement = "4"

// isOfBoundaries reports whether the operation is one of a collection of bindings or boundaries.
func (row googleOperation) isOfBoundaries() bool {
	return strings.HasSuffix(row.path, "/policyBindings") || row.path == boundariesPath
}

// boundariesOf are the boundaries of the principals of a project, with what is above it.
func (g *googleCloud) boundariesOf(project string) google.Documents {
	node := "projects/" + project
	docs := google.Documents{}.WithParents(node, g.above(node)...)
	for _, level := range append([]string{node}, g.above(node)...) {
		list := []map[string]any{}
		for _, b := range g.bound[level] {
			list = append(list, map[string]any{"binding": b, "policy": g.boundaries[b.Policy]})
		}
		parsed, _ := google.ParseBoundaries(string(toJSON(list))) // each was checked before it was taken
		docs = docs.WithBoundaries(level, parsed...)
	}
	return docs
}

// searchBindings lists the bindings to a set of principals, which must be that of the parent.
func (w *World) searchBindings(c *googleCall) (any, *googleError) {
	node, failed := w.attachment(c)
	if failed != nil {
		return nil, failed
	}
	if set, ok := strings.CutPrefix(c.query.Get("target"), "//"+resourceService+"/"); !ok || w.google.canonical(set) != node {
		return nil, googleRefusal(googleInvalid, "The target %q is not that of %s.", c.query.Get("target"), node)
	}
	var views []any
	for _, b := range w.google.bound[node] {
		views = append(views, b)
	}
	list, failed := listOf(w, c, "policyBindings", views)
	if fields, ok := list.(map[string]any); ok {
		delete(fields, "totalSize") // the API has none here
	}
	return list, failed
}

func (w *World) createBinding(c *googleCall) (any, *googleError) {
	node, failed := w.attachment(c)
	if failed != nil {
		return nil, failed
	}
	var b boundPolicy
	if failed := c.decode(&b); failed != nil {
		return nil, failed
	}
	id := c.query.Get("policyBindingId")
	b.Name, b.UID, b.Kind = node+"/locations/global/policyBindings/"+id, w.uuid(), "PRINCIPAL_ACCESS_BOUNDARY"
	c.entry.node, c.entry.resourceName = node, node+"/locations/global"
	c.entry.request = map[string]any{"parent": node + "/locations/global", "policyBindingId": id, "policyBinding": b}
	set, ok := strings.CutPrefix(b.Target.PrincipalSet, "//"+resourceService+"/")
	switch {
	case !kmsID.MatchString(id):
		return nil, googleRefusal(googleInvalid, "Invalid policyBindingId %q.", id)
	case !ok || w.google.canonical(set) != node:
		return nil, googleRefusal(googleInvalid, "The target %q is not that of %s.", b.Target.PrincipalSet, node)
	case w.google.boundaries[b.Policy].Name == "":
		return nil, googleMissing("Policy", b.Policy)
	case slices.ContainsFunc(w.google.bound[node], func(other boundPolicy) bool { return other.Name == b.Name }):
		return nil, googleRefusal(googleAlreadyExists, "Policy binding %s already exists.", b.Name)
	}
	w.google.bound[node] = append(w.google.bound[node], b)
	return operationDone(b.Name, b), nil
}

func (w *World) deleteBinding(c *googleCall) (any, *googleError) {
	node, failed := w.attachment(c)
	if failed != nil {
		return nil, failed
	}
	name := node + "/locations/global/policyBindings/" + c.names[2]
	c.entry.node, c.entry.resourceName, c.entry.request = node, name, map[string]any{"name": name}
	i := slices.IndexFunc(w.google.bound[node], func(b boundPolicy) bool { return b.Name == name })
	if i < 0 {
		return nil, googleMissing("Policy binding", name)
	}
	w.google.bound[node] = slices.Delete(slices.Clone(w.google.bound[node]), i, i+1)
	return operationDone(name, map[string]any{}), nil
}

func (w *World) getBoundary(c *googleCall) (any, *googleError) {
	name := c.resource + "/locations/global/principalAccessBoundaryPolicies/" + c.names[2]
	if p := w.google.boundaries[name]; p.Name != "" {
		return p, nil
	}
	return nil, googleMissing("Policy", name)
}

func (w *World) createBoundary(c *googleCall) (any, *googleError) {
	node, failed := w.attachment(c)
	if failed != nil {
		return nil, failed
	}
	var p boundaryPolicy
	if failed := c.decode(&p); failed != nil {
		return nil, failed
	}
	id := c.query.Get("principalAccessBoundaryPolicyId")
	p.Name, p.UID = node+"/locations/global/principalAccessBoundaryPolicies/"+id, w.uuid()
	if p.Details.Version == "" {
		p.Details.Version = defaultEnforcement
	}
	c.entry.node, c.entry.resourceName = node, node+"/locations/global"
	c.entry.request = map[string]any{"parent": node + "/locations/global", "principalAccessBoundaryPolicyId": id, "principalAccessBoundaryPolicy": p}
	_, err := google.ParseBoundaries(string(toJSON([]any{map[string]any{"policy": p}})))
	switch {
	case !kmsID.MatchString(id):
		return nil, googleRefusal(googleInvalid, "Invalid principalAccessBoundaryPolicyId %q.", id)
	case err != nil:
		return nil, googleRefusal(googleInvalid, "Invalid policy: %v", err)
	case w.google.boundaries[p.Name].Name != "":
		return nil, googleRefusal(googleAlreadyExists, "Policy %s already exists.", p.Name)
	}
	w.google.boundaries[p.Name] = p
	return operationDone(p.Name, p), nil
}

// operationDone is an operation that is done at once.
func operationDone(name string, response any) any {
	return map[string]any{"name": name + "/operations/done", "done": true, "response": response}
}
