package ledger_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestOnlyHappeningsAreForgottenAfter30Days(t *testing.T) {
	const month = 30 * 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		store := cmektest.NewStore()
		l := newLedger(store, 1)
		change := func(name string, change func(*ledger.Incident)) {
			t.Helper()
			if _, err := l.UpdateIncident(t.Context(), name, func(i *ledger.Incident) error { change(i); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		happens := func(i *ledger.Incident) { i.Opened, i.Closed = time.Now(), time.Now(); i.Add("e-1") }
		breaks := func(i *ledger.Incident) { i.Kind, i.Opened, i.Closed = "key-unusable", time.Now(), time.Time{} }

		change("happening", happens)
		change("happening that became an incident", happens)
		change("happening that became an incident", breaks)
		change("open", breaks)
		change("ended", breaks)
		change("ended", func(i *ledger.Incident) { i.Closed = time.Now() })
		change("well", func(i *ledger.Incident) { i.Recovered = time.Now() })
		update(t, l, "c-1", func(c *ledger.Cluster) { c.NextLook = noon })
		if err := l.NotePolicy(t.Context(), "role", "{}", ledger.NotedPolicy{}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Hold(t.Context(), cmek.Hold{Key: key, Since: noon, Until: noon.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		lease(t, l, "a")

		for _, row := range []struct {
			kind, id string
			expires  bool
		}{
			{"alerting", "incident#happening", true}, {"alerting", "incident#well", true},
			{"alerting", "incident#happening that became an incident", false}, {"alerting", "incident#open", false}, {"alerting", "incident#ended", false},
			{"rotation", "cluster#c-1", false}, {"rotation", "worker", false}, {"control", "policy#role", false}, {"control", "holds", false},
		} {
			r, err := store.Get(t.Context(), row.kind, row.id)
			want := time.Time{}
			if row.expires {
				want = time.Now().Add(month).Truncate(time.Second)
			}
			if err != nil || r.Version == 0 || !r.Expires.Equal(want) {
				t.Errorf("%s %s has version %d and expires at %s (error %v), want %s", row.kind, row.id, r.Version, r.Expires, err, want)
			}
		}
		time.Sleep(month - time.Second)
		if i, err := l.Incident(t.Context(), "happening"); err != nil || !i.Notified("e-1") {
			t.Errorf("a second before 30 days are over the happening has the events %v, %v; want its own", i.Events, err)
		}
		time.Sleep(time.Second)
		if i, err := l.Incident(t.Context(), "happening"); err != nil || i.Notified("e-1") {
			t.Errorf("after 30 days the happening has the events %v, %v; want it forgotten", i.Events, err)
		}
		change("happening", happens)
		if i, err := l.Incident(t.Context(), "happening"); err != nil || !i.Notified("e-1") {
			t.Errorf("reported a second time, the happening has the events %v, %v; want it known again", i.Events, err)
		}
	})
}

func TestAWorkersRecordFromBeforeOldestOpenReads(t *testing.T) {
	store := cmektest.NewStore()
	const old = `{"holder":"a","until":"2026-03-01T12:01:00Z","sweep":{"began":"2026-03-01T12:00:00Z","page":"p","skip":3,"clusters":7}}`
	if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "worker", Data: []byte(old)}); err != nil {
		t.Fatal(err)
	}
	l := newLedger(store, 1)
	w, err := l.Worker(t.Context())
	if err != nil || w.Sweep.Page != "p" || w.Sweep.Clusters != 7 || !w.Sweep.OldestOpen.IsZero() {
		t.Fatalf("the old record reads %+v, %v; want its place, and no open work", w, err)
	}
	w.Sweep.OldestOpen = noon
	if err := l.SaveWorker(t.Context(), w, noon); err != nil {
		t.Fatal(err)
	}
	if w, err = l.Worker(t.Context()); err != nil || !w.Sweep.OldestOpen.Equal(noon) {
		t.Errorf("the oldest open work reads %s, %v; want %s", w.Sweep.OldestOpen, err, noon)
	}
	var raw struct{ Sweep map[string]any }
	r, _ := store.Get(t.Context(), "rotation", "worker")
	if err := json.Unmarshal(r.Data, &raw); err != nil || raw.Sweep["oldest_open"] == nil {
		t.Errorf("the record is %s (error %v), want the field oldest_open", r.Data, err)
	}
}
