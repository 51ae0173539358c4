package simulator

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// serviceAccount is a caller of the Cloud API; its API keys share its roles and its rate limit.
type serviceAccount struct {
	id, name, description, creator string
	created                        time.Time
	roles                          []builtInRole
	bucket                         bucket
}

// builtInRole is the schema BuiltInRole: a role, and what it is about.
type builtInRole struct {
	Name     string       `json:"name"`
	Resource roleResource `json:"resource"`
}

// roleResource is the whole organization, one cluster, or the clusters of a folder.
type roleResource struct {
	Type string `json:"type"`
	// ID is a cluster's or a folder's.
	ID string `json:"id,omitempty"`
}

var wholeOrganization = roleResource{Type: "ORGANIZATION"}

// apiKey is a bearer token.
type apiKey struct {
	id, name, secret string
	created          time.Time
	account          *serviceAccount
}

// apiKeyID is the first two parts of a secret, which the API calls the key's id.
func apiKeyID(secret string) string { return secret[:strings.LastIndex(secret, "_")] }

// addAPIKey makes the API key of a seed, and its service account if it is the first one.
func (w *World) addAPIKey(seed APIKeySeed, now time.Time) {
	i := slices.IndexFunc(w.accounts, func(a *serviceAccount) bool { return a.name == seed.ServiceAccount })
	if i < 0 {
		w.addAccount(&serviceAccount{
			id: derivedUUID("service account", seed.ServiceAccount), name: seed.ServiceAccount, creator: "seed",
			roles: []builtInRole{{orgMember, wholeOrganization}},
		}, now)
		i = slices.IndexFunc(w.accounts, func(a *serviceAccount) bool { return a.name == seed.ServiceAccount })
	}
	for _, role := range seed.Roles {
		w.accounts[i].roles = append(w.accounts[i].roles, builtInRole{role, wholeOrganization})
	}
	w.apiKeys[seed.Secret] = &apiKey{apiKeyID(seed.Secret), seed.ServiceAccount, seed.Secret, now, w.accounts[i]}
}

// addAccount keeps the accounts in the order in which they are listed.
func (w *World) addAccount(a *serviceAccount, now time.Time) {
	a.created, a.bucket = now, bucket{math.Inf(1), now}
	w.accounts = append(w.accounts, a)
	w.sortAccounts()
}

func (w *World) sortAccounts() {
	slices.SortStableFunc(w.accounts, func(a, b *serviceAccount) int { return cmp.Compare(a.name, b.name) })
}

// hasAny reports whether the account has any of the roles, on whatever resource.
func (a *serviceAccount) hasAny(roles []string) bool {
	return slices.ContainsFunc(a.roles, func(r builtInRole) bool { return slices.Contains(roles, r.Name) })
}

// hasAnyOn reports whether the account has any of the roles on the cluster; nil stands for the whole organization.
func (a *serviceAccount) hasAnyOn(c *cluster, roles []string) bool {
	return slices.ContainsFunc(a.roles, func(r builtInRole) bool {
		return slices.Contains(roles, r.Name) && (r.Resource.Type == wholeOrganization.Type || c != nil && r.Resource.includes(c))
	})
}

func (r roleResource) includes(c *cluster) bool {
	return r.Type == "CLUSTER" && r.ID == c.id || r.Type == "FOLDER" && r.ID == c.parentID
}

// accountView is the schema ServiceAccount.
type accountView struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Description string        `json:"description"`
	CreatorName string        `json:"creator_name"`
	CreatedAt   time.Time     `json:"created_at"`
	Roles       []builtInRole `json:"roles"`
	GroupRoles  []struct{}    `json:"group_roles"`
}

func (a *serviceAccount) view() accountView {
	return accountView{a.id, a.name, a.description, a.creator, a.created, slices.Clone(a.roles), []struct{}{}}
}

// listServiceAccounts lists by name.
func (w *World) listServiceAccounts(call *cloudCall) (any, *cloudError) {
	page, failed := w.pageRequest(call, "service-accounts")
	if failed != nil {
		return nil, failed
	}
	result := struct {
		ServiceAccounts []accountView `json:"service_accounts"`
		Pagination      *pagination   `json:"pagination"`
	}{ServiceAccounts: []accountView{}}
	result.Pagination = w.cut(page, len(w.accounts), func(i int) bool {
		result.ServiceAccounts = append(result.ServiceAccounts, w.accounts[i].view())
		return true
	})
	return result, nil
}

