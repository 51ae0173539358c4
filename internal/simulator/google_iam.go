package simulator

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/policy/google"
)

// IAM: cloud.google.com/iam/docs/reference/rest. Service accounts, roles and deny policies.

const iamService = "iam.googleapis.com"

// googleAccount is a service account. One that is deleted is kept, for undelete.
type googleAccount struct {
	email, uniqueID, project, displayName string
	disabled                              bool
	deletedAt                             time.Time
}

func (a *googleAccount) name() string   { return "projects/" + a.project + "/serviceAccounts/" + a.email }
func (a *googleAccount) member() string { return "serviceAccount:" + a.email }

// deletedMember is how policies name the account after it was deleted: cloud.google.com/iam/docs/principal-identifiers.
func (a *googleAccount) deletedMember() string {
	return "deleted:serviceAccount:" + a.email + "?uid=" + a.uniqueID
}

// account finds a service account that is not deleted, by resource name, e-mail or unique id; nil if there is none.
func (g *googleCloud) account(name string) *googleAccount {
	if before, id, ok := strings.Cut(name, "/serviceAccounts/"); ok {
		a := g.account(id)
		if a != nil && before != "projects/-" && g.canonical(before) != "projects/"+a.project {
			return nil
		}
		return a
	}
	for _, a := range g.accounts {
		if a.deletedAt.IsZero() && (a.email == name || a.uniqueID == name) {
			return a
		}
	}
	return nil
}

func (w *World) addGoogleAccount(project, email, uniqueID string) *googleAccount {
	a := &googleAccount{email: email, uniqueID: uniqueID, project: project}
	w.google.accounts = append(w.google.accounts, a)
	return a
}

func (w *World) accountView(a *googleAccount) map[string]any {
	view := map[string]any{
		"name": a.name(), "projectId": a.project, "uniqueId": a.uniqueID, "email": a.email, "oauth2ClientId": a.uniqueID,
		"etag": base64.StdEncoding.EncodeToString(digestOf(a.uniqueID)[:8]),
	}
	if a.displayName != "" {
		view["displayName"] = a.displayName
	}
	if a.disabled { // false is left out
		view["disabled"] = true
	}
	return view
}

// namedAccount is the service account that the path names.
func (w *World) namedAccount(c *googleCall) (*googleAccount, *googleError) {
	a := w.google.account(c.resource)
	if a == nil {
		return nil, googleRefusal(googleNotFound, "Unknown service account")
	}
	c.entry.account = a
	return a, nil
}

func (w *World) getAccount(c *googleCall) (any, *googleError) {
	a, failed := w.namedAccount(c)
	if failed != nil {
		return nil, failed
	}
	return w.accountView(a), nil
}

func (w *World) listAccounts(c *googleCall) (any, *googleError) {
	var views []any
	for _, a := range w.google.accounts {
		if a.deletedAt.IsZero() && "projects/"+a.project == c.resource {
			views = append(views, w.accountView(a))
		}
	}
	list, failed := listOf(w, c, "accounts", views)
	if fields, ok := list.(map[string]any); ok {
		delete(fields, "totalSize") // the API has none here
	}
	return list, failed
}

// accountID is what a service account's e-mail begins with: cloud.google.com/iam/docs/service-accounts-create.
var accountID = regexp.MustCompile(`^[a-z]([a-z0-9-]{4,28}[a-z0-9])$`)

