package local

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/keyturn/keyturn/internal/ledger"
)

// lockWait is how long to wait for a file that another process holds: enough for one that is just ending.
const lockWait = 500 * time.Millisecond

// Store is a [ledger.Store] in one bbolt file, for one process at a time. Its indexes never lag.
//
// The file holds one bucket for each kind, and in it four more: "records" (ID → record), "due" (NextLook and ID, in
// the order of time), "expires" (Expires and ID, likewise) and "keys" (a bucket for each key, with the IDs of the records
// that name it). A record and its index entries change in one transaction. Expired records are removed when the file is
// opened and with each write.
type Store struct{ db *bolt.DB }

var (
	recordsBucket = []byte("records")
	dueBucket     = []byte("due")
	expiresBucket = []byte("expires")
	keysBucket    = []byte("keys")
)

// OpenStore opens the ledger in the file and creates it, with its folder, if there is none. A file that another process
// holds is an error that says so, within a second. The caller closes the store.
func OpenStore(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create folder of ledger: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open ledger %s: another keyturn process is using it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if err := forgetAll(db); err != nil {
		return nil, errors.Join(fmt.Errorf("remove expired records from ledger %s: %w", path, err), db.Close())
	}
	return &Store{db}, nil
}

// Close releases the file.
func (s *Store) Close() error { return s.db.Close() }

// Get returns the record.
func (s *Store) Get(ctx context.Context, kind, id string) (r ledger.Record, err error) {
	err = s.view(ctx, kind, func(b kindBuckets) error {
		r, err = b.record(id)
		return err
	})
	if err != nil {
		return ledger.Record{}, fmt.Errorf("get %s %q: %w", kind, id, err)
	}
	if r.Expired(time.Now()) {
		return ledger.Record{Kind: kind, ID: id}, nil
	}
	return r, nil
}

// Put writes the record if its version is the stored one.
func (s *Store) Put(ctx context.Context, r ledger.Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put %s %q: %w", r.Kind, r.ID, err)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := createBuckets(tx, r.Kind)
		if err != nil {
			return err
		}
		if err := b.forget(time.Now()); err != nil {
			return err
		}
		old, err := b.record(r.ID)
		if err != nil {
			return err
		}
		if old.Version != r.Version {
			return fmt.Errorf("version is %d, not %d: %w", old.Version, r.Version, ledger.ErrConflict)
		}
		r.Version++
		return b.replace(old, r)
	})
	if err != nil {
		return fmt.Errorf("put %s %q: %w", r.Kind, r.ID, err)
	}
	return nil
}

// Due returns the records due, oldest first, then by ID.
func (s *Store) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	var due answer
	err := s.view(ctx, kind, func(b kindBuckets) error {
		if b.due == nil {
			return nil
		}
		cursor := b.due.Cursor()
		for entry, _ := cursor.First(); entry != nil && len(due.records) < limit; entry, _ = cursor.Next() {
			at, id := parseTimeEntry(entry)
			if at > before.UnixMilli() {
				break
			}
			due.add(b, id)
		}
		return due.err()
	})
	if err != nil {
		err = fmt.Errorf("read due records of %s: %w", kind, err)
	}
	return due.records, err
}

// ByKey returns the records that name the key, ordered by ID.
func (s *Store) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	var found answer
	err := s.view(ctx, kind, func(b kindBuckets) error {
		if b.keys == nil || b.keys.Bucket([]byte(key)) == nil {
			return nil
		}
		cursor := b.keys.Bucket([]byte(key)).Cursor()
		for id, _ := cursor.First(); id != nil; id, _ = cursor.Next() {
			found.add(b, string(id))
		}
		return found.err()
	})
	if err != nil {
		err = fmt.Errorf("read records of %s by key: %w", kind, err)
	}
	return found.records, err
}

// answer collects the records that there are, and what is wrong with those that cannot be read.
type answer struct {
	records []ledger.Record
	broken  []error
}

func (a *answer) add(b kindBuckets, id string) {
	switch r, err := b.record(id); {
	case err != nil:
		a.broken = append(a.broken, err)
	case !r.Expired(time.Now()):
		a.records = append(a.records, r)
	}
}

func (a *answer) err() error { return errors.Join(a.broken...) }

func (s *Store) view(ctx context.Context, kind string, read func(kindBuckets) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket([]byte(kind))
		if root == nil {
			return read(kindBuckets{kind: kind})
		}
		return read(kindBuckets{kind, root.Bucket(recordsBucket), root.Bucket(dueBucket), root.Bucket(expiresBucket), root.Bucket(keysBucket)})
	})
}

