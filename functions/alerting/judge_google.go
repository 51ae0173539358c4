package alerting

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// onGoogleCloud judges by the allow and deny policies of all levels, the roles that they give, and the service accounts. What an event
// set counts in place of what was read: IAM may not show it yet.
type onGoogleCloud struct{}

func (onGoogleCloud) concerns(e cmek.Event, use Use) bool {
	if use.Spec.Type != cmek.GCPCloudKMS {
		return false
	}
	switch risk.KindOf(e.Change) {
	case risk.KeyPolicy:
		return use.Spec.URI.SameKey(e.Key)
	case risk.Inherited, risk.Managed:
		return true // what is above a key is known once that was read
	}
	return concerns(e, use.Spec.AuthPrincipal)
}

func (onGoogleCloud) sets(e cmek.Event, uses []Use) (names []string) {
	switch risk.KindOf(e.Change) {
	case risk.PrincipalDeleted, risk.Restored, risk.Recreated:
		return nil
	case risk.Trust:
		if e.Identity == "" { // the event has the unique id only
			for _, use := range uses {
				names = append(names, google.ResourceOf(use.Spec.AuthPrincipal))
			}
			return unique(names)
		}
	}
	if name := setBy(e); name != "" {
		names = []string{name}
	}
	return names
}

// setBy is the name of the document that an event set; "" if it set none, or does not say which.
func setBy(e cmek.Event) string {
	switch risk.KindOf(e.Change) {
	case risk.KeyPolicy:
		return e.Key.Canonical()
	case risk.Inherited:
		switch node := e.Parameters["resource"]; {
		case risk.Bounds(e):
			return ""
		case risk.Denies(e) && node != "":
			return google.Denies(node)
		}
		return e.Parameters["resource"]
	case risk.Managed:
		return e.Parameters["role"]
	case risk.Trust:
		if e.Identity != "" {
			return google.ResourceOf(e.Identity)
		}
	}
	return ""
}

func (onGoogleCloud) compares(cmek.Event, []Use) []string { return nil }

func (onGoogleCloud) reads(e cmek.Event, name string) bool {
	if risk.KindOf(e.Change) == risk.PrincipalDeleted {
		return false
	}
	_, err := google.ParsePolicy(e.Policy)
	return name != setBy(e) || err != nil || google.MissingIn(name).Kind != google.MissingPolicy
}

// noted leaves out what the event itself changed and does not show: what a sweep noted of it may be from before. It may be the state of the
// account, or the document that was set, unless the entry says how.
func (onGoogleCloud) noted(e cmek.Event, use Use, known map[string]string) []string {
	by, _ := google.CockroachAccount(use.ClusterID, use.CloudAccount)
	kind := risk.KindOf(e.Change)
	return slices.DeleteFunc(google.Deciding(use.Spec.URI, use.Spec.AuthPrincipal, known, by), func(name string) bool {
		switch {
		case name == google.State(use.Spec.AuthPrincipal):
			return kind == risk.Restored || kind == risk.Recreated || kind == risk.PrincipalDeleted
		case google.MissingIn(name).Kind == google.MissingBoundaries:
			return risk.Bounds(e)
		case name != setBy(e):
			return false
		case google.MissingIn(name).Kind == google.MissingDenies:
			return e.Policy == "" && !risk.Deletes(e)
		}
		return e.Delta == "" || e.Policy != ""
	})
}

func (onGoogleCloud) digest(e cmek.Event) string {
	if google.MissingIn(setBy(e)).Kind == google.MissingDenies {
		return "" // the event has one of the policies
	}
	return googleDocument(setBy(e)).digest(e.Policy)
}

// googleDocument compares documents of that name.
func googleDocument(name string) language {
	digest := func(text string) string {
		switch google.MissingIn(name).Kind {
		case google.MissingRole:
			if role, err := parseRole(name, text); err == nil {
				return google.Digest(role)
			}
		case google.MissingDenies:
			if denies, err := google.ParseDenyPolicies(text); err == nil {
				digests := []string{}
				for _, d := range denies {
					digests = append(digests, google.Digest(d))
				}
				slices.Sort(digests)
				return "denies " + strings.Join(digests, " ")
			}
		case google.MissingPolicy:
			if p, err := google.ParsePolicy(text); err == nil {
				return google.Digest(p)
			}
		}
		return ""
	}
	return language{digest, func(a, b string) bool { return digest(a) != "" && digest(a) == digest(b) }}
}

