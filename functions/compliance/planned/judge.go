package planned

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// judging is a report in the making.
type judging struct {
	b        *builder
	uses     []Use
	findings []Finding
	// judged are the addresses of the changes that can matter.
	judged map[string]bool
	// secrets hides what the plan marks as sensitive.
	secrets *strings.Replacer
}

func newJudging(b *builder) *judging {
	j := &judging{b: b, uses: b.known.uses(), judged: map[string]bool{}, secrets: b.plan.secrets()}
	if i := b.known.Inventory; i == nil || i.Incomplete != "" {
		for _, u := range b.assumed() {
			if !slices.ContainsFunc(j.uses, func(k Use) bool {
				return k.Spec == u.Spec && (k.CloudAccount == u.CloudAccount || u.CloudAccount == "")
			}) {
				j.uses = append(j.uses, u)
			}
		}
	}
	return j
}

// assumes reports whether there may be more uses than those that are known.
func (j *judging) assumes() bool {
	i := j.b.known.Inventory
	return i == nil || i.Incomplete != ""
}

func (j *judging) add(f Finding) {
	f.Why = j.secrets.Replace(clip(f.Why)) + j.moved(f.Address)
	f.Subject = j.secrets.Replace(f.Subject)
	f.Severity = cmp.Or(f.Severity, alert.Critical)
	j.findings = append(j.findings, f)
}

// moved says which address people know a resource by.
func (j *judging) moved(address string) string {
	for _, c := range j.b.plan.changes {
		if c.Address == address {
			return c.in()
		}
	}
	return ""
}

// outside is what stands outside the plan: whether something there grants the use of the key, and acting as the account that uses it (on
// AWS, whether it is the key's policy that grants, and the role's).
type outside struct {
	key, account bool
	// apart: the folders and organizations of the plan are not above the project.
	apart bool
}

// worlds are all that can stand outside.
var worlds = []outside{{}, {key: true}, {account: true}, {key: true, account: true}, {apart: true}, {key: true, apart: true}, {account: true, apart: true}}

// documents judges each document that the plan changes.
func (j *judging) documents() {
	var cut []Finding // of documents that alone do nothing, and without which it is the same
	attributed := false
	for _, name := range slices.Sorted(maps.Keys(j.b.docs)) {
		d := j.b.docs[name]
		if len(d.by) == 0 || j.b.gone[name] || j.b.gone[strings.TrimSuffix(name, ledger.RolePolicies(""))] {
			continue
		}
		for _, l := range d.unread {
			j.add(Finding{Address: l.address, Question: NotJudged, Result: checks.Error, Why: l.why, Subject: d.subject()})
		}
		if d.before == d.after {
			continue
		}
		caused, shared := j.document(d)
		cut = append(cut, shared...)
		attributed = attributed || caused
	}
	if !attributed {
		for _, f := range cut {
			j.add(f)
		}
	}
}

// subject is what a document belongs to.
func (d *document) subject() string {
	if d.sensitive {
		return ""
	}
	name, _, _ := strings.Cut(d.name, "#")
	return name
}

// said are words of the judge about a document, unless they would show what is sensitive.
func (d *document) said(words []string, otherwise string) string {
	if d.sensitive {
		return otherwise + " (the document is sensitive, so no more is shown)"
	}
	return strings.Join(words, " ")
}

// mostUses are judged at a time: fewer than the judge leaves out.
const mostUses = 15

// document judges a document that changes. caused: access is lost by it alone, or would not be without it. shared are the losses of which
// neither is so.
func (j *judging) document(d *document) (caused bool, shared []Finding) {
	for _, address := range d.by {
		j.judged[address] = true
	}
	uses := j.concerned(d)
	if len(uses) == 0 && (j.assumes() || j.b.fresh[d.name]) {
		uses = someKey(d)
	}
	j.exposed(d, uses)
	if j.b.fresh[d.name] || len(uses) == 0 && !j.assumes() {
		return false, nil // nobody uses it
	}
	found := len(j.findings)
	caused, shared = j.lost(d, uses, "")
	if caused || len(shared) > 0 || len(j.findings) > found || !strings.Contains(d.after, "request.time") {
		return caused, shared
	}
	now := j.b.known.Now
	j.b.known.Now = now.AddDate(farYears, 0, 0)
	caused, shared = j.lost(d, uses, "Once the time in a condition has come: ")
	j.b.known.Now = now
	return caused, shared
}

