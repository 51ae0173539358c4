package events

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// at puts an event where a project, a folder, an organization or a billing account is. Those of all but a project name no account: they
// may concern any.
func at(e *cmek.Event, node string) error {
	kind, id, _ := strings.Cut(node, "/")
	switch {
	case kind == "projects" && cmek.IsProject(id):
		e.Account = cmp.Or(sameProject(e.Account, id), id)
	case (kind == "folders" || kind == "organizations" || kind == "billingAccounts") && isNodeID(id):
		e.Account = ""
	default:
		return fmt.Errorf("resource %q: neither a project, nor a folder, nor an organization", clip(node))
	}
	delete(e.Parameters, "resource")
	setParameter(e, "resource", node)
	return nil
}

// sameProject is the id of a project of which a name has the number, as far as the entry's labels have it; "" if they do not.
func sameProject(label, name string) string {
	if isNumber(name) && label != "" {
		return label
	}
	return ""
}

// nodeName is the project, folder or organization that an entry of the Resource Manager is about. The names of its older entries are
// ids alone, and the kind of thing stands in the monitored resource.
func (n *googleNotice) nodeName() string {
	name := cmp.Or(n.Audit.ResourceName, n.Audit.Request.text("resource"), n.Audit.Request.text("name"))
	if strings.Contains(name, "/") {
		return strings.TrimPrefix(name, "//"+googleResources+"/")
	}
	kinds := map[string]string{"project": "projects", "folder": "folders", "organization": "organizations"}
	if kind, ok := kinds[n.Resource.Type]; ok {
		return kind + "/" + cmp.Or(name, n.Resource.Labels.text(n.Resource.Type+"_id"))
	}
	return name
}

// node reads a notice about a project, a folder or an organization.
func node(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	if err := at(&e, n.nodeName()); err != nil && e.Succeeded() {
		return nil, err
	}
	return one(e)
}

// projectUpdate reads a new state of a project, with what it is below from now on. In the Resource Manager API v1, by which gcloud moves
// projects, that is one call with every edit of a label or a name; in v3 it cannot move a project
// (cloud.google.com/resource-manager/reference/rest/v1/projects/update, v3/projects/patch).
func projectUpdate(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	if strings.Contains(n.Audit.MethodName, ".v3.") {
		return nil, nil
	}
	parent := n.Audit.Request.object("project").object("parent")
	kinds := map[string]string{"folder": "folders", "organization": "organizations"}
	if kind, id := kinds[parent.text("type")], parent.text("id"); kind != "" && isNodeID(id) {
		setParameter(&e, "destination_parent", kind+"/"+id)
	}
	return node(n, e)
}

// nodePolicy reads a new IAM policy of a project, a folder or an organization, which all below inherit. Audit logs are switched by such
// a policy, too.
func nodePolicy(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := node(n, e)
	if err != nil {
		return nil, err
	}
	e = list[0]
	n.setPolicy(&e, "policy")
	delta := n.Audit.ServiceData.object("policyDelta")
	mask := masked(n.Audit.Request)
	var found []cmek.Event
	onlyAudit := delta != nil && items(delta["bindingDeltas"]) == nil && items(delta["auditConfigDeltas"]) != nil
	if !onlyAudit && (len(mask) == 0 || mask["bindings"]) {
		found = append(found, e)
	}
	if services := reduced(items(delta["auditConfigDeltas"])); len(services) > 0 {
		e.Change, e.Policy, e.Parameters = cmek.ChangeAuditLogs, "", maps.Clone(e.Parameters)
		setParameter(&e, "api", strings.Join(services, ","))
		found = append(found, e)
	}
	return found, nil
}

// items are those of a list of objects; nil if it is none.
func items(list jsontext.Value) (objects []object) {
	if json.Unmarshal(list, &objects, tolerant) != nil {
		return nil
	}
	return objects
}

