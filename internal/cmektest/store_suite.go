package cmektest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// base is an instant with a whole millisecond.
var base = time.Date(2026, 3, 1, 12, 0, 0, int(7*time.Millisecond), time.UTC)

// StoreConforms checks the contract of [ledger.Store]. open returns an empty store.
func StoreConforms(t *testing.T, open func(t *testing.T) ledger.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, ledger.Store)
	}{
		{"a record that does not exist has version 0", absent},
		{"a record comes back as it was put, one version later", roundTrip},
		{"data is kept to the byte", dataKept},
		{"a caller may reuse the slices it put or got", slicesAreTheCallers},
		{"a write with a version that is not the stored one is a conflict and changes nothing", conflicts},
		{"of concurrent writers of one version exactly one wins", oneWriterWins},
		{"ids with odd characters are different records", oddIDs},
		{"kinds are separate", kindsAreSeparate},
		{"due returns the oldest records up to the limit", dueOldestFirst},
		{"due includes its boundary and compares milliseconds", dueBoundary},
		{"a record is due at its latest poll time only", dueMoves},
		{"a record is found by the keys it names now", byKeyMoves},
		{"a key finds its own records and those only", byKeyExact},
		{"many records are found by one key, ordered by id", byKeyMany},
		{"a record is found by each of many and long keys", byKeyLong},
		{"a cluster is found by both names of its projects", projectNames},
		{"a record is there until it expires, which is kept to the second", expiryKept},
		{"a record that has expired is not there, for any read", expiredUnread},
		{"a write takes the place of an expired record as if there were none", expiredReplaced},
		{"a canceled context stops every call", canceled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func absent(t *testing.T, store ledger.Store) {
	absentRecord(t, get(t, store, "rotation", "nobody"))
}

func absentRecord(t *testing.T, got ledger.Record) {
	t.Helper()
	if got.Version != 0 || got.Token != "" || len(got.Data) != 0 || len(got.Keys) != 0 || !got.NextLook.IsZero() || !got.Expires.IsZero() {
		t.Errorf("a record that is not there is %+v, want nothing in it", got)
	}
}

func roundTrip(t *testing.T, store ledger.Store) {
	r := ledger.Record{Kind: "rotation", ID: "c-1", Token: "t-1", NextLook: base, Keys: []string{"k-b", "k-a"}, Data: []byte(`{"a":1}`)}
	r = put(t, store, r)
	wantRecord(t, get(t, store, r.Kind, r.ID), r)

	r.Token, r.NextLook, r.Keys, r.Data = "t-2", time.Time{}, nil, []byte("second")
	r = put(t, store, r)
	wantRecord(t, get(t, store, r.Kind, r.ID), r)
	if r.Version != 2 {
		t.Errorf("after two writes the version is %d, want 2", r.Version)
	}
}

func dataKept(t *testing.T, store ledger.Store) {
	every := make([]byte, 256)
	large := make([]byte, 300<<10)
	for i := range every {
		every[i] = byte(i)
	}
	for i := range large {
		large[i] = byte(i * i >> 3)
	}
	for name, data := range map[string][]byte{"none": nil, "empty": {}, "every byte": every, "300 KB": large} {
		r := put(t, store, ledger.Record{Kind: "rotation", ID: name, Data: data})
		wantRecord(t, get(t, store, r.Kind, r.ID), r)
	}
}

func slicesAreTheCallers(t *testing.T, store ledger.Store) {
	data, keys := []byte("data"), []string{"key"}
	written := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", Data: data, Keys: keys})
	data[0], keys[0] = 'X', "X"
	got := get(t, store, "rotation", "c-1")
	if len(got.Data) > 0 && len(got.Keys) > 0 {
		got.Data[0], got.Keys[0] = 'Y', "Y"
	}
	want := ledger.Record{Kind: "rotation", ID: "c-1", Version: 1, Token: written.Token, Data: []byte("data"), Keys: []string{"key"}}
	wantRecord(t, get(t, store, "rotation", "c-1"), want)
}

func conflicts(t *testing.T, store ledger.Store) {
	first := ledger.Record{Kind: "rotation", ID: "c-1", Token: "ours", Data: []byte("ours"), Keys: []string{"k"}, NextLook: base}
	second := put(t, store, first)
	current := put(t, store, second)
	for name, version := range map[string]int64{"create again": 0, "stale": 1, "from the future": 9} {
		late := ledger.Record{Kind: "rotation", ID: "c-1", Version: version, Token: "theirs", Data: []byte("theirs")}
		if err := store.Put(t.Context(), late); !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("%s: Put with version %d over version 2: error %v, want ErrConflict", name, version, err)
		}
	}
	wantRecord(t, get(t, store, "rotation", "c-1"), current)

	missing := ledger.Record{Kind: "rotation", ID: "c-2", Version: 1}
	if err := store.Put(t.Context(), missing); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("Put with version 1 over nothing: error %v, want ErrConflict", err)
	}
}

