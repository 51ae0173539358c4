package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// applicationID marks an SQLite file as a ledger: "kytn".
	applicationID = 0x6b79746e
	// layout is the version of the schema.
	layout = 1
	// smallestPage is the least size of a database. SQLite takes a smaller file for an empty one, which it would fill.
	smallestPage = 512
	// busyWait is how long a call waits for another process' write to end. A write takes milliseconds.
	busyWait = 10 * time.Second
)

// OpenStore opens the ledger in the file, or creates it, with its folder, if there is no file. Other processes may have it open.
// A file that is no ledger, or a damaged one, is an error that names it and says what to do; such a file is never written to. A
// file that this user may only read can be read.
// The caller closes the store.
func OpenStore(ctx context.Context, path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create folder of ledger: %w", err)
	}
	if err := ensureFile(ctx, path); err != nil {
		return nil, err
	}
	db, err := openFile(path, busyWait)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	s := &Store{db, path}
	if err := s.check(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.transact(ctx, func(tx *sql.Tx) error { return removeExpired(ctx, tx, time.Now()) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", s.explain(err)), s.Close())
	}
	return s, nil
}

// RemoveStore removes the ledger in the file, or whatever else the file is, unless a process has the ledger open. It is no error
// if there is none.
func RemoveStore(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return removeFiles(beside(path)...)
	}
	db, err := openFile(path, 100*time.Millisecond)
	if err != nil {
		return fmt.Errorf("remove ledger %s: %w", path, err)
	}
	// Only the one process that has the file open can take it out of WAL mode.
	_, err = db.ExecContext(ctx, `PRAGMA journal_mode = DELETE`)
	if code(err) == sqlite3.SQLITE_BUSY {
		return errors.Join(fmt.Errorf("remove ledger %s: another keyturn process is using it", path), db.Close())
	}
	_ = db.Close() // of a file that is to be removed
	return removeFiles(append(beside(path), path)...)
}

// removeFiles removes those of the files that there are.
func removeFiles(names ...string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove ledger: %w", err)
		}
	}
	return nil
}

// beside are the names of the files that SQLite keeps beside a database while it is open, and after a crash.
func beside(path string) []string { return []string{path + "-wal", path + "-shm", path + "-journal"} }

// openFile opens the SQLite database in the file, which must exist. Nothing is read yet.
func openFile(path string, wait time.Duration) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	absolute = filepath.ToSlash(absolute)
	if !strings.HasPrefix(absolute, "/") { // Windows
		absolute = "/" + absolute
	}
	name := url.URL{Scheme: "file", Path: absolute, RawQuery: fmt.Sprintf("mode=rw&_txlock=immediate&_busy_timeout=%d", wait.Milliseconds())}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return db, nil
}

// ensureFile creates an empty ledger if there is no file of that name. The file appears whole, so that no process sees one that
// another one is about to fill: an empty file is never ours.
func ensureFile(ctx context.Context, path string) error {
	var left string
	for _, name := range beside(path) {
		if _, err := os.Lstat(name); err == nil {
			left = name
		}
	}
	info, err := os.Stat(path) // after those beside it, which another process makes later and removes earlier
	switch {
	case errors.Is(err, fs.ErrNotExist) && left != "":
		return fmt.Errorf("open ledger %s: it is missing, but %s is there, with its last writes; put the ledger back beside it, "+
			"or move that file away to begin a new ledger", path, left)
	case errors.Is(err, fs.ErrNotExist):
		return createFile(ctx, path)
	case err != nil:
		return fmt.Errorf("open ledger: %w", err)
	case info.IsDir():
		return fmt.Errorf("open ledger %s: it is a folder; name a file in it", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("open ledger %s: it is not a regular file", path)
	case info.Size() == 0:
		return fmt.Errorf("open ledger %s: the file is empty, and an empty file is no ledger. If a ledger was here, restore a backup; %s", path, anew)
	case info.Size() < smallestPage:
		return notALedger(path)
	}
	return nil
}

func createFile(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("create ledger: %w", explain(path, err))
		}
	}()
	// The name is not one that SQLite would take for a file beside the ledger.
	temporary := path + ".new-" + rand.Text()
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeFiles(append(beside(temporary), temporary)...)) }()
	if err := file.Close(); err != nil {
		return err
	}
	db, err := openFile(temporary, busyWait)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf(`PRAGMA journal_mode = WAL; PRAGMA application_id = %d; PRAGMA user_version = %d; %s`,
		applicationID, layout, schema))
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces a file: of several processes that create the ledger, the first wins.
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// check reports whether the file is an undamaged ledger of this layout.
func (s *Store) check(ctx context.Context) error {
	pragma := func(name string, into any) error {
		return s.db.QueryRowContext(ctx, "PRAGMA "+name).Scan(into)
	}
	var (
		application, version int64
		mode, verdict        string
	)
	if err := pragma("application_id", &application); err != nil {
		if code(err) == sqlite3.SQLITE_NOTADB {
			return notALedger(s.path)
		}
		return fmt.Errorf("open ledger: %w", s.explain(err))
	}
	if application != applicationID {
		return fmt.Errorf("open ledger %s: it is a database of another program; name another file", s.path)
	}
	if err := errors.Join(pragma("user_version", &version), pragma("journal_mode", &mode)); err != nil {
		return fmt.Errorf("open ledger: %w", s.explain(err))
	}
	if version != layout {
		return fmt.Errorf("open ledger %s: its layout is %d, but this keyturn knows layout %d only; use the keyturn that wrote it", s.path, version, layout)
	}
	if mode != "wal" {
		return fmt.Errorf("open ledger %s: its journal mode is %q, not WAL; several processes could not use it at once. %s", s.path, mode, damaged)
	}
	if err := pragma("integrity_check(1)", &verdict); err != nil {
		return fmt.Errorf("open ledger: %w", s.explain(err))
	}
	if verdict != "ok" {
		return fmt.Errorf("open ledger %s: the file is damaged (%s). %s", s.path, strings.Join(strings.Fields(verdict), " "), damaged)
	}
	return nil
}

