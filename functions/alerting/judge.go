package alerting

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// Use is a key as a cluster uses it: one key info of the cluster's inventory, whatever its status.
type Use struct {
	ClusterID string
	// CloudAccount is the account that the cluster's nodes run in, which assumes the principal.
	CloudAccount string
	Spec         cmek.KeySpec
}

// Document is a policy document as it was read. The zero Document was not read.
type Document struct {
	Text string
	// Read is true if Text is what stands there now. Missing is true if what the document belongs to does not exist.
	Read, Missing bool
}

// parse is the document if it was read and can be understood.
func (d Document) parse() (parsed policy.Document, ok bool) {
	parsed, err := policy.Parse(d.Text)
	return parsed, d.Read && err == nil
}

// Documents are what was read to judge an event. What is not in them was not read.
type Documents struct {
	// KeyPolicies are by the key's own ARN, Trusts and Permissions (all policies of a principal, with its boundary) by principal.
	KeyPolicies map[cmek.KeyURI]Document
	Trusts      map[cmek.Principal]Document
	Permissions map[cmek.Principal]Document
	// NotedKeyPolicies, NotedTrusts and NotedPermissions are the same documents as the sweep noted them before.
	NotedKeyPolicies map[cmek.KeyURI]Noted
	NotedTrusts      map[cmek.Principal]Noted
	NotedPermissions map[cmek.Principal]Noted
	// OrganizationID is the external id that a trust policy must ask for; "" if it is not known.
	OrganizationID string
}

// Usage is who needs what an event is about, as far as is known.
type Usage struct {
	// Clusters need it: by their current keys or past ones (backups were written under those), or by their principal.
	Clusters []alert.AffectedCluster
	// Complete is true if nobody else can need it: a walk over the whole fleet ended within the hour.
	Complete bool
}

// InUse reports that somebody needs it. Neither in use nor unused means unknown, which is rated like in use.
func (u Usage) InUse() bool { return len(u.Clusters) > 0 }

// Unused reports that nobody needs it, for certain.
func (u Usage) Unused() bool { return len(u.Clusters) == 0 && u.Complete }

// Effect is what a change of a policy does to the clusters' principal and to strangers.
type Effect = risk.Effect

// Judge says what a change of a policy document does to the clusters that use keys by it. It is pure, and the only judge:
// alerting calls it with all that could be read, explain with what the event carries. The zero Effect is that of a
// change that sets no document.
func Judge(e cmek.Event, docs Documents, uses []Use) Effect {
	if !documented(e) {
		return Effect{}
	}
	row, _ := risk.Of(e.Change)
	j := judgement{event: e, docs: docs}
	switch {
	case row.Kind == risk.PrincipalDeleted:
		j.principalDeleted(uses)
		return j.Effect
	case risk.OnGoogle(e):
		j.unclear("the access policies of Google Cloud were not evaluated")
		return j.Effect
	}
	switch row.Kind {
	case risk.KeyPolicy:
		j.keyPolicy(uses)
	case risk.Trust:
		j.trust(uses)
	default:
		j.permissions(row.Kind, uses)
	}
	j.Unclear, j.Words = unique(j.Unclear), sentences(j.Words)
	return j.Effect
}

// documented reports whether documents decide what an event does.
func documented(e cmek.Event) bool { return risk.KindOf(e.Change).Documented() && e.Succeeded() }

// Effects is what Judge says of an event, where it is known who needs what the event is about; nil for events that set no document.
// If nobody does, for certain, there is nobody whose access could be lost, and only a key policy can grant anything.
func Effects(e cmek.Event, docs Documents, uses []Use, usage Usage) *Effect {
	if !documented(e) {
		return nil
	}
	effect := Judge(e, docs, uses)
	if usage.Unused() {
		effect.CutsOff, effect.LocksOut, effect.Unclear = false, false, nil
		effect.Exposes = effect.Exposes && risk.KindOf(e.Change) == risk.KeyPolicy
	}
	return &effect
}

// judgement is an effect in the making.
type judgement struct {
	Effect
	event cmek.Event
	docs  Documents
}

func (j *judgement) unclear(format string, args ...any) {
	j.Unclear = append(j.Unclear, fmt.Sprintf(format, args...))
}