// createServiceAccount makes an account that is an ORG_MEMBER at least.
func (w *World) createServiceAccount(call *cloudCall) (any, *cloudError) {
	var body struct {
		Name        *string        `json:"name"`
		Description *string        `json:"description"`
		Roles       *[]builtInRole `json:"roles"`
	}
	if failed := call.decode(&body); failed != nil {
		return nil, failed
	}
	switch {
	case body.Name == nil || *body.Name == "":
		return nil, badRequest("name is required")
	case body.Description == nil:
		return nil, badRequest("description is required")
	case body.Roles == nil:
		return nil, badRequest("roles is required")
	}
	a := &serviceAccount{
		id: w.uuid(), name: *body.Name, description: *body.Description, creator: call.caller.name,
		roles: []builtInRole{{orgMember, wholeOrganization}},
	}
	for _, role := range *body.Roles {
		if failed := role.check(); failed != nil {
			return nil, failed
		}
		if !slices.Contains(a.roles, role) {
			a.roles = append(a.roles, role)
		}
	}
	w.addAccount(a, call.now)
	w.addAudit(call, "AUDIT_LOG_ACTION_CREATE_SERVICE_ACCOUNT", nil, map[string]any{"id": a.id, "name": a.name}, "")
	return a.view(), nil
}

func (r builtInRole) check() *cloudError {
	switch {
	case !slices.Contains(knownRoles, r.Name):
		return badRequest("invalid role name %q", r.Name)
	case r.Resource.Type != wholeOrganization.Type && r.Resource.Type != "CLUSTER" && r.Resource.Type != "FOLDER":
		return badRequest("invalid resource type %q of the role %s", r.Resource.Type, r.Name)
	case r.Resource.Type != wholeOrganization.Type && r.Resource.ID == "":
		return badRequest("the resource of the role %s needs an id", r.Name)
	}
	return nil
}

// pathAccount is the service account that the path names.
func (w *World) pathAccount(call *cloudCall) (*serviceAccount, *cloudError) {
	if a := w.account(call.PathValue("id")); a != nil {
		return a, nil
	}
	return nil, notFound("service account '%s' not found", call.PathValue("id"))
}

// account finds a service account by id, nil if there is none.
func (w *World) account(id string) *serviceAccount {
	if i := slices.IndexFunc(w.accounts, func(a *serviceAccount) bool { return a.id == id }); i >= 0 {
		return w.accounts[i]
	}
	return nil
}

func (w *World) getServiceAccount(call *cloudCall) (any, *cloudError) {
	a, failed := w.pathAccount(call)
	if failed != nil {
		return nil, failed
	}
	return a.view(), nil
}

func (w *World) updateServiceAccount(call *cloudCall) (any, *cloudError) {
	a, failed := w.pathAccount(call)
	if failed != nil {
		return nil, failed
	}
	var body struct {
		Name        *string `json:"name"`
		Description *string `json:"description"`
	}
	if failed := call.decode(&body); failed != nil {
		return nil, failed
	}
	if body.Name != nil && *body.Name == "" {
		return nil, badRequest("name must not be empty")
	}
	if body.Name != nil {
		a.name = *body.Name
		w.sortAccounts()
	}
	if body.Description != nil {
		a.description = *body.Description
	}
	w.addAudit(call, "AUDIT_LOG_ACTION_UPDATE_SERVICE_ACCOUNT", nil, map[string]any{"id": a.id}, "")
	return a.view(), nil
}

// deleteServiceAccount deletes its API keys as well: they are refused from now on.
func (w *World) deleteServiceAccount(call *cloudCall) (any, *cloudError) {
	a, failed := w.pathAccount(call)
	if failed != nil {
		return nil, failed
	}
	w.accounts = slices.DeleteFunc(w.accounts, func(other *serviceAccount) bool { return other == a })
	for secret, key := range w.apiKeys {
		if key.account == a {
			delete(w.apiKeys, secret)
		}
	}
	w.addAudit(call, "AUDIT_LOG_ACTION_DELETE_SERVICE_ACCOUNT", nil, map[string]any{"id": a.id}, "")
	return a.view(), nil
}

