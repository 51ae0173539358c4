package checks

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// hierarchy lists a key's resources from itself up, and what was not read of them. A policy that was not read may grant anything.
func hierarchy(docs google.Documents, resources ...string) (all []string, missing []google.Missing) {
	for _, r := range resources {
		all = append(all, r)
		if !strings.HasPrefix(r, "projects/") || strings.Count(r, "/") > 1 {
			continue
		}
		parents, ok := docs.Parents[r]
		if !ok {
			missing = append(missing, google.Missing{Kind: google.MissingParents, Name: r})
		}
		all = append(all, parents...)
	}
	for _, r := range all {
		if _, ok := docs.Policies[r]; !ok {
			missing = append(missing, google.Missing{Kind: google.MissingPolicy, Name: r})
		}
	}
	return all, missing
}

func (s *scope) keyHierarchy() (all []string, missing []google.Missing) {
	name := googleName(s.key.URI)
	ring, _, _ := strings.Cut(name, "/cryptoKeys/")
	return hierarchy(s.key.IAM.Value, name, ring, "projects/"+s.key.URI.Account())
}

// unread adds what could not be read, with the permission that it takes.
func (p *problems) unread(missing []google.Missing) {
	for _, m := range missing {
		p.cannotTell("%s was not read", m)
		p.grants = append(p.grants, m.String())
	}
}

// rolesOf leaves out the bindings whose role is not known, which may give anything. Where such a binding is to somebody who is not
// expected, nobody can tell.
func (p *problems) rolesOf(docs google.Documents, resources []string, expected func(member string) bool) google.Documents {
	for _, r := range resources {
		read := docs.Policies[r]
		read.Bindings = slices.DeleteFunc(slices.Clone(read.Bindings), func(b google.Binding) bool {
			if docs.Knows(b.Role) {
				return false
			}
			for _, m := range b.Members {
				if !expected(m) && !strings.HasPrefix(m, deletedMember) {
					p.unread([]google.Missing{{Kind: google.MissingRole, Name: b.Role}})
				}
			}
			return true
		})
		if _, ok := docs.Policies[r]; ok {
			docs = docs.With(r, read)
		}
	}
	return docs
}

// member is how policies name a service account.
func member(p cmek.Principal) string { return "serviceAccount:" + string(p) }

// The roles of Cloud KMS that only use keys, and those that administer them (IAM documentation, "Cloud KMS roles and permissions").
var (
	gcpUses        = []string{"roles/cloudkms.cryptoKeyEncrypterDecrypter", "roles/cloudkms.cryptoKeyEncrypter", "roles/cloudkms.cryptoKeyDecrypter"}
	gcpAdministers = []string{"roles/cloudkms.admin"}
	gcpBasic       = []string{"roles/owner", "roles/editor"}
)

// gcpAdministration are the permissions that administer a key, as far as they matter for duties.
var gcpAdministration = []google.Permission{
	"cloudkms.cryptoKeys.setIamPolicy", "cloudkms.cryptoKeys.update", "cloudkms.cryptoKeyVersions.destroy", "cloudkms.cryptoKeyVersions.update",
}

// administers reports whether a role administers keys: by its name, or by the permissions of one that was read.
func administers(docs google.Documents, role string) bool {
	return slices.Contains(gcpAdministers, role) ||
		slices.ContainsFunc(docs.Roles[role].Permissions, func(p google.Permission) bool { return slices.Contains(gcpAdministration, p) })
}

// bound are the roles by member on the resources, each with where it is bound.
func bound(docs google.Documents, resources []string) (roles map[string][]google.Binding) {
	roles = map[string][]google.Binding{}
	for _, r := range resources {
		for _, b := range docs.Policies[r].Bindings {
			for _, m := range b.Members {
				roles[m] = append(roles[m], google.Binding{Role: b.Role, Members: []string{r}})
			}
		}
	}
	return roles
}