// farYears is how far away no condition about the time is meant to hold any more.
const farYears = 100

// about is a finding about a document.
func (d *document) about() Finding {
	return Finding{Address: first(d.by), Others: d.by[min(1, len(d.by)):], Subject: d.subject()}
}

func none(string) bool  { return false }
func every(string) bool { return true }

// inWorlds asks what a document does in all that can stand outside the plan.
func (j *judging) inWorlds(d *document, uses []alerting.Use, each func(beyond outside, before, after alerting.Effect)) {
	above := j.b.above()
	for _, beyond := range worlds {
		if beyond.apart && (strings.HasPrefix(d.name, "arn:") || above == `[]`) {
			continue // the same as another
		}
		var before alerting.Effect // of one that is not known: it may have been all right
		if !d.blind {
			before = j.ask(d, uses, beyond, none)
		}
		each(beyond, before, j.ask(d, uses, beyond, every))
	}
}

// exposed adds who gets access by a document, and whether nobody can manage the key any more.
func (j *judging) exposed(d *document, uses []alerting.Use) {
	batches := slices.Collect(slices.Chunk(uses, mostUses))
	if len(batches) == 0 {
		batches = [][]alerting.Use{nil}
	}
	exposes, locks, words := false, false, []string{}
	for _, batch := range batches {
		j.inWorlds(d, batch, func(_ outside, before, after alerting.Effect) {
			if after.Exposes && j.exposing(d, before, after, len(batch) > 0) {
				exposes = true
				words = append(words, slices.DeleteFunc(slices.Clone(after.Words), func(word string) bool { return strings.Contains(word, " lost the right to ") })...)
			}
			locks = locks || after.LocksOut && !before.LocksOut
		})
	}
	if exposes {
		f := d.about()
		f.Question, f.Result, f.Severity, f.Check, f.Why = Exposes, checks.Fail, alert.Critical, "CMEK-14", d.said(unique(words), "somebody new gets access")
		if len(uses) == 0 && !j.assumes() && !j.b.fresh[d.name] {
			f.Severity = alert.Medium // no cluster uses it
		}
		j.add(f)
	}
	if locks {
		f := d.about()
		f.Question, f.Result, f.Severity, f.Why = LocksOut, checks.Fail, alert.High, "Nobody could manage the key any more."
		j.add(f)
	}
}

// lost adds which uses lose their access by a document, each judged by itself: one that had none before says nothing about the others.
// when says at which time.
func (j *judging) lost(d *document, uses []alerting.Use, when string) (caused bool, shared []Finding) {
	single := slices.Collect(slices.Chunk(uses, 1))
	if len(single) == 0 {
		single = [][]alerting.Use{nil}
	}
	lost, unclear, loses, depends := []string{}, []string{}, false, false
	for _, one := range single {
		goes, kept := false, false
		j.inWorlds(d, one, func(beyond outside, before, after alerting.Effect) {
			switch {
			case after.CutsOff && !before.CutsOff:
				goes, lost = true, append(lost, after.Words...)
				alone := j.ask(d, one, beyond, func(name string) bool { return name == d.name })
				without := j.ask(d, one, beyond, func(name string) bool { return name != d.name })
				caused = caused || alone.CutsOff || !without.CutsOff
			case !after.CutsOff:
				kept = true
				unclear = append(unclear, slices.DeleteFunc(slices.Clone(after.Unclear), func(why string) bool { return slices.Contains(before.Unclear, why) })...)
			}
		})
		loses, depends = loses || goes, depends || goes && kept
	}
	f := d.about()
	switch {
	case loses:
		f.Question, f.Result, f.Severity, f.Check = CutsOff, checks.Fail, alert.Critical, j.checkOf(d)
		if depends {
			lost = append(lost, "This is so unless something outside the plan grants it.")
		}
		f.Why = when + d.said(unique(lost), "the clusters lose their access")
		if !caused {
			return false, []Finding{f}
		}
		j.add(f)
	case len(unclear) > 0:
		f.Question, f.Result, f.Why = CutsOff, checks.Error, when+d.said(unique(unclear), "it is not known whether the clusters keep their access")
		j.add(f)
	}
	return caused, nil
}

