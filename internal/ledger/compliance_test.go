package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestResults_of_the_last_completed_run_stay(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	for _, step := range []struct {
		name           string
		run, completed int
		want           map[int]string // the result in each run
	}{
		{"the first run", 1, 0, map[int]string{1: "r1", 0: ""}},
		{"the second", 2, 1, map[int]string{1: "r1", 2: "r2"}},
		{"the second again, after a crash", 2, 1, map[int]string{1: "r1", 2: "r2"}},
		{"the third, the second never ended", 3, 1, map[int]string{1: "r1", 2: "", 3: "r3"}},
		{"the fourth", 4, 3, map[int]string{1: "", 3: "r3", 4: "r4"}},
		{"a later one, of which the one before did not reach it", 7, 6, map[int]string{4: "", 6: "", 7: "r7"}},
	} {
		results, err := l.Results(t.Context(), "key/k")
		if err != nil {
			t.Fatal(err)
		}
		g := ledger.Generation{Run: step.run, Results: []ledger.Result{{Check: "c", Subject: "k", Result: "r" + string(rune('0'+step.run))}}}
		if err := l.SaveResults(t.Context(), results, g, step.completed); err != nil {
			t.Fatal(err)
		}
		if results, err = l.Results(t.Context(), "key/k"); err != nil {
			t.Fatal(err)
		}
		for run, want := range step.want {
			got := ""
			if all := results.In(run); len(all) == 1 {
				got = all[0].Result
			}
			if got != want {
				t.Errorf("%s: in run %d it is %q, want %q", step.name, run, got, want)
			}
		}
	}
}

func TestRuns_are_leased_to_one(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	first, err := l.LeaseRuns(t.Context(), "a", noon, in(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.LeaseRuns(t.Context(), "b", in(time.Second), in(time.Hour)); !errors.Is(err, ledger.ErrLeased) {
		t.Errorf("two have the lease: %v", err)
	}
	if _, err := l.LeaseRuns(t.Context(), "b", in(time.Minute), in(time.Hour)); err != nil {
		t.Errorf("a lease that ran out: %v", err)
	}
	if err := l.SaveRuns(t.Context(), first); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("who lost the lease writes: %v", err)
	}
}
