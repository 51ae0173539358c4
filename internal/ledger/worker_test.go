package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// lease takes the lease for a minute from noon and stops the test if that fails.
func lease(t *testing.T, l *ledger.Ledger, holder string) *ledger.Worker {
	t.Helper()
	w, err := l.Lease(t.Context(), holder, noon, in(time.Minute))
	if err != nil {
		t.Fatalf("take a free lease for %s: %v", holder, err)
	}
	return w
}

func TestALeaseIsForOneHolderUntilItRunsOut(t *testing.T) {
	for _, r := range []struct {
		sentence string
		holder   string
		after    time.Duration
		want     error
	}{
		{"another worker is refused", "b", time.Second, ledger.ErrLeased},
		{"another worker is refused until the very end", "b", time.Minute - time.Nanosecond, ledger.ErrLeased},
		{"another worker takes over a lease that ran out", "b", time.Minute, nil},
		{"its holder takes it again", "a", time.Second, nil},
	} {
		l := newLedger(cmektest.NewStore(), 1)
		lease(t, l, "a")
		w, err := l.Lease(t.Context(), r.holder, in(r.after), in(time.Hour))
		if !errors.Is(err, r.want) {
			t.Errorf("%s: got %v, want %v", r.sentence, err, r.want)
			continue
		}
		if err == nil && (w.Holder != r.holder || !w.Until.Equal(in(time.Hour))) {
			t.Errorf("%s: the lease is for %s until %s", r.sentence, w.Holder, w.Until)
		}
	}
}

func TestALeaseGivenBackIsFree(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	w := lease(t, l, "a")
	w.Holder, w.Until, w.Sweep.Page = "", time.Time{}, "page 7"
	if err := l.SaveWorker(t.Context(), w, noon); err != nil {
		t.Fatalf("give the lease back: %v", err)
	}
	if got := lease(t, l, "b"); got.Sweep.Page != "page 7" {
		t.Errorf("the next worker continues the sweep at %q, want %q", got.Sweep.Page, "page 7")
	}
}

func TestALeaseTakenOverMakesTheOldHoldersWriteAConflict(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	old := lease(t, l, "a")
	if _, err := l.Lease(t.Context(), "b", in(time.Hour), in(2*time.Hour)); err != nil {
		t.Fatalf("take the lease over: %v", err)
	}
	if err := l.SaveWorker(t.Context(), old, noon); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("the old holder's write returned %v, want ErrConflict", err)
	}
}

func TestOfTwoWorkersThatReachForAFreeLeaseOneIsRefused(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	first := newLedger(store, 1)
	store.before = func() {
		store.before = nil
		lease(t, newLedger(store.Store, 2), "b")
	}
	if _, err := first.Lease(t.Context(), "a", noon, in(time.Minute)); !errors.Is(err, ledger.ErrLeased) {
		t.Errorf("the worker that came second got %v, want ErrLeased", err)
	}
}

func TestALeaseWhoseAnswerWasLostIsTaken(t *testing.T) {
	var faults cmektest.Faults
	l := newLedger(faults.Store(cmektest.NewStore()), 1)
	faults.Next(cmektest.AnswerLost)
	w := lease(t, l, "a")
	if err := l.SaveWorker(t.Context(), w, noon); err != nil {
		t.Errorf("the holder's next write returned %v, want success", err)
	}
}

func TestTheWorkersRecordIsWrittenOnceAndIsDueAtOnce(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	if ids := dueIDs(t, l, noon, 10); len(ids) > 0 {
		t.Errorf("in a new ledger %q is due", ids)
	}
	for i, want := range []bool{true, false} {
		created, err := l.EnsureWorker(t.Context(), noon)
		if err != nil || created != want {
			t.Errorf("call %d wrote the worker's record: %t, %v; want %t", i+1, created, err, want)
		}
	}
	if ids := dueIDs(t, l, noon, 10); len(ids) != 1 || ids[0] != "sweep" {
		t.Errorf("with a new worker's record %q is due, want the sweep", ids)
	}
}