// reduced lists the services of which less will be logged: a log was switched off, or somebody was exempted from one.
func reduced(deltas []object) (services []string) {
	for _, d := range deltas {
		action, exempts := d.text("action"), d.text("exemptedMember") != ""
		service := cmp.Or(d.text("service"), "allServices")
		ours := slices.Contains([]string{"allServices", googleKMS, googleIAM, googleCredentials}, service)
		if ours && (action == "REMOVE" && !exempts || action == "ADD" && exempts) && !slices.Contains(services, service) {
			services = append(services, service)
		}
	}
	return services
}

// constraints begin the names of the constraints of organization policies that can take access to a key away: those of Cloud KMS, of
// CMEK and of the use of services, of service accounts and of who can be a member, and what an organization defines itself
// (cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints).
var constraints = []string{"cloudkms.", "gcp.restrict", "iam.", "custom."}

// orgPolicy reads a notice about an organization policy: PARENT/policies/CONSTRAINT, or a request with a constraint.
func orgPolicy(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	r := n.Audit.Request
	names := []string{n.Audit.ResourceName, r.object("policy").text("name"), r.text("name")}
	var constraint, parent string
	for _, name := range names {
		if before, after, ok := strings.Cut(name, "/policies/"); ok {
			parent, constraint = before, after
			break
		}
	}
	constraint = strings.TrimPrefix(cmp.Or(constraint, r.object("policy").text("constraint"), r.text("constraint")), "constraints/")
	if constraint != "" && !slices.ContainsFunc(constraints, func(c string) bool { return strings.HasPrefix(constraint, c) }) {
		return nil, nil
	}
	if err := at(&e, cmp.Or(parent, r.text("parent"), n.nodeName())); err != nil && e.Succeeded() {
		return nil, err
	}
	setParameter(&e, "policy_id", constraint)
	n.setPolicy(&e, "policy")
	return one(e)
}

// accessBoundary reads a notice about a principal access boundary policy:
// organizations/N/locations/L/principalAccessBoundaryPolicies/ID (IAM API v3, principalAccessBoundaryPolicies). It bounds whom bindings
// bind it to.
func accessBoundary(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	r := n.Audit.Request
	return n.boundary(e, "principalAccessBoundaryPolicies", "policy_name", r.text("principalAccessBoundaryPolicyId"), r.object("principalAccessBoundaryPolicy"))
}

// policyBinding reads a notice about the binding of a policy to a set of principals: PARENT/locations/L/policyBindings/ID, whose parent is the
// project, folder or organization that is closest to the set (IAM API v3, policyBindings). Service accounts are in the sets of their
// project and of what is above it; those of workforce and workload identity pools and of domains hold none (IAM documentation, "Supported
// principal sets"). Bindings of other kinds of policies are not for us.
func policyBinding(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	binding := n.Audit.Request.object("policyBinding")
	set := binding.object("target").text("principalSet")
	switch kind := binding.text("policyKind"); {
	case set != "" && !strings.HasPrefix(set, "//"+googleResources+"/"):
		return nil, nil
	case !slices.Contains([]string{"", "0", "1", "POLICY_KIND_UNSPECIFIED", "PRINCIPAL_ACCESS_BOUNDARY"}, kind):
		return nil, nil
	}
	setParameter(&e, "policy_name", binding.text("policy"))
	return n.boundary(e, "policyBindings", "binding", n.Audit.Request.text("policyBindingId"), binding)
}

