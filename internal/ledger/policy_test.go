package ledger_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestNotePolicyChange_keepsTheNewest(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	for _, i := range []int{1, 0, 1, 2} { // in any order, and repeatedly
		if _, err := l.NotePolicyChange(t.Context(), string(key), ledger.PolicyChange{Event: fmt.Sprint(i), At: noon.Add(time.Duration(i) * time.Minute), Digest: "d"}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.PolicyChanges(t.Context(), string(key))
	if err != nil || len(got) != 3 || got[0].Event != "0" || got[2].Event != "2" {
		t.Fatalf("changes are %+v (%v), want 0, 1, 2", got, err)
	}
	for i := range 50 {
		if got, err = l.NotePolicyChange(t.Context(), string(key), ledger.PolicyChange{Event: fmt.Sprint("more", i), At: noon.Add(time.Hour), Digest: "d"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 30 || got[0].Digest != "" || got[1].Digest == "" {
		t.Errorf("%d changes are kept, the oldest with digest %q; want 30, and none for what was dropped", len(got), got[0].Digest)
	}
}

func TestNotePolicy_saysWhenADocumentWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(cmektest.NewStore(), 1)
		began := time.Now()
		for _, document := range []string{"a", "a", "b", "b"} {
			was, err := l.PolicyNoted(t.Context(), string(key))
			if err == nil {
				err = l.NotePolicy(t.Context(), string(key), document, was)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		p, err := l.PolicyNoted(t.Context(), string(key))
		hour := func(at time.Time) time.Duration { return at.Sub(began) / time.Hour }
		if err != nil || p.Earlier != "a" || hour(p.EarlierAt) != 1 || hour(p.Since) != 2 || hour(p.Before) != 2 || hour(p.At) != 3 {
			t.Errorf("noted is %+v (%v)", p, err)
		}
	})
}