// someKey is a use of any key below a ring, a project, a folder or an organization of Google, where none is known.
func someKey(d *document) []alerting.Use {
	m := google.MissingIn(d.name)
	key := m.Name
	switch {
	case strings.HasPrefix(d.name, "arn:") || strings.HasPrefix(d.name, "unnamed ") || m.Kind == google.MissingRole ||
		strings.Contains(key, "/cryptoKeys/") || strings.Contains(key, "/serviceAccounts/"):
		return nil
	case strings.HasPrefix(key, "folders/"), strings.HasPrefix(key, "organizations/"):
		key = "projects/any-project"
	}
	if !strings.Contains(key, "/keyRings/") {
		key += "/locations/any/keyRings/any"
	}
	key += "/cryptoKeys/any"
	return []alerting.Use{{Spec: spec(key, "any-cluster@"+google.Domain(cmek.KeyURI(key).Account()))}}
}

// exposing reports whether what the judge calls an exposure is one of keys, and is new. Who may act as a role or an account matters if a
// cluster does, or if it reaches a key by this plan.
func (j *judging) exposing(d *document, before, after alerting.Effect, used bool) bool {
	e := j.event(d, "")
	if risk.KindOf(e.Change) != risk.Trust {
		return true
	}
	if before.Exposes && !slices.ContainsFunc(after.Words, func(word string) bool { return !slices.Contains(before.Words, word) }) {
		return false // as before
	}
	if used || strings.Contains(d.before+d.after, "crl-kms-user-") {
		return true
	}
	if role, ok := j.b.docs[ledger.RolePolicies(e.Identity)]; ok && strings.HasPrefix(d.name, "arn:") {
		if parsed, err := policy.ParseRole(string(e.Identity), role.after); err != nil || len(role.unread) > 0 || slices.ContainsFunc(parsed.Policies, decides) {
			return true
		}
	}
	for name, other := range j.b.docs {
		if name != d.name && strings.Contains(other.after, string(e.Identity)) {
			return true // a policy of the plan names it
		}
	}
	return false
}

func (j *judging) checkOf(d *document) string {
	switch trust := risk.KindOf(j.event(d, "").Change) == risk.Trust; {
	case trust && strings.HasPrefix(d.name, "arn:"):
		return "CMEK-16"
	case trust:
		return "CMEK-17"
	}
	return "CMEK-12"
}

// concerned are the uses that the document can count for.
func (j *judging) concerned(d *document) (uses []alerting.Use) {
	resource, _, _ := strings.Cut(d.name, "#")
	for _, u := range j.uses {
		key, principal := u.Spec.URI, u.Spec.AuthPrincipal
		counts := false
		switch {
		case !u.Deleted.IsZero(): // its backups may need the key, and nobody acts as its principal
		case u.Spec.Type == cmek.AWSKMS:
			counts = string(key) == resource || principal.Same(cmek.Principal(resource))
		case u.Spec.Type != cmek.GCPCloudKMS || strings.HasPrefix(resource, "arn:"):
		case strings.Contains(resource, "/serviceAccounts/"):
			counts = resource == google.ResourceOf(principal)
		case strings.Contains(resource, "/cryptoKeys/"):
			counts = key.Canonical() == resource
		case strings.Contains(resource, "/keyRings/"):
			counts = strings.HasPrefix(key.Canonical(), resource+"/")
		default:
			counts = true
		}
		if one := (alerting.Use{ClusterID: u.ClusterID, CloudAccount: u.CloudAccount, Spec: u.Spec}); counts && !slices.Contains(uses, one) {
			uses = append(uses, one)
		}
	}
	return uses
}

