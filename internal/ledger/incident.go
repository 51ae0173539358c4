package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	kindAlerting   = "alerting"
	incidentPrefix = "incident#"
)

// Incident is one risk that people were notified of: the alert, the events that belong to it, and how far it is from its end. One
// without an end (a happening) is closed from the start, and only keeps a repeat of its event from being sent again; the
// ledger forgets it after 30 days.
type Incident struct {
	DedupKey string      `json:"dedup_key"`
	Alert    alert.Alert `json:"alert"`
	// Kind is the incident code: what is broken, and so what must be read to know that it has recovered; "" for a happening.
	Kind string `json:"kind,omitempty"`
	// On is the version of the alert's key that is broken, where versions have states of their own; zero for the key as a whole.
	On cmek.KeyVersion `json:"on,omitzero"`
	// Events are the ids of the newest events that people were notified of under this key. Repeats counts the others, of which no
	// alert was sent because it would have said the same.
	Events  []string  `json:"events,omitempty"`
	Repeats int       `json:"repeats,omitempty"`
	Opened  time.Time `json:"opened,omitzero"`
	Closed  time.Time `json:"closed,omitzero"`
	// Recovered is the time of the last event that may have ended it. GoodSince is when a read first showed it healthy, zero
	// while reads show it broken.
	Recovered time.Time `json:"recovered,omitzero"`
	GoodSince time.Time `json:"good_since,omitzero"`
	// Closing is an operator's order to end it, until alerting has reported and ended it; zero if there is none.
	Closing Closing `json:"closing,omitzero"`
	// Repaired is when keyturn last repaired the key by itself. Repair is what it is to do next; nil for nothing.
	Repaired time.Time `json:"repaired,omitzero"`
	Repair   *Repair   `json:"repair,omitempty"`
	// Changes are those that people were notified of since it was opened.
	Changes []cmek.Change `json:"changes,omitempty"`
	// Ending is set before the end is sent, and cleared when the end is on record: an open incident with an Ending may have a message
	// that says that it is resolved.
	Ending time.Time `json:"ending,omitzero"`
	// Review is an event that is to be judged again, in an item of its own; nil for none.
	Review   *Review   `json:"review,omitempty"`
	NextLook time.Time `json:"next_look,omitzero"`

	record Record
}

// Review is an event whose judgement is made once more: it rested on reads that may have been older than the event, or it stayed
// unclear.
type Review struct {
	Event cmek.Event `json:"event"`
	Due   time.Time  `json:"due"`
	// Severity is what it was rated before, and Of the dedup key under which people were notified of it; "" if they were not.
	Severity alert.Severity `json:"severity"`
	Of       string         `json:"of,omitempty"`
}

