package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// holdsID is the one item that holds all holds: a function that must heed them reads it once.
const holdsID = "holds"

// declaredPrefix begins the items in which earlier releases kept the order not to repair a key.
const declaredPrefix = "declared#"

const (
	// mostHolds bounds the holds that stand at once, and mostEnded those that have ended and are kept for people who ask.
	mostHolds, mostEnded = 100, 100
	endedKept            = 90 * 24 * time.Hour
)

type holds struct {
	Holds cmek.Holds `json:"holds,omitempty"`
}

// Holds reads all holds: those that stand, and those that ended within the last 90 days, the newest last.
func (l *Ledger) Holds(ctx context.Context) (cmek.Holds, error) {
	var h holds
	r, err := l.store.Get(ctx, kindControl, holdsID)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	err = decode(r, &h)
	return h.Holds, err
}

// HoldOnKey returns the hold of the key that stands at now, be it an order of an earlier release, and whether there is one.
func (l *Ledger) HoldOnKey(ctx context.Context, key cmek.KeyURI, now time.Time) (cmek.Hold, bool, error) {
	all, err := l.Holds(ctx)
	if err != nil {
		return cmek.Hold{}, false, err
	}
	if h, ok := all.Find("", key, now); ok {
		return h, true, nil
	}
	var declared struct {
		Since      time.Time
		By, Reason string
	}
	r, err := l.store.Get(ctx, kindControl, declaredPrefix+key.Canonical())
	if err != nil {
		return cmek.Hold{}, false, fmt.Errorf("read hold of %s: %w", key, err)
	}
	if err := decode(r, &declared); err != nil || declared.Since.IsZero() {
		return cmek.Hold{}, false, err
	}
	return cmek.Hold{Key: key, Since: declared.Since, Until: now.Add(endedKept), By: declared.By, Reason: declared.Reason}, true, nil
}

// Hold gives the order. If the same key or cluster is held already, its hold goes on from when it began, with the new end, reason and
// name; before is that hold as it was, and zero if there was none.
func (l *Ledger) Hold(ctx context.Context, h cmek.Hold) (before cmek.Hold, err error) {
	err = l.updateHolds(ctx, h.Since, func(all cmek.Holds) (cmek.Holds, error) {
		before = cmek.Hold{}
		if i := slices.IndexFunc(all, func(old cmek.Hold) bool { return old.Same(h) && old.Stands(h.Since) }); i >= 0 {
			before = all[i]
			all[i] = h
			all[i].Since = before.Since
			return all, nil
		}
		if len(all.Standing(h.Since)) >= mostHolds {
			return nil, fmt.Errorf("%d holds stand already, and that is the most; release one, or pause everything", mostHolds)
		}
		return append(all, h), nil
	})
	return before, err
}

// Release ends the hold of the same thing as what, and no other. It returns the hold, and false if none stands.
func (l *Ledger) Release(ctx context.Context, what cmek.Hold, at time.Time, by string) (released cmek.Hold, ok bool, err error) {
	err = l.updateHolds(ctx, at, func(all cmek.Holds) (cmek.Holds, error) {
		i := slices.IndexFunc(all, func(h cmek.Hold) bool { return h.Same(what) && h.Stands(at) })
		if ok = i >= 0; !ok {
			return nil, ErrUnchanged
		}
		all[i].Released, all[i].ReleasedBy = at, by
		released = all[i]
		return all, nil
	})
	if err != nil || what.Key == "" {
		return released, ok, err
	}
	declared, isDeclared, err := l.HoldOnKey(ctx, what.Key, at)
	if err != nil || !isDeclared {
		return released, ok, err
	}
	if !ok {
		released = declared
	}
	return released, true, l.setControl(ctx, declaredPrefix+what.Key.Canonical(), struct{}{})
}

// updateHolds changes the item of the holds, and forgets those that ended long ago.
func (l *Ledger) updateHolds(ctx context.Context, now time.Time, change func(cmek.Holds) (cmek.Holds, error)) error {
	for range attempts {
		r, err := l.store.Get(ctx, kindControl, holdsID)
		if err != nil {
			return fmt.Errorf("read holds: %w", err)
		}
		var h holds
		if err := decode(r, &h); err != nil {
			return err
		}
		if h.Holds, err = change(h.Holds); errors.Is(err, ErrUnchanged) {
			return nil
		} else if err != nil {
			return err
		}
		h.Holds = remembered(h.Holds, now)
		r.Kind, r.ID = kindControl, holdsID
		if err := fit(&r, h, nil, func() []part { return []part{partOf("the holds", h)} }); err != nil {
			return err
		}
		if _, err = l.put(ctx, r); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write holds: %w", ErrConflict)
}

// remembered are the holds without those that ended long ago, and without the oldest of too many that ended.
func remembered(all cmek.Holds, now time.Time) cmek.Holds {
	end := func(h cmek.Hold) time.Time {
		if h.Released.IsZero() {
			return h.Until
		}
		return h.Released
	}
	var ended cmek.Holds
	for _, h := range all {
		if !h.Stands(now) && now.Sub(end(h)) < endedKept {
			ended = append(ended, h)
		}
	}
	slices.SortStableFunc(ended, func(a, b cmek.Hold) int { return end(a).Compare(end(b)) })
	kept := slices.Concat(ended[max(0, len(ended)-mostEnded):], all.Standing(now))
	slices.SortStableFunc(kept, func(a, b cmek.Hold) int { return cmp.Or(a.Since.Compare(b.Since)) })
	return kept
}
