package ledger_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestHold_standsUntilItsEndOrItsRelease(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	hold := func(h cmek.Hold) cmek.Hold {
		t.Helper()
		before, err := l.Hold(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		return before
	}
	release := func(what cmek.Hold, at time.Time) bool {
		t.Helper()
		_, ok, err := l.Release(t.Context(), what, at, "bo")
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	standing := func(at time.Time) (names []string) {
		t.Helper()
		all, err := l.Holds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range all.Standing(at) {
			names = append(names, h.Argument())
		}
		return names
	}
	in := noon.Add
	hold(cmek.Hold{Key: mrkEast, Since: noon, Until: in(time.Hour), By: "ana", Reason: "a leak"})
	hold(cmek.Hold{ClusterID: "c-1", Cluster: "orders", Since: noon, Until: in(2 * time.Hour), Reason: "a freeze"})
	if before := hold(cmek.Hold{Key: mrkWest, Since: in(time.Minute), Until: in(3 * time.Hour), Reason: "longer"}); before.Reason != "a leak" || !before.Until.Equal(in(time.Hour)) {
		t.Errorf("the hold before was %+v, want that of the other replica", before)
	}
	if got := fmt.Sprint(standing(in(90 * time.Minute))); got != fmt.Sprint([]string{string(mrkWest), "c-1"}) {
		t.Errorf("90 min later %s stand, want both", got)
	}
	all, err := l.Holds(t.Context())
	if err != nil || len(all) != 2 || !all[0].Since.Equal(noon) || all[0].Reason != "longer" {
		t.Errorf("the holds are %+v (error %v), want the prolonged one to have begun at noon", all, err)
	}

	for _, what := range []cmek.Hold{{Key: key}, {ClusterID: "c-2"}, {}} {
		if release(what, in(time.Minute)) {
			t.Errorf("%+v was released, and was never on hold", what)
		}
	}
	if !release(cmek.Hold{Key: mrkEast}, in(time.Minute)) || release(cmek.Hold{Key: mrkEast}, in(time.Minute)) {
		t.Error("want one release of the key to end its hold, and a second one to find none")
	}
	if got := standing(in(time.Minute)); len(got) != 1 || got[0] != "c-1" {
		t.Errorf("after the release %q stand, want the cluster's hold alone", got)
	}
	if release(cmek.Hold{ClusterID: "c-1"}, in(2*time.Hour)) {
		t.Error("a hold that has expired was released")
	}
	all, err = l.Holds(t.Context())
	if err != nil || len(all) != 2 || all[0].ReleasedBy != "bo" || !all[0].Released.Equal(in(time.Minute)) {
		t.Errorf("the holds are %+v (error %v), want to know who released which", all, err)
	}
}

func TestHolds_areBoundedAndForgotten(t *testing.T) {
	l := newLedger(cmektest.NewStore(), 1)
	at := noon
	for i := range 130 {
		at = at.Add(time.Minute)
		h := cmek.Hold{ClusterID: fmt.Sprint("c-", i), Since: at, Until: at.Add(time.Second), Reason: strings.Repeat("r", 500), By: strings.Repeat("b", 100)}
		if _, err := l.Hold(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	all, err := l.Holds(t.Context())
	if err != nil || len(all) > 102 || all[len(all)-1].ClusterID != "c-129" {
		t.Fatalf("%d holds are kept (error %v), want about the newest 100", len(all), err)
	}
	at = at.Add(time.Minute)
	for i := range 100 {
		h := cmek.Hold{ClusterID: fmt.Sprint("s-", i), Since: at, Until: at.Add(time.Hour), Reason: strings.Repeat("r", 500), By: strings.Repeat("b", 100)}
		if _, err := l.Hold(t.Context(), h); err != nil {
			t.Fatalf("hold %d: %v", i, err)
		}
	}
	if _, err := l.Hold(t.Context(), cmek.Hold{ClusterID: "one more", Since: at, Until: at.Add(time.Hour)}); err == nil || !strings.Contains(err.Error(), "100 holds stand already") {
		t.Errorf("the 101st hold gives %v", err)
	}
	if _, err := l.Hold(t.Context(), cmek.Hold{ClusterID: "s-7", Since: at, Until: at.Add(2 * time.Hour), Reason: "longer"}); err != nil {
		t.Errorf("prolonging one of 100: %v", err)
	}
	later := at.Add(91 * 24 * time.Hour)
	if _, err := l.Hold(t.Context(), cmek.Hold{ClusterID: "new", Since: later, Until: later.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if all, err := l.Holds(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("91 days later there are %d holds (error %v), want the new one alone", len(all), err)
	}
}

// An order that an earlier release recorded stands until somebody releases it.
func TestHoldOnKey_readsAnEarlierReleasesOrder(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	data, err := json.Marshal(map[string]any{"since": noon, "by": "ana", "reason": "suspected leak"})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), ledger.Record{Kind: "control", ID: "declared#" + mrkEast.Canonical(), Data: data}); err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[cmek.KeyURI]bool{mrkEast: true, mrkWest: true, key: false} {
		if h, ok, err := l.HoldOnKey(t.Context(), uri, noon); err != nil || ok != want || ok && h.Reason != "suspected leak" {
			t.Errorf("%s is on hold: %t, %+v (error %v), want %t", uri, ok, h, err, want)
		}
	}
	if h, ok, err := l.Release(t.Context(), cmek.Hold{Key: mrkWest}, noon, "bo"); err != nil || !ok || h.By != "ana" {
		t.Errorf("releasing it gives %+v, %t, %v", h, ok, err)
	}
	if _, ok, err := l.HoldOnKey(t.Context(), mrkEast, noon); err != nil || ok {
		t.Errorf("after its release it stands: %t (error %v)", ok, err)
	}
}
