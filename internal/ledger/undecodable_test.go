package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// spoil replaces the content of a record by what cannot be decoded, and leaves all else of it as it is.
func spoil(t *testing.T, store ledger.Store, kind, id string) {
	t.Helper()
	r, err := store.Get(t.Context(), kind, id)
	if err != nil || r.Version == 0 {
		t.Fatalf("read %s/%s: version %d, error %v", kind, id, r.Version, err)
	}
	r.Data = []byte("{")
	if err := store.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// wantNamed fails the test unless the error is an ErrUndecodable that names the records.
func wantNamed(t *testing.T, what string, err error, names ...string) {
	t.Helper()
	if !errors.Is(err, ledger.ErrUndecodable) {
		t.Fatalf("%s: the error is %v, want that records cannot be decoded", what, err)
	}
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error does not name %s: %v", what, name, err)
		}
	}
}

func TestAnIncidentThatCannotBeDecodedKeepsNoneOfTheOthersWaiting(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	for i, name := range []string{"bad-1", "bad-2", "good-1", "bad-3", "good-2"} {
		openIncident(t, l, name, in(time.Duration(i)*time.Second))
		if strings.HasPrefix(name, "bad") {
			spoil(t, store, "alerting", "incident#"+name)
		}
	}
	for limit, want := range map[int]string{1: "[good-1]", 2: "[good-1 good-2]", 100: "[good-1 good-2]"} {
		var names []string
		due, err := l.DueIncidents(t.Context(), in(time.Hour), limit)
		for _, i := range due {
			names = append(names, i.DedupKey)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("of at most %d incidents %s are due, want %s", limit, got, want)
		}
		wantNamed(t, "due incidents", err, "alerting/incident#bad-1", "incident#bad-2")
	}
	open, err := l.OpenIncidents(t.Context())
	if wantNamed(t, "open incidents", err, "bad-1", "bad-2", "bad-3"); len(open) != 2 {
		t.Errorf("%d incidents are open, want 2", len(open))
	}
}

// partial is a store that holds an item which is no record.
type partial struct{ ledger.Store }

func (p partial) spoiled(records []ledger.Record, err error) ([]ledger.Record, error) {
	return records, errors.Join(err, fmt.Errorf("%w rotation#cluster#bad", ledger.ErrUndecodable))
}

func (p partial) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	return p.spoiled(p.Store.Due(ctx, kind, before, limit))
}

func (p partial) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	return p.spoiled(p.Store.ByKey(ctx, kind, key))
}

func TestWhatTheStoreCannotReadKeepsNoneOfTheOthersWaiting(t *testing.T) {
	l := newLedger(partial{cmektest.NewStore()}, 1)
	update(t, l, "good", func(c *ledger.Cluster) {
		c.NextLook = noon
		c.CMEK.RegionInfos = []cmek.RegionInfo{{KeyInfos: []cmek.KeyInfo{{Spec: cmek.KeySpec{URI: key}}}}}
	})
	for _, limit := range []int{1, 100} {
		agenda, err := l.Due(t.Context(), noon, limit)
		if wantNamed(t, "due items", err, "rotation#cluster#bad"); len(agenda.Clusters) != 1 {
			t.Errorf("of at most %d items the agenda is %+v, want the good cluster", limit, agenda)
		}
	}
	users, err := l.ByKey(t.Context(), key)
	if wantNamed(t, "the users of the key", err, "rotation#cluster#bad"); len(users) != 1 {
		t.Errorf("the users of the key are %v, want the good cluster", users)
	}
}

func TestAClusterThatCannotBeDecodedKeepsNoneOfTheOthersWaiting(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	for i, id := range []string{"bad", "good"} {
		update(t, l, id, func(c *ledger.Cluster) {
			c.NextLook = in(time.Duration(i) * time.Second)
			c.CMEK.RegionInfos = []cmek.RegionInfo{{KeyInfos: []cmek.KeyInfo{{Spec: cmek.KeySpec{URI: key}}}}}
		})
	}
	if _, err := l.EnsureWorker(t.Context(), in(time.Minute)); err != nil {
		t.Fatal(err)
	}
	spoil(t, store, "rotation", "cluster#bad")
	for limit, sweep := range map[int]bool{1: false, 2: true, 100: true} {
		agenda, err := l.Due(t.Context(), in(time.Hour), limit)
		if wantNamed(t, "due items", err, "rotation/cluster#bad"); len(agenda.Clusters) != 1 || agenda.Clusters[0].ID != "good" || agenda.Sweep != sweep {
			t.Errorf("of at most %d items the agenda is %+v, want the good cluster, and the sweep: %t", limit, agenda, sweep)
		}
	}
	users, err := l.ByKey(t.Context(), key)
	if wantNamed(t, "the users of the key", err, "cluster#bad"); len(users) != 1 || users[0].ID != "good" {
		t.Errorf("the users of the key are %v, want the good cluster", users)
	}
}
