package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// Store is a [ledger.Store] in one SQLite file that any number of processes may use at once. Its indexes never lag: a record
// and its index entries change in one transaction. Expired records are removed when the file is opened and with each write.
//
// Context: an operator must be able to pause while "keyturn follow" runs on the same file. Choice: SQLite in WAL mode through
// modernc.org/sqlite (BSD-3-Clause, no cgo), because its locks, its recovery after a crash and its check for damage are made for
// several processes on one file. Rejected: bbolt, opened and locked for each transaction, which maps the file into memory, so
// that a truncated file ends the process with a signal. Given up: about 6 MB of the command's size (no Lambda function links
// it), files beside the ledger while it is open (-wal, -shm), and ledgers on network file systems, which WAL mode cannot use.
type Store struct {
	db   *sql.DB
	path string
}

// Close releases the file. The last process to close it leaves no files beside it.
func (s *Store) Close() error { return s.explain(s.db.Close()) }

// Get returns the record.
func (s *Store) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	r, err := readRow(s.db.QueryRowContext(ctx, selectRecords+`kind = ? AND id = ?`, kind, id))
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && r.Expired(time.Now()):
		return ledger.Record{Kind: kind, ID: id}, nil
	case err != nil:
		return ledger.Record{}, fmt.Errorf("get %s %q: %w", kind, id, s.explain(err))
	}
	return r, nil
}

// Put writes the record if its version is the stored one.
func (s *Store) Put(ctx context.Context, r ledger.Record) error {
	err := s.transact(ctx, func(tx *sql.Tx) error {
		if err := removeExpired(ctx, tx, time.Now()); err != nil {
			return err
		}
		old, err := readRow(tx.QueryRowContext(ctx, selectRecords+`kind = ? AND id = ?`, r.Kind, r.ID))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if old.Version != r.Version {
			return fmt.Errorf("version is %d, not %d: %w", old.Version, r.Version, ledger.ErrConflict)
		}
		r.Version++
		return write(ctx, tx, r)
	})
	if err != nil {
		return fmt.Errorf("put %s %q: %w", r.Kind, r.ID, s.explain(err))
	}
	return nil
}

// Due returns the records due, oldest first, then by ID.
func (s *Store) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	due, err := s.query(ctx, limit, selectRecords+`kind = ? AND next_look <= ? ORDER BY next_look, id`, kind, before.UnixMilli())
	if err != nil {
		err = fmt.Errorf("read due records of %s: %w", kind, err)
	}
	return due, err
}

// ByKey returns the records that name the key, ordered by ID.
func (s *Store) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	found, err := s.query(ctx, -1, selectRecords+`kind = ?1 AND id IN (SELECT id FROM edges WHERE kind = ?1 AND key = ?2) ORDER BY id`, kind, key)
	if err != nil {
		err = fmt.Errorf("read records of %s by key: %w", kind, err)
	}
	return found, err
}

// query returns the records of the rows, at most limit of them if it is not negative. Expired records are left out. Those that
// cannot be decoded are left out too, and named by the error.
func (s *Store) query(ctx context.Context, limit int, statement string, args ...any) (records []ledger.Record, err error) {
	rows, err := s.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, s.explain(err)
	}
	defer func() { _ = rows.Close() }()
	var broken []error
	for now := time.Now(); len(records) != limit && rows.Next(); {
		switch r, err := readRow(rows); {
		case err != nil:
			broken = append(broken, err)
		case !r.Expired(now):
			records = append(records, r)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, s.explain(err)
	}
	return records, errors.Join(broken...)
}

// transact runs do in a transaction that holds the right to write from its start, so that what do reads stays true until it
// is committed.
func (s *Store) transact(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
