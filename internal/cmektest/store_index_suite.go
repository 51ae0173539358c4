package cmektest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

func dueOldestFirst(t *testing.T, store ledger.Store) {
	for id, after := range map[string]time.Duration{"third": 3 * time.Hour, "first": -72 * time.Hour, "second": 0, "later": 4 * time.Hour} {
		put(t, store, ledger.Record{Kind: "rotation", ID: id, NextLook: base.Add(after), Data: []byte(id)})
	}
	put(t, store, ledger.Record{Kind: "rotation", ID: "never"})

	now := base.Add(3 * time.Hour)
	wantDue(t, store, now, 10, "first", "second", "third")
	wantDue(t, store, now, 3, "first", "second", "third")
	wantDue(t, store, now, 2, "first", "second")
	wantDue(t, store, now, 0)

	due, err := store.Due(t.Context(), "rotation", now, 1)
	if err != nil || len(due) != 1 {
		t.Fatalf("Due with limit 1 = %d records, error %v; want one", len(due), err)
	}
	wantRecord(t, due[0], get(t, store, "rotation", "first"))
}

func dueBoundary(t *testing.T, store ledger.Store) {
	r := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", NextLook: base.Add(900 * time.Microsecond)})
	if got := get(t, store, r.Kind, r.ID).NextLook; !got.Equal(base) {
		t.Errorf("NextLook %s came back as %s, want it cut to the millisecond: %s", r.NextLook, got, base)
	}
	wantDue(t, store, base, 10, "c-1")
	wantDue(t, store, base.In(time.FixedZone("UTC+9", 9*60*60)), 10, "c-1")
	wantDue(t, store, base.Add(-time.Microsecond), 10)
}

func dueMoves(t *testing.T, store ledger.Store) {
	r := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", NextLook: base})
	wantDue(t, store, base, 10, "c-1")

	r.NextLook = base.Add(time.Hour)
	r = put(t, store, r)
	wantDue(t, store, base, 10)
	wantDue(t, store, base.Add(time.Hour), 10, "c-1")

	r.NextLook = time.Time{}
	put(t, store, r)
	wantDue(t, store, base.Add(24*time.Hour), 10)
}

func byKeyMoves(t *testing.T, store ledger.Store) {
	r := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", Keys: []string{"old", "kept"}})
	wantByKey(t, store, "old", "c-1")

	r.Keys = []string{"kept", "new"}
	r = put(t, store, r)
	wantByKey(t, store, "old")
	wantByKey(t, store, "kept", "c-1")
	wantByKey(t, store, "new", "c-1")

	r.Keys = []string{"old"}
	r = put(t, store, r)
	wantByKey(t, store, "old", "c-1")
	wantByKey(t, store, "kept")

	r.Keys = nil
	put(t, store, r)
	wantByKey(t, store, "old")
}

func byKeyExact(t *testing.T, store ledger.Store) {
	const key = "arn:aws:kms:us-east-1:111122223333:key/1234"
	put(t, store, ledger.Record{Kind: "rotation", ID: "exact", Keys: []string{key}, Data: []byte("data"), NextLook: base})
	put(t, store, ledger.Record{Kind: "rotation", ID: "longer", Keys: []string{key + "5"}})
	put(t, store, ledger.Record{Kind: "rotation", ID: "shorter", Keys: []string{key[:len(key)-1]}})
	put(t, store, ledger.Record{Kind: "rotation", ID: "google", Keys: []string{"projects/p/locations/l/keyRings/r/cryptoKeys/k"}})
	put(t, store, ledger.Record{Kind: "rotation", ID: "none"})

	wantByKey(t, store, key, "exact")
	wantByKey(t, store, "projects/p/locations/l/keyRings/r/cryptoKeys/k", "google")
	wantByKey(t, store, "arn:aws:kms:us-east-1:111122223333:key/unknown")

	found, err := store.ByKey(t.Context(), "rotation", key)
	if err != nil || len(found) != 1 {
		t.Fatalf("ByKey = %d records, error %v; want one", len(found), err)
	}
	wantRecord(t, found[0], get(t, store, "rotation", "exact"))
}

func byKeyMany(t *testing.T, store ledger.Store) {
	// More than one request of any database takes.
	var ids []string
	for i := range 120 {
		ids = append(ids, fmt.Sprintf("c-%03d", (i*37)%120))
		put(t, store, ledger.Record{Kind: "rotation", ID: ids[i], Keys: []string{"k"}, NextLook: base.Add(time.Duration(i) * time.Second)})
	}
	wantDue(t, store, base.Add(time.Hour), 110, ids[:110]...)
	slices.Sort(ids)
	wantByKey(t, store, "k", ids...)
}

