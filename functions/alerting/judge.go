package alerting

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
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

// Noted is what the sweep noted of a document: the last text and when it was seen last (At), the time before that (Before) and first
// (Since), and the different text before it and when that was seen last.
type Noted struct {
	Text, Earlier                string
	At, Before, Since, EarlierAt time.Time
	// Changes are the changes of the document that events reported. Unread: they could not be read, or this one not be noted, so that
	// nobody knows whether the text stood until the event.
	Changes []Change
	Unread  bool
}

// Change is a change of a document that an event reported. Digest stands for the meaning of what it set; "" if it is not known.
type Change struct {
	Event  string
	At     time.Time
	Digest string
}

// seen is when a sweep saw the last text before the event.
func (n Noted) seen(e cmek.Event) time.Time {
	for _, at := range []time.Time{n.At, n.Before} {
		if !at.IsZero() && !at.After(e.Time) {
			return at
		}
	}
	return n.Since
}

// stood reports whether a document that was seen once stood until the event, as far as events say: no other one set anything else in
// between. Events come in any order, so what rests on this is judged again some minutes later. That of a change which is never
// delivered cannot be known: it stays unnoticed until the next sweep, for an hour at most.
func (n Noted) stood(d policy.Document, seen time.Time, e cmek.Event) bool {
	digest := policy.Digest(d)
	return !n.Unread && !slices.ContainsFunc(n.Changes, func(c Change) bool {
		between := !c.At.Before(seen.Add(-clocks)) && (e.Time.IsZero() || !c.At.After(e.Time))
		return c.Event != e.ID && between && c.Digest != digest
	})
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

// Judge says what a change of a policy document does to the clusters that use keys by it. It is pure, and the only judge:
// alerting calls it with all that could be read, explain with what the event carries. The zero Effect is that of a
// change that sets no document.
func Judge(e cmek.Event, docs Documents, uses []Use) Effect {
	row, _ := risk.Of(e.Change)
	if !row.Kind.Documented() || !e.Succeeded() {
		return Effect{}
	}
	j := judgement{event: e, docs: docs}
	switch row.Kind {
	case risk.KeyPolicy:
		j.keyPolicy(uses)
	case risk.Trust:
		j.trust(uses)
	case risk.PrincipalDeleted:
		j.principalDeleted(uses)
	default:
		j.permissions(row.Kind, uses)
	}
	if len(j.Unclear) > 0 {
		j.Unclear = unique(j.Unclear)
	}
	j.Words = sentences(j.Words)
	return j.Effect
}

// Effects is what Judge says of an event, where it is known who needs what the event is about; nil for events that set no document.
// If nobody does, for certain, there is nobody whose access could be lost, and only a key policy can grant anything.
func Effects(e cmek.Event, docs Documents, uses []Use, usage Usage) *Effect {
	row, _ := risk.Of(e.Change)
	if !row.Kind.Documented() || !e.Succeeded() {
		return nil
	}
	effect := Judge(e, docs, uses)
	if usage.Unused() {
		effect.CutsOff, effect.LocksOut, effect.Unclear = false, false, nil
		effect.Exposes = effect.Exposes && row.Kind == risk.KeyPolicy
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

// before is the document before this one, as far as it was noted. same: the one noted before the event is equal.
func (j *judgement) before(after policy.Document, noted Noted) (before *policy.Document, same bool) {
	text, seen := noted.Text, noted.seen(j.event)
	if d, err := policy.Parse(text); text != "" && err == nil && policy.Equal(d, after) {
		// A sweep between the event and this look may have noted the new document already: then the one before it counts.
		since := noted.Since
		if noted.Earlier != "" {
			since = since.Add(clocks)
		}
		if !noted.Since.IsZero() && !j.event.Time.IsZero() && !since.After(j.event.Time) {
			j.Stale = true
			if noted.stood(d, seen, j.event) {
				return &d, true
			}
			return nil, false
		}
		text, seen = noted.Earlier, noted.EarlierAt
	}
	if text == "" {
		return nil, false
	}
	d, err := policy.Parse(text)
	if err != nil || policy.Equal(d, after) { // noted twice, in two spellings: what was there before is not known
		return nil, false
	}
	if j.Stale = true; !noted.stood(d, seen, j.event) {
		return nil, false
	}
	j.Previous = text
	return &d, false
}

// clocks is how far two clocks may differ.
const clocks = 10 * time.Minute

// keyPolicy judges a new policy of one key: replicas of a multi-Region key have policies of their own.
func (j *judgement) keyPolicy(uses []Use) {
	key := j.event.Key
	after, ok := j.after(j.docs.KeyPolicies[key], "the new key policy")
	if !ok {
		return
	}
	before, same := j.before(after, j.docs.NotedKeyPolicies[key])
	if j.Same = same; same {
		return
	}
	known := []string{key.Account()}
	var judged []cmek.Principal
	for _, use := range uses {
		if use.Spec.URI == key {
			judged = append(judged, use.Spec.AuthPrincipal)
		}
	}
	judged = unique(judged)
	for _, principal := range judged {
		known = append(known, string(principal))
	}
	var roles []policy.Role
	for _, principal := range most(j, judged, mostDocuments, "principals") {
		role, unread := j.docs.role(principal)
		access := policy.KeyAccess(after, key, role)
		j.decide(access, unread)
		roles = append(roles, role)
		if before == nil {
			j.Words = append(j.Words, access.Sentences()...)
		}
	}
	grants := policy.KeyGrants(after, key)
	if len(judged) == 0 {
		j.anybody(grants)
	}
	if len(policy.Managers(after, key)) == 0 {
		j.LocksOut = true
		j.Words = append(j.Words, "nobody can manage the key any more")
	}
	if before == nil {
		j.Words = append(j.Words, "the previous policy is not known")
	} else {
		j.Words = append(j.Words, policy.DiffKeyPolicy(*before, after, key, roles...)...)
		grants = policy.Gained(policy.KeyGrants(*before, key), grants)
	}
	j.expose(policy.Outsiders(grants, known...), before == nil)
}

// most are as many as are judged for one event: neither the size of the fleet nor who writes a policy may decide how long its
// judgement takes. The rest is unclear.
func most[E any](j *judgement, list []E, n int, what string) []E {
	if more := len(list) - n; more > 0 {
		j.unclear("%d more %s were not judged", more, what)
	}
	return first(list, n)
}

// anybody judges a key policy where no cluster is known whose principal could be tried: it can only be certain that nobody may.
func (j *judgement) anybody(grants []policy.Grant) {
	var nobody []string
	for _, action := range policy.KeyActions {
		if !slices.ContainsFunc(grants, func(g policy.Grant) bool { return slices.Contains(g.Actions, action) }) {
			nobody = append(nobody, action)
		}
	}
	if len(nobody) > 0 {
		j.CutsOff = true
		j.Words = append(j.Words, "nobody may "+strings.Join(nobody, ", "))
		return
	}
	j.unclear("no principal of a cluster is known that could be tried")
}

// expose notes new grants to strangers. Where it is not known what was granted before, each of them may be new.
func (j *judgement) expose(grants []policy.Grant, unknownBefore bool) {
	for _, grant := range grants {
		j.Exposes = true
		if unknownBefore {
			j.Words = append(j.Words, grant.String())
		}
	}
}

// decide adds what the principal's access to one key is now. unread are the documents that could not be read: without them nothing
// but a denial is certain.
func (j *judgement) decide(access policy.Access, unread ...string) {
	decision := access.Decision()
	if decision == policy.Denied {
		j.CutsOff = true
		return
	}
	for _, why := range unread {
		if why != "" {
			j.unclear("%s", why)
			decision = policy.Allowed
		}
	}
	if decision == policy.CannotTell {
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

// trust judges a new trust policy for each cluster that assumes the principal.
func (j *judgement) trust(uses []Use) {
	mine := j.about(uses)
	if len(mine) == 0 {
		j.anybodyAssumes()
		return
	}
	organizationID := j.docs.OrganizationID
	type assumer struct {
		principal cmek.Principal
		account   string
	}
	var accounts []string
	var assumers []assumer
	for _, use := range mine {
		accounts, assumers = append(accounts, use.CloudAccount), append(assumers, assumer{use.Spec.AuthPrincipal, use.CloudAccount})
	}
	assumers = unique(assumers)
	same := len(assumers) <= mostPairs
	for _, a := range most(j, assumers, mostPairs, "clusters' accounts") {
		principal := a.principal
		read := j.docs.Trusts[principal]
		if read.Missing && j.event.Policy == "" {
			j.CutsOff = true
			j.Words, same = append(j.Words, fmt.Sprintf("%s does not exist", principal)), false
			continue
		}
		after, ok := j.after(read, "the new trust policy of "+string(principal))
		if !ok {
			same = false
			continue
		}
		before, equal := j.before(after, j.docs.NotedTrusts[principal])
		if equal {
			continue
		}
		same = false
		j.assume(policy.RoleTrust(after, a.account, organizationID), before, after, unique(accounts))
	}
	j.Same = same
}

// assume adds whether a cluster's account may assume the principal, and who else may.
func (j *judgement) assume(trust policy.Trust, before *policy.Document, after policy.Document, accounts []string) {
	switch {
	case trust.Assume.Decision == policy.Denied: // whatever the external id is
		j.CutsOff = true
	case trust.ExternalID == "":
		j.unclear("the organization's id, which must be the external id, is not configured (KEYTURN_ORGANIZATION_ID)")
	case trust.Assume.Decision == policy.CannotTell:
		j.unclear("%s", trust.Assume.Why)
	}
	var changed []string
	if before != nil {
		changed = policy.DiffTrust(*before, after, trust.AccountID, trust.ExternalID)
	} else {
		j.Words = append(j.Words, "the previous trust policy is not known")
	}
	outsiders := policy.Outsiders(trust.Others, accounts...)
	j.Exposes = j.Exposes || len(trust.Gaps) > 0 || len(outsiders) > 0
	if len(changed) == 0 {
		changed = trust.Sentences() // what was wrong before is wrong still
	}
	j.Words = append(j.Words, changed...)
}

// anybodyAssumes judges a trust policy where the clusters' account is not known: nobody may assume the principal, everybody may,
// or another account than its own may without an external id.
func (j *judgement) anybodyAssumes() {
	after, ok := j.after(Document{}, "the new trust policy")
	if !ok {
		return
	}
	own, foreign := j.event.Account, false
	grants := policy.TrustGrants(after)
	for _, grant := range grants {
		account := grant.Principal.Account()
		foreign = foreign || grant.Principal.Kind == policy.Everybody || account != "" && account != own
		if grant.Public() || account != own && len(policy.RoleTrust(after, account, "").Gaps) > 0 {
			j.Exposes = true
			j.Words = append(j.Words, grant.String()+", without an external id")
		}
	}
	if !foreign {
		j.CutsOff = true
		j.Words = append(j.Words, "no other account may assume the role any more, and a cluster's account is another one")
		return
	}
	j.unclear("the account that the clusters run in is not known")
}

// principalDeleted: whatever the documents say, nobody can assume a principal that does not exist.
func (j *judgement) principalDeleted(uses []Use) {
	j.CutsOff = true
	for _, use := range j.about(uses) {
		j.Role = use.Spec.AuthPrincipal
		j.Previous, j.Permissions = j.docs.NotedTrusts[j.Role].Text, j.docs.NotedPermissions[j.Role].Text
		if j.Previous != "" {
			return
		}
	}
}

// permissions judges a policy or a boundary that was put on a principal or taken from it: an explicit Deny, or a boundary that does
// not allow the key's actions, cuts the clusters off.
func (j *judgement) permissions(kind risk.Kind, uses []Use) {
	if j.Dormant = risk.Dormant(j.event); j.Dormant {
		return
	}
	added, carried, known := j.carried(kind)
	if !known {
		return
	}
	mine := uses
	if kind != risk.Managed {
		mine = j.about(uses)
	}
	// The event's own document counts beside what is read: IAM may not show it yet. Reading may only make it worse.
	j.Stale = true
	if len(mine) == 0 {
		j.anyKey(kind, added, carried)
		return
	}
	var principals []cmek.Principal
	for _, use := range mine {
		principals = append(principals, use.Spec.AuthPrincipal)
	}
	judged := map[cmek.Principal]readRole{}
	for _, p := range most(j, unique(principals), mostDocuments, "principals") {
		if read := j.docs.Permissions[p]; kind == risk.Managed && read.Read && !strings.Contains(read.Text, strconv.Quote(j.event.Parameters["policy_arn"])) {
			continue
		}
		role := readRole{before: j.roleBefore(p)}
		if role.Role, role.unread = j.docs.role(p); carried {
			role.Role = adding(role.Role, kind, added)
		}
		judged[p] = role
	}
	j.Unattached = kind == risk.Managed && len(judged) == 0 && len(unique(principals)) <= mostDocuments
	var specs []cmek.KeySpec
	for _, use := range mine {
		if _, ok := judged[use.Spec.AuthPrincipal]; ok {
			specs = append(specs, use.Spec)
		}
	}
	keyPolicies := map[cmek.KeyURI]policy.Document{}
	for _, spec := range most(j, unique(specs), mostPairs, "keys of principals") {
		role, keyUnread := judged[spec.AuthPrincipal], ""
		keyPolicy, parsed := keyPolicies[spec.URI]
		if !parsed {
			if d, err := policy.Parse(j.docs.KeyPolicies[spec.URI].Text); err == nil && j.docs.KeyPolicies[spec.URI].Read {
				keyPolicy, parsed, keyPolicies[spec.URI] = d, true, d
			}
		}
		if !parsed {
			keyPolicy, keyUnread = allowing(spec.AuthPrincipal), fmt.Sprintf("the policy of key %s could not be read", spec.URI)
		}
		access := policy.KeyAccess(keyPolicy, spec.URI, role.Role)
		j.decide(access, role.unread, keyUnread)
		if role.before == nil {
			j.Words = append(append(j.Words, access.Sentences()...), "the previous policies of the role are not known")
		} else {
			j.Words = append(j.Words, policy.DiffAccess(policy.KeyAccess(keyPolicy, spec.URI, *role.before), access)...)
		}
	}
}

// readRole is a principal with its policies as they are now and, if they were noted, as they were. unread is what was not read.
type readRole struct {
	policy.Role
	unread string
	before *policy.Role
}

// carried is the document that the event itself carries, or names if AWS defines it; ok is false if it carries one that
// cannot be understood.
func (j *judgement) carried(kind risk.Kind) (d policy.Document, carried, ok bool) {
	if j.event.Policy == "" {
		d, carried = policy.Managed(j.event.Parameters["policy_arn"])
		return d, carried && kind == risk.Permissions && risk.Adds(j.event), true
	}
	d, err := policy.Parse(j.event.Policy)
	if err != nil {
		j.unclear("the new document cannot be understood: %v", err)
		return d, false, false
	}
	return d, true, true
}

// adding is the role with a further document.
func adding(role policy.Role, kind risk.Kind, added policy.Document) policy.Role {
	if kind == risk.Boundary {
		role.Boundary, role.BoundaryUnread = &added, false
		return role
	}
	role.Policies = append(slices.Clone(role.Policies), added)
	return role
}

// allowing stands for a key policy that was not read: it allows whatever no other document denies.
func allowing(principal cmek.Principal) policy.Document {
	return policy.Document{Statements: []policy.Statement{{
		Effect: policy.Allow, Actions: []string{"kms:*"}, Resources: []string{"*"},
		Principals: []policy.Principal{{Kind: policy.Identity, ID: string(principal)}, {Kind: policy.Everybody}},
	}}}
}

// anyKey judges a principal's document where no cluster is known to act as the principal: an explicit Deny on every key of its
// account is certain. What the document allows says nothing, because the key policy may allow it, too.
func (j *judgement) anyKey(kind risk.Kind, added policy.Document, carried bool) {
	key, err := cmek.AWSKeyARN("", "us-east-1", j.event.Account, "00000000-0000-0000-0000-000000000000")
	if !carried || err != nil {
		j.unclear("no cluster is known to act as the principal, and its policies are not known")
		return
	}
	arn := j.event.Identity
	if !arn.IsRole() {
		arn = cmek.Principal("arn:aws:iam::" + j.event.Account + ":role/" + cmp.Or(arn.Name(), "unknown"))
	}
	access := policy.KeyAccess(allowing(arn), key, adding(policy.Role{ARN: string(arn)}, kind, added))
	if access.Decision() == policy.Denied {
		j.CutsOff = true
		j.Words = append(j.Words, access.Sentences()...)
		return
	}
	j.unclear("no cluster is known to act as the principal, and its other policies are not known")
}

// roleBefore is the principal with the policies that the sweep noted before the event; nil if it noted none.
func (j *judgement) roleBefore(p cmek.Principal) *policy.Role {
	noted, read := j.docs.NotedPermissions[p], j.docs.Permissions[p]
	text := noted.Text
	if read.Read && text == read.Text && noted.Since.After(j.event.Time) {
		text = noted.Earlier // a sweep has noted the change already
	}
	before, err := policy.ParseRole(string(p), text)
	if text == "" || err != nil {
		return nil
	}
	j.Previous = text
	return &before
}

// sentences gives clauses a capital and a full stop, and drops repeats.
func sentences(clauses []string) []string {
	list := unique(clauses)
	for i, s := range list {
		if !strings.HasPrefix(s, "arn:") && !strings.HasPrefix(s, "keyturn") && s != "" {
			s = strings.ToUpper(s[:1]) + s[1:]
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

// MayUse decides whether a cluster can use a key by the documents that were read: the key policy, the principal's policies and
// its trust policy. unread names what would have to be read to decide; "" if everything was.
func MayUse(use Use, docs Documents) (decision policy.Decision, unread string) {
	spec := use.Spec
	keyPolicy, err := policy.Parse(docs.KeyPolicies[spec.URI].Text)
	if err != nil || !docs.KeyPolicies[spec.URI].Read {
		return policy.CannotTell, "the policy of key " + string(spec.URI)
	}
	if docs.Trusts[spec.AuthPrincipal].Missing {
		return policy.Denied, ""
	}
	trust, err := policy.Parse(docs.Trusts[spec.AuthPrincipal].Text)
	if err != nil || !docs.Trusts[spec.AuthPrincipal].Read {
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
