package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// The document before an event is the noted one only if no event reports another one in between.
func TestNoted_stoodUntilTheEvent(t *testing.T) {
	noon := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)
	open, good := digest(cmek.Event{Policy: openKeyPolicy}), digest(cmek.Event{Policy: goodKeyPolicy})
	change := func(id string, at time.Time, digest string) Change { return Change{id, at, digest} }
	noted := Noted{Text: openKeyPolicy, Since: noon.Add(-48 * time.Hour), At: noon.Add(-30 * time.Minute)}
	for name, tc := range map[string]struct {
		edit    func(*Noted)
		exposes bool
	}{
		"no other change":           {func(*Noted) {}, false},
		"its own":                   {func(n *Noted) { n.Changes = []Change{change("e", noon, open)} }, false},
		"the same one twice":        {func(n *Noted) { n.Changes = []Change{change("d", noon.Add(-time.Minute), open)} }, false},
		"another in between":        {func(n *Noted) { n.Changes = []Change{change("d", noon.Add(-time.Minute), good)} }, true},
		"one without its document":  {func(n *Noted) { n.Changes = []Change{change("d", noon.Add(-time.Minute), "")} }, true},
		"another before the sweep":  {func(n *Noted) { n.Changes = []Change{change("d", noon.Add(-2*time.Hour), good)} }, false},
		"another after the event":   {func(n *Noted) { n.Changes = []Change{change("f", noon.Add(time.Minute), good)} }, false},
		"changes that are not read": {func(n *Noted) { n.Unread = true }, true},
		"a sweep came after the event, another before": {func(n *Noted) {
			n.At, n.Before = noon.Add(time.Minute), noon.Add(-time.Hour)
			n.Changes = []Change{change("d", noon.Add(-30*time.Minute), good)}
		}, true},
		"an earlier one that another change replaced": {func(n *Noted) {
			n.Since, n.At, n.Earlier, n.EarlierAt = noon.Add(time.Hour), noon.Add(time.Hour), strings.Replace(openKeyPolicy, "kms:Decrypt", "kms:*", 1), noon.Add(-time.Hour)
			n.Changes = []Change{change("d", noon.Add(-30*time.Minute), good)}
		}, true},
	} {
		n := noted
		tc.edit(&n)
		e := cmek.Event{ID: "e", Source: "aws.kms/AWS API Call via CloudTrail/PutKeyPolicy", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Time: noon, Policy: openKeyPolicy}
		effect := Judge(e, Documents{Permissions: map[cmek.Principal]Document{role: {Text: noPolicies, Read: true}}, NotedKeyPolicies: map[cmek.KeyURI]Noted{key: n}}, []Use{anyUse})
		if effect.Exposes != tc.exposes {
			t.Errorf("%s: exposes %t, want %t", name, effect.Exposes, tc.exposes)
		}
	}
}

// Events that come in the wrong order are judged again with each other.
func TestNoted_eventsOutOfOrder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.noted(string(key), openKeyPolicy)
		time.Sleep(30 * time.Minute)
		revoked := time.Now()
		time.Sleep(time.Minute)
		w.kms.keyPolicy = openKeyPolicy
		w.happens(event("again", cmek.ChangeKeyPolicy, document(openKeyPolicy)))
		w.happens(event("revoke", cmek.ChangeKeyPolicy, document(goodKeyPolicy), at(revoked)))
		w.ticks(20 * time.Minute)
		critical := false
		for _, a := range w.told.Alerts() {
			critical = critical || a.Severity == alert.Critical
		}
		if !critical {
			t.Errorf("a grant whose revocation was delivered later is never reported as critical: last %s", w.last().Headline())
		}
	})
}

// A policy that is saved twice between two sweeps grants nothing new.
func TestNoted_savedTwiceIsNoGain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.noted(string(key), openKeyPolicy)
		w.kms.keyPolicy = openKeyPolicy
		for _, id := range []string{"e1", "e2"} {
			time.Sleep(15 * time.Minute)
			w.happens(event(id, cmek.ChangeKeyPolicy, document(openKeyPolicy)))
		}
		w.ticks(20 * time.Minute)
		for _, a := range w.told.Alerts() {
			if a.Severity.Above(alert.Medium) {
				t.Errorf("the same policy again: %s", a.Headline())
			}
		}
	})
}
