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

	"github.com/keyturn/keyturn/internal/cmek"
)

const policyPrefix = "policy#"

// NotedPolicy is the policy document of a key or role as a sweep saw it last. Zero: none was seen.
type NotedPolicy struct {
	Document string `json:"document"`
	// At is when a sweep saw it last, Before the time before that, Since when one saw it first.
	At     time.Time `json:"at"`
	Before time.Time `json:"before,omitzero"`
	Since  time.Time `json:"since,omitzero"`
	// Earlier is the last document that was different, and EarlierAt when a sweep saw it last; "" if none is known.
	Earlier   string    `json:"earlier,omitempty"`
	EarlierAt time.Time `json:"earlier_at,omitzero"`
}

// PolicyNoted returns what was noted of the policy document of a key or role, by its URI or ARN.
func (l *Ledger) PolicyNoted(ctx context.Context, name string) (p NotedPolicy, err error) {
	r, err := l.store.Get(ctx, kindControl, policyPrefix+name)
	if err != nil {
		return p, fmt.Errorf("read last policy of %s: %w", name, err)
	}
	if err := decode(r, &p); err != nil {
		return NotedPolicy{}, err
	}
	if p.Since.IsZero() {
		p.Since = p.At // noted before there was a Since
	}
	return p, nil
}

// NotePolicy notes that the policy document of a key or role is the one given, as of now. was is what was noted before.
func (l *Ledger) NotePolicy(ctx context.Context, name, document string, was NotedPolicy) error {
	now := time.Now()
	p := NotedPolicy{Document: document, At: now, Since: now, Earlier: was.Earlier, EarlierAt: was.EarlierAt}
	switch {
	case was.Document == document:
		p.Since, p.Before = was.Since, was.At
	case was.Document != "":
		p.Earlier, p.EarlierAt = was.Document, was.At
	}
	return l.setControl(ctx, policyPrefix+name, p)
}

const changedPrefix = "changed#"

// keptChanges is how many changes of one document are kept. More between two sweeps are not told apart.
const keptChanges = 30

// PolicyChange is a change of a policy document that an event reported.
type PolicyChange struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	// Digest stands for the meaning of the document that was set; "" if it is not known.
	Digest string `json:"digest,omitempty"`
}

// PolicyChanges returns the newest changes of the policy document of a key or role that events reported, the oldest first.
func (l *Ledger) PolicyChanges(ctx context.Context, name string) ([]PolicyChange, error) {
	_, changes, err := l.policyChanges(ctx, name)
	return changes, err
}

func (l *Ledger) policyChanges(ctx context.Context, name string) (r Record, changes []PolicyChange, err error) {
	if r, err = l.store.Get(ctx, kindAlerting, changedPrefix+name); err != nil {
		return r, nil, fmt.Errorf("read changes of policy of %s: %w", name, err)
	}
	return r, changes, decode(r, &changes)
}

// NotePolicyChange notes a change that an event reported, and returns all that are kept. Events come in any order, and repeatedly.
func (l *Ledger) NotePolicyChange(ctx context.Context, name string, c PolicyChange) ([]PolicyChange, error) {
	for range attempts {
		r, changes, err := l.policyChanges(ctx, name)
		if err != nil || slices.ContainsFunc(changes, func(other PolicyChange) bool { return other.Event == c.Event }) {
			return changes, err
		}
		changes = append(changes, c)
		slices.SortStableFunc(changes, func(a, b PolicyChange) int { return a.At.Compare(b.At) })
		if more := len(changes) - keptChanges; more > 0 {
			changes = changes[more:]
			changes[0].Digest = "" // nor is it known what the dropped ones set
		}
		r.Kind, r.ID, r.Expires = kindAlerting, changedPrefix+name, time.Now().Add(keepHappenings).UTC().Truncate(time.Second)
		if err := fit(&r, changes, nil, func() []part { return []part{partOf("its content", changes)} }); err != nil {
			return nil, err
		}
		if _, err = l.put(ctx, r); !errors.Is(err, ErrConflict) {
			return changes, err
		}
	}
	return nil, fmt.Errorf("note change of policy of %s: %w", name, ErrConflict)
}

const statePrefix = "keystate#"

// NotedState is the state of a key as sweeps saw it, with the state before: since when, and when it was seen last. It is noted again
// when it changes, and from time to time.
type NotedState struct {
	State cmek.KeyState `json:"state"`
	Since time.Time     `json:"since"`
	At    time.Time     `json:"at,omitzero"`

	Before      cmek.KeyState `json:"before,omitempty"`
	BeforeSince time.Time     `json:"before_since,omitzero"`
	BeforeAt    time.Time     `json:"before_at,omitzero"`
}

// SeenWithin reports whether a sweep saw the state within so long before a time, and began to see it before then.
func (s NotedState) SeenWithin(state cmek.KeyState, at time.Time, within time.Duration) bool {
	seen := func(noted cmek.KeyState, since, last time.Time) bool {
		return noted == state && !since.IsZero() && !since.After(at) && !last.Before(at.Add(-within))
	}
	return seen(s.State, s.Since, s.At) || s.Since.After(at) && seen(s.Before, s.BeforeSince, s.BeforeAt)
}

// StateNoted returns what was noted of the key's state; zero if nothing was.
func (l *Ledger) StateNoted(ctx context.Context, key cmek.KeyURI) (s NotedState, err error) {
	r, err := l.store.Get(ctx, kindControl, statePrefix+string(key))
	if err != nil {
		return s, fmt.Errorf("read noted state of %s: %w", key, err)
	}
	return s, decode(r, &s)
}

// NoteState notes the key's state as of now. was is what was noted before.
func (l *Ledger) NoteState(ctx context.Context, key cmek.KeyURI, state cmek.KeyState, was NotedState) error {
	now := time.Now()
	s := NotedState{State: state, Since: now, At: now, Before: was.State, BeforeSince: was.Since, BeforeAt: was.At}
	if was.State == state {
		s = was
		s.At = now
	}
	return l.setControl(ctx, statePrefix+string(key), s)
}

// RolePolicies is the name under which all identity policies of a role and its boundary are noted together; under the role's
// ARN is its trust policy.
func RolePolicies(role cmek.Principal) string { return string(role) + "#policies" }

// PolicyName is the name in the archive of a policy document of a key or role. Each document has one name, so that noting it
// twice changes nothing.
func PolicyName(name, document string) string {
	sum := sha256.Sum256([]byte(document))
	return "policies/" + strings.NewReplacer(":", "_", "/", "_", "#", "_").Replace(name) + "/" + hex.EncodeToString(sum[:8]) + ".json"
}
