package simulator

import (
	"strings"
)

// What is above keys: Resource Manager (cloud.google.com/resource-manager/reference/rest), Service Usage
// (cloud.google.com/service-usage/docs/reference/rest) and Cloud Billing (cloud.google.com/billing/docs/reference/rest).

const (
	resourceService = "cloudresourcemanager.googleapis.com"
	usageService    = "serviceusage.googleapis.com"
	billingService  = "cloudbilling.googleapis.com"
	tokenService    = "iamcredentials.googleapis.com"

	billingAccount = "billingAccounts/0SAMPL-E0SAMP-LE0SAM"
)

// namedProject is the project that the path names. One that does not exist was refused before.
func (w *World) namedProject(c *googleCall) *googleProject { return w.google.project(c.resource) }

func (p *googleProject) state() string {
	if p.shutDown {
		return "DELETE_REQUESTED"
	}
	return "ACTIVE"
}

// getProject is that of version 3, whose names have the number.
func (w *World) getProject(c *googleCall) (any, *googleError) {
	return w.projectView(w.namedProject(c)), nil
}

func (w *World) projectView(p *googleProject) map[string]any {
	view := map[string]any{
		"name": "projects/" + p.number, "projectId": p.id, "state": p.state(), "displayName": p.id, "createTime": googleTime(p.created),
		"updateTime": googleTime(p.created), "etag": neverSet,
	}
	if parent := w.google.parents[p.name()]; parent != "" {
		view["parent"] = parent
	}
	return view
}

// getProjectV1 is that of version 1.
func (w *World) getProjectV1(c *googleCall) (any, *googleError) {
	p := w.namedProject(c)
	view := map[string]any{
		"projectNumber": p.number, "projectId": p.id, "lifecycleState": p.state(), "name": p.id, "createTime": googleTime(p.created),
	}
	if parent := w.google.parents[p.name()]; parent != "" {
		view["parent"] = resourceID(parent)
	}
	return view, nil
}

// resourceID is a name as version 1 writes it: projects/P is {type: project, id: P}.
func resourceID(name string) map[string]any {
	kind, id, _ := strings.Cut(name, "/")
	return map[string]any{"type": strings.TrimSuffix(kind, "s"), "id": id}
}

// getAncestry lists the project and what is above it, nearest first.
func (w *World) getAncestry(c *googleCall) (any, *googleError) {
	var ancestors []any
	for _, name := range append([]string{c.resource}, w.google.above(c.resource)...) {
		ancestors = append(ancestors, map[string]any{"resourceId": resourceID(name)})
	}
	return map[string]any{"ancestor": ancestors}, nil
}

func (w *World) getFolder(c *googleCall) (any, *googleError) {
	parent, known := w.google.parents[c.resource]
	if !known {
		return nil, c.denial()
	}
	view := map[string]any{"name": c.resource, "state": "ACTIVE", "displayName": c.resource}
	if parent != "" {
		view["parent"] = parent
	}
	return view, nil
}

func (w *World) deleteProject(c *googleCall) (any, *googleError) {
	p := w.namedProject(c)
	if p.shutDown {
		return nil, googleRefusal(googlePrecondition, "The project %s is not active.", p.id)
	}
	p.shutDown = true
	return w.doneProject(c, p), nil
}

func (w *World) undeleteProject(c *googleCall) (any, *googleError) {
	p := w.namedProject(c)
	if !p.shutDown {
		return nil, googleRefusal(googlePrecondition, "The project %s is active.", p.id)
	}
	p.shutDown = false
	return w.doneProject(c, p), nil
}

func (w *World) doneProject(c *googleCall, p *googleProject) any {
	c.entry.request = map[string]any{"name": "projects/" + p.number}
	return map[string]any{"name": "operations/" + w.uuid(), "done": true, "response": w.projectView(p)}
}

func (w *World) disableService(c *googleCall) (any, *googleError) { return w.switchService(c, true) }
func (w *World) enableService(c *googleCall) (any, *googleError)  { return w.switchService(c, false) }

// switchService is an operation that is done at once. Its audit log entries are two nevertheless.
func (w *World) switchService(c *googleCall, off bool) (any, *googleError) {
	p := w.google.project(w.google.canonical("projects/" + c.names[0]))
	if p == nil {
		return nil, c.denial()
	}
	p.off[c.names[1]] = off
	name := "projects/" + p.number + "/services/" + c.names[1]
	c.entry.request, c.entry.resourceName, c.entry.operation = map[string]any{"name": name}, name, "operations/"+w.uuid()
	return map[string]any{"name": c.entry.operation, "done": true, "response": map[string]any{}}, nil
}

func (w *World) getBilling(c *googleCall) (any, *googleError) {
	return w.namedProject(c).billing(), nil
}

func (p *googleProject) billing() map[string]any {
	view := map[string]any{"name": p.name() + "/billingInfo", "projectId": p.id, "billingEnabled": !p.withoutBilling}
	if !p.withoutBilling {
		view["billingAccountName"] = billingAccount
	}
	return view
}

// updateBilling assigns a billing account, or none. The audit log has a method for each.
func (w *World) updateBilling(c *googleCall) (any, *googleError) {
	p := w.namedProject(c)
	var body struct {
		Account string `json:"billingAccountName"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	c.row.log = "AssignResourceToBillingAccount"
	c.entry.request = map[string]any{"resourceName": "projects/" + p.number, "billingAccountName": body.Account}
	if body.Account == "" {
		c.row.log = "DisableResourceBilling"
		c.entry.request["billingAccountName"] = billingAccount
	}
	p.withoutBilling = body.Account == ""
	return p.billing(), nil
}
