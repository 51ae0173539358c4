package rotation_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmektest"
)

const largeFleet = 1500

// A large fleet is planned for at the pace of the request rate, the first cluster at once; and with what the sweep read, in seconds.
func TestPlan_largeFleet_keepsToTheRequestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newSimulator(t, sharedKey(largeFleet))
		f := follower(t, world, cmektest.NewStore(), 300*time.Millisecond)
		began, before := time.Now(), len(world.Requests())
		var first time.Duration
		order := 0
		p, err := f.Plan(t.Context(), rotation.Planning{Seen: func(c rotation.ClusterPlan, read, of int) {
			if first == 0 {
				first = time.Since(began)
			}
			if order++; read != order || of < read || c.Err != nil || len(c.Plan.Verdicts) == 0 {
				t.Errorf("cluster %d of %d is seen as number %d, with error %v and %d verdicts", read, of, order, c.Err, len(c.Plan.Verdicts))
			}
		}})
		must(t, err)
		took, bound := time.Since(began), time.Duration(len(world.Requests())-before)*time.Second/8
		t.Logf("%d clusters took %s, %.3f of the bound; the first came after %s", largeFleet, took, took.Seconds()/bound.Seconds(), first)
		if first > 2*time.Second || float64(took) > 1.05*float64(bound) {
			t.Errorf("the first cluster came after %s and all after %s, want at most 2s and %s and 5 %%", first, took, bound)
		}
		if len(p.Clusters) != largeFleet || p.Read != largeFleet || p.Of != largeFleet || !p.Swept.IsZero() {
			t.Errorf("the plan is about %d clusters, read %d of %d, swept %s", len(p.Clusters), p.Read, p.Of, p.Swept)
		}

		for range 10 {
			tick(t, f)
		}
		began = time.Now()
		p, err = f.Plan(t.Context(), rotation.Planning{Seen: func(rotation.ClusterPlan, int, int) { t.Error("a plan from the inventory shows a cluster as read") }})
		must(t, err)
		if took := time.Since(began); took > 3*time.Second || len(p.Clusters) != largeFleet || p.Swept.IsZero() {
			t.Errorf("with the inventory %d clusters took %s, swept %s; want all in seconds", len(p.Clusters), took, p.Swept)
		}
	})
}

// What the sweep read is used as long as it is not old, and --fresh does without it.
func TestPlan_inventory_isUsedWhileItIsFresh(t *testing.T) {
	onEachCloud(t, testPlan_inventory_isUsedWhileItIsFresh)
}

func testPlan_inventory_isUsedWhileItIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newSimulator(t, sharedKey(3))
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		for range 2 {
			tick(t, f)
		}
		swept := func(fresh bool) bool {
			p, err := f.Plan(t.Context(), rotation.Planning{Fresh: fresh})
			must(t, err)
			if len(p.Clusters) != 3 {
				t.Errorf("the plan is about %d clusters, want 3", len(p.Clusters))
			}
			return !p.Swept.IsZero()
		}
		if !swept(false) || swept(true) {
			t.Error("after a sweep the inventory is used: want it, but not for a fresh plan")
		}
		time.Sleep(3*f.Settings.SweepEvery - 5*time.Minute)
		if !swept(false) {
			t.Error("the inventory is not used although it is younger than three sweeps")
		}
		time.Sleep(5 * time.Minute)
		if swept(false) {
			t.Error("the inventory is used although it is older than three sweeps")
		}
	})
}

// Ctrl-C leaves a plan for what was read.
func TestPlan_interrupted_isAboutWhatWasRead(t *testing.T) {
	onEachCloud(t, testPlan_interrupted_isAboutWhatWasRead)
}

func testPlan_interrupted_isAboutWhatWasRead(t *testing.T) {
	for stopAfter := range 6 {
		synctest.Test(t, func(t *testing.T) {
			world := newSimulator(t, sharedKey(5))
			f := follower(t, world, cmektest.NewStore(), 10*time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := f.Plan(ctx, rotation.Planning{Seen: func(_ rotation.ClusterPlan, read, _ int) {
				if read == stopAfter {
					cancel()
				}
			}})
			must(t, err)
			want := stopAfter
			if stopAfter == 0 {
				want = 5
			}
			if p.Read != want || p.Of < want || (p.Of == p.Read) != (stopAfter%5 == 0) || len(p.Clusters) != want {
				t.Errorf("stopped after %d clusters, the plan is about %d, and says %d of %d", stopAfter, len(p.Clusters), p.Read, p.Of)
			}
		})
	}
}

// What is wrong with keys is said by cause, and what could not be read is not called fine.
func TestPlan_keysUnreadOrUnusable_areNamedOnce(t *testing.T) {
	onEachCloud(t, testPlan_keysUnreadOrUnusable_areNamedOnce)
}

func testPlan_keysUnreadOrUnusable_areNamedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(3)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		key := seed.Clusters[0].Regions[0].Key
		deny(t, world, key, true)
		p, err := f.Plan(t.Context(), rotation.Planning{})
		must(t, err)
		if len(p.Unread) != 1 || !p.Unread[0].Denied || len(p.Unread[0].Keys) != 1 || p.Unread[0].Keys[0] != key || len(p.Troubles) != 0 {
			t.Errorf("unread are %+v, in trouble %+v; want the one key, denied", p.Unread, p.Troubles)
		}
	})
}
