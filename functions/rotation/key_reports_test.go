package rotation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// twoAccounts is a fleet of so many clusters with one key, of which every second one has it in another account.
func twoAccounts(n int) (seed simulator.Seed, first, second cmek.KeyURI) {
	seed = sharedKey(n)
	first = seed.Clusters[0].Regions[0].Key
	second = "arn:aws:kms:us-east-1:999988887777:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f0ff"
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: second, AgeDays: 500,
		Policy: `{"Statement":{"Effect":"Allow","Principal":{"AWS":["999988887777","111122223333"]},"Action":"kms:*","Resource":"*"}}`})
	for i := range seed.Clusters {
		r := seed.Clusters[i].Regions[0]
		if i%2 == 1 {
			r.Key = second
		}
		seed.Clusters[i].Regions = []simulator.RegionSeed{r}
	}
	return seed, first, second
}

// One cause is reported once, with all clusters, and so is its end.
func TestKeyReports_oneCauseIsOneAlert(t *testing.T) {
	onEachCloud(t, testKeyReports_oneCauseIsOneAlert)
}

func testKeyReports_oneCauseIsOneAlert(t *testing.T) {
	const clusters = 50
	first := sharedKey(1).Clusters[0].Regions[0].Key
	for _, r := range []struct {
		sentence string
		change   cmek.Change
		spoil    func(*simulator.World, keyOwner)
		restore  func(*simulator.World, keyOwner)
		alerts   int
	}{
		{"a key that keyturn may not read", "key unreadable",
			func(w *simulator.World, o keyOwner) { deny(o.t, w, first, true) },
			func(w *simulator.World, o keyOwner) { deny(o.t, w, first, false) }, 1},
		{"a disabled key", "key unusable",
			func(_ *simulator.World, o keyOwner) { o.disable(first) },
			func(_ *simulator.World, o keyOwner) { o.enable(first) }, 1},
		{"a key that keyturn may read", "key unreadable", func(*simulator.World, keyOwner) {}, func(*simulator.World, keyOwner) {}, 0},
	} {
		for _, working := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				world := newSimulator(t, sharedKey(clusters))
				f := follower(t, world, cmektest.NewStore(), time.Millisecond)
				owner := newKeyOwner(t, world)
				minutes(f, 2)
				if working {
					rotateKey(t, f, world, first)
				}
				r.spoil(world, owner)
				minutes(f, 60)
				begun, ended := reported(f, r.change)
				if len(begun) != r.alerts || len(ended) > 0 {
					t.Fatalf("%s, work open: %t: %d alerts and %d ends, want %d and none: %q", r.sentence, working, len(begun), len(ended), r.alerts, named(begun))
				}
				for _, a := range begun {
					if a.AffectedCount() != clusters {
						t.Errorf("%s, work open: %t: the alert names %d clusters, want %d", r.sentence, working, a.AffectedCount(), clusters)
					}
				}
				for _, other := range f.Notifier.(*cmektest.Notifier).Alerts() {
					if r.alerts > 0 && other.Change != r.change {
						t.Errorf("%s, work open: %t: also reported %q", r.sentence, working, other.Summary)
					}
				}
				r.restore(world, owner)
				minutes(f, 60)
				if begun, ended = reported(f, r.change); len(begun) != r.alerts || len(ended) != r.alerts {
					t.Errorf("%s, work open: %t: an hour after its end there were %d alerts and %d ends, want %d of each", r.sentence, working, len(begun), len(ended), r.alerts)
				}
				if working {
					minutes(f, 180)
					if n := behind(world); n > 0 {
						t.Errorf("%s: %d store keys are behind four hours after its end", r.sentence, n)
					}
				}
			})
		}
	}
}

func TestKeyReports_twoAccounts_areTwoAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed, first, second := twoAccounts(50)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		minutes(f, 2)
		must(t, world.DenyKMS(string(first), true))
		must(t, world.DenyKMS(string(second), true))
		minutes(f, 40)
		begun, _ := reported(f, "key unreadable")
		if len(begun) != 2 || begun[0].AffectedCount() != 25 || begun[1].AffectedCount() != 25 || begun[0].DedupKey == begun[1].DedupKey {
			t.Fatalf("keys of two accounts that are denied are reported as %q, want two alerts that name 25 clusters each", named(begun))
		}
		must(t, world.DenyKMS(string(second), false))
		minutes(f, 40)
		begun, ended := reported(f, "key unreadable")
		if len(begun) != 2 || len(ended) != 1 || !strings.Contains(ended[0].DedupKey, second.Account()) {
			t.Errorf("with one account readable again %q are reported and %q ended, want the end of one", named(begun), named(ended))
		}
	})
}
