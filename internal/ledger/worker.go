package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Worker is the record of the one worker that follows through at a time: its lease and how far its sweep got. The lease
// keeps the request rate of one API user in one hand; it is not what makes a PUT unique (the swap of the cluster's item
// is).
type Worker struct {
	// Holder has the lease until Until.
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Sweep  Sweep     `json:"sweep"`
	Alarms []Alarm   `json:"alarms,omitempty"`
	// KeyTroubles holds, by URI, the keys that cannot be used or read.
	KeyTroubles map[string]KeyTrouble `json:"key_troubles,omitempty"`
	// Denied holds the clusters, by id with their names, to which our API key may not send PUTs.
	Denied map[string]string `json:"denied,omitempty"`
	// UpdatedAtMoves is true once an accepted PUT was seen to move its key's updated_at: then a PUT that leaves no trace did not
	// take effect.
	UpdatedAtMoves bool `json:"updated_at_moves,omitempty"`
	// SubscribersRead is when it was last read whom the messages reach, or when that failed.
	SubscribersRead time.Time `json:"subscribers_read,omitzero"`
	Outbox

	record Record
}

// KeyTrouble is what is wrong with a key.
type KeyTrouble struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	// Help is how to fix it, where the answer of the read says that: sentences and commands.
	Help []string `json:"help,omitempty"`
	// Version is the id of the version whose state that is, where versions have states and the key has none (Cloud KMS); "" elsewhere.
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since"`
	// Read is when it was last read, Count how many reads in a row showed it.
	Read  time.Time `json:"read"`
	Count int       `json:"count"`
	// Deadline is when a scheduled deletion becomes final; zero for none.
	Deadline time.Time `json:"deadline,omitzero"`
}

// Sweep is the walk over all clusters.
type Sweep struct {
	// Began is when the current walk, or the last one, began; Ended is when it ended, zero while it is under way.
	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	// Page is the page to read next; Skip the number of clusters on it that were visited already.
	Page string `json:"page,omitempty"`
	Skip int    `json:"skip,omitempty"`
	// Clusters counts those visited in this walk.
	Clusters int `json:"clusters,omitempty"`
	// OldestOpen is when the oldest work was opened that is open at a cluster visited in this walk; zero if none is.
	OldestOpen time.Time `json:"oldest_open,omitzero"`
	// WasOpen is the OldestOpen of the last walk that came to its end.
	WasOpen time.Time `json:"was_open,omitzero"`
	// Complete is when the last walk that read every cluster without an error ended.
	Complete time.Time `json:"complete,omitzero"`
	// Names says by which names the projects of all clusters of this walk are known so far, Named that of the last complete one.
	Names Named `json:"names,omitzero"`
	Named Named `json:"named,omitzero"`
	// Failed counts clusters of this walk that could not be read, Unread those among them that had a CMEK and show none: these
	// keep their inventory and do not make the walk incomplete. Others counts the clusters of another installation.
	// PageFailures counts failures in a row to read the page.
	Failed int `json:"failed,omitempty"`
	Unread int `json:"unread,omitempty"`
	Others int `json:"others,omitempty"`
	// Found are the clusters of this walk that the ledger knew before it, Known those that it knows now, WasKnown those that it knew
	// after the walk before. Where Found lacks one of WasKnown, it is not listed any more: the walk after marks each cluster that it
	// visits, so that its end shows which.
	Found        Set  `json:"found,omitzero"`
	Known        Set  `json:"known_set,omitzero"`
	WasKnown     Set  `json:"was_known_set,omitzero"`
	Marks        bool `json:"marks,omitempty"`
	PageFailures int  `json:"page_failures,omitempty"`
}

// Set identifies a set of names in a few bytes, however many they are, and in whatever order they were added.
type Set struct {
	Count int `json:"count,omitempty"`
	// Sum is the sum of the names' hashes.
	Sum uint64 `json:"sum,string,omitempty"`
}

// Of is the set of these different names.
func Of(names ...string) (s Set) {
	for _, name := range names {
		sum := sha256.Sum256([]byte(name))
		s = s.Plus(Set{Count: 1, Sum: binary.BigEndian.Uint64(sum[:])})
	}
	return s
}

// Plus is the set of the names of both, which must have none in common.
func (s Set) Plus(more Set) Set { return Set{s.Count + more.Count, s.Sum + more.Sum} }

// Lacks reports whether the set is without a name of the other. Of a larger set it is not known, and not said.
func (s Set) Lacks(other Set) bool { return s.Count <= other.Count && s != other }

// Running reports whether a walk is under way.
func (s Sweep) Running() bool { return !s.Began.IsZero() && s.Ended.IsZero() }

// ErrLeased is returned by Lease when somebody else holds the lease.
var ErrLeased = errors.New("another worker holds the lease")

// Worker reads the worker's record; one that does not exist is zero.
func (l *Ledger) Worker(ctx context.Context) (*Worker, error) {
	r, err := l.store.Get(ctx, kindRotation, workerID)
	if err != nil {
		return nil, fmt.Errorf("read worker: %w", err)
	}
	w := &Worker{record: r}
	return w, decode(r, w)
}

// EnsureWorker writes the worker's record if there is none, due at once, and reports whether it did. A new ledger begins
// with it.
func (l *Ledger) EnsureWorker(ctx context.Context, now time.Time) (created bool, err error) {
	w, err := l.Worker(ctx)
	if err != nil || w.record.Version > 0 {
		return false, err
	}
	switch err := l.SaveWorker(ctx, w, now); {
	case errors.Is(err, ErrConflict):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// Lease takes the lease for the holder until the given time, or returns ErrLeased. A lease that ran out, or that the same
// holder has, is taken over.
func (l *Ledger) Lease(ctx context.Context, holder string, now, until time.Time) (*Worker, error) {
	w, err := l.Worker(ctx)
	if err != nil {
		return nil, err
	}
	if w.Holder != "" && w.Holder != holder && now.Before(w.Until) {
		return nil, ErrLeased
	}
	w.Holder, w.Until = holder, until
	switch err := l.SaveWorker(ctx, w, now); {
	case errors.Is(err, ErrConflict):
		return nil, ErrLeased
	case err != nil:
		return nil, err
	}
	return w, nil
}

// SaveWorker swaps the worker's record in, due at next. ErrConflict means that the lease was lost.
func (l *Ledger) SaveWorker(ctx context.Context, w *Worker, next time.Time) (err error) {
	r := w.record
	r.Kind, r.ID = kindRotation, workerID
	if err := w.fit(&r); err != nil {
		return err
	}
	r.NextLook = w.dueAt(next)
	w.record, err = l.put(ctx, r)
	return err
}
