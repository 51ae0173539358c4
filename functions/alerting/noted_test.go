package alerting

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// The document before an event is the noted one only if it is sure to have stood until then: a sweep saw it before the event, and no event
// reports another one in between. Clocks may differ by ten minutes.
func TestNoted_theDocumentBefore(t *testing.T) {
	noon := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)
	open, good := awsDocument.digest(openKeyPolicy), awsDocument.digest(goodKeyPolicy)
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	change := func(id string, at time.Time, digest string) func(*Noted) {
		return func(n *Noted) { n.Changes = append(n.Changes, Change{id, at, digest}) }
	}
	seen := func(since, before, at time.Time) func(*Noted) {
		return func(n *Noted) { n.Since, n.Before, n.At = since, before, at }
	}
	earlier := func(text string, at time.Time) func(*Noted) {
		return func(n *Noted) { n.Earlier, n.EarlierAt = text, at }
	}
	text := func(text string) func(*Noted) { return func(n *Noted) { n.Text = text } }
	unread := func(n *Noted) { n.Unread = true }
	const same, known, unknown = "same", "known", "unknown"
	for _, tc := range []struct {
		name     string
		noted    []func(*Noted)
		want     string
		timeless bool // the event has no time
	}{
		// The event sets openKeyPolicy, and that was noted since two days, last half an hour ago.
		{"the same", nil, same, false},
		{"the same, and its own change", []func(*Noted){change("e", noon, open)}, same, false},
		{"the same, and its own change, whose document is not known", []func(*Noted){change("e", noon, "")}, same, false},
		{"the same, and set once more", []func(*Noted){change("d", ago(time.Minute), open)}, same, false},
		{"the same, and another in between", []func(*Noted){change("d", ago(time.Minute), good)}, unknown, false},
		{"the same, and another in the event's own second", []func(*Noted){change("d", noon, good)}, unknown, false},
		{"the same, and one in between whose document is not known", []func(*Noted){change("d", ago(time.Minute), "")}, unknown, false},
		{"the same, and another long before the sweep", []func(*Noted){change("d", ago(2*time.Hour), good)}, same, false},
		{"the same, and another 10 minutes before the sweep", []func(*Noted){change("d", ago(40*time.Minute), good)}, unknown, false},
		{"the same, and another more than 10 minutes before the sweep", []func(*Noted){change("d", ago(40*time.Minute+time.Second), good)}, same, false},
		{"the same, and another after the event", []func(*Noted){change("f", noon.Add(time.Second), good)}, same, false},
		{"the same, and changes that are not read", []func(*Noted){unread}, unknown, false},
		{"the same at the last sweep but one, and another after that", []func(*Noted){seen(ago(48*time.Hour), ago(time.Hour), noon.Add(time.Second)), change("d", ago(30*time.Minute), good)}, unknown, false},
		{"the same at the last sweep but one, and another before that", []func(*Noted){seen(ago(48*time.Hour), ago(time.Hour), noon.Add(time.Second)), change("d", ago(2*time.Hour), good)}, same, false},
		{"the same at a sweep in the event's own second, and another before that", []func(*Noted){seen(ago(48*time.Hour), ago(time.Hour), noon), change("d", ago(30*time.Minute), good)}, same, false},
		{"the same at a first sweep", []func(*Noted){seen(ago(time.Hour), time.Time{}, time.Time{}), change("d", ago(2*time.Hour), good)}, same, false},
		{"the same at a first sweep, and another after that", []func(*Noted){seen(ago(time.Hour), time.Time{}, time.Time{}), change("d", ago(30*time.Minute), good)}, unknown, false},
		{"the same since the event's own second", []func(*Noted){seen(noon, time.Time{}, noon)}, same, false},
		{"the same since after the event", []func(*Noted){seen(noon.Add(time.Second), time.Time{}, noon.Add(time.Second))}, unknown, false},
		{"the same since nobody knows when", []func(*Noted){seen(time.Time{}, time.Time{}, ago(time.Hour))}, unknown, false},
		{"the same, and the event has no time", nil, unknown, true},
		// A sweep whose clock is ahead may have seen the new document, where there was another one before.
		{"the same since 10 minutes, another before", []func(*Noted){seen(ago(10*time.Minute), time.Time{}, ago(10*time.Minute)), earlier(goodKeyPolicy, ago(time.Hour))}, same, false},
		{"the same since less than 10 minutes, another before", []func(*Noted){seen(ago(10*time.Minute-time.Second), time.Time{}, ago(time.Minute)), earlier(goodKeyPolicy, ago(time.Hour))}, known, false},
		{"the same since after the event, another before", []func(*Noted){seen(noon.Add(time.Hour), time.Time{}, noon.Add(time.Hour)), earlier(goodKeyPolicy, ago(time.Hour))}, known, false},
		{"the same since after the event, another before, and a third in between", []func(*Noted){seen(noon.Add(time.Hour), time.Time{}, noon.Add(time.Hour)), earlier(goodKeyPolicy, ago(time.Hour)), change("d", ago(30*time.Minute), "x")}, unknown, false},
		{"the same since after the event, another before, and a third before that", []func(*Noted){seen(noon.Add(time.Hour), time.Time{}, noon.Add(time.Hour)), earlier(goodKeyPolicy, ago(time.Hour)), change("d", ago(2*time.Hour), "x")}, known, false},
		{"the same since after the event, the same before in other words", []func(*Noted){seen(noon.Add(time.Hour), time.Time{}, noon.Add(time.Hour)), earlier(" "+openKeyPolicy, ago(time.Hour))}, unknown, false},
		{"the same since after the event, garbled before", []func(*Noted){seen(noon.Add(time.Hour), time.Time{}, noon.Add(time.Hour)), earlier("{", ago(time.Hour))}, unknown, false},
		{"another", []func(*Noted){text(goodKeyPolicy)}, known, false},
		{"another, and a third in between", []func(*Noted){text(goodKeyPolicy), change("d", ago(time.Minute), "x")}, unknown, false},
		{"another, and the event has no time", []func(*Noted){text(goodKeyPolicy)}, known, true},
		{"another, the event has no time, and there is a third", []func(*Noted){text(goodKeyPolicy), change("d", noon, "x")}, unknown, true},
		{"nothing", []func(*Noted){text("")}, unknown, false},
		{"garbled", []func(*Noted){text("{")}, unknown, false},
	} {
		n := Noted{Text: openKeyPolicy, Since: ago(48 * time.Hour), Before: ago(90 * time.Minute), At: ago(30 * time.Minute)}
		for _, edit := range tc.noted {
			edit(&n)
		}
		e := keyPolicySet(openKeyPolicy)
		if e.Time = noon; tc.timeless {
			e.Time = time.Time{}
		}
		got := Judge(e, allRead(func(d *Documents) { d.Noted = map[string]Noted{string(key): n} }), []Use{anyUse})
		said := unknown
		switch {
		case got.Same:
			said = same
		case got.Previous == goodKeyPolicy:
			said = known
		}
		if said != tc.want || got.Exposes == got.Same {
			t.Errorf("noted was %s: what was before is %s (%s), want %s", tc.name, said, outcome(got), tc.want)
		}
		// It rests on a read that may be too old wherever the noted document lowers anything.
		if said != unknown && !got.Stale {
			t.Errorf("noted was %s: it is not judged again", tc.name)
		}
	}
}

// A document noted twice in two spellings is no document before.
func TestJudge_noGainIsProvenByASpelling(t *testing.T) {
	e := cmek.Event{ID: "e", Source: "aws.kms/AWS API Call via CloudTrail/PutKeyPolicy", Change: cmek.ChangeKeyPolicy, Key: key, Account: account, Time: time.Unix(1_000_000, 0), Policy: openKeyPolicy}
	docs := Documents{Now: map[string]Document{ledger.RolePolicies(role): {Text: noPolicies, Read: true}},
		Noted: map[string]Noted{string(key): {Text: openKeyPolicy, Earlier: " " + openKeyPolicy, Since: e.Time.Add(2 * time.Hour)}}}
	if effect := Judge(e, docs, []Use{anyUse}); !effect.Exposes {
		t.Errorf("a policy that lets a stranger in, noted after the event in two spellings: %+v", effect)
	}
}
