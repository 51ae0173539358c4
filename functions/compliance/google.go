package compliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// What is read of Google Cloud beside its keys, each document once for a part of the fleet: of its own a key takes the allow policies of
// itself and of its ring, and a service account itself and its allow policy; a project and each folder or organization above it take
// the allow policy, a list of deny policies and each of those, and the project what is above it. Each of those of a service account takes a
// search for what bounds its principals, and each principal access boundary policy. Each role that a policy binds and whose
// permissions are not documented takes one more.

const fromIAM = "Google Cloud IAM"

// mostRoles bounds the roles that are read for one hierarchy.
const mostRoles = 200

// iam is a document by the name under which the sweep notes it, as noted if that is fresh, else as read now.
func (g *gatherer) iam(ctx context.Context, name string) checks.Fact[checks.Document] {
	if read, ok := g.google[name]; ok {
		return read
	}
	read := g.document(ctx, name, fromIAM, google.MissingIn(name).String(), g.Google.Policies != nil,
		func() (string, error) { return g.Google.Policies.Document(ctx, name) })
	g.google[name] = read
	return read
}

// levels are the resources that policies of a hierarchy are on: what is given, the project, and what is above it, which stays unknown if
// that is refused.
func (g *gatherer) levels(ctx context.Context, project string, resources ...string) (levels []string, parents checks.Fact[checks.Document]) {
	levels = append(slices.Clone(resources), project)
	parents = g.iam(ctx, project+"#parents")
	if above, err := google.ParseParents(parents.Value.Text); parents.Unread == "" && err == nil {
		levels = append(levels, above...)
	}
	return levels, parents
}

// hierarchy reads the allow and deny policies of the resources, of their project and of what is above, and the roles that they bind. A
// document that is refused is left out: a check that needs it says so, with the permission. For want of any other the whole is unread.
//
// Of the principals of a project it reads what bounds them: bounded.
func (g *gatherer) hierarchy(ctx context.Context, bounded bool, project string, resources ...string) checks.Fact[google.Documents] {
	if g.Google.Policies == nil {
		return notRead[google.Documents](fromIAM, notHere)
	}
	levels, _ := g.levels(ctx, project, resources...)
	names := []string{project + "#parents"}
	for _, level := range levels {
		names = append(names, level)
		if strings.Count(level, "/") == 1 { // a project, a folder or an organization
			names = append(names, google.Denies(level))
			if bounded {
				names = append(names, google.Boundaries(level))
			}
		}
	}
	all := checks.Fact[google.Documents]{Reading: checks.Reading{Source: fromIAM}}
	for _, name := range names {
		if !g.include(ctx, &all, name) {
			return all
		}
	}
	roles := map[string]bool{}
	for _, level := range levels {
		for _, b := range all.Value.Policies[level].Bindings {
			if roles[b.Role] || all.Value.Knows(b.Role) {
				continue
			}
			if roles[b.Role] = true; len(roles) > mostRoles {
				return notRead[google.Documents](fromIAM, fmt.Sprintf("the policies bind more than %d roles", mostRoles))
			}
			if !g.include(ctx, &all, b.Role) {
				return all
			}
		}
	}
	if all.ReadAt.IsZero() {
		first := g.iam(ctx, resources[0])
		return checks.Unread[google.Documents](first.Source, first.Unread, first.Grant)
	}
	return all
}

// include adds a document, or leaves it out if it is refused; ok is false if all is now unread.
func (g *gatherer) include(ctx context.Context, all *checks.Fact[google.Documents], name string) (ok bool) {
	read := g.iam(ctx, name)
	missing := google.MissingIn(name)
	switch {
	case read.Unread != "" && read.Grant != "":
		return true
	case read.Unread != "":
		*all = notRead[google.Documents](read.Source, name+": "+read.Unread)
		return false
	case read.Value.Missing && missing.Kind == google.MissingRole:
		// "If you delete a custom role, its role bindings remain, but they have no effect" (IAM documentation, "Create and manage custom roles").
		all.Value = all.Value.WithRole(google.Role{Name: name})
	case read.Value.Missing:
		*all = notRead[google.Documents](read.Source, missing.Name+" does not exist")
		return false
	default:
		docs, err := all.Value.Add(name, read.Value.Text)
		if err != nil {
			*all = notRead[google.Documents](read.Source, name+": "+err.Error())
			return false
		}
		all.Value = docs
	}
	if all.ReadAt.IsZero() || read.ReadAt.Before(all.ReadAt) {
		all.ReadAt = read.ReadAt
	}
	return true
}

