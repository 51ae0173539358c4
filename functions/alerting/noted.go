package alerting

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

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

// digest stands for the meaning of the document that an event set; "" if it carries none that can be understood.
func digest(e cmek.Event) string {
	d, err := policy.Parse(e.Policy)
	if err != nil {
		return ""
	}
	return policy.Digest(d)
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

// clocks is how far two clocks may differ.
const clocks = 10 * time.Minute

// before is the document before this one, as far as it was noted. same: the one noted before the event is equal.
func (j *judgement) before(after policy.Document, noted Noted) (before *policy.Document, same bool) {
	text, seen := noted.Text, noted.seen(j.event)
	if d, err := policy.Parse(text); err == nil && policy.Equal(d, after) {
		// A sweep between the event and this look may have noted the new document already: then the one before it counts.
		since := noted.Since
		if noted.Earlier != "" {
			since = since.Add(clocks)
		}
		if !noted.Since.IsZero() && !since.After(j.event.Time) {
			j.Stale = true
			if noted.stood(d, seen, j.event) {
				return &d, true
			}
			return nil, false
		}
		text, seen = noted.Earlier, noted.EarlierAt
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
