package alerting

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// onAWS judges by key policies, trust policies, and the policies of roles with their boundaries.
type onAWS struct{}

func (onAWS) judge(j *judgement, kind risk.Kind, uses []Use) {
	switch kind {
	case risk.PrincipalDeleted:
		j.principalDeleted(uses)
	case risk.KeyPolicy:
		j.keyPolicy(uses)
	case risk.Trust:
		j.trust(uses)
	default:
		j.permissions(kind, uses)
	}
}

func (onAWS) concerns(e cmek.Event, use Use) bool {
	switch risk.KindOf(e.Change) {
	case risk.KeyPolicy:
		return use.Spec.URI == e.Key
	case risk.Managed:
		return true
	}
	return concerns(e, use.Spec.AuthPrincipal)
}

func (onAWS) sets(e cmek.Event, uses []Use) (names []string) {
	switch risk.KindOf(e.Change) {
	case risk.KeyPolicy:
		return []string{string(e.Key)}
	case risk.Trust, risk.PrincipalDeleted:
		for _, use := range uses {
			names = append(names, string(use.Spec.AuthPrincipal))
		}
	}
	return unique(names)
}

// noted names nothing: compares does.
func (onAWS) noted(cmek.Event, Use, map[string]string) []string { return nil }

func (onAWS) compares(e cmek.Event, uses []Use) (names []string) {
	switch risk.KindOf(e.Change) {
	case risk.Permissions, risk.Boundary, risk.Managed, risk.PrincipalDeleted:
		for _, use := range uses {
			names = append(names, ledger.RolePolicies(use.Spec.AuthPrincipal))
		}
	}
	return unique(names)
}

func (onAWS) reads(e cmek.Event, name string) bool {
	permissions := strings.HasSuffix(name, ledger.RolePolicies(""))
	trust := !permissions && cmek.Principal(name).IsRole()
	switch risk.KindOf(e.Change) {
	case risk.KeyPolicy:
		return permissions || !trust && e.Policy == ""
	case risk.Trust:
		return trust && e.Policy == ""
	case risk.PrincipalDeleted:
		return false
	}
	return !trust
}

func (onAWS) digest(e cmek.Event) string { return awsDocument.digest(e.Policy) }

// awsDocument compares the documents of AWS.
var awsDocument = language{
	digest: func(text string) string {
		d, err := policy.Parse(text)
		if err != nil {
			return ""
		}
		return policy.Digest(d)
	},
	equal: func(a, b string) bool {
		before, err := policy.Parse(a)
		after, errToo := policy.Parse(b)
		return err == nil && errToo == nil && policy.Equal(before, after)
	},
}

func (d Documents) keyPolicy(key cmek.KeyURI) Document { return d.Now[string(key)] }
func (d Documents) trust(p cmek.Principal) Document    { return d.Now[string(p)] }

// permissions are all policies of a principal, with its boundary.
func (d Documents) permissions(p cmek.Principal) Document { return d.Now[ledger.RolePolicies(p)] }

// parse is the document if it was read and can be understood.
func (d Document) parse() (parsed policy.Document, ok bool) {
	parsed, err := policy.Parse(d.Text)
	return parsed, d.Read && err == nil
}

// after is the document that the event set: the event's own or, where the event does not carry it, the one that was read.
func (j *judgement) after(read Document, what string) (d policy.Document, text string, ok bool) {
	text = j.event.Policy
	if text == "" {
		j.Stale = true
		if !read.Read {
			j.unclear("%s could not be read", what)
			return d, "", false
		}
		text = read.Text
	}
	d, err := policy.Parse(text)
	if err != nil {
		j.unclear("%s cannot be understood: %v", what, err)
		return d, "", false
	}
	return d, text, true
}

// documentBefore is the document before one of a name, as [judgement.before] finds it.
func (j *judgement) documentBefore(after, name string) (before *policy.Document, same bool) {
	text, same := j.before(after, j.docs.Noted[name], awsDocument)
	d, err := policy.Parse(text)
	if err != nil {
		return nil, same
	}
	return &d, same
}

// decide adds what the principal's access to one key is now. unread are the documents that could not be read: without them nothing
// but a denial is certain.
func (j *judgement) decide(access policy.Access, unread ...string) {
	if access.Decision() == policy.Denied {
		j.CutsOff = true
		return
	}
	unread = slices.DeleteFunc(unread, func(why string) bool { return why == "" })
	for _, why := range unread {
		j.unclear("%s", why)
	}
	if len(unread) == 0 {
		for _, action := range access.With(policy.CannotTell) {
			j.unclear("%s", access.Verdicts[action].Why)
		}
	}
}

// role is the principal with all its policies. If they were not read, it is the principal by its name alone, and only a denial is
// certain: unread says so, unless the access is denied anyway.
func (d Documents) role(principal cmek.Principal) (role policy.Role, unread string) {
	alone := policy.Role{ARN: string(principal)}
	read := d.permissions(principal)
	if !read.Read {
		return alone, fmt.Sprintf("the policies of %s could not be read", principal)
	}
	role, err := policy.ParseRole(string(principal), read.Text)
	if err != nil {
		return alone, err.Error()
	}
	return role, ""
}

// mayUse decides by the key policy, the principal's policies and its trust policy.
func (onAWS) mayUse(use Use, docs Documents) access {
	spec := use.Spec
	keyPolicy, ok := docs.keyPolicy(spec.URI).parse()
	if !ok {
		return access{Decision: policy.CannotTell, unread: "the policy of key " + string(spec.URI)}
	}
	if docs.trust(spec.AuthPrincipal).Missing {
		return access{Decision: policy.Denied}
	}
	trust, ok := docs.trust(spec.AuthPrincipal).parse()
	if !ok {
		return access{Decision: policy.CannotTell, unread: "the trust policy of " + string(spec.AuthPrincipal)}
	}
	role, unread := docs.role(spec.AuthPrincipal)
	onKey := policy.KeyAccess(keyPolicy, spec.URI, role).Decision()
	assume := policy.RoleTrust(trust, use.CloudAccount, docs.OrganizationID).Assume.Decision
	switch {
	case onKey == policy.Denied || assume == policy.Denied:
		return access{Decision: policy.Denied}
	case onKey == policy.Allowed && assume == policy.Allowed:
		return access{Decision: policy.Allowed, unread: unread}
	}
	return access{Decision: policy.CannotTell, unread: unread}
}