// parseRole reads a role of that name. A request to change one may leave the name out.
func parseRole(name, text string) (google.Role, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &fields) == nil && fields != nil {
		quoted, _ := json.Marshal(name)
		fields["name"] = quoted
		if named, err := json.Marshal(fields); err == nil {
			text = string(named)
		}
	}
	return google.ParseRole(text)
}

// googleJudgement is the judgement of one event.
type googleJudgement struct {
	*judgement
	name string
	// after are the documents with what the event set, before those with what was there before it, as far as that is known.
	after, before google.Documents
	beforeKnown   bool
	// certain are those with a part of what the event set, where the rest was not read: only a denial by them is certain.
	certain *google.Documents
	// unread are documents on which the answer depends.
	unread []string
}

func (onGoogleCloud) judge(j *judgement, kind risk.Kind, uses []Use) {
	var mine []Use
	for _, use := range uses {
		if (onGoogleCloud{}).concerns(j.event, use) {
			mine = append(mine, use)
		}
	}
	switch {
	case kind == risk.PrincipalDeleted:
		j.CutsOff = true
		return
	case kind == risk.Inherited && j.event.Key != "": // a Key Access Justifications policy
		j.reasons()
		return
	}
	g := googleJudgement{judgement: j, name: setBy(j.event)}
	g.after, _ = google.ReadAll(j.docs.texts())
	g.before = g.after
	g.set()
	if len(mine) == 0 {
		g.anybody()
		return
	}
	if j.Same {
		return
	}
	g.each(kind, most(j, unique(mine), mostPairs, "keys of principals"))
	g.sayUnread()
	j.Unattached = j.Unattached && len(unique(mine)) <= mostPairs
	if kind == risk.Restored {
		j.StillLost, j.CutsOff = j.CutsOff, false
		j.Unclear, j.Words = nil, nil // that it is enabled is certain; whether access is back, polls of the incident show
	}
}

// reasons judges a Key Access Justifications policy by itself: one without reasons denies every use.
func (j *judgement) reasons() {
	switch kind := j.event.Parameters["justifications"]; {
	case risk.Omitted(j.event):
		j.unclear("the event does not show the key's Key Access Justifications policy")
	case kind == "none":
		j.CutsOff = true
	case kind == "absent":
		j.unclear("the event shows no policy: either it was removed, which allows every reason, or it allows none")
	default:
		j.unclear("whether Cloud KMS is given a reason that the policy lists, when a cluster uses the key, is not known")
	}
}

// texts are the documents that were read.
func (d Documents) texts() map[string]string {
	texts := map[string]string{}
	for name, one := range d.Now {
		if one.Read {
			texts[name] = one.Text
		}
	}
	return texts
}

// set puts what the event set among the documents, and what was there before among those before.
func (g *googleJudgement) set() {
	e := g.event
	switch {
	case g.name == "":
		g.Stale = true // nothing but reads shows what the event did
		return
	case byNumber(e), strings.HasPrefix(g.name, "projects/") && isNumeric(strings.Split(g.name, "/")[1]):
		g.Stale = true
		g.unclear("the event names the project by its number, so it is not certain which keys and service accounts it is about")
		if m := google.MissingIn(g.name); m.Kind == google.MissingDenies && e.Policy != "" {
			if one, err := google.ParseDenyPolicy(e.Policy); err == nil {
				g.sayDenials(m.Name, nil, one)
			}
		}
		g.name = ""
		return
	}
	switch google.MissingIn(g.name).Kind {
	case google.MissingRole:
		g.setRole()
	case google.MissingDenies:
		g.setDenies()
	default:
		g.setPolicy()
	}
}