// createAccount makes an account with a unique id that none had before, whatever the e-mail.
func (w *World) createAccount(c *googleCall) (any, *googleError) {
	var body struct {
		ID      string `json:"accountId"`
		Account struct {
			DisplayName string `json:"displayName"`
		} `json:"serviceAccount"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	project := strings.TrimPrefix(c.resource, "projects/")
	host := project
	if domain, id, scoped := strings.Cut(project, ":"); scoped {
		host = id + "." + domain
	}
	email := body.ID + "@" + host + ".iam.gserviceaccount.com"
	c.entry.request = map[string]any{"name": c.resource, "account_id": body.ID}
	switch {
	case !accountID.MatchString(body.ID):
		return nil, googleRefusal(googleInvalid, "Invalid accountId %q.", body.ID)
	case w.google.account(email) != nil:
		return nil, googleRefusal(googleAlreadyExists, "Service account %s already exists within project %s.", body.ID, c.resource)
	}
	a := w.addGoogleAccount(project, email, "1"+w.digits(20))
	a.displayName = body.Account.DisplayName
	c.entry.account = a
	c.entry.response = map[string]any{"email": a.email, "unique_id": a.uniqueID}
	return w.accountView(a), nil
}

func (w *World) disableAccount(c *googleCall) (any, *googleError) { return w.setDisabled(c, true) }
func (w *World) enableAccount(c *googleCall) (any, *googleError)  { return w.setDisabled(c, false) }

func (w *World) setDisabled(c *googleCall, disabled bool) (any, *googleError) {
	a, failed := w.namedAccount(c)
	if failed != nil {
		return nil, failed
	}
	c.entry.request = map[string]any{"name": a.name()}
	a.disabled = disabled
	return map[string]any{}, nil
}

// deleteAccount leaves the account in policies as a deleted one: an account with its e-mail does not get what it had.
func (w *World) deleteAccount(c *googleCall) (any, *googleError) {
	a, failed := w.namedAccount(c)
	if failed != nil {
		return nil, failed
	}
	c.entry.request = map[string]any{"name": a.name()}
	a.deletedAt = c.now
	w.google.renameMember(a.member(), a.deletedMember())
	return map[string]any{}, nil
}

// mostUndelete is how long a deleted account can be brought back: cloud.google.com/iam/docs/service-accounts-delete-undelete.
const mostUndelete = 30 * day

// undeleteAccount takes the account's unique id; its e-mail may be another's by now, and then it stays deleted.
func (w *World) undeleteAccount(c *googleCall) (any, *googleError) {
	id := c.names[1]
	c.entry.request = map[string]any{"name": "projects/" + c.names[0] + "/serviceAccounts/" + id}
	i := slices.IndexFunc(w.google.accounts, func(a *googleAccount) bool { return a.uniqueID == id && !a.deletedAt.IsZero() })
	if i < 0 || c.now.Sub(w.google.accounts[i].deletedAt) > mostUndelete {
		return nil, googleRefusal(googleNotFound, "Unknown service account")
	}
	a := w.google.accounts[i]
	c.entry.account = a
	if w.google.account(a.email) != nil {
		return nil, googleRefusal(googlePrecondition, "A service account with the e-mail %s exists.", a.email)
	}
	a.deletedAt = time.Time{}
	w.google.renameMember(a.deletedMember(), a.member())
	return map[string]any{"restoredAccount": w.accountView(a)}, nil
}

// googleRole is a role, custom or predefined.
type googleRole struct {
	name        string
	permissions []string
	deleted     bool
}

// predefinedRoles are those that are simulated, with their permissions: docs.cloud.google.com/iam/docs/roles-permissions/cloudkms and
// …/iam. Those of administrators are abridged.
var predefinedRoles = map[string][]string{
	"roles/cloudkms.cryptoKeyEncrypterDecrypter": {
		"cloudkms.cryptoKeyVersions.useToDecrypt", "cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.locations.get",
		"cloudkms.locations.list", "resourcemanager.projects.get",
	},
	"roles/cloudkms.cryptoKeyEncrypter": {
		"cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.locations.get", "cloudkms.locations.list", "resourcemanager.projects.get",
	},
	"roles/cloudkms.cryptoKeyDecrypter": {
		"cloudkms.cryptoKeyVersions.useToDecrypt", "cloudkms.locations.get", "cloudkms.locations.list", "resourcemanager.projects.get",
	},
	"roles/cloudkms.viewer": {
		"cloudkms.cryptoKeyVersions.get", "cloudkms.cryptoKeyVersions.list", "cloudkms.cryptoKeys.get", "cloudkms.cryptoKeys.list",
		"cloudkms.keyRings.get", "cloudkms.keyRings.list", "cloudkms.locations.get", "cloudkms.locations.list", "resourcemanager.projects.get",
	},
	"roles/iam.serviceAccountTokenCreator": {
		"iam.serviceAccounts.get", "iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.getOpenIdToken",
		"iam.serviceAccounts.implicitDelegation", "iam.serviceAccounts.list", "iam.serviceAccounts.signBlob", "iam.serviceAccounts.signJwt",
		"resourcemanager.projects.get",
	},
}

func (w *World) namedRole(c *googleCall) (*googleRole, *googleError) {
	if r := w.google.roles[c.resource]; r != nil {
		return r, nil
	}
	if permissions, ok := predefinedRoles[c.resource]; ok {
		return &googleRole{name: c.resource, permissions: permissions}, nil
	}
	return nil, googleRefusal(googleNotFound, "The role named %s was not found.", c.resource)
}

func (r *googleRole) view() map[string]any {
	view := map[string]any{"name": r.name, "title": r.name[strings.LastIndexByte(r.name, '/')+1:], "stage": "GA"}
	if len(r.permissions) > 0 {
		view["includedPermissions"] = r.permissions
	}
	if r.deleted {
		view["deleted"] = true
	}
	return view
}

func (w *World) getRole(c *googleCall) (any, *googleError) {
	r, failed := w.namedRole(c)
	if failed != nil {
		return nil, failed
	}
	return r.view(), nil
}

// createRole makes a custom role of a project or an organization.
func (w *World) createRole(c *googleCall) (any, *googleError) {
	var body struct {
		ID   string `json:"roleId"`
		Role struct {
			Permissions []string `json:"includedPermissions"`
		} `json:"role"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	name := c.resource + "/roles/" + body.ID
	switch {
	case !roleName.MatchString(name):
		return nil, googleRefusal(googleInvalid, "Invalid roleId %q.", body.ID)
	case w.google.roles[name] != nil:
		return nil, googleRefusal(googleAlreadyExists, "A role named %s already exists.", name)
	}
	w.google.roles[name] = &googleRole{name: name, permissions: body.Role.Permissions}
	return w.google.roles[name].view(), nil
}

// patchRole replaces the permissions; other fields decide nothing.
func (w *World) patchRole(c *googleCall) (any, *googleError) {
	r, failed := w.namedRole(c)
	if failed != nil {
		return nil, failed
	}
	var body struct {
		Permissions []string `json:"includedPermissions"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	c.entry.request = map[string]any{"name": r.name, "role": c.bodyAsSent(), "update_mask": c.query.Get("updateMask")}
	if mask := c.mask(); len(mask) == 0 || slices.Contains(mask, "includedPermissions") {
		r.permissions = body.Permissions
	}
	return r.view(), nil
}

func (w *World) deleteRole(c *googleCall) (any, *googleError) { return w.setRoleDeleted(c, true) }

func (w *World) undeleteRole(c *googleCall) (any, *googleError) { return w.setRoleDeleted(c, false) }

// setRoleDeleted leaves the role where it is: a deleted one gives nobody anything, and can be undeleted for a week.
func (w *World) setRoleDeleted(c *googleCall, deleted bool) (any, *googleError) {
	r, failed := w.namedRole(c)
	if failed != nil {
		return nil, failed
	}
	c.entry.request = map[string]any{"name": r.name}
	r.deleted = deleted
	return r.view(), nil
}

// denyPolicy is google.iam.v2.Policy: cloud.google.com/iam/docs/reference/rest/v2/policies.
type denyPolicy struct {
	Name        string `json:"name"`
	UID         string `json:"uid"`
	Kind        string `json:"kind"`
	DisplayName string `json:"displayName,omitempty"`
	Etag        string `json:"etag"`
	CreateTime  string `json:"createTime"`
	UpdateTime  string `json:"updateTime"`
	Rules       []any  `json:"rules,omitempty"`
}

// attachment is the project, folder or organization of a deny policy, canonically.
func (w *World) attachment(c *googleCall) (string, *googleError) {
	if _, known := w.google.parents[c.resource]; !known {
		return "", c.denial()
	}
	return c.resource, nil
}

// attached is the percent-encoded attachment point as the API writes it: with a project's number.
func (g *googleCloud) attached(node string) string {
	if p := g.project(node); p != nil {
		node = "projects/" + p.number
	}
	return "policies/cloudresourcemanager.googleapis.com%2F" + strings.ReplaceAll(node, "/", "%2F") + "/denypolicies"
}

// listDenyPolicies leaves the rules out, as the API does: one has to get each policy.
func (w *World) listDenyPolicies(c *googleCall) (any, *googleError) {
	node, failed := w.attachment(c)
	if failed != nil {
		return nil, failed
	}
	var views []any
	for _, p := range w.google.denies[node] {
		view := *p
		view.Rules = nil
		views = append(views, view)
	}
	list, failed := listOf(w, c, "policies", views)
	if fields, ok := list.(map[string]any); ok {
		delete(fields, "totalSize") // the API has none here
	}
	return list, failed
}

// namedDeny is the deny policy that the path names, with its place among those of the node.
func (w *World) namedDeny(c *googleCall) (node string, i int, failed *googleError) {
	if node, failed = w.attachment(c); failed != nil {
		return "", 0, failed
	}
	name := w.google.attached(node) + "/" + c.names[1]
	if i = slices.IndexFunc(w.google.denies[node], func(p *denyPolicy) bool { return p.Name == name }); i < 0 {
		return "", 0, googleMissing("Policy", name)
	}
	return node, i, nil
}

func (w *World) getDenyPolicy(c *googleCall) (any, *googleError) {
	node, i, failed := w.namedDeny(c)
	if failed != nil {
		return nil, failed
	}
	return w.google.denies[node][i], nil
}

// denyBody reads a deny policy.
func (c *googleCall) denyBody() (p denyPolicy, failed *googleError) {
	if failed = c.decode(&p); failed != nil {
		return p, failed
	}
	if _, err := google.ParseDenyPolicy(string(toJSON(p))); err != nil || len(p.Rules) == 0 {
		return p, googleRefusal(googleInvalid, "Invalid deny policy, or one without rules: %v", err)
	}
	return p, nil
}

func (w *World) createDenyPolicy(c *googleCall) (any, *googleError) {
	node, failed := w.attachment(c)
	if failed != nil {
		return nil, failed
	}
	id := c.query.Get("policyId")
	p, failed := c.denyBody()
	if failed != nil {
		return nil, failed
	}
	p.Name, p.UID, p.Kind = w.google.attached(node)+"/"+id, w.uuid(), "DenyPolicy"
	switch {
	case !kmsID.MatchString(id):
		return nil, googleRefusal(googleInvalid, "Invalid policyId %q.", id)
	case slices.ContainsFunc(w.google.denies[node], func(other *denyPolicy) bool { return other.Name == p.Name }):
		return nil, googleRefusal(googleAlreadyExists, "Policy %s already exists.", p.Name)
	}
	p.touch(c.now, c.now)
	w.google.denies[node] = append(w.google.denies[node], &p)
	return c.doneDeny(node, p), nil
}

func (p *denyPolicy) touch(created, updated time.Time) {
	p.CreateTime, p.UpdateTime = created.Format(time.RFC3339Nano), updated.Format(time.RFC3339Nano)
	p.Etag = base64.StdEncoding.EncodeToString(digestOf(p.UID + string(toJSON(p.Rules)))[:8])
}

func (w *World) updateDenyPolicy(c *googleCall) (any, *googleError) {
	node, i, failed := w.namedDeny(c)
	if failed != nil {
		return nil, failed
	}
	p, failed := c.denyBody()
	if failed != nil {
		return nil, failed
	}
	old := w.google.denies[node][i]
	if p.Etag != "" && p.Etag != old.Etag {
		return nil, googleRefusal(googleAborted, "The etag is not that of the policy in force.")
	}
	after := *old
	after.Rules, after.DisplayName = p.Rules, p.DisplayName
	created, _ := time.Parse(time.RFC3339Nano, old.CreateTime)
	after.touch(created, c.now)
	w.google.denies[node][i] = &after
	return c.doneDeny(node, after), nil
}

func (w *World) deleteDenyPolicy(c *googleCall) (any, *googleError) {
	node, i, failed := w.namedDeny(c)
	if failed != nil {
		return nil, failed
	}
	p := *w.google.denies[node][i]
	w.google.denies[node] = slices.Delete(slices.Clone(w.google.denies[node]), i, i+1)
	done := c.doneDeny(node, p)
	c.entry.request = map[string]any{"name": p.Name}
	return done, nil
}

// doneDeny is the operation of a change, which is done at once, and what the audit log shows of it.
func (c *googleCall) doneDeny(node string, p denyPolicy) any {
	c.entry.node, c.entry.resourceName = node, p.Name
	c.entry.request = map[string]any{"policy": p}
	return map[string]any{"name": p.Name + "/operations/" + p.UID, "done": true, "response": p}
}