// kindBuckets are the buckets of one kind within a transaction; all nil if nothing of the kind was ever put.
type kindBuckets struct {
	kind                        string
	records, due, expires, keys *bolt.Bucket
}

func createBuckets(tx *bolt.Tx, kind string) (b kindBuckets, err error) {
	b.kind = kind
	root, err := tx.CreateBucketIfNotExists([]byte(kind))
	if err != nil {
		return b, err
	}
	if b.records, err = root.CreateBucketIfNotExists(recordsBucket); err != nil {
		return b, err
	}
	if b.due, err = root.CreateBucketIfNotExists(dueBucket); err != nil {
		return b, err
	}
	if b.expires, err = root.CreateBucketIfNotExists(expiresBucket); err != nil {
		return b, err
	}
	b.keys, err = root.CreateBucketIfNotExists(keysBucket)
	return b, err
}

// storedRecord is a record as the file keeps it. Its kind and ID are where it stands.
type storedRecord struct {
	Version  int64    `json:"version"`
	Token    string   `json:"token,omitempty"`
	NextLook *int64   `json:"next_look_ms,omitempty"`
	Expires  *int64   `json:"expires_s,omitempty"`
	Keys     []string `json:"keys,omitempty"`
	Data     []byte   `json:"data,omitempty"`
}

// record reads a record; one with version 0 if there is none.
func (b kindBuckets) record(id string) (ledger.Record, error) {
	r := ledger.Record{Kind: b.kind, ID: id}
	if b.records == nil {
		return r, nil
	}
	value := b.records.Get([]byte(id))
	if value == nil {
		return r, nil
	}
	var stored storedRecord
	if err := json.Unmarshal(value, &stored); err != nil {
		return r, fmt.Errorf("%w %s/%s: %w", ledger.ErrUndecodable, b.kind, id, err)
	}
	r.Version, r.Token, r.Keys, r.Data = stored.Version, stored.Token, stored.Keys, stored.Data
	if stored.NextLook != nil {
		r.NextLook = time.UnixMilli(*stored.NextLook).UTC()
	}
	if stored.Expires != nil {
		r.Expires = time.Unix(*stored.Expires, 0).UTC()
	}
	return r, nil
}

// replace writes next over old, and moves the index entries.
func (b kindBuckets) replace(old, next ledger.Record) error {
	stored := storedRecord{Version: next.Version, Token: next.Token, Keys: next.Keys, Data: next.Data}
	if err := b.unlist(old); err != nil {
		return err
	}
	if !next.NextLook.IsZero() {
		at := next.NextLook.UnixMilli()
		stored.NextLook = &at
		if err := b.due.Put(dueEntry(next), nil); err != nil {
			return err
		}
	}
	if !next.Expires.IsZero() {
		at := next.Expires.Unix()
		stored.Expires = &at
		if err := b.expires.Put(expiresEntry(next), nil); err != nil {
			return err
		}
	}
	if err := b.replaceKeys(old, next); err != nil {
		return err
	}
	value, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	return b.records.Put([]byte(next.ID), value)
}

// unlist takes the record out of the indexes by time.
func (b kindBuckets) unlist(r ledger.Record) error {
	if !r.NextLook.IsZero() {
		if err := b.due.Delete(dueEntry(r)); err != nil {
			return err
		}
	}
	if !r.Expires.IsZero() {
		return b.expires.Delete(expiresEntry(r))
	}
	return nil
}

func (b kindBuckets) replaceKeys(old, next ledger.Record) error {
	for _, key := range old.Keys {
		if slices.Contains(next.Keys, key) {
			continue
		}
		if err := b.keys.Bucket([]byte(key)).Delete([]byte(next.ID)); err != nil {
			return err
		}
	}
	for _, key := range next.Keys {
		ids, err := b.keys.CreateBucketIfNotExists([]byte(key))
		if err != nil {
			return fmt.Errorf("index key %q: %w", key, err)
		}
		if err := ids.Put([]byte(next.ID), nil); err != nil {
			return err
		}
	}
	return nil
}

func dueEntry(r ledger.Record) []byte     { return timeEntry(r.NextLook.UnixMilli(), r.ID) }
func expiresEntry(r ledger.Record) []byte { return timeEntry(r.Expires.Unix(), r.ID) }

// timeEntry sorts by time: the number, big-endian and moved so that instants before 1970 come first; then the ID.
func timeEntry(at int64, id string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)^(1<<63)), id...)
}

func parseTimeEntry(entry []byte) (at int64, id string) {
	moved := binary.BigEndian.Uint64(entry)
	return int64(moved ^ (1 << 63)), string(entry[8:])
}
