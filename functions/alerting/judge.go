package alerting

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// Use is a key as a cluster uses it.
type Use = cmek.Use

// Document is a policy document as it was read. The zero Document was not read.
type Document struct {
	Text string
	// Read is true if Text is what stands there now. Missing is true if what the document belongs to does not exist.
	Read, Missing bool
}

// Documents are what was read to judge an event, by the names of the port [cmek.Policies]. What is not in them was not read.
type Documents struct {
	// Now are the documents as they were read, Noted the same as the sweep noted them before.
	Now   map[string]Document
	Noted map[string]Noted
	// At is when they were read; zero if that is not known. Conditions can be about the time.
	At time.Time
	// OrganizationID is the external id that a trust policy must ask for; "" if it is not known.
	OrganizationID string
	// Oldest is when the oldest of those among Now was noted that stand in for a read; zero if there is none.
	Oldest time.Time
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
	evaluatorOf(e).judge(&j, row.Kind, uses)
	j.Unclear, j.Words = unique(j.Unclear), sentences(j.Words)
	return j.Effect
}

// evaluator judges by the policies of one cloud. It is pure.
type evaluator interface {
	// judge adds what the event's document does to the access of the uses.
	judge(j *judgement, kind risk.Kind, uses []Use)
	// concerns reports whether documents of the use are needed to judge the event.
	concerns(e cmek.Event, use Use) bool
	// sets names the documents that the event set, as far as the uses show them; compares names others whose noted text is needed.
	sets(e cmek.Event, uses []Use) []string
	compares(e cmek.Event, uses []Use) []string
	// reads reports whether a document is needed as it is now.
	reads(e cmek.Event, name string) bool
	// noted names what else of the documents that decide about a use can be taken as a sweep noted it, by the texts known so far.
	noted(e cmek.Event, use Use, known map[string]string) []string
	// digest stands for the meaning of the document that an event set; "" if it carries none that can be understood.
	digest(e cmek.Event) string
	// mayUse decides whether a cluster can use a key by the documents that were read.
	mayUse(use Use, docs Documents) access
}

// evaluatorOf is the evaluator of the cloud that an event comes from, evaluatorFor that of the cloud of a key.
func evaluatorOf(e cmek.Event) evaluator {
	if risk.OnGoogle(e) {
		return onGoogleCloud{}
	}
	return onAWS{}
}

func evaluatorFor(use Use) evaluator {
	if use.Spec.Type == cmek.GCPCloudKMS {
		return onGoogleCloud{}
	}
	return onAWS{}
}

// access is whether a cluster can use a key.
type access struct {
	policy.Decision
	// unread names what would have to be read to decide, or to be sure of it; "" if everything was.
	unread string
	// onlyAbove: all that was not read stands above the key's and the principal's own projects, and what was read allows the use.
	onlyAbove bool
}

// documented reports whether documents decide what an event does.
func documented(e cmek.Event) bool {
	row, _ := risk.Of(e.Change)
	return e.Succeeded() && (row.Kind.Documented() || row.Kind == risk.Restored && row.Scope == risk.ScopePrincipal)
}

// Effects is what Judge says of an event, where it is known who needs what the event is about; nil for events that set no document.
// If nobody does, for certain, there is nobody whose access could be lost, and only a key policy can grant anything.
func Effects(e cmek.Event, docs Documents, uses []Use, usage Usage) *Effect {
	if !documented(e) {
		return nil
	}
	effect := Judge(e, docs, uses)
	if usage.Unused() {
		effect.CutsOff, effect.StillLost, effect.LocksOut, effect.Unclear = false, false, false, nil
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

func first[S ~[]E, E any](list S, n int) S { return list[:min(len(list), n)] }

// sentences gives clauses a capital and a full stop, and drops repeats.
func sentences(clauses []string) []string {
	list := unique(clauses)
	for i, s := range list {
		if word, _, _ := strings.Cut(s, " "); !isName(word) {
			letter, size := utf8.DecodeRuneInString(s)
			s = string(unicode.ToUpper(letter)) + s[size:]
		}
		list[i] = strings.TrimSuffix(s, ".") + "."
	}
	return list
}

// isName reports whether a word is how a cloud names a principal, which has its own spelling.
func isName(word string) bool {
	return strings.ContainsAny(word, ":@") || strings.HasPrefix(word, "all") && word != "all"
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