// What to do about a file that cannot be used.
const (
	anew = "otherwise move it away, and \"keyturn follow\" begins a new ledger"

	damaged = "Nothing was changed. Move it and the files beside it (-wal, -shm) away and restore a backup, or begin a new ledger with " +
		"\"keyturn follow\": its sweep finds open work again; the record of done work and operators' orders (pause, hold) are lost"

	older = "it is a ledger of an earlier keyturn (a bbolt file), which this one does not read. Finish open work with the keyturn that " +
		"wrote it and keep the file for its record of done work; then move it away and begin a new ledger with \"keyturn follow\": " +
		"its sweep finds open work again. Give orders that stand (pause, hold) again"
)

// notALedger says what a file is that SQLite does not take for a database.
func notALedger(path string) error {
	head := make([]byte, 4096+20)
	// Nobody can have locked the file through SQLite, whose locks end when any descriptor of the file is closed.
	file, err := os.Open(path)
	if err == nil {
		var n int
		n, err = io.ReadFull(file, head)
		head = head[:n]
		_ = file.Close()
	}
	switch {
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return fmt.Errorf("open ledger: %w", err)
	case isBolt(head):
		return fmt.Errorf("open ledger %s: %s", path, older)
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")):
		return fmt.Errorf("open ledger %s: the file is damaged (its first page cannot be read). %s", path, damaged)
	}
	return fmt.Errorf("open ledger %s: it is not a ledger, or its beginning is damaged. If it was a ledger, restore a backup; %s", path, anew)
}

// isBolt reports whether the file begins like a bbolt database: its magic number stands after the header of the first page, and
// of the second (bbolt, internal/common/page.go and meta.go).
func isBolt(head []byte) bool {
	const magic, header = 0xED0CDAED, 16
	at := func(offset int) bool {
		return len(head) >= offset+4 && binary.LittleEndian.Uint32(head[offset:]) == magic
	}
	return at(header) || at(4096+header)
}

// code is the primary result code of an SQLite error; 0 for any other error and none.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

func (s *Store) explain(err error) error { return explain(s.path, err) }

// explain names the file and says what to do about an error of SQLite. Other errors are returned as they are.
func explain(path string, err error) error {
	var why string
	switch code(err) {
	case 0:
		return err
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		why = "the file is damaged. " + damaged
	case sqlite3.SQLITE_FULL:
		why = "the disk is full. Nothing was changed; free some space and run the command again"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		why = "the file or its folder is read-only for this user. Nothing was changed; give this user the right to write to both"
	case sqlite3.SQLITE_CANTOPEN:
		why = "the file, or those beside it (-wal, -shm), cannot be opened; the file and its folder must be writable"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		why = fmt.Sprintf("another keyturn process has been writing to it for %s; run the command again", busyWait)
	case sqlite3.SQLITE_IOERR:
		why = "the disk did not read or write; check it and its free space, then run the command again"
	default:
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	return fmt.Errorf("ledger %s: %s (%w)", path, why, err)
}