func gcpExact(s *scope) verdict {
	docs, account := s.key.IAM.Value.WithPrincipals(s.principal.IAM.Value), s.principal.Account.Value
	if account.Email == "" {
		account.Email = string(s.principal.ID)
	}
	got := google.KeyAccess(docs, s.key.URI, account, s.now)
	var found problems
	switch got.Decision() {
	case policy.Denied:
		found.add(alert.Critical, "%s", strings.Join(got.Sentences(), "; "))
	case policy.CannotTell:
		found.cannotTell("%s", strings.Join(got.Sentences(), "; "))
		for _, m := range got.Missing() {
			found.grants = append(found.grants, m.String())
		}
	case policy.Allowed:
	}
	resources, missing := s.keyHierarchy()
	found.unread(missing)
	for m, bindings := range bound(docs, resources) {
		if !strings.EqualFold(m, member(s.principal.ID)) {
			continue
		}
		for _, b := range bindings {
			switch more, known := beyondUse(docs, b.Role); {
			case !known:
				found.cannotTell("the permissions of role %s", clip(b.Role))
				found.grants = append(found.grants, google.Missing{Kind: google.MissingRole, Name: b.Role}.String())
			case more:
				found.add(alert.Medium, "the service account also has %s on %s", clip(b.Role), clip(b.Members[0]))
			}
		}
	}
	return found.verdict("the service account may encrypt and decrypt, and has no other role of Cloud KMS")
}

// beyondUse reports whether a role gives more of Cloud KMS than the use of keys; known is false for a custom role that was not read.
func beyondUse(docs google.Documents, role string) (more, known bool) {
	r, known := docs.Roles[role]
	if !known && strings.HasPrefix(role, "roles/") {
		return slices.Contains(gcpBasic, role) || strings.HasPrefix(role, "roles/cloudkms.") && !slices.Contains(gcpUses, role), docs.Knows(role)
	}
	return slices.ContainsFunc(r.Permissions, func(p google.Permission) bool {
		return strings.HasPrefix(string(p), "cloudkms.") && p != google.Encrypt && p != google.Decrypt
	}), known
}

func gcpFixExact(s *scope, p *plan) {
	p.say("Let the service account encrypt and decrypt with the key. If access is still denied, look for a deny policy on the project and above, and for a principal access boundary of the service account.")
	p.gcloud(s.key.URI, "add-iam-policy-binding", "member", member(s.principal.ID), "role", gcpUses[0])
	s.unbind(p, "Remove its other roles of Cloud KMS:", func(m string, b google.Binding) bool {
		more, _ := beyondUse(s.key.IAM.Value, b.Role)
		return more && strings.EqualFold(m, member(s.principal.ID))
	})
}

// unbind adds the commands that remove the bindings which are wrong, each from the resource that has it.
func (s *scope) unbind(p *plan, why string, wrong func(member string, b google.Binding) bool) {
	resources, _ := s.keyHierarchy()
	members := bound(s.key.IAM.Value, resources)
	said := false
	for _, m := range sortedKeys(members) {
		for _, b := range members[m] {
			if !wrong(m, b) {
				continue
			}
			if !said {
				p.say(why)
				said = true
			}
			on := b.Members[0]
			kind, name, _ := strings.Cut(on, "/")
			flags := []string{"member", m, "role", b.Role}
			switch {
			case strings.Contains(on, "/cryptoKeys/"):
				p.gcloud(s.key.URI, "remove-iam-policy-binding", flags...)
			case strings.Contains(on, "/keyRings/"):
				p.run("gcloud kms keyrings remove-iam-policy-binding", []string{on[strings.LastIndex(on, "/")+1:]},
					append(flags, "location", s.key.URI.Location(), "project", s.key.URI.Account())...)
			case kind == "folders":
				p.run("gcloud resource-manager folders remove-iam-policy-binding", []string{name}, flags...)
			case kind == "organizations":
				p.run("gcloud organizations remove-iam-policy-binding", []string{name}, flags...)
			default:
				p.run("gcloud projects remove-iam-policy-binding", []string{name}, flags...)
			}
		}
	}
}

func gcpPublic(s *scope) verdict {
	docs := s.key.IAM.Value
	resources, missing := s.keyHierarchy()
	var found problems
	found.unread(missing)
	for m, bindings := range bound(docs, resources) {
		if !everybody(m) {
			continue
		}
		for _, b := range bindings {
			if matters(b) {
				found.add(alert.Critical, "%s has %s on %s", m, clip(b.Role), clip(b.Members[0]))
			}
		}
	}
	docs = found.rolesOf(docs, resources, func(m string) bool { return !everybody(m) })
	for _, g := range google.KeyGrants(docs, s.key.URI, s.now) {
		if g.Public() {
			found.add(alert.Critical, "%s", g.String())
		}
	}
	return found.verdict("no policy of the key or above it grants anything of the key to everybody")
}

func everybody(m string) bool { return m == "allUsers" || m == "allAuthenticatedUsers" }