func oneWriterWins(t *testing.T, store ledger.Store) {
	const writers = 6
	for version := range int64(2) {
		errs := make(chan error, writers)
		for i := range writers {
			r := ledger.Record{Kind: "rotation", ID: "c-1", Version: version, Token: string(rune('a' + i)), Keys: []string{"k"}}
			go func() { errs <- store.Put(t.Context(), r) }()
		}
		won := 0
		for range writers {
			switch err := <-errs; {
			case err == nil:
				won++
			case !errors.Is(err, ledger.ErrConflict):
				t.Errorf("a writer of version %d that lost got %v, want ErrConflict", version, err)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d writers of version %d won, want 1", won, writers, version)
		}
		if got := get(t, store, "rotation", "c-1").Version; got != version+1 {
			t.Errorf("after one round the version is %d, want %d", got, version+1)
		}
	}
}

func oddIDs(t *testing.T, store ledger.Store) {
	ids := []string{"a", "a ", "A", "a/b", "a//b", "a#b", "a|b", "a\x00b", "a%2Fb", "..", "__a__", `"'\`, "{a}", "ключ-鍵-🔑", "a\nb"}
	for _, id := range ids {
		put(t, store, ledger.Record{Kind: "rotation", ID: id, Data: []byte(id), Keys: []string{"key " + id}, NextLook: base})
	}
	for _, id := range ids {
		if got := get(t, store, "rotation", id); got.ID != id || string(got.Data) != id {
			t.Errorf("Get(%q) returns record %q with data %q", id, got.ID, got.Data)
		}
		wantByKey(t, store, "key "+id, id)
	}
	slices.Sort(ids)
	wantIDs(t, "Due", func() ([]ledger.Record, error) {
		due, err := store.Due(t.Context(), "rotation", base, 100)
		slices.SortFunc(due, func(a, b ledger.Record) int { return cmp.Compare(a.ID, b.ID) })
		return due, err
	}, ids...)
}

func kindsAreSeparate(t *testing.T, store ledger.Store) {
	for _, kind := range []string{"alerting", "rotation", "rotation-pause"} {
		put(t, store, ledger.Record{Kind: kind, ID: "same", Data: []byte(kind), Keys: []string{"k"}, NextLook: base})
	}
	if got := string(get(t, store, "alerting", "same").Data); got != "alerting" {
		t.Errorf("the record of kind alerting holds the data of %q", got)
	}
	wantDue(t, store, base, 10, "same")
	wantByKey(t, store, "k", "same")
	if got := get(t, store, "rot", "same"); got.Version != 0 {
		t.Errorf("kind \"rot\" has a record that belongs to another kind: %+v", got)
	}
}

func canceled(t *testing.T, store ledger.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := store.Get(ctx, "rotation", "c-1")
	_, dueErr := store.Due(ctx, "rotation", base, 1)
	_, byKeyErr := store.ByKey(ctx, "rotation", "k")
	putErr := store.Put(ctx, ledger.Record{Kind: "rotation", ID: "c-1"})
	for call, err := range map[string]error{"Get": getErr, "Put": putErr, "Due": dueErr, "ByKey": byKeyErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a canceled context returned %v, want context.Canceled", call, err)
		}
	}
	if got := get(t, store, "rotation", "c-1"); got.Version != 0 {
		t.Errorf("Put with a canceled context wrote %+v", got)
	}
}