func isNumeric(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// setPolicy is about an allow policy, which events carry as a whole. Some say what the call changed in it.
func (g *googleJudgement) setPolicy() {
	text := g.event.Policy
	if text == "" {
		g.Stale = true
		read := g.docs.Now[g.name]
		if !read.Read {
			g.unclear("the new policy could not be read")
			return
		}
		text = read.Text
	}
	after, err := google.ParsePolicy(text)
	if err != nil {
		g.unclear("the new policy cannot be understood: %v", err)
		g.after.Policies = maps.Clone(g.after.Policies)
		delete(g.after.Policies, g.name)
		g.Stale = true
		return
	}
	changed := deltaOf(g.event.Delta)
	if g.event.Policy == "" {
		after = changed.applied(after) // what was read may be older than the event
	}
	g.after = g.after.With(g.name, after)
	if len(changed) > 0 {
		g.before, g.beforeKnown = g.after.With(g.name, changed.undone(after)), true
		return
	}
	before, same := g.judgement.before(text, g.docs.Noted[g.name], googleDocument(g.name))
	g.Same = same
	if p, err := google.ParsePolicy(before); err == nil {
		g.before, g.beforeKnown = g.after.With(g.name, p), true
		return
	}
	g.before = g.after.With(g.name, google.Policy{}) // each of its grants may be new
}

// setDenies is about one of the deny policies of a project, a folder or an organization.
func (g *googleJudgement) setDenies() {
	e, node := g.event, google.MissingIn(g.name).Name
	list, read := g.after.Denies[node]
	g.Stale = true
	id := e.Parameters["policy_name"]
	named := func(d google.DenyPolicy) bool { return d.Name == id && id != "" }
	others := slices.DeleteFunc(slices.Clone(list), named)
	noted, known := g.notedDenies()
	if known {
		g.before, g.beforeKnown = g.after.WithDenies(node, noted...), true
	}
	old := slices.IndexFunc(noted, named)
	var was *google.DenyPolicy
	switch {
	case risk.Creates(e):
		was = &google.DenyPolicy{}
		if read && !known {
			g.before, g.beforeKnown = g.after.WithDenies(node, others...), true
		}
	case known && old >= 0:
		was = &noted[old]
	}
	if risk.Deletes(e) {
		g.sayDenials(node, was, google.DenyPolicy{})
		if read {
			g.after = g.after.WithDenies(node, others...)
		}
		return
	}
	one, err := google.ParseDenyPolicy(e.Policy)
	switch current := slices.IndexFunc(list, named); {
	case e.Policy == "" && read:
		if current >= 0 {
			g.sayDenials(node, was, list[current])
		}
		return
	case err != nil:
		g.unclear("the new deny policy cannot be understood, or was not read")
		return
	}
	one.Name = id
	g.sayDenials(node, was, one)
	if read {
		g.after = g.after.WithDenies(node, append(others, one)...)
		return
	}
	alone := g.after.WithDenies(node, one)
	g.certain = &alone
}

// notedDenies are the deny policies of the resource as they stood until the event, as far as a sweep noted them and no other event says
// otherwise.
func (g *googleJudgement) notedDenies() (list []google.DenyPolicy, known bool) {
	n := g.docs.Noted[g.name]
	text, seen := n.Text, n.seen(g.event)
	if n.Since.After(g.event.Time) { // a sweep between the event and now noted what the event set
		text, seen = n.Earlier, n.EarlierAt
	}
	list, err := google.ParseDenyPolicies(text)
	return list, err == nil && n.stood(googleDocument(g.name).digest(text), seen, g.event)
}

// mostDenials bounds what is said of a deny policy.
const mostDenials = 8

// sayDenials says what a deny policy newly denies and what no longer, or what it denies if the one before is not known.
func (g *googleJudgement) sayDenials(node string, was *google.DenyPolicy, is google.DenyPolicy) {
	var words []string
	switch after := google.Denials(node, is); {
	case was != nil:
		if words = google.DiffDenials(google.Denials(node, *was), after); len(words) == 0 {
			words = []string{"of the use of keys and service accounts the deny policy denies the same as before"}
		}
	default:
		for _, d := range after {
			words = append(words, d.String())
		}
		g.Words = append(g.Words, "the previous deny policy is not known")
	}
	if more := len(words) - mostDenials; more > 0 {
		words = append(words[:mostDenials:mostDenials], fmt.Sprintf("%d more changes of what is denied", more))
	}
	g.Words = append(g.Words, words...)
}

// setRole is about a custom role.
func (g *googleJudgement) setRole() {
	e := g.event
	g.Stale = true
	before, same := "", false
	switch after, err := parseRole(g.name, e.Policy); {
	case risk.Deletes(e):
		g.after = g.after.WithRole(google.Role{Name: g.name})
		before, _ = g.judgement.before(`{"name":"deleted","includedPermissions":[]}`, g.docs.Noted[g.name], googleDocument(g.name))
	case err == nil:
		g.after = g.after.WithRole(after)
		before, same = g.judgement.before(e.Policy, g.docs.Noted[g.name], googleDocument(g.name))
	default:
		// The request names no permissions: what is read counts, without what the entry says was removed.
		read, ok := g.after.Roles[g.name]
		if !ok {
			g.unclear("the permissions of the role could not be read")
			return
		}
		var delta struct {
			Added   []google.Permission `json:"addedPermissions"`
			Removed []google.Permission `json:"removedPermissions"`
		}
		_ = json.Unmarshal([]byte(e.Delta), &delta) // without it, what is read counts alone
		read.Permissions = slices.DeleteFunc(slices.Concat(read.Permissions, delta.Added), func(p google.Permission) bool { return slices.Contains(delta.Removed, p) })
		g.after = g.after.WithRole(read)
	}
	g.Same = same
	if role, err := parseRole(g.name, before); err == nil {
		g.before, g.beforeKnown = g.after.WithRole(role), true
		return
	}
	g.before = g.after.WithRole(google.Role{Name: g.name})
}

// each judges the uses one by one.
func (g *googleJudgement) each(kind risk.Kind, uses []Use) {
	concerned := 0
	for _, use := range uses {
		if !g.reaches(use) {
			continue
		}
		concerned++
		account, unread := g.docs.account(use.Spec.AuthPrincipal)
		if kind == risk.Recreated && g.event.Parameters["unique_id"] != "" {
			account.UniqueID, account.Missing = g.event.Parameters["unique_id"], false
		}
		q := question{use, account, g.event.Time}
		for _, one := range q.accesses(g.after, kind) {
			if g.certain != nil && one.of(*g.certain).Decision() == policy.Denied {
				one = one.in(*g.certain)
			}
			g.decide(one, unread)
		}
		g.gained(q, uses)
	}
	g.Unattached = concerned == 0
	if concerned > 0 && !g.beforeKnown && g.name != "" && google.MissingIn(g.name).Kind != google.MissingDenies { // which says it by itself
		g.Words = append(g.Words, "the previous document is not known")
	}
}

// reaches reports whether the document that the event set may count for a use. What is not known does.
func (g *googleJudgement) reaches(use Use) bool {
	return g.name == "" || google.Reaches(g.after, g.name, use.Spec.URI, use.Spec.AuthPrincipal)
}

// decide adds what the access is now. Without the account's own state nothing but a denial is certain.
func (g *googleJudgement) decide(q asked, account []google.Missing) {
	now := q.of(q.docs)
	if now.Decision() == policy.Denied {
		g.CutsOff = true
	} else {
		g.lacks(account)
	}
	for _, permission := range now.With(policy.CannotTell) {
		verdict := now.Verdicts[permission]
		if len(verdict.Missing) == 0 {
			g.unclear("%s", verdict.Why)
		}
		g.lacks(verdict.Missing)
	}
	said := now.Sentences()
	if g.beforeKnown {
		said = google.DiffAccess(q.of(g.before), now)
	} else if now.Decision() != policy.Denied {
		said = nil
	}
	for _, sentence := range said {
		sentence, _, _ = strings.Cut(sentence, "; missing: ") // which is said once, of all
		g.Words = append(g.Words, sentence)
	}
}

// lacks notes what would have to be known.
func (g *googleJudgement) lacks(missing []google.Missing) {
	for _, m := range missing {
		if m.Kind == google.MissingCondition || m.Kind == google.MissingMembers {
			g.unclear("it is not known %s", m)
			continue
		}
		g.unread = append(g.unread, m.String())
	}
}

// mostNamed bounds the documents that are named in an alert.
const mostNamed = 5

// sayUnread says once which documents were not read.
func (g *googleJudgement) sayUnread() {
	list := unique(g.unread)
	if more := len(list) - mostNamed; more > 0 {
		list = append(list[:mostNamed:mostNamed], fmt.Sprintf("%d more", more))
	}
	if len(list) > 0 {
		g.unclear("not read: %s", strings.Join(list, ", "))
	}
}

// gained adds who else can use the key, or act as the account, by what the event set.
func (g *googleJudgement) gained(q question, uses []Use) {
	known := []string{"serviceAccount:" + string(q.use.Spec.AuthPrincipal), google.Domain(q.use.Spec.URI.Account())}
	onKey := google.Outsiders(google.Gained(google.KeyGrants(g.before, q.use.Spec.URI, q.at), google.KeyGrants(g.after, q.use.Spec.URI, q.at)), known...)
	var actors []string
	for _, use := range uses {
		if by, ok := google.CockroachAccount(use.ClusterID, use.CloudAccount); ok {
			actors = append(actors, "serviceAccount:"+by.Email)
		}
	}
	asAccount := google.Outsiders(google.Gained(google.ActAsGrants(g.before, q.account, q.at), google.ActAsGrants(g.after, q.account, q.at)), actors...)
	for _, grant := range slices.Concat(onKey, asAccount) {
		g.Exposes = true
		g.Words = append(g.Words, grant.String())
	}
}

// anybody judges where no cluster is known that has its access by the document.
func (g *googleJudgement) anybody() {
	e := g.event
	g.unclear("no cluster is known whose access could be tried")
	if g.Same {
		g.Unclear = nil
		return
	}
	var gained []google.Grant
	var changed []string
	switch account := (google.ServiceAccount{Email: string(e.Identity)}); {
	case e.Key != "":
		gained = google.Gained(google.KeyGrants(g.before, e.Key, e.Time), google.KeyGrants(g.after, e.Key, e.Time))
		g.Exposes = len(google.Outsiders(gained, google.Domain(e.Key.Account()))) > 0
		changed = google.DiffKey(g.before, g.after, e.Key, e.Time)
	case e.Identity != "":
		gained = google.Gained(google.ActAsGrants(g.before, account, e.Time), google.ActAsGrants(g.after, account, e.Time))
		g.Exposes = slices.ContainsFunc(gained, func(grant google.Grant) bool { return !isCockroach(grant.Member) })
		changed = google.DiffActAs(g.before, g.after, account, e.Time)
	}
	if g.beforeKnown {
		g.Words = append(g.Words, changed...)
		return
	}
	for _, grant := range gained { // each may be new, and need not be
		g.Words = append(g.Words, grant.String())
	}
}

// isCockroach reports whether a member may be the service account of Cockroach Labs for a cluster.
func isCockroach(member string) bool {
	return strings.HasPrefix(member, "serviceAccount:crl-kms-user-")
}

// question is whether a cluster can use a key as an account.
type question struct {
	use     Use
	account google.ServiceAccount
	at      time.Time
}

// asked is one half of a question, with the documents to answer it by.
type asked struct {
	of   func(google.Documents) google.Access
	docs google.Documents
}

func (a asked) in(docs google.Documents) asked { return asked{a.of, docs} }

// accesses are what a change of the kind can decide: the use of the key, and acting as the account.
func (q question) accesses(docs google.Documents, kind risk.Kind) (list []asked) {
	if kind != risk.Trust {
		list = append(list, asked{q.onKey, docs})
	}
	if kind != risk.KeyPolicy {
		list = append(list, asked{q.asAccount, docs})
	}
	return list
}

func (q question) onKey(docs google.Documents) google.Access {
	return google.KeyAccess(docs, q.use.Spec.URI, q.account, q.at)
}

// asAccount is whether Cockroach Labs' account of the cluster may act as the account.
func (q question) asAccount(docs google.Documents) google.Access {
	by, ok := google.CockroachAccount(q.use.ClusterID, q.use.CloudAccount)
	if !ok {
		by.Email = "the service account of Cockroach Labs for cluster " + q.use.ClusterID
	}
	return google.ActAs(docs, q.account, by, q.at)
}

// account is a service account as it was read. If it was not, it is taken to exist, and unread is not empty.
func (d Documents) account(p cmek.Principal) (account google.ServiceAccount, unread []google.Missing) {
	account = google.ServiceAccount{Email: string(p)}
	read := d.Now[google.State(p)]
	if read.Missing {
		account.Missing = true
		return account, nil
	}
	if parsed, err := google.ParseServiceAccount(read.Text); read.Read && err == nil {
		return parsed, nil
	}
	return account, []google.Missing{google.MissingIn(google.State(p))}
}

func (onGoogleCloud) mayUse(use Use, docs Documents) access {
	read, _ := google.ReadAll(docs.texts())
	account, unread := docs.account(use.Spec.AuthPrincipal)
	q := question{use, account, docs.At}
	onKey, asAccount := q.onKey(read), q.asAccount(read)
	missing := slices.Concat(unread, onKey.Missing(), asAccount.Missing())
	result := access{Decision: policy.CannotTell}
	switch {
	case onKey.Decision() == policy.Denied || asAccount.Decision() == policy.Denied:
		return access{Decision: policy.Denied}
	case onKey.Decision() == policy.Allowed && asAccount.Decision() == policy.Allowed && len(missing) == 0:
		return access{Decision: policy.Allowed}
	}
	result.onlyAbove = onKey.ByRead() == policy.Allowed && asAccount.ByRead() == policy.Allowed && read.SeldomRead(missing)
	for _, m := range missing {
		if result.unread == "" && m.Kind != google.MissingCondition && m.Kind != google.MissingMembers {
			result.unread = m.String()
		}
	}
	return result
}

// delta is what an audit log entry says that a call changed in the bindings of a policy (google.iam.v1.logging.AuditData).
type delta []bindingDelta

type bindingDelta struct {
	Action    string `json:"action"`
	Role      string `json:"role"`
	Member    string `json:"member"`
	Condition *struct {
		Expression string `json:"expression"`
	} `json:"condition"`
}

func deltaOf(text string) delta {
	var d struct {
		Bindings delta `json:"bindingDeltas"`
	}
	if json.Unmarshal([]byte(text), &d) != nil {
		return nil
	}
	for _, b := range d.Bindings {
		if b.Action != "ADD" && b.Action != "REMOVE" || b.Role == "" || b.Member == "" {
			return nil // not in the form that is documented
		}
	}
	return d.Bindings
}

func (b bindingDelta) binding() google.Binding {
	one := google.Binding{Role: b.Role, Members: []string{b.Member}}
	if b.Condition != nil {
		one.Condition = &google.Condition{Expression: b.Condition.Expression}
	}
	return one
}

// applied is the policy after the change, undone the policy before it.
func (d delta) applied(p google.Policy) google.Policy { return d.edited(p, "ADD") }
func (d delta) undone(p google.Policy) google.Policy  { return d.edited(p, "REMOVE") }

// edited is the policy with the bindings of one action, and without those of the other.
func (d delta) edited(p google.Policy, added string) google.Policy {
	result := google.Policy{Version: p.Version, ConditionsDropped: p.ConditionsDropped}
	for _, b := range p.Bindings {
		kept := b
		kept.Members = slices.DeleteFunc(slices.Clone(b.Members), func(member string) bool {
			return slices.ContainsFunc(d, func(one bindingDelta) bool {
				other := one.binding()
				return one.Action != added && other.Role == b.Role && other.Members[0] == member && other.Condition.String() == b.Condition.String()
			})
		})
		result.Bindings = append(result.Bindings, kept)
	}
	for _, one := range d {
		if one.Action == added {
			result.Bindings = append(result.Bindings, one.binding())
		}
	}
	return result
}
