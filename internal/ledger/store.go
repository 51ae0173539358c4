// Package ledger keeps what keyturn did, what is open, and which cluster needs which key. All its logic is written once,
// here, over a small compare-and-swap [Store] that every cloud can offer.
package ledger

import (
	"context"
	"errors"
	"time"
)

// ErrConflict is what a Store's Put returns, wrapped or not, when the record was changed by somebody else.
var ErrConflict = errors.New("the record was changed by somebody else")

// Record is one stored item. (Kind, ID) names it; Kind is the name of the function that owns it and thus an index of its
// own for [Store.Due] and [Store.ByKey].
type Record struct {
	Kind string
	ID   string
	// Version counts the record's writes; 0 means that it does not exist.
	Version int64
	// Token names the last write. A writer that met a conflict and finds its own token has succeeded; only the answer
	// was lost.
	Token string
	// NextLook is when the record is due; the zero time means never. Stores keep it to the millisecond.
	NextLook time.Time
	// Expires is when the record ceases to exist; the zero time means never. Stores keep it to the second.
	Expires time.Time
	// Keys are the canonical key URIs that the record names, without duplicates.
	Keys []string
	// Data is the record's content. A store keeps it to the byte.
	Data []byte
}

// Expired reports whether the record has ceased to exist. A store may take its time to remove it.
func (r Record) Expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// Store is the port to a database. Implementations are safe for concurrent use, read their own writes, and honor ctx.
//
// The reads of Get, Due and ByKey never return torn records. An index may lag behind: Due and ByKey may miss a record
// written a moment ago, and the records they do return are current (read again consistently, and left out if they no
// longer match).
//
// A record that has expired is not there: no read returns it, and a Put takes its place with Version 0 only.
//
// What is stored under a record's name and cannot be read as a record is an error that names it and wraps [ErrUndecodable].
// Due and ByKey return it beside the other records.
type Store interface {
	// Get returns the record. One that does not exist has Version 0; that is not an error.
	Get(ctx context.Context, kind, id string) (Record, error)
	// Put writes r if the stored Version equals r.Version (0: if it does not exist), and stores it with Version
	// r.Version+1. Otherwise it changes nothing and returns ErrConflict. Any other error leaves open whether it was written.
	Put(ctx context.Context, r Record) error
	// Due returns at most limit records of the kind with a NextLook at or before the given time, oldest first.
	Due(ctx context.Context, kind string, before time.Time, limit int) ([]Record, error)
	// ByKey returns all records of the kind that name the key, ordered by ID.
	ByKey(ctx context.Context, kind, key string) ([]Record, error)
}