// serviceAccount reads a service account that clusters act as.
func (g *gatherer) serviceAccount(ctx context.Context, p *checks.Principal) {
	project := p.ID.Account()
	if g.Google.Policies == nil || project == "" {
		why := notHere
		if g.Google.Policies != nil {
			why = "it is not the e-mail of a service account that names its project"
		}
		p.Account, p.IAM = notRead[google.ServiceAccount](fromIAM, why), notRead[google.Documents](fromIAM, why)
		return
	}
	p.Account = g.account(ctx, p)
	if p.Account.Value.Missing {
		p.IAM = checks.Known(google.Documents{}, p.Account.ReadAt, p.Account.Source) // what does not exist has no policies
		return
	}
	p.IAM = g.hierarchy(ctx, true, "projects/"+project, google.ResourceOf(p.ID))
}

func (g *gatherer) account(ctx context.Context, p *checks.Principal) checks.Fact[google.ServiceAccount] {
	read := g.iam(ctx, google.State(p.ID))
	if read.Unread != "" {
		return checks.Fact[google.ServiceAccount]{Reading: read.Reading}
	}
	account := google.ServiceAccount{Email: strings.ToLower(string(p.ID)), Missing: true}
	if !read.Value.Missing {
		var err error
		if account, err = google.ParseServiceAccount(read.Value.Text); err != nil {
			return notRead[google.ServiceAccount](read.Source, err.Error())
		}
	}
	return checks.Known(account, read.ReadAt, read.Source)
}

// silence is why the Data Access logs of the key's project need not have a use of it by the principal; "" if they are on for it, and kept
// since the request.
func (g *gatherer) silence(ctx context.Context, e reEncryption, now time.Time) string {
	project := e.done.Key.Account()
	configs := g.auditConfigs(ctx, "projects/"+project)
	on, exempted := checks.LogsOfUses(configs.Value)
	exempted = slices.DeleteFunc(exempted, func(member string) bool { // somebody else
		kind, who, _ := strings.Cut(member, ":")
		return kind == "user" || kind == "serviceAccount" && !cmek.Principal(who).Same(e.principal)
	})
	switch {
	case configs.Unread != "":
		why := "the log has no use of the key by " + string(e.principal) + ", and whether Data Access logs of Cloud KMS are on in project " + project + " could not be read: " + configs.Unread
		if configs.Grant != "" {
			why += "; missing is " + configs.Grant
		}
		return why
	case on == "":
		return "Data Access logs of Cloud KMS (DATA_READ) are off in project " + project
	case len(exempted) > 0:
		const most = 5
		if n := len(exempted) - most; n > 0 {
			exempted = append(exempted[:most], fmt.Sprintf("and %d others", n))
		}
		return "Data Access logs of Cloud KMS in project " + project + " leave out " + strings.Join(exempted, ", ")
	case now.Sub(e.sent()) > dataAccessKept:
		return "the log has no use of the key by " + string(e.principal) + ", but it is kept for 30 days unless its bucket says otherwise, and the request is older"
	}
	return ""
}

// auditConfigs reads which Data Access logs are on in a project, by its own policy and those above, which it inherits.
func (g *gatherer) auditConfigs(ctx context.Context, project string) checks.Fact[[]checks.AuditConfig] {
	if g.Google.Policies == nil {
		return notRead[[]checks.AuditConfig](fromIAM, notHere)
	}
	levels, parents := g.levels(ctx, project)
	all := checks.Known([]checks.AuditConfig(nil), parents.ReadAt, fromIAM)
	if parents.Unread != "" {
		return checks.Fact[[]checks.AuditConfig]{Reading: parents.Reading}
	}
	for _, level := range levels {
		read := g.iam(ctx, level)
		switch {
		case read.Unread != "":
			return checks.Fact[[]checks.AuditConfig]{Reading: read.Reading}
		case read.Value.Missing:
			return notRead[[]checks.AuditConfig](fromIAM, level+" does not exist")
		}
		logs, err := google.ParseAuditLogs(read.Value.Text)
		if err != nil {
			return notRead[[]checks.AuditConfig](fromIAM, level+": "+err.Error())
		}
		for _, log := range logs {
			all.Value = append(all.Value, checks.AuditConfig(log))
		}
		if read.ReadAt.Before(all.ReadAt) {
			all.ReadAt = read.ReadAt
		}
	}
	return all
}