// Closing is who closed an incident by hand, why and when.
type Closing struct {
	At     time.Time `json:"at,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Asked reports whether an operator closed the incident.
func (c Closing) Asked() bool { return !c.At.IsZero() }

// ID is a short name for people, made from the dedup key.
func (i *Incident) ID() string { return IncidentID(i.DedupKey) }

// IncidentID is a short name, for people, of the incident with that dedup key.
func IncidentID(dedupKey string) string {
	sum := sha256.Sum256([]byte(dedupKey))
	return hex.EncodeToString(sum[:5])
}

// Repair is a scheduled deletion that is to be undone.
type Repair struct {
	Event cmek.Event `json:"event"`
	Due   time.Time  `json:"due"`
	// Begun is when it was begun; after that it is not begun again, and only its result is left to report.
	Begun time.Time `json:"begun,omitzero"`
	// Not says why the deletion is canceled at most, and the key not enabled; "" for nothing known.
	Not string `json:"not,omitempty"`
}

// PollBy sets the next poll to at, or to when a repair is due, if that is earlier.
func (i *Incident) PollBy(at time.Time) {
	if i.Repair != nil && i.Repair.Due.Before(at) {
		at = i.Repair.Due
	}
	i.NextLook = at
}

// Open reports whether people were notified of the incident and it has not ended.
func (i *Incident) Open() bool { return !i.Opened.IsZero() && i.Closed.IsZero() }

// HealthySince is the time of the recovery that ended the incident: of the event that fixed it, or else of the first read that showed it
// healthy. Zero for one that is open, that has no end, or that was closed by hand.
func (i *Incident) HealthySince() time.Time {
	switch {
	case i.Closed.IsZero() || i.Closing.Asked() || i.GoodSince.IsZero():
		return time.Time{}
	case i.Recovered.IsZero() || i.Recovered.After(i.Closed): // after it was closed, the recovery is another one's
		return i.GoodSince
	}
	return i.Recovered
}

// keepHappenings is how long a happening is remembered after its last write: far longer than any queue delivers its event.
const keepHappenings = 30 * 24 * time.Hour

// expires is when the ledger may forget it; zero for never. Only what merely keeps an alert from being sent again is forgotten.
func (i *Incident) expires(now time.Time) time.Time {
	if i.Kind != "" || i.Open() {
		return time.Time{}
	}
	return now.Add(keepHappenings).UTC().Truncate(time.Second)
}

// Notified reports whether people were notified of the event already.
func (i *Incident) Notified(eventID string) bool { return slices.Contains(i.Events, eventID) }

// Add notes that people were notified of the event.
func (i *Incident) Add(eventID string) {
	const kept = 30
	i.Events = append(i.Events, eventID)
	i.Events = i.Events[max(0, len(i.Events)-kept):]
}

// Incident returns the incident; one that does not exist has only its key.
func (l *Ledger) Incident(ctx context.Context, dedupKey string) (*Incident, error) {
	r, err := l.store.Get(ctx, kindAlerting, incidentPrefix+dedupKey)
	if err != nil {
		return nil, fmt.Errorf("read incident %s: %w", dedupKey, err)
	}
	i := &Incident{DedupKey: dedupKey, record: r}
	return i, decode(r, i)
}

// UpdateIncident reads the incident, lets change alter it, and swaps it in; see [Ledger.UpdateCluster].
func (l *Ledger) UpdateIncident(ctx context.Context, dedupKey string, change func(*Incident) error) (*Incident, error) {
	for range attempts {
		i, err := l.Incident(ctx, dedupKey)
		if err != nil {
			return nil, err
		}
		switch err := change(i); {
		case errors.Is(err, ErrUnchanged):
			return i, nil
		case err != nil:
			return nil, err
		}
		r := i.record
		r.Kind, r.ID, r.NextLook, r.Expires = kindAlerting, incidentPrefix+dedupKey, i.NextLook, i.expires(time.Now())
		if err := i.fit(&r); err != nil {
			return nil, err
		}
		i.record, err = l.put(ctx, r)
		if err == nil {
			return i, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("write incident %s: %w, %d times in a row", dedupKey, ErrConflict, attempts)
}

// CloseIncident notes an operator's word that the incident is over, and makes it due: alerting tells of its end and ends it.
// It writes nothing to an incident that is not open, or that was closed already; the incident returned shows which.
func (l *Ledger) CloseIncident(ctx context.Context, dedupKey string, c Closing) (i *Incident, closed bool, err error) {
	i, err = l.UpdateIncident(ctx, dedupKey, func(i *Incident) error {
		if closed = i.Open() && !i.Closing.Asked(); !closed {
			return ErrUnchanged
		}
		c.At = c.At.UTC().Truncate(time.Second) // as events tell time: one of the same second may have come after it
		i.Closing, i.NextLook = c, c.At
		return nil
	})
	return i, closed && err == nil, err
}

// DueIncidents returns at most limit incidents that are due at now, the oldest first: open ones, and those with a review to come. Those that cannot be decoded are
// left out: the error, an ErrUndecodable, names them, and comes with the others.
func (l *Ledger) DueIncidents(ctx context.Context, now time.Time, limit int) ([]*Incident, error) {
	return due(ctx, l.store, kindAlerting, now, limit, func(r Record) (*Incident, error) {
		i := &Incident{DedupKey: strings.TrimPrefix(r.ID, incidentPrefix), record: r}
		return i, decode(r, i)
	})
}

// OpenIncidents returns all open incidents, for display; see [Ledger.DueIncidents] about the error.
func (l *Ledger) OpenIncidents(ctx context.Context) ([]*Incident, error) {
	due, err := l.DueIncidents(ctx, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 10_000)
	return slices.DeleteFunc(due, func(i *Incident) bool { return !i.Open() }), err
}
