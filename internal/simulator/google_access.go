package simulator

import (
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// googleMaterial is the number of the version that the cluster would encrypt with, or why it cannot use the key.
func (w *World) googleMaterial(c *cluster, spec cmek.KeySpec, now time.Time) (version string, failed *googleError) {
	if failed := w.actsAs(crlAccount(c.id, c.accountID), string(spec.AuthPrincipal), now); failed != nil {
		return "", failed
	}
	return w.usesAs(string(spec.AuthPrincipal), spec.URI, "", now)
}

// usesAs is the number of the version that the service account uses: the one that is named, "" for the one that it would encrypt with.
func (w *World) usesAs(email string, uri cmek.KeyURI, named string, now time.Time) (version string, failed *googleError) {
	k := w.google.key(string(uri))
	if k == nil {
		return "", googleMissing("CryptoKey", string(uri))
	}
	if failed := w.google.project(k.name).refuses(kmsService); failed != nil {
		return "", failed
	}
	if !w.mayUse(k, email, now) {
		return "", googleRefusal(googleDenied, "Permission '%s' denied on resource '%s' (or it may not exist).", google.Encrypt, k.name)
	}
	v := k.encryptsWith(now)
	if named != "" {
		v = k.version(named)
	}
	switch {
	case !k.justified():
		return "", k.unjustified()
	case v == nil:
		return "", googleRefusal(googlePrecondition, "%s has no primary version, or not version %q.", k.name, named)
	case !v.usable(now):
		return v.id(), v.notEnabled()
	}
	return v.id(), nil
}

// logClusterUse leaves what a cluster does in the Data Access logs: Cockroach Labs' account creates a token of the service account, which
// encrypts, or decrypts what was encrypted under the version. A step that is refused is the last.
func (w *World) logClusterUse(c *cluster, spec cmek.KeySpec, operation, version string, now time.Time) {
	a, crl := w.google.account(string(spec.AuthPrincipal)), crlAccount(c.id, c.accountID)
	if a == nil {
		return // nothing that could have a log
	}
	use := func(service, method string, permission google.Permission, principal, resource string) *googleCall {
		return &googleCall{
			row: googleOperation{service: service, log: method, permission: string(permission), use: true}, now: now, principal: principal,
			userAgent: "CockroachDB", resource: resource,
		}
	}
	token := use(tokenService, "GenerateAccessToken", google.Impersonate, crl, a.name())
	token.entry.account = a
	failed := w.actsAs(crl, a.email, now)
	w.emitGoogleCall(token, failed)
	if k := w.google.key(string(spec.URI)); failed == nil && k != nil {
		uses := use(kmsService, operation, google.Encrypt, a.email, k.name)
		if operation == "Decrypt" {
			uses.row.permission = string(google.Decrypt)
		}
		uses.entry.version, failed = w.usesAs(a.email, spec.URI, version, now)
		uses.entry.request = map[string]any{"name": k.name}
		w.emitGoogleCall(uses, failed)
	}
}

// actsAs reports why the account of Cockroach Labs cannot create tokens of the service account.
func (w *World) actsAs(crl, email string, now time.Time) *googleError {
	a := w.google.account(email)
	if a == nil || a.disabled {
		return googleRefusal(googleDenied, "The service account %s does not exist or is disabled.", email)
	}
	if p := w.google.projects[a.project]; p.refuses(tokenService) != nil {
		return p.refuses(tokenService)
	}
	target := google.ServiceAccount{Email: a.email, UniqueID: a.uniqueID}
	if google.ActAs(w.googleDocuments(a.project, a.name()), target, google.ServiceAccount{Email: crl}, now).Decision() != policy.Allowed {
		return googleRefusal(googleDenied, "Permission '%s' denied on resource (or it may not exist).", google.Impersonate)
	}
	return nil
}

// mayUse asks the policies of the key and of what is above it whether the service account may encrypt and decrypt. What depends on
// something that is not here, such as the members of a group, is not permitted.
func (w *World) mayUse(k *googleKey, email string, now time.Time) bool {
	a := w.google.account(email)
	if a == nil || a.disabled {
		return false
	}
	ring, _, _ := strings.Cut(k.name, "/cryptoKeys/")
	docs := w.googleDocuments(w.google.project(k.name).id, ring, k.name)
	account := google.ServiceAccount{Email: a.email, UniqueID: a.uniqueID}
	docs = docs.WithPrincipals(w.google.boundariesOf(a.project))
	return google.KeyAccess(docs, cmek.KeyURI(k.name), account, now).Decision() == policy.Allowed
}

// googleDocuments are the policies of the resources, which are in the project, and of what is above them, and the custom roles.
func (w *World) googleDocuments(project string, resources ...string) google.Documents {
	g := &w.google
	node := "projects/" + project
	docs := google.Documents{
		Policies: map[string]google.Policy{}, Denies: map[string][]google.DenyPolicy{}, Roles: map[string]google.Role{},
		Parents: map[string][]string{node: append([]string{}, g.above(node)...)},
	}
	nodes := append([]string{node}, g.above(node)...)
	for _, name := range nodes {
		docs.Policies[name] = g.policyDocument(name)
		docs.Denies[name] = []google.DenyPolicy{}
		for _, p := range g.denies[name] {
			parsed, _ := google.ParseDenyPolicy(string(toJSON(p))) // it was parsed before it was taken
			docs.Denies[name] = append(docs.Denies[name], parsed)
		}
	}
	for _, name := range resources {
		docs.Policies[name] = g.policyDocument(name)
	}
	for name, r := range g.roles {
		role := google.Role{Name: name}
		for _, permission := range r.permissions {
			if !r.deleted {
				role.Permissions = append(role.Permissions, google.Permission(permission))
			}
		}
		docs.Roles[name] = role
	}
	return docs
}

// policyDocument is the allow policy as the evaluator takes it.
func (g *googleCloud) policyDocument(name string) google.Policy {
	document := google.Policy{Version: 1}
	p := g.policies[name]
	if p == nil {
		return document
	}
	document.Version = p.Version
	for _, b := range p.Bindings {
		binding := google.Binding{Role: b.Role, Members: b.Members}
		if b.Condition != nil {
			binding.Condition = &google.Condition{Expression: b.Condition.Expression}
		}
		document.Bindings = append(document.Bindings, binding)
	}
	return document
}
