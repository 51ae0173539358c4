package rotation_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestAnItemThatCannotBeDecodedHoldsUpNoOtherKey(t *testing.T) {
	onEachCloud(t, testAnItemThatCannotBeDecodedHoldsUpNoOtherKey)
}

func testAnItemThatCannotBeDecodedHoldsUpNoOtherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := groups(11) // ten clusters share a key, the last has one of its own
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		store := cmektest.NewStore()
		f := follower(t, world, store, time.Millisecond)
		minutes(f, 2)
		bad, neighbor, healthy := seed.Clusters[0], seed.Clusters[1], seed.Clusters[10]
		r, err := store.Get(t.Context(), "rotation", "cluster#"+bad.ID)
		if err != nil || r.Version == 0 {
			t.Fatalf("read the item of cluster %s: version %d, error %v", bad.ID, r.Version, err)
		}
		r.Data, r.NextLook = []byte("{"), time.Now()
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}

		rotated := cmek.Event{ID: "e-1", Change: cmek.ChangeRotated, Key: neighbor.Regions[0].Key, Version: nextVersion(), Time: time.Now()}
		if err := f.Event(t.Context(), rotated); !errors.Is(err, ledger.ErrUndecodable) {
			t.Errorf("an event about the key of a cluster that cannot be decoded returns %v, want to have it again", err)
		}
		if c, err := f.Ledger.Cluster(t.Context(), neighbor.ID); err != nil || len(c.Work) != 1 {
			t.Errorf("the event opened %d pieces of work for the other cluster (error %v), want 1", len(c.Work), err)
		}

		if err := world.Set(simulator.CloudTrail, "off"); err != nil {
			t.Fatal(err)
		}
		if err := world.Rotate(string(healthy.Regions[0].Key)); err != nil {
			t.Fatal(err)
		}
		minutes(f, 60+int(settling()/time.Minute)) // no event is delivered: a sweep must find it
		for _, key := range world.StoreKeys() {
			if key.ClusterID == healthy.ID && key.Behind {
				t.Error("the rotation of a healthy cluster was not followed within an hour")
			}
		}
		if err := f.Tick(t.Context()); !errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "cluster#"+bad.ID) {
			t.Errorf("a tick returns %v, want an error that names the record", err)
		}
		if changes := told(f); !contains(changes, "sweep incomplete") {
			t.Errorf("operations heard %q, want that a cluster could not be read", changes)
		}
	})
}