// event is what would be reported of the change of a document.
func (j *judging) event(d *document, text string) (e cmek.Event) {
	e = cmek.Event{ID: "planned", Source: "kms.amazonaws.com/planned", Time: j.b.known.Now, Policy: text, Parameters: map[string]string{}}
	resource, permissions := strings.CutSuffix(d.name, ledger.RolePolicies(""))
	switch role := cmek.Principal(resource); {
	case permissions:
		e.Change, e.Identity, e.Account, e.Policy = cmek.ChangePrincipalPolicy, role, role.Account(), ""
		return e
	case role.IsRole():
		e.Change, e.Identity, e.Account = cmek.ChangePrincipalTrust, role, role.Account()
		return e
	case strings.HasPrefix(d.name, "arn:"):
		e.Change, e.Key, e.Account = cmek.ChangeKeyPolicy, cmek.KeyURI(d.name), cmek.KeyURI(d.name).Account()
		return e
	}
	e.Source = "cloudkms.googleapis.com/planned"
	switch m := google.MissingIn(d.name); {
	case m.Kind == google.MissingRole:
		e.Change, e.Parameters["role"] = cmek.ChangeManagedPolicy, d.name
	case m.Kind == google.MissingDenies:
		e.Change, e.Parameters["resource"], e.Policy = cmek.ChangeDenyPolicy, m.Name, ""
	case strings.Contains(d.name, "/serviceAccounts/"):
		_, email, _ := strings.Cut(d.name, "/serviceAccounts/")
		e.Change, e.Identity = cmek.ChangePrincipalTrust, cmek.Principal(email)
	case strings.Contains(d.name, "/cryptoKeys/"):
		e.Change, e.Key, e.Account = cmek.ChangeKeyPolicy, cmek.KeyURI(d.name), cmek.KeyURI(d.name).Account()
	default:
		e.Change, e.Parameters["resource"] = cmek.ChangeInheritedPolicy, d.name
	}
	return e
}

// ask has the change of a document judged. changed says of which documents the text after the change counts; of the others that before.
func (j *judging) ask(d *document, uses []alerting.Use, beyond outside, changed func(name string) bool) alerting.Effect {
	text := func(name string) (string, bool) {
		one, ok := j.b.docs[name]
		switch {
		case !ok:
			known, ok := j.b.known.Documents[name]
			return known, ok
		case changed(name):
			return one.after, one.after != ""
		}
		return one.before, one.before != ""
	}
	now, ok := text(d.name)
	if !ok {
		now = nothing(d.name)
	}
	e := j.event(d, now)
	docs := alerting.Documents{Now: map[string]alerting.Document{}, Noted: map[string]alerting.Noted{}, At: j.b.known.Now, OrganizationID: j.organization(d)}
	put := func(name, text string) { docs.Now[name] = alerting.Document{Text: text, Read: true} }
	for name := range j.b.docs {
		if t, ok := text(name); ok {
			put(name, t)
		}
	}
	for _, u := range uses {
		if u.Spec.Type == cmek.AWSKMS {
			j.aroundAWS(u, beyond, text, put)
		} else {
			j.aroundGoogle(u, beyond, text, put)
		}
	}
	if changed(d.name) && !d.blind {
		before := d.before
		if before == "" {
			before = nothing(d.name)
		}
		noted := alerting.Noted{Text: before, At: j.b.known.Now.Add(-time.Minute), Since: j.b.known.Now.Add(-time.Hour)}
		docs.Noted[d.name] = noted
	}
	return alerting.Judge(e, docs, uses)
}

