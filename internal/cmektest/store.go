package cmektest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// Store is a [ledger.Store] in memory. It is safe for concurrent use, its indexes never lag, and equal calls in equal
// order give equal answers.
type Store struct {
	mu      sync.Mutex
	records map[recordID]ledger.Record
}

type recordID struct{ kind, id string }

// NewStore returns an empty store.
func NewStore() *Store { return &Store{records: map[recordID]ledger.Record{}} }

// Get returns the record.
func (s *Store) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Record{}, fmt.Errorf("get %s %q: %w", kind, id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[recordID{kind, id}]
	if !ok || r.Expired(time.Now()) {
		return ledger.Record{Kind: kind, ID: id}, nil
	}
	return clone(r), nil
}

// Put writes the record if its version is the stored one.
func (s *Store) Put(ctx context.Context, r ledger.Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put %s %q: %w", r.Kind, r.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := recordID{r.Kind, r.ID}
	stored := s.records[name]
	if stored.Expired(time.Now()) {
		stored = ledger.Record{}
	}
	if stored.Version != r.Version {
		return fmt.Errorf("put %s %q: version is %d, not %d: %w", r.Kind, r.ID, stored.Version, r.Version, ledger.ErrConflict)
	}
	r = clone(r)
	r.Version++
	if !r.NextLook.IsZero() {
		r.NextLook = time.UnixMilli(r.NextLook.UnixMilli()).UTC()
	}
	if !r.Expires.IsZero() {
		r.Expires = time.Unix(r.Expires.Unix(), 0).UTC()
	}
	s.records[name] = r
	return nil
}

// Due returns the records due, oldest first, then by ID.
func (s *Store) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	due, err := s.matching(ctx, kind, func(r ledger.Record) bool {
		return !r.NextLook.IsZero() && r.NextLook.UnixMilli() <= before.UnixMilli()
	})
	slices.SortStableFunc(due, func(a, b ledger.Record) int { return a.NextLook.Compare(b.NextLook) })
	return due[:min(len(due), max(limit, 0))], err
}

// ByKey returns the records that name the key.
func (s *Store) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	return s.matching(ctx, kind, func(r ledger.Record) bool { return slices.Contains(r.Keys, key) })
}

// matching returns copies of the kind's records that match, ordered by ID.
func (s *Store) matching(ctx context.Context, kind string, match func(ledger.Record) bool) ([]ledger.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []ledger.Record
	for name, r := range s.records {
		if name.kind == kind && !r.Expired(time.Now()) && match(r) {
			found = append(found, clone(r))
		}
	}
	slices.SortFunc(found, func(a, b ledger.Record) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}

// clone keeps the caller's slices and the store's apart.
func clone(r ledger.Record) ledger.Record {
	r.Keys = slices.Clone(r.Keys)
	r.Data = bytes.Clone(r.Data)
	return r
}
