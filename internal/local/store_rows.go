package local

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// schema is the layout of a ledger file. next_look is in milliseconds since 1970, expires in seconds; keys is a JSON array; sum
// is [checksum]. An edge leads from a key to a record that names it.
const schema = `
CREATE TABLE records (
	kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, token TEXT NOT NULL,
	next_look INTEGER, expires INTEGER, keys TEXT NOT NULL, data BLOB NOT NULL, sum INTEGER NOT NULL,
	PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX due ON records (kind, next_look, id) WHERE next_look IS NOT NULL;
CREATE INDEX expiring ON records (expires) WHERE expires IS NOT NULL;
CREATE TABLE edges (
	kind TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL,
	PRIMARY KEY (kind, key, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_of_record ON edges (kind, id);
`

const selectRecords = `SELECT kind, id, version, token, next_look, expires, keys, data, sum FROM records WHERE `

// row is a record as the file keeps it.
type row struct {
	kind, id, token   string
	version           int64
	nextLook, expires sql.NullInt64
	keys              string
	data              []byte
}

// readRow decodes a row of selectRecords. Content that differs from what was written is a ledger.ErrUndecodable, which names
// the record.
func readRow(from interface{ Scan(...any) error }) (ledger.Record, error) {
	var (
		r    row
		sum  int64
		keys []string
	)
	err := from.Scan(&r.kind, &r.id, &r.version, &r.token, &r.nextLook, &r.expires, &r.keys, &r.data, &sum)
	switch {
	case err != nil && r.id == "": // no row, or none that could be read at all
		return ledger.Record{}, err
	case err == nil && sum != r.checksum():
		err = errors.New("the file is damaged: the content is not what was written")
	case err == nil:
		err = json.Unmarshal([]byte(r.keys), &keys)
	}
	record := ledger.Record{Kind: r.kind, ID: r.id, Version: r.version, Token: r.token, Keys: keys, Data: r.data}
	if err != nil {
		return record, fmt.Errorf("%w %s/%s: %w", ledger.ErrUndecodable, r.kind, r.id, err)
	}
	if r.nextLook.Valid {
		record.NextLook = time.UnixMilli(r.nextLook.Int64).UTC()
	}
	if r.expires.Valid {
		record.Expires = time.Unix(r.expires.Int64, 0).UTC()
	}
	return record, nil
}

// write stores the record with its index entries, over the one of that name.
func write(ctx context.Context, tx *sql.Tx, record ledger.Record) error {
	keys, err := json.Marshal(append([]string{}, record.Keys...))
	if err != nil {
		return err
	}
	r := row{kind: record.Kind, id: record.ID, version: record.Version, token: record.Token, keys: string(keys), data: append([]byte{}, record.Data...)}
	if !record.NextLook.IsZero() {
		r.nextLook = sql.NullInt64{Int64: record.NextLook.UnixMilli(), Valid: true}
	}
	if !record.Expires.IsZero() {
		r.expires = sql.NullInt64{Int64: record.Expires.Unix(), Valid: true}
	}
	var before string
	err = tx.QueryRowContext(ctx, `SELECT keys FROM records WHERE kind = ? AND id = ?`, r.kind, r.id).Scan(&before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO records (kind, id, version, token, next_look, expires, keys, data, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, token = excluded.token, next_look = excluded.next_look,
			expires = excluded.expires, keys = excluded.keys, data = excluded.data, sum = excluded.sum`,
		r.kind, r.id, r.version, r.token, r.nextLook, r.expires, r.keys, r.data, r.checksum())
	if err != nil || before == r.keys {
		return err
	}
	if err := removeEdges(ctx, tx, r.kind, r.id); err != nil {
		return err
	}
	for _, key := range record.Keys {
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO edges (kind, key, id) VALUES (?, ?, ?)`, r.kind, key, r.id); err != nil {
			return fmt.Errorf("index key %q: %w", key, err)
		}
	}
	return nil
}

// removeExpired removes the records that have expired. One that cannot be decoded stays, for its readers to name.
func removeExpired(ctx context.Context, tx *sql.Tx, now time.Time) error {
	rows, err := tx.QueryContext(ctx, selectRecords+`expires <= ?`, now.Unix())
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var expired []ledger.Record
	for rows.Next() {
		if r, err := readRow(rows); err == nil {
			expired = append(expired, ledger.Record{Kind: r.Kind, ID: r.ID})
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, r := range expired {
		if _, err := tx.ExecContext(ctx, `DELETE FROM records WHERE kind = ? AND id = ?`, r.Kind, r.ID); err != nil {
			return err
		}
		if err := removeEdges(ctx, tx, r.Kind, r.ID); err != nil {
			return err
		}
	}
	return nil
}

func removeEdges(ctx context.Context, tx *sql.Tx, kind, id string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM edges WHERE kind = ? AND id = ?`, kind, id)
	return err
}

// checksum is a CRC-32C over the row's fields, each with its length before it. SQLite checks the structure of its file, not
// the content.
func (r row) checksum() int64 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	number := func(n int64) { _ = binary.Write(h, binary.BigEndian, n) }
	for _, field := range [][]byte{[]byte(r.kind), []byte(r.id), []byte(r.token), []byte(r.keys), r.data} {
		number(int64(len(field)))
		_, _ = h.Write(field)
	}
	number(r.version)
	for _, at := range []sql.NullInt64{r.nextLook, r.expires} {
		_ = binary.Write(h, binary.BigEndian, at.Valid)
		number(at.Int64)
	}
	return int64(h.Sum32())
}