// nothing is a document that says nothing.
func nothing(name string) string {
	switch m := google.MissingIn(name); {
	case strings.HasSuffix(name, ledger.RolePolicies("")):
		return `{}`
	case strings.HasPrefix(name, "arn:"):
		return `{"Version":"2012-10-17","Statement":[]}`
	case m.Kind == google.MissingDenies:
		return `[]`
	case m.Kind == google.MissingRole:
		return fmt.Sprintf(`{"name":%q,"includedPermissions":[]}`, name)
	}
	return `{"version":3,"etag":"none","bindings":[]}`
}

// everything is an IAM policy that allows all of AWS KMS.
const everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`

// aroundAWS puts what a use needs and the plan does not show: the key's policy and the role's.
func (j *judging) aroundAWS(u alerting.Use, beyond outside, text func(string) (string, bool), put func(name, text string)) {
	key, role := string(u.Spec.URI), u.Spec.AuthPrincipal
	t, ok := text(key)
	switch {
	case ok:
	case beyond.key:
		t = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + string(role) + `"},"Action":"kms:*","Resource":"*"}]}`
	default:
		t = ownAccount(role.Account())
	}
	put(key, t)
	name := ledger.RolePolicies(role)
	t, ok = text(name)
	d := j.b.docs[name]
	if !ok {
		t = `{}`
	}
	if beyond.account && (!ok || d != nil && d.partial) {
		var p parts
		p.inline, p.attached = map[string]string{}, map[string]bool{}
		texts := managed{map[string]string{}, map[string]string{}}
		p.read(t, texts)
		p.inline["outside the plan"] = everything
		t, _ = p.text(texts.before)
	}
	put(name, t)
}

// aroundGoogle puts what a use needs and the plan does not show: the policies above the key and of the account, and the account itself.
func (j *judging) aroundGoogle(u alerting.Use, beyond outside, text func(string) (string, bool), put func(name, text string)) {
	known := map[string]string{}
	by, _ := google.CockroachAccount(u.ClusterID, u.CloudAccount)
	for range 4 { // what a document refers to is named once that one is known
		for _, name := range google.Deciding(u.Spec.URI, u.Spec.AuthPrincipal, known, by) {
			if _, ok := known[name]; ok {
				continue
			}
			t, ok := text(name)
			m := google.MissingIn(name)
			switch {
			case m.Kind == google.MissingRole && !ok:
				continue // what it gives is not known
			case !ok && (m.Kind == google.MissingDenies || m.Kind == google.MissingBoundaries):
				t = `[]`
			case !ok && m.Kind == google.MissingParents:
				if t = `[]`; !beyond.apart {
					t = j.b.above()
				}
			case !ok && m.Kind == google.MissingIdentity:
				t = fmt.Sprintf(`{"email":%q,"uniqueId":"1"}`, u.Spec.AuthPrincipal)
			case m.Kind == google.MissingPolicy:
				t = j.around(name, t, ok, u, by, beyond)
			}
			known[name] = t
			put(name, t)
		}
	}
}

// around is the allow policy of a resource, with what outside the plan may be in it.
func (j *judging) around(name, text string, ok bool, u alerting.Use, by google.ServiceAccount, beyond outside) string {
	x := bindings{}
	if ok {
		x, _ = readBindings(text)
	}
	d := j.b.docs[name]
	if strings.Count(name, "/") == 1 && (!ok || d != nil && d.partial) {
		if beyond.key {
			x.add(boundRole{role: "roles/cloudkms.cryptoKeyEncrypterDecrypter"}, "serviceAccount:"+string(u.Spec.AuthPrincipal))
		}
		if beyond.account && by.Email != "" {
			x.add(boundRole{role: "roles/iam.serviceAccountTokenCreator"}, "serviceAccount:"+by.Email)
		}
	}
	return x.text()
}

// above are the folders and organizations of the plan, which any project may be in.
func (b *builder) above() string {
	var names []string
	for name := range b.docs {
		if m := google.MissingIn(name); strings.HasPrefix(m.Name, "folders/") || strings.HasPrefix(m.Name, "organizations/") {
			if !strings.Contains(m.Name, "/roles/") && !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	slices.Sort(names)
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func unique(list []string) (kept []string) {
	for _, s := range list {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}