// boundary fills in where something of IAM's API v3 is, by its name PARENT/locations/L/COLLECTION/ID, and its id under that word. Which of
// its names an entry has is not documented; that of a new one may be given beside its parent. A call that only asks whether it would
// succeed changes nothing.
func (n *googleNotice) boundary(e cmek.Event, collection, word, id string, body object) ([]cmek.Event, error) {
	r := n.Audit.Request
	if r.text("validateOnly") == "true" {
		return nil, nil
	}
	names := []string{n.Audit.ResourceName, body.text("name"), r.text("name"), n.Audit.Response.text("name"), r.text("parent")}
	i := slices.IndexFunc(names, func(name string) bool { return strings.Contains(name, "/"+collection+"/") })
	if i < 0 {
		i = slices.IndexFunc(names, func(name string) bool { return strings.Contains(name, "/locations/") })
	}
	parent, rest, _ := strings.Cut(names[max(i, 0)], "/locations/")
	if err := at(&e, strings.TrimPrefix(parent, "//"+googleIAM+"/")); err != nil && e.Succeeded() {
		return nil, err
	}
	if _, after, ok := strings.Cut(rest, "/"+collection+"/"); ok {
		id = after
	}
	setParameter(&e, word, id)
	return one(e)
}

// inForce are the fields of a service perimeter that decide what it lets through. Its spec is tried only, until that is committed
// (cloud.google.com/access-context-manager/docs/reference/rest/v1/accessPolicies.servicePerimeters).
var inForce = []string{"status", "perimetertype", "useexplicitdryrunspec", "*"}

// perimeter reads a notice about a service perimeter, accessPolicies/P/servicePerimeters/NAME, or about what one refers to. One that is shown to
// restrict neither of the APIs that access to a key needs is nothing to us, as is a change of its title alone.
func perimeter(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	r := n.Audit.Request
	name := cmp.Or(n.Audit.ResourceName, r.object("servicePerimeter").text("name"), r.object("accessLevel").text("name"), r.text("name"), r.text("parent"))
	policy, rest, _ := strings.Cut(strings.TrimPrefix(name, "accessPolicies/"), "/")
	if mask := masked(r); len(mask) > 0 && strings.HasPrefix(rest, "servicePerimeters/") && !slices.ContainsFunc(inForce, func(field string) bool { return mask[field] }) {
		return nil, nil
	}
	restricted := r.object("servicePerimeter").object("status").text("restrictedServices")
	if restricted != "" && !slices.ContainsFunc(strings.Split(restricted, ","), func(service string) bool { return service == "*" || slices.Contains(apis, service) }) && !n.isSplit() {
		return nil, nil
	}
	if isNumber(policy) {
		setParameter(&e, "access_policy", policy)
	}
	if strings.Trim(lastPart(rest), letters+digits+"_") == "" {
		setParameter(&e, "perimeter", lastPart(rest))
	}
	return one(e)
}

// billing reads a notice about the billing of a project, or about a billing account.
func billing(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	if err := at(&e, n.nodeName()); err != nil && e.Succeeded() {
		return nil, err
	}
	setParameter(&e, "billing_account", n.Audit.Request.text("billingAccountName"))
	return one(e)
}

// apis are the APIs that access to a key needs: Cloud KMS, and that of the tokens of the account that the cluster acts as.
var apis = []string{googleKMS, googleCredentials}

// api reads which API of a project was switched: projects/P/services/NAME.
func api(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	name := cmp.Or(n.Audit.ResourceName, n.Audit.Request.text("name"))
	project, service, ok := strings.Cut(name, "/services/")
	if !ok && e.Succeeded() {
		return nil, fmt.Errorf("name of the service %q: not of the form projects/P/services/NAME", clip(name))
	}
	if !slices.Contains(apis, service) {
		return nil, nil
	}
	if err := at(&e, project); err != nil && e.Succeeded() {
		return nil, err
	}
	setParameter(&e, "api", service)
	return one(e)
}