// after is the document that the event set: the event's own or, where the event does not carry it, the one that was read.
func (j *judgement) after(read Document, what string) (d policy.Document, ok bool) {
	text := j.event.Policy
	if text == "" {
		j.Stale = true
		if !read.Read {
			j.unclear("%s could not be read", what)
			return d, false
		}
		text = read.Text
	}
	d, err := policy.Parse(text)
	if err != nil {
		j.unclear("%s cannot be understood: %v", what, err)
		return d, false
	}
	return d, true
}

// mostDocuments bounds the keys and the principals whose documents are read for one event. What is beyond it is not judged by
// its documents, and said to be unclear.
const mostDocuments = 20

// mostPairs bounds the pairs of a principal and a key, or of a principal and an account that assumes it, that are judged for one event.
const mostPairs = 2 * mostDocuments

// most are as many as are judged for one event: neither the size of the fleet nor who writes a policy may decide how long its
// judgement takes. The rest is unclear.
func most[E any](j *judgement, list []E, n int, what string) []E {
	if more := len(list) - n; more > 0 {
		j.unclear("%d more %s were not judged", more, what)
	}
	return first(list, n)
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
	read := d.Permissions[principal]
	if !read.Read {
		return alone, fmt.Sprintf("the policies of %s could not be read", principal)
	}
	role, err := policy.ParseRole(string(principal), read.Text)
	if err != nil {
		return alone, err.Error()
	}
	return role, ""
}

// concerns reports whether the event is about the principal. An event that does not say whom it is about (CloudTrail leaves
// parameters of a large call out) is about each principal of its account.
func concerns(e cmek.Event, p cmek.Principal) bool {
	switch {
	case e.Identity == "":
		return p.Account() == e.Account
	case e.Identity.Account() == "":
		return p.Name() == e.Identity.Name() && p.Account() == e.Account
	}
	return p.Same(e.Identity)
}

// about are the uses by principals that the event is about.
func (j *judgement) about(uses []Use) (list []Use) {
	for _, use := range uses {
		if concerns(j.event, use.Spec.AuthPrincipal) {
			list = append(list, use)
		}
	}
	return list
}

// MayUse decides whether a cluster can use a key by the documents that were read: the key policy, the principal's policies and
// its trust policy. unread names what would have to be read to decide; "" if everything was.
func MayUse(use Use, docs Documents) (decision policy.Decision, unread string) {
	spec := use.Spec
	keyPolicy, ok := docs.KeyPolicies[spec.URI].parse()
	if !ok {
		return policy.CannotTell, "the policy of key " + string(spec.URI)
	}
	if docs.Trusts[spec.AuthPrincipal].Missing {
		return policy.Denied, ""
	}
	trust, ok := docs.Trusts[spec.AuthPrincipal].parse()
	if !ok {
		return policy.CannotTell, "the trust policy of " + string(spec.AuthPrincipal)
	}
	role, unread := docs.role(spec.AuthPrincipal)
	access := policy.KeyAccess(keyPolicy, spec.URI, role).Decision()
	assume := policy.RoleTrust(trust, use.CloudAccount, docs.OrganizationID).Assume.Decision
	switch {
	case access == policy.Denied || assume == policy.Denied:
		return policy.Denied, ""
	case access == policy.Allowed && assume == policy.Allowed:
		return policy.Allowed, unread
	}
	return policy.CannotTell, unread
}

func first[S ~[]E, E any](list S, n int) S { return list[:min(len(list), n)] }

// sentences gives clauses a capital and a full stop, and drops repeats.
func sentences(clauses []string) []string {
	list := unique(clauses)
	for i, s := range list {
		if !strings.HasPrefix(s, "arn:") {
			letter, size := utf8.DecodeRuneInString(s)
			s = string(unicode.ToUpper(letter)) + s[size:]
		}
		list[i] = strings.TrimSuffix(s, ".") + "."
	}
	return list
}

// unique drops repeats and keeps the order.
func unique[S comparable](list []S) (kept []S) {
	seen := map[S]bool{}
	for _, s := range list {
		if !seen[s] {
			kept, seen[s] = append(kept, s), true
		}
	}
	return kept
}
