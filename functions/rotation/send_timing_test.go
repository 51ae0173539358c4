package rotation_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	westKey  = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f0f2")
	cmekRole = "arn:aws:iam::111122223333:role/payments-cmek"
)

// twoRegions is a cluster with a key in each of two regions.
func twoRegions() (seed simulator.Seed, east cmek.KeyURI) {
	seed = sharedKey(1)
	east = seed.Clusters[0].Regions[0].Key
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: westKey, AgeDays: 500})
	seed.Clusters[0].Regions = append([]simulator.RegionSeed{seed.Clusters[0].Regions[0]}, simulator.RegionSeed{Name: "us-west-2", Key: westKey, AuthPrincipal: cmekRole})
	return seed, east
}

// untilPUT runs ticks until n PUTs were sent, and returns the last.
func untilPUT(t *testing.T, f *rotation.Function, world *simulator.World, n int) simulator.PUT {
	t.Helper()
	for range 180 {
		if puts := world.PUTs(); len(puts) >= n {
			return puts[n-1]
		}
		minutes(f, 1)
	}
	t.Fatalf("%d PUTs were sent in three hours, want %d", len(world.PUTs()), n)
	return simulator.PUT{}
}

// A region that is removed while its request is open must not keep the cluster's other regions waiting.
func TestSend_regionRemovedAfterItsPUT_freesTheOthers(t *testing.T) {
	for _, duration := range []string{"8s", "20m"} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, other region rotated later %t", duration, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					seed, east := twoRegions()
					seed.Switches = map[string]string{simulator.RotationDuration: duration}
					world := newSimulator(t, seed)
					f := follower(t, world, cmektest.NewStore(), 20*time.Millisecond)
					minutes(f, 2)
					rotateKey(t, f, world, westKey)
					if !late {
						time.Sleep(2 * time.Minute)
						rotateKey(t, f, world, east)
					}
					untilPUT(t, f, world, 1)
					must(t, world.RemoveRegion(seed.Clusters[0].ID, "us-west-2"))
					removed := time.Now()
					if late {
						rotateKey(t, f, world, east)
					}
					put := untilPUT(t, f, world, 2)
					free := put.Time.Sub(removed)
					if late {
						free -= 5*time.Minute + 10*time.Second // the new version settles
					}
					t.Logf("the PUT for the other region leaves %s after the region is removed", free.Round(time.Second))
					most := 5 * time.Minute
					if duration == "20m" {
						most += 20 * time.Minute // the operation goes on, and the cluster is busy with it
					}
					if put.Regions[0].Region != "us-east-1" || free > most {
						t.Errorf("the second PUT is for %s, %s after the region was removed, want us-east-1 within %s", put.Regions[0].Region, free, most)
					}
					minutes(f, 60)
					if behind(world) > 0 || open(t, f) > 0 || openIncidents(f) > 0 {
						t.Errorf("in the end %d store keys are behind, %d clusters open, %d incidents open", behind(world), open(t, f), openIncidents(f))
					}
				})
			})
		}
	}
}

// A key that is disabled in the middle of a tick: what leaves after that was decided seconds before.
func TestSend_keyDisabledWithinTheTick_nothingLeavesAfterSeconds(t *testing.T) {
	onEachCloud(t, testSend_keyDisabledWithinTheTick_nothingLeavesAfterSeconds)
}

func testSend_keyDisabledWithinTheTick_nothingLeavesAfterSeconds(t *testing.T) {
	for _, latency := range []time.Duration{20 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			late := time.Duration(0)
			sent := 0
			for after := time.Duration(0); after < 40*time.Second; after += 1700 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					seed := sharedKey(12)
					key := seed.Clusters[0].Regions[0].Key
					world := newSimulator(t, seed)
					f := follower(t, world, cmektest.NewStore(), latency)
					f.Settings.InFlight = 12
					owner := newKeyOwner(t, world)
					minutes(f, 3)
					rotateKey(t, f, world, key)
					untilPUT(t, f, world, 1)
					// The canary is done in one of the next ticks, which then sends the other eleven.
					for open(t, f) == 12 {
						began := time.Now()
						var disabledAt time.Time
						go func() {
							time.Sleep(after)
							if len(world.PUTs()) > 1 {
								owner.disable(key)
								disabledAt = time.Now()
							}
						}()
						minutes(f, 1)
						synctest.Wait()
						if disabledAt.IsZero() {
							if time.Since(began) > time.Hour {
								t.Fatal("the canary is not done")
							}
							continue
						}
						for _, put := range world.PUTs() {
							if put.Time.After(disabledAt) {
								late = max(late, put.Time.Sub(disabledAt))
								sent++
							}
						}
						break
					}
				})
			}
			t.Logf("with answers after %s: %d PUTs left after the key was disabled, the last %s after", latency, sent, late.Round(time.Millisecond))
			// The read of the key is shared for two seconds; then come two reads and the PUT.
			if most := 2*time.Second + 4*latency; late > most {
				t.Errorf("a PUT left %s after the key was disabled, want at most %s", late, most)
			}
		})
	}
}

// The next clusters start in the tick that notices that the canary is done.
func TestSend_nextClustersStart_inTheTickThatSeesTheCanaryDone(t *testing.T) {
	onEachCloud(t, testSend_nextClustersStart_inTheTickThatSeesTheCanaryDone)
}

func testSend_nextClustersStart_inTheTickThatSeesTheCanaryDone(t *testing.T) {
	for _, duration := range []string{"0s", "8s", "90s", "9m"} {
		synctest.Test(t, func(t *testing.T) {
			seed := sharedKey(4)
			seed.Switches = map[string]string{simulator.RotationDuration: duration}
			world := newSimulator(t, seed)
			f := follower(t, world, cmektest.NewStore(), 20*time.Millisecond)
			minutes(f, 2)
			rotateKey(t, f, world, seed.Clusters[0].Regions[0].Key)
			untilPUT(t, f, world, 4)
			done, ok := item(t, f, seed.Clusters[0].ID).DoneIn(homeRegion())
			if !ok || !done.Followed {
				t.Fatalf("the canary is done: %+v", done)
			}
			for n, put := range world.PUTs()[1:] {
				wait := put.Time.Sub(done.At)
				t.Logf("operation %s: PUT %d leaves %s after the canary is done", duration, n+2, wait.Round(time.Millisecond))
				if wait < 0 || wait > 5*time.Second {
					t.Errorf("operation %s: PUT %d left %s after the canary was done, want the same tick", duration, n+2, wait)
				}
			}
		})
	}
}