// matters reports whether a binding is about Cloud KMS: on a key or a ring every one is.
func matters(b google.Binding) bool {
	return strings.Contains(b.Members[0], "/keyRings/") || strings.HasPrefix(b.Role, "roles/cloudkms.") || slices.Contains(gcpBasic, b.Role)
}

func gcpFixPublic(s *scope, p *plan) {
	s.unbind(p, "Remove everybody from the policies of the key and above:", func(m string, b google.Binding) bool {
		return everybody(m) && (matters(b) || s.gives(m, b, google.Encrypt, google.Decrypt))
	})
}

// gives reports whether the binding alone gives the member any of the permissions on the key.
func (s *scope) gives(m string, b google.Binding, some ...google.Permission) bool {
	alone := s.key.IAM.Value
	alone.Policies = map[string]google.Policy{b.Members[0]: {Version: 3, Bindings: []google.Binding{{Role: b.Role, Members: []string{m}}}}}
	return slices.ContainsFunc(google.KeyGrants(alone, s.key.URI, s.now), func(g google.Grant) bool {
		return slices.ContainsFunc(some, func(p google.Permission) bool { return slices.Contains(g.Permissions, p) })
	})
}

func gcpExpected(s *scope) verdict {
	resources, missing := s.keyHierarchy()
	var found problems
	found.unread(missing)
	docs := found.rolesOf(s.key.IAM.Value, resources, func(m string) bool { return s.gcpExpects(m) })
	for _, g := range s.unexpected(google.KeyGrants(docs, s.key.URI, s.now)) {
		if slices.Contains(g.Permissions, google.Decrypt) {
			found.add(alert.High, "%s", g.String())
		}
	}
	return found.verdict("only expected principals can decrypt")
}

func (s *scope) gcpKnown() []string {
	var known []string
	for _, name := range s.expected() {
		known = append(known, name, "serviceAccount:"+name)
	}
	return known
}

func (s *scope) gcpExpects(m string) bool {
	return len(s.unexpected([]google.Grant{{Member: m}})) == 0
}

func (s *scope) unexpected(grants []google.Grant) []google.Grant {
	return google.Outsiders(grants, s.gcpKnown()...)
}

func gcpFixExpected(s *scope, p *plan) {
	s.unbind(p, "Remove those who should not decrypt:", func(m string, b google.Binding) bool { return !s.gcpExpects(m) && s.gives(m, b, google.Decrypt) })
	p.say("Declare those that should under principals in keyturn.yaml.")
}

// deletedMember is how policies name a principal that was deleted: deleted:serviceAccount:EMAIL?uid=ID.
const deletedMember = "deleted:"

func gcpOrphans(s *scope) verdict {
	resources, missing := s.keyHierarchy()
	var found problems
	found.unread(missing)
	members := bound(s.key.IAM.Value, resources)
	for m, bindings := range members {
		name, deleted := strings.CutPrefix(m, deletedMember)
		if !deleted || !slices.ContainsFunc(bindings, matters) {
			continue
		}
		name, _, _ = strings.Cut(name, "?uid=")
		severity := alert.Medium
		for _, p := range s.own().acting {
			if strings.EqualFold(name, member(p)) && members[member(p)] == nil {
				severity = alert.Critical
			}
		}
		found.add(severity, "a policy of the key names %s, which matches nobody, not even a new account of the same name", clip(m))
	}
	return found.verdict("no policy of the key or above it names a deleted principal")
}

func gcpFixOrphans(s *scope, p *plan) {
	for _, account := range s.own().acting {
		p.say("If the account was made again, let it use the key:")
		p.gcloud(s.key.URI, "add-iam-policy-binding", "member", member(account), "role", gcpUses[0])
	}
	s.unbind(p, "Remove the deleted principals:", func(m string, b google.Binding) bool { return strings.HasPrefix(m, deletedMember) && matters(b) })
}

// roachAccount is the service account of a cluster at Cockroach Labs; "" if it is not known. It has the last 12 characters of the
// cluster's id (CockroachDB docs, "Manage customer-managed encryption keys"; Terraform provider, example cockroach_cmek/gcp).
func roachAccount(c Assumer) string {
	if c.AccountID == "" || len(c.ClusterID) < 12 {
		return ""
	}
	return "crl-kms-user-" + c.ClusterID[len(c.ClusterID)-12:] + "@" + c.AccountID + ".iam.gserviceaccount.com"
}