func byKeyLong(t *testing.T, store ledger.Store) {
	// As many as the keys that a cluster of many regions had, and as long as no index likes them.
	var keys []string
	for i := range 200 {
		keys = append(keys, fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/%036d/%s", i, strings.Repeat("k", 100)))
	}
	long := "arn:aws:kms:us-east-1:111122223333:key/" + strings.Repeat("k", 2009)
	keys = append(keys, long)
	r := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", Keys: keys})
	put(t, store, ledger.Record{Kind: "rotation", ID: "c-2", Keys: []string{long + "2"}})
	wantRecord(t, get(t, store, "rotation", "c-1"), r)
	wantByKey(t, store, keys[0], "c-1")
	wantByKey(t, store, keys[199], "c-1")
	wantByKey(t, store, long, "c-1")
	wantByKey(t, store, long+"2", "c-2")

	r.Keys = keys[:1]
	put(t, store, r)
	wantByKey(t, store, keys[0], "c-1")
	wantByKey(t, store, long)
}

func get(t *testing.T, store ledger.Store, kind, id string) ledger.Record {
	t.Helper()
	r, err := store.Get(t.Context(), kind, id)
	if err != nil {
		t.Fatalf("get %s %q: %v", kind, id, err)
	}
	return r
}

// put writes r and returns it with the version it has then.
func put(t *testing.T, store ledger.Store, r ledger.Record) ledger.Record {
	t.Helper()
	if r.Token == "" {
		r.Token = fmt.Sprintf("%s/%s/%d", r.Kind, r.ID, r.Version)
	}
	err := store.Put(t.Context(), r)
	if errors.Is(err, ledger.ErrConflict) && get(t, store, r.Kind, r.ID).Token == r.Token {
		err = nil // the vendor's client tried again after a slow answer: it was our own write
	}
	if err != nil {
		t.Fatalf("put %s %q over version %d: %v", r.Kind, r.ID, r.Version, err)
	}
	r.Version++
	return r
}

func wantRecord(t *testing.T, got, want ledger.Record) {
	t.Helper()
	if got.Kind != want.Kind || got.ID != want.ID || got.Version != want.Version || got.Token != want.Token {
		t.Errorf("record is %s %q version %d token %q, want %s %q version %d token %q",
			got.Kind, got.ID, got.Version, got.Token, want.Kind, want.ID, want.Version, want.Token)
	}
	if !got.NextLook.Equal(want.NextLook) {
		t.Errorf("record %q: NextLook is %s, want %s", want.ID, got.NextLook, want.NextLook)
	}
	if !got.Expires.Equal(want.Expires) {
		t.Errorf("record %q: it expires at %s, want %s", want.ID, got.Expires, want.Expires)
	}
	if !slices.Equal(got.Keys, want.Keys) {
		t.Errorf("record %q: keys are %q, want %q", want.ID, got.Keys, want.Keys)
	}
	if !bytes.Equal(got.Data, want.Data) {
		t.Errorf("record %q: %d bytes of data differ from the %d bytes put", want.ID, len(got.Data), len(want.Data))
	}
}

func wantDue(t *testing.T, store ledger.Store, before time.Time, limit int, ids ...string) {
	t.Helper()
	what := fmt.Sprintf("Due before %s, limit %d", before.Format(time.RFC3339Nano), limit)
	wantIDs(t, what, func() ([]ledger.Record, error) { return store.Due(t.Context(), "rotation", before, limit) }, ids...)
}

func wantByKey(t *testing.T, store ledger.Store, key string, ids ...string) {
	t.Helper()
	wantIDs(t, fmt.Sprintf("ByKey %q", key), func() ([]ledger.Record, error) { return store.ByKey(t.Context(), "rotation", key) }, ids...)
}

// wantIDs waits a little for the records, because an index may lag. It may miss a record, never show one that no longer
// matches: one too many fails at once.
func wantIDs(t *testing.T, what string, read func() ([]ledger.Record, error), want ...string) {
	t.Helper()
	const pause, tries = 100 * time.Millisecond, 50
	var got []string
	for range tries {
		records, err := read()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got = nil
		for _, r := range records {
			got = append(got, r.ID)
		}
		if slices.Equal(got, want) {
			return
		}
		if len(got) > len(want) {
			break
		}
		time.Sleep(pause)
	}
	t.Errorf("%s: records %q, want %q", what, got, want)
}
