package alerting

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
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

// language compares documents of one kind by their texts.
type language struct {
	// digest stands for the meaning of a text; "" if it cannot be understood.
	digest func(text string) string
	// equal reports whether two texts are proven to mean the same.
	equal func(a, b string) bool
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
func (n Noted) stood(digest string, seen time.Time, e cmek.Event) bool {
	return !n.Unread && !slices.ContainsFunc(n.Changes, func(c Change) bool {
		between := !c.At.Before(seen.Add(-clocks)) && (e.Time.IsZero() || !c.At.After(e.Time))
		return c.Event != e.ID && between && c.Digest != digest
	})
}

// clocks is how far two clocks may differ.
const clocks = 10 * time.Minute

// longestNoted is how long before an event a document may have been seen last to prove that the event changed nothing. Sweeps see it
// every hour.
const longestNoted = 6 * time.Hour

// before is the text of the document before the one that is there now, as far as it was noted; "" if it is not known. same: the one noted
// before the event is equal.
func (j *judgement) before(after string, noted Noted, in language) (before string, same bool) {
	text, seen := noted.Text, noted.seen(j.event)
	if in.equal(text, after) {
		// A sweep between the event and this look may have noted the new document already: then the one before it counts.
		since := noted.Since
		if noted.Earlier != "" {
			since = since.Add(clocks)
		}
		if !noted.Since.IsZero() && !since.After(j.event.Time) {
			j.Stale = true
			recent := !seen.Before(j.event.Time.Add(-longestNoted))
			return "", recent && noted.stood(in.digest(text), seen, j.event)
		}
		text, seen = noted.Earlier, noted.EarlierAt
	}
	digest := in.digest(text)
	if digest == "" || in.equal(text, after) { // noted twice, in two spellings: what was there before is not known
		return "", false
	}
	if j.Stale = true; !noted.stood(digest, seen, j.event) {
		return "", false
	}
	j.Previous = text
	return text, false
}