func TestTheWorkersMessagesMakeItDueBeforeItsSweep(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	w := lease(t, l, "a")
	w.Tell(alert.Alert{ID: "a-1"})
	if err := l.SaveWorker(t.Context(), w, in(time.Hour)); err != nil {
		t.Fatalf("save worker: %v", err)
	}
	if ids := dueIDs(t, l, noon, 10); len(ids) != 1 {
		t.Error("a worker with a message is not due before its sweep")
	}
	w.Clear(map[string]bool{"a-1": true})
	if err := l.SaveWorker(t.Context(), w, in(time.Hour)); err != nil {
		t.Fatalf("save worker: %v", err)
	}
	if ids := dueIDs(t, l, noon, 10); len(ids) > 0 {
		t.Errorf("after its message was delivered %q is due before the sweep", ids)
	}
}

func TestThePauseHoldsUntilItIsWithdrawn(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	if p, err := l.Paused(t.Context()); err != nil || p.Active() {
		t.Fatalf("a new ledger is paused: %+v, %v", p, err)
	}
	order := ledger.Pause{Since: noon, By: "ana", Reason: "maintenance"}
	for _, want := range []ledger.Pause{order, {}} {
		if err := l.SetPause(t.Context(), want); err != nil {
			t.Fatalf("set pause: %v", err)
		}
		if got, err := l.Paused(t.Context()); err != nil || got != want || got.Active() != (want == order) {
			t.Errorf("the pause reads %+v (active: %t), %v; want %+v", got, got.Active(), err, want)
		}
	}
	if ids := dueIDs(t, l, in(time.Hour), 10); len(ids) > 0 {
		t.Errorf("the pause itself is due: %q", ids)
	}
}

func TestThePauseIsSetInSpiteOfAnotherOperatorsWrite(t *testing.T) {
	store := &countingStore{Store: cmektest.NewStore()}
	store.before = func() {
		store.before = nil
		if err := newLedger(store.Store, 2).SetPause(t.Context(), ledger.Pause{}); err != nil {
			t.Errorf("set the other pause: %v", err)
		}
	}
	l := newLedger(store, 1)
	if err := l.SetPause(t.Context(), ledger.Pause{Since: noon, By: "ana"}); err != nil {
		t.Fatalf("set pause: %v", err)
	}
	if p, err := l.Paused(t.Context()); err != nil || p.By != "ana" {
		t.Errorf("the pause reads %+v, %v; want the order given last", p, err)
	}
}

func TestSweepRunsFromItsBeginToItsEnd(t *testing.T) {
	for _, r := range []struct {
		sweep ledger.Sweep
		want  bool
	}{{ledger.Sweep{}, false}, {ledger.Sweep{Began: noon}, true}, {ledger.Sweep{Began: noon, Ended: noon}, false}} {
		if got := r.sweep.Running(); got != r.want {
			t.Errorf("%+v is running: %t, want %t", r.sweep, got, r.want)
		}
	}
}

func TestSet_lacks(t *testing.T) {
	for _, r := range []struct {
		sentence   string
		set, other []string
		want       bool
	}{
		{"the same names", []string{"a", "b"}, []string{"a", "b"}, false},
		{"the same names in another order", []string{"b", "a"}, []string{"a", "b"}, false},
		{"a name less", []string{"a"}, []string{"a", "b"}, true},
		{"another name instead", []string{"a", "c"}, []string{"a", "b"}, true},
		{"no name", nil, []string{"a"}, true},
		{"a name more", []string{"a", "b", "c"}, []string{"a", "b"}, false},
		{"both empty", nil, nil, false},
	} {
		if got := ledger.Of(r.set...).Lacks(ledger.Of(r.other...)); got != r.want {
			t.Errorf("%s: the set lacks one of the other: %t, want %t", r.sentence, got, r.want)
		}
	}
	if whole, parts := ledger.Of("a", "b", "c"), ledger.Of("c").Plus(ledger.Of("a", "b")); whole != parts {
		t.Errorf("a set built of parts is %+v, at once %+v", parts, whole)
	}
}

func TestSweep_running(t *testing.T) {
	for _, r := range []struct {
		sentence string
		sweep    ledger.Sweep
		want     bool
	}{
		{"no walk yet", ledger.Sweep{}, false},
		{"a walk that began", ledger.Sweep{Began: noon}, true},
		{"a walk that ended", ledger.Sweep{Began: noon, Ended: in(time.Minute)}, false},
	} {
		if got := r.sweep.Running(); got != r.want {
			t.Errorf("%s: a walk is under way: %t, want %t", r.sentence, got, r.want)
		}
	}
}
