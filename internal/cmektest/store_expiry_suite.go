package cmektest

import (
	"errors"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// soon and past are on this side and on the other side of now, with a margin for a database on another machine.
func soon() time.Time { return time.Now().Add(time.Hour).UTC().Truncate(time.Second) }
func past() time.Time { return time.Now().Add(-time.Hour).UTC().Truncate(time.Second) }

func expiryKept(t *testing.T, store ledger.Store) {
	at := soon()
	r := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", Keys: []string{"k"}, NextLook: base, Data: []byte("d"), Expires: at.Add(900 * time.Millisecond)})
	r.Expires = at
	wantRecord(t, get(t, store, "rotation", "c-1"), r)
	wantDue(t, store, base, 10, "c-1")
	wantByKey(t, store, "k", "c-1")

	r.Expires = at.Add(time.Hour)
	r = put(t, store, r)
	wantRecord(t, get(t, store, "rotation", "c-1"), r)
	r.Expires = time.Time{}
	r = put(t, store, r)
	wantRecord(t, get(t, store, "rotation", "c-1"), r)
}

func expiredUnread(t *testing.T, store ledger.Store) {
	// The last expired record is followed by no write of its own kind, at which a store might remove it.
	for _, id := range []string{"b", "a"} {
		put(t, store, ledger.Record{Kind: "rotation", ID: "stays-" + id, Keys: []string{"k"}, NextLook: base})
		put(t, store, ledger.Record{Kind: "rotation", ID: "gone-" + id, Keys: []string{"k"}, NextLook: base.Add(-time.Hour), Data: []byte("d"), Expires: past()})
	}
	put(t, store, ledger.Record{Kind: "alerting", ID: "other"})
	for _, id := range []string{"gone-a", "gone-b"} {
		absentRecord(t, get(t, store, "rotation", id))
	}
	wantDue(t, store, base, 10, "stays-a", "stays-b")
	wantDue(t, store, base, 1, "stays-a")
	wantByKey(t, store, "k", "stays-a", "stays-b")
}

func expiredReplaced(t *testing.T, store ledger.Store) {
	old := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", Keys: []string{"old"}, NextLook: base, Data: []byte("old")})
	old.Expires = past()
	old = put(t, store, old)
	if err := store.Put(t.Context(), old); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("Put with the version of an expired record: error %v, want ErrConflict", err)
	}
	fresh := put(t, store, ledger.Record{Kind: "rotation", ID: "c-1", Token: "t", Keys: []string{"new"}, NextLook: base.Add(time.Hour), Data: []byte("new")})
	if fresh.Version != 1 {
		t.Errorf("what takes an expired record's place has version %d, want 1", fresh.Version)
	}
	wantRecord(t, get(t, store, "rotation", "c-1"), fresh)
	wantDue(t, store, base, 10)
	wantDue(t, store, base.Add(time.Hour), 10, "c-1")
	wantByKey(t, store, "old")
	wantByKey(t, store, "new", "c-1")
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "c-1", Token: "late"}); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("creating a record that is there: error %v, want ErrConflict", err)
	}
}
