package rotation_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// A cluster that the list leaves out is asked for by itself at the end of the next walk but one, not after a day.
func TestSweep_unlistedCluster_isReportedWithinTwoWalks(t *testing.T) {
	onEachCloud(t, testSweep_unlistedCluster_isReportedWithinTwoWalks)
}

func testSweep_unlistedCluster_isReportedWithinTwoWalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(5)
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		store := &counted{Store: cmektest.NewStore(), calls: map[string]int{}}
		f := follower(t, world, store, time.Millisecond)
		minutes(f, 60)
		if err := world.Hide(seed.Clusters[2].ID); err != nil {
			t.Fatal(err)
		}
		minutes(f, 35)
		if changes := told(f); !contains(changes, "cluster not shown") {
			t.Errorf("35 minutes after a cluster was hidden, operations were notified of %q", changes)
		}
		c, err := f.Ledger.Cluster(t.Context(), seed.Clusters[2].ID)
		if err != nil || c.Gone || len(c.Keys()) == 0 || c.Unread.IsZero() {
			t.Errorf("the hidden cluster is %+v (error %v), want one that is unread and keeps its keys", c, err)
		}
		if worker, err := f.Ledger.Worker(t.Context()); err != nil || time.Since(worker.Sweep.Complete) > 20*time.Minute {
			t.Errorf("the last complete walk ended %s ago (error %v): a cluster that is not shown must not make it incomplete", time.Since(worker.Sweep.Complete), err)
		}

		store.calls = map[string]int{}
		minutes(f, 60)
		if n := store.calls["Put"]; n > 3*60 { // the lease and the sweep only
			t.Errorf("an hour later the idle fleet costs %d writes: walks go on marking", n)
		}
		if err := world.Show(seed.Clusters[2].ID); err != nil {
			t.Fatal(err)
		}
		minutes(f, 20)
		if c, err := f.Ledger.Cluster(t.Context(), seed.Clusters[2].ID); err != nil || !c.Unread.IsZero() || len(c.Alarms) > 0 {
			t.Errorf("the cluster that is shown again is %+v (error %v)", c, err)
		}
	})
}

// The list has as many clusters as before, but one of them is another one.
func TestSweep_unlistedCluster_isReportedThoughAnotherOneIsNew(t *testing.T) {
	onEachCloud(t, testSweep_unlistedCluster_isReportedThoughAnotherOneIsNew)
}

func testSweep_unlistedCluster_isReportedThoughAnotherOneIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(5)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		must(t, world.Hide(seed.Clusters[4].ID))
		minutes(f, 60)
		must(t, world.Hide(seed.Clusters[2].ID))
		must(t, world.Show(seed.Clusters[4].ID))
		minutes(f, 50)
		begun, _ := reported(f, "cluster not shown")
		if len(begun) != 1 || begun[0].Clusters[0].ID != seed.Clusters[2].ID {
			t.Errorf("50 minutes after a cluster was replaced by another one, operations were notified of %+v", begun)
		}
	})
}