// apiKeyView is the schema ApiKey. The secret is shown once, when the key is made.
type apiKeyView struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	ServiceAccountID string    `json:"service_account_id"`
	CreatedAt        time.Time `json:"created_at"`
}

func (k *apiKey) view() apiKeyView { return apiKeyView{k.id, k.name, k.account.id, k.created} }

// listAPIKeys lists by time of creation, those of one service account on request.
func (w *World) listAPIKeys(call *cloudCall) (any, *cloudError) {
	of := call.URL.Query().Get("service_account_id")
	var keys []*apiKey
	for _, secret := range sortedKeys(w.apiKeys) {
		if key := w.apiKeys[secret]; of == "" || key.account.id == of {
			keys = append(keys, key)
		}
	}
	slices.SortStableFunc(keys, func(a, b *apiKey) int { return a.created.Compare(b.created) })
	page, failed := w.pageRequest(call, "api-keys"+of)
	if failed != nil {
		return nil, failed
	}
	result := struct {
		APIKeys    []apiKeyView `json:"api_keys"`
		Pagination *pagination  `json:"pagination"`
	}{APIKeys: []apiKeyView{}}
	result.Pagination = w.cut(page, len(keys), func(i int) bool {
		result.APIKeys = append(result.APIKeys, keys[i].view())
		return true
	})
	return result, nil
}

func (w *World) createAPIKey(call *cloudCall) (any, *cloudError) {
	var body struct {
		Name             string `json:"name"`
		ServiceAccountID string `json:"service_account_id"`
	}
	if failed := call.decode(&body); failed != nil {
		return nil, failed
	}
	account := w.account(body.ServiceAccountID)
	switch {
	case body.Name == "":
		return nil, badRequest("name is required")
	case body.ServiceAccountID == "":
		return nil, badRequest("service_account_id is required")
	case account == nil:
		return nil, notFound("service account '%s' not found", body.ServiceAccountID)
	}
	secret := "CCDB1_" + w.alphanumeric(22) + "_" + w.alphanumeric(40)
	key := &apiKey{apiKeyID(secret), body.Name, secret, call.now, account}
	w.apiKeys[secret] = key
	w.addAudit(call, "AUDIT_LOG_ACTION_CREATE_API_KEY", nil, map[string]any{"id": key.id, "service_account_id": account.id}, "")
	return struct {
		APIKey apiKeyView `json:"api_key"`
		Secret string     `json:"secret"`
	}{key.view(), secret}, nil
}

// alphanumeric draws n letters and digits.
func (w *World) alphanumeric(n int) string {
	const signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	drawn := make([]byte, n)
	for i := range drawn {
		drawn[i] = signs[w.rand.IntN(len(signs))]
	}
	return string(drawn)
}

// pathAPIKey is the API key that the path names.
func (w *World) pathAPIKey(call *cloudCall) (*apiKey, *cloudError) {
	for _, key := range w.apiKeys {
		if key.id == call.PathValue("id") {
			return key, nil
		}
	}
	return nil, notFound("API key '%s' not found", call.PathValue("id"))
}

func (w *World) getAPIKey(call *cloudCall) (any, *cloudError) {
	key, failed := w.pathAPIKey(call)
	if failed != nil {
		return nil, failed
	}
	return key.view(), nil
}

func (w *World) updateAPIKey(call *cloudCall) (any, *cloudError) {
	key, failed := w.pathAPIKey(call)
	if failed != nil {
		return nil, failed
	}
	var body struct {
		Name *string `json:"name"`
	}
	if failed := call.decode(&body); failed != nil {
		return nil, failed
	}
	if body.Name != nil && *body.Name == "" {
		return nil, badRequest("name must not be empty")
	}
	if body.Name != nil {
		key.name = *body.Name
	}
	w.addAudit(call, "AUDIT_LOG_ACTION_UPDATE_API_KEY", nil, map[string]any{"id": key.id}, "")
	return key.view(), nil
}

func (w *World) deleteAPIKey(call *cloudCall) (any, *cloudError) {
	key, failed := w.pathAPIKey(call)
	if failed != nil {
		return nil, failed
	}
	delete(w.apiKeys, key.secret)
	w.addAudit(call, "AUDIT_LOG_ACTION_DELETE_API_KEY", nil, map[string]any{"id": key.id}, "")
	return key.view(), nil
}