// consumerPolicy reads a policy that lists all APIs that are on (cloud.google.com/service-usage/docs/reference/rest/v2): the ones that
// access to a key needs are off if it does not.
func consumerPolicy(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	parent, _, _ := strings.Cut(n.Audit.ResourceName, "/consumerPolicies")
	if err := at(&e, parent); err != nil && e.Succeeded() {
		return nil, err
	}
	rules := n.Audit.Request.object("policy").text("enableRules")
	if rules == "" {
		rules = n.Audit.Request.object("consumerPolicy").text("enableRules")
	}
	var off []string
	for _, name := range apis {
		if !strings.Contains(rules, `services/`+name+`"`) {
			off = append(off, name)
		}
	}
	switch {
	case rules == "" || n.isSplit():
		setParameter(&e, "omitted", "true")
	case len(off) == 0:
		return nil, nil
	default:
		setParameter(&e, "api", strings.Join(off, ","))
	}
	return one(e)
}

// displayName is the name that people gave to an alert policy or a channel, whose own names are numbers; "" if the request has none.
func displayName(request object) string {
	for _, field := range []string{"alertPolicy", "notificationChannel"} {
		if name := request.object(field).text("displayName"); name != "" {
			return name
		}
	}
	return ""
}

// watcher reads a notice about something that entries or alerts go through: PARENT/COLLECTION/NAME. Which of them are keyturn's is known
// by their names alone, so the name may be any.
func watcher(collection, word string) googleReader {
	return func(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
		r := n.Audit.Request
		name := n.Audit.ResourceName
		if !strings.Contains(name, "/"+collection+"/") {
			singular := strings.TrimSuffix(collection, "s")
			name = cmp.Or(r.text("sinkName"), r.text("metricName"), r.text(singular), r.object(singular).text("name"), r.text("name"), r.text("resource"), name)
		}
		if _, after, ok := strings.Cut(name, "/"+collection+"/"); ok {
			name, _, _ = strings.Cut(after, "/") // of a secret's version, too, the secret
		}
		setParameter(&e, word, lastPart(name))
		if given := displayName(r); given != "" {
			e.Parameters[word] = bounded(strings.TrimPrefix(e.Parameters[word]+","+given, ","))
		}
		if e.Parameters[word] == "" {
			setParameter(&e, "omitted", "true")
		}
		return one(e)
	}
}

// ownPolicy reads a notice about who may use something that entries or alerts go through.
func ownPolicy(collection, word string) googleReader {
	return func(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
		e.Delta = n.Audit.ServiceData.text("policyDelta")
		return watcher(collection, word)(n, e)
	}
}

// messagePolicy reads a notice about who may publish to a topic, or take messages from a subscription. The names of both are in one call.
func messagePolicy(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	switch name := cmp.Or(n.Audit.ResourceName, n.Audit.Request.text("resource")); {
	case strings.Contains(name, "/subscriptions/"):
		return ownPolicy("subscriptions", "subscription")(n, e)
	case strings.Contains(name, "/snapshots/"), strings.Contains(name, "/schemas/"):
		return nil, nil
	}
	return ownPolicy("topics", "topic")(n, e)
}

// secretVersion reads a notice about a version of a secret: projects/P/secrets/NAME/versions/N.
func secretVersion(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := watcher("secrets", "secret")(n, e)
	if _, version, ok := strings.Cut(n.Audit.ResourceName, "/versions/"); ok && err == nil && isNumber(version) {
		setParameter(&list[0], "secret_version", version)
	}
	return list, err
}

// snooze reads a notice about alert policies of which nobody is notified for a while.
func snooze(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	var names []string
	for name := range strings.SplitSeq(n.Audit.Request.object("snooze").object("criteria").text("policies"), ",") {
		if name = lastPart(name); name != "" {
			names = append(names, name)
		}
	}
	for _, name := range []string{n.Audit.ResourceName, n.Audit.Request.object("snooze").text("name"), n.Audit.Response.text("name")} {
		if _, id, ok := strings.Cut(name, "/snoozes/"); ok && isNumber(id) {
			setParameter(&e, "snooze", id)
		}
	}
	if setParameter(&e, "alarm", strings.Join(names, ",")); len(names) == 0 {
		setParameter(&e, "omitted", "true")
	}
	return one(e)
}
