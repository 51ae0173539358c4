package cmektest

import (
	"errors"
	"testing"

	"github.com/keyturn/keyturn/internal/ledger"
)

// StoreSurvivesLostCalls checks what the ledger relies on when a write's answer is lost: that the write is never told
// as done when it was not, and that a writer can recognize its own write by its token. open returns an empty store whose
// calls pass through the faults, whether at [Faults.Store] or at [Faults.Transport].
func StoreSurvivesLostCalls(t *testing.T, open func(t *testing.T, faults *Faults) ledger.Store) {
	for _, version := range []int64{0, 1} {
		name := map[int64]string{0: "creating a record", 1: "changing a record"}[version]
		before := func(t *testing.T, faults *Faults) (ledger.Store, ledger.Record) {
			store := open(t, faults)
			r := ledger.Record{Kind: "rotation", ID: "c-1", Token: "before", Data: []byte("before")}
			if version > 0 {
				r = put(t, store, r)
			}
			r.Token, r.Data = "ours", []byte("ours")
			return store, r
		}

		t.Run(name+": one lost answer leaves our own token to be found", func(t *testing.T) {
			var faults Faults
			store, ours := before(t, &faults)
			faults.Next(AnswerLost)
			ownWriteIsFound(t, store, ours)
		})
		t.Run(name+": all answers lost leaves our own token to be found", func(t *testing.T) {
			var faults Faults
			store, ours := before(t, &faults)
			faults.Every(AnswerLost)
			err := store.Put(t.Context(), ours)
			faults.Every(NoFault)
			if err == nil {
				t.Error("Put reported success without an answer from the database")
			}
			ownWriteIsFound(t, store, ours)
		})
		t.Run(name+": all requests lost is an error, and nothing was written", func(t *testing.T) {
			var faults Faults
			store, ours := before(t, &faults)
			faults.Every(RequestLost)
			err := store.Put(t.Context(), ours)
			faults.Every(NoFault)
			if err == nil || errors.Is(err, ledger.ErrConflict) {
				t.Errorf("Put that never reached the database returned %v, want an error that is not ErrConflict", err)
			}
			if got := get(t, store, ours.Kind, ours.ID); got.Version != version || got.Token == ours.Token {
				t.Errorf("Put that never reached the database left version %d with token %q", got.Version, got.Token)
			}
			put(t, store, ours)
		})
		t.Run(name+": somebody else's write is a conflict without our token", func(t *testing.T) {
			var faults Faults
			store, ours := before(t, &faults)
			theirs := ours
			theirs.Token = "theirs"
			put(t, store, theirs)
			faults.Next(AnswerLost)
			if err := store.Put(t.Context(), ours); err == nil {
				t.Error("Put reported success over somebody else's write")
			}
			if got := get(t, store, ours.Kind, ours.ID); got.Token != "theirs" {
				t.Errorf("the stored token is %q, want theirs", got.Token)
			}
		})
	}
}

// ownWriteIsFound puts ours, at least for the second time or with an answer that will be lost.
func ownWriteIsFound(t *testing.T, store ledger.Store, ours ledger.Record) {
	t.Helper()
	if err := store.Put(t.Context(), ours); err == nil {
		t.Error("Put reported success, though its first answer was lost and a second write must not succeed")
	}
	if err := store.Put(t.Context(), ours); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("Put again after a lost answer returned %v, want ErrConflict", err)
	}
	got := get(t, store, ours.Kind, ours.ID)
	if got.Token != ours.Token || got.Version != ours.Version+1 {
		t.Errorf("after a lost answer the store holds version %d with token %q, want version %d with our own token",
			got.Version, got.Token, ours.Version+1)
	}
}
