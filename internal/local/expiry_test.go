package local_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// inFile runs SQL on the file of a store that is closed.
func inFile(t *testing.T, path string, work func(db *sql.DB) error) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(work(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// entries counts the rows of the file's tables.
func entries(t *testing.T, path string) (records, edges int) {
	t.Helper()
	inFile(t, path, func(db *sql.DB) error {
		return db.QueryRow(`SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM edges)`).Scan(&records, &edges)
	})
	return records, edges
}

func putAll(t *testing.T, store ledger.Store, records ...ledger.Record) {
	t.Helper()
	for _, r := range records {
		r.Kind, r.Keys, r.NextLook = "alerting", []string{"k"}, time.UnixMilli(1)
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreRemovesExpiredRecords(t *testing.T) {
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for _, when := range []string{"on open", "on write"} {
		t.Run(when, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			store := openStore(t, path)
			putAll(t, store, ledger.Record{ID: "stays"}, ledger.Record{ID: "later", Expires: future}, ledger.Record{ID: "gone", Expires: past})
			if when == "on write" {
				putAll(t, store, ledger.Record{ID: "stays", Version: 1})
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if when == "on open" {
				if err := openStore(t, path).Close(); err != nil {
					t.Fatal(err)
				}
			}
			if records, edges := entries(t, path); records != 2 || edges != 2 {
				t.Errorf("the file has %d records and %d edges, want 2 and 2", records, edges)
			}
		})
	}
}

func TestUndecodableRecordHidesNoOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	store := openStore(t, path)
	putAll(t, store, ledger.Record{ID: "a"}, ledger.Record{ID: "c"}, ledger.Record{ID: "bad", Expires: time.Now().Add(-time.Hour)})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	inFile(t, path, func(db *sql.DB) error {
		_, err := db.Exec(`UPDATE records SET data = x'00' WHERE id = 'bad'`)
		return err
	})
	store = openStore(t, path)
	for name, read := range map[string]func() ([]ledger.Record, error){
		"Due":   func() ([]ledger.Record, error) { return store.Due(t.Context(), "alerting", time.Now(), 2) },
		"ByKey": func() ([]ledger.Record, error) { return store.ByKey(t.Context(), "alerting", "k") },
	} {
		found, err := read()
		if len(found) != 2 || found[0].ID != "a" || found[1].ID != "c" {
			t.Errorf("%s returns %+v, want the two records that can be read", name, found)
		}
		if name == "ByKey" && (!errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "alerting/bad")) {
			t.Errorf("%s: error %v, want one that names the record", name, err)
		}
	}
	if _, err := store.Get(t.Context(), "alerting", "bad"); !errors.Is(err, ledger.ErrUndecodable) {
		t.Errorf("Get of the record: error %v, want ErrUndecodable", err)
	}
	if err := store.Put(t.Context(), ledger.Record{Kind: "alerting", ID: "bad"}); !errors.Is(err, ledger.ErrUndecodable) {
		t.Errorf("Put over the record: error %v, want ErrUndecodable", err)
	}
}