func gcpActAs(s *scope) verdict {
	account, docs := s.principal.Account.Value, s.principal.IAM.Value
	if account.Email == "" {
		account.Email = string(s.principal.ID)
	}
	clusters := s.principal.Clusters.Value
	switch {
	case account.Missing:
		return fail("the service account does not exist")
	case account.Disabled:
		return fail("the service account is disabled")
	case len(clusters) == 0:
		return notApplicable("no cluster acts as the service account")
	}
	var found problems
	project := "projects/" + s.principal.ID.Account()
	resources, missing := hierarchy(docs, project+"/serviceAccounts/"+account.Email, project)
	found.unread(missing)
	known := slices.Clone(s.declared.Principals)
	for _, c := range clusters {
		by := roachAccount(c)
		if by == "" {
			found.cannotTell("the account of cluster %s at Cockroach Labs", clip(c.ClusterID))
			continue
		}
		known = append(known, "serviceAccount:"+by)
		got := google.ActAs(docs, account, google.ServiceAccount{Email: by}, s.now)
		switch got.Decision() {
		case policy.Denied:
			found.add(alert.Critical, "%s", strings.Join(got.Sentences(), "; "))
		case policy.CannotTell:
			found.cannotTell("%s", strings.Join(got.Sentences(), "; "))
			for _, m := range got.Missing() {
				found.grants = append(found.grants, m.String())
			}
		case policy.Allowed:
		}
	}
	docs = found.rolesOf(docs, resources, func(m string) bool { return len(google.Outsiders([]google.Grant{{Member: m}}, known...)) == 0 })
	for _, g := range google.Outsiders(google.ActAsGrants(docs, account, s.now), known...) {
		found.add(alert.Critical, "%s", g.String())
	}
	return found.verdict("the service account is enabled, and only the clusters' accounts at Cockroach Labs act as it")
}

func gcpFixActAs(s *scope, p *plan) {
	email, project := string(s.principal.ID), s.principal.ID.Account()
	switch account := s.principal.Account.Value; {
	case account.Missing:
		p.say("Undelete the service account within 30 days; a new one of the same name does not have its rights.")
		p.run("gcloud iam service-accounts undelete", []string{account.UniqueID}, "project", project)
		return
	case account.Disabled:
		p.run("gcloud iam service-accounts enable", []string{email}, "project", project)
		return
	}
	for _, c := range s.principal.Clusters.Value {
		if by := roachAccount(c); by != "" {
			p.run("gcloud iam service-accounts add-iam-policy-binding", []string{email}, "member", "serviceAccount:"+by, "role", "roles/iam.serviceAccountTokenCreator", "project", project)
		}
	}
	p.say("Remove everybody else who may mint its tokens, or declare them under principals in keyturn.yaml:")
	p.run("gcloud iam service-accounts get-iam-policy", []string{email}, "project", project)
}

func gcpDuties(s *scope) verdict {
	resources, missing := s.keyHierarchy()
	var found problems
	found.unread(missing)
	uses := map[string]bool{}
	members := bound(s.key.IAM.Value, resources)
	docs := found.rolesOf(s.key.IAM.Value, resources, func(string) bool { return false })
	for _, g := range google.KeyGrants(docs, s.key.URI, s.now) {
		if slices.Contains(g.Permissions, google.Decrypt) {
			uses[g.Member] = true
		}
	}
	for m, bindings := range members {
		for _, b := range bindings {
			switch {
			case strings.HasPrefix(m, deletedMember):
			case b.Role == "roles/owner":
				found.add(alert.High, "%s has roles/owner on %s, and so can give itself the use of the key", clip(m), clip(b.Members[0]))
			case administers(docs, b.Role) && uses[m]:
				found.add(alert.Medium, "%s administers the key (%s on %s) and can decrypt with it", clip(m), clip(b.Role), clip(b.Members[0]))
			}
		}
	}
	return found.verdict("nobody owns the project of the key or administers the key and can decrypt with it")
}

func gcpFixDuties(s *scope, p *plan) {
	s.unbind(p, "Leave administration and use to different principals, and own projects of keys by none; grant narrower roles first where they are needed:", func(m string, b google.Binding) bool {
		return b.Role == "roles/owner" || administers(s.key.IAM.Value, b.Role) && s.uses(m)
	})
}

// uses reports whether any binding lets the member encrypt or decrypt with the key.
func (s *scope) uses(m string) bool {
	return slices.ContainsFunc(google.KeyGrants(s.key.IAM.Value, s.key.URI, s.now), func(g google.Grant) bool { return g.Member == m })
}
