package local_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keyturn/keyturn/internal/ledger"
)

// inFile opens the file of a store that is closed and works on the kind's bucket.
func inFile(t *testing.T, path string, work func(kind *bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return work(tx.Bucket([]byte("alerting"))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// entries counts the entries of the kind's buckets.
func entries(t *testing.T, path string) map[string]int {
	t.Helper()
	n := map[string]int{}
	inFile(t, path, func(kind *bolt.Bucket) error {
		for _, name := range []string{"records", "due", "expires"} {
			n[name] = kind.Bucket([]byte(name)).Stats().KeyN
		}
		n["keys"] = kind.Bucket([]byte("keys")).Bucket([]byte("k")).Stats().KeyN
		return nil
	})
	return n
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

func TestStoreForgetsExpiredRecordsWhenItOpensAndWhenItWrites(t *testing.T) {
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for name, again := range map[string]func(*testing.T, ledger.Store){
		"opens":  func(*testing.T, ledger.Store) {},
		"writes": func(t *testing.T, s ledger.Store) { putAll(t, s, ledger.Record{ID: "stays", Version: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			store := openStore(t, path)
			putAll(t, store, ledger.Record{ID: "stays"}, ledger.Record{ID: "later", Expires: future}, ledger.Record{ID: "gone", Expires: past})
			again(t, store)
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "opens" {
				if err := openStore(t, path).Close(); err != nil {
					t.Fatal(err)
				}
			}
			for bucket, n := range entries(t, path) {
				if want := map[string]int{"records": 2, "due": 2, "keys": 2, "expires": 1}[bucket]; n != want {
					t.Errorf("the bucket %s has %d entries, want %d", bucket, n, want)
				}
			}
		})
	}
}

func TestStoreOpensAFileFromBeforeRecordsCouldExpire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	store := openStore(t, path)
	putAll(t, store, ledger.Record{ID: "old"})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	inFile(t, path, func(kind *bolt.Bucket) error { return kind.DeleteBucket([]byte("expires")) })

	store = openStore(t, path)
	putAll(t, store, ledger.Record{ID: "old", Version: 1, Expires: time.Now().Add(-time.Hour)})
	if r, err := store.Get(t.Context(), "alerting", "old"); err != nil || r.Version != 0 {
		t.Errorf("an old record that was made to expire has version %d, error %v; want none", r.Version, err)
	}
}

func TestARecordThatCannotBeReadHidesNoneOfTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	store := openStore(t, path)
	putAll(t, store, ledger.Record{ID: "a"}, ledger.Record{ID: "c"}, ledger.Record{ID: "bad", Expires: time.Now().Add(-time.Hour)})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	inFile(t, path, func(kind *bolt.Bucket) error {
		return kind.Bucket([]byte("records")).Put([]byte("bad"), []byte("{"))
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
		if !errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "alerting/bad") {
			t.Errorf("%s: error %v, want one that names the record", name, err)
		}
	}
}
