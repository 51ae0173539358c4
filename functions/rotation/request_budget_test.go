package rotation_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// bound is the time from a rotation to the end that order, polls and the two-read rule give if nothing else takes time: the canary
// alone, then as many at a time as may be in flight; each until a poll sees the end of its operation, and another one confirms it.
func bound(clusters int, operation, ticks, settle, confirm time.Duration, s rotation.Settings) time.Duration {
	tickAt := func(d time.Duration) time.Duration { return (d + ticks - 1).Truncate(ticks) }
	var read, rested time.Duration
	wait := s.Poll
	for {
		read = tickAt(read + wait)
		poll := min(max(s.Poll, read/4), 2*time.Minute)
		switch {
		case read < operation:
			wait = poll
		case rested == 0:
			rested = read
			wait = min(poll, confirm)
		case read < rested+confirm:
			wait = min(poll, rested+confirm-read)
		default:
			waves := 1 + (clusters-1+s.InFlight-1)/s.InFlight
			return tickAt(settle) + time.Duration(waves)*read
		}
	}
}

func TestRequests_aRotationOfOneKey_staysWithinItsBudget(t *testing.T) {
	onEachCloud(t, testRequests_aRotationOfOneKey_staysWithinItsBudget)
}

func testRequests_aRotationOfOneKey_staysWithinItsBudget(t *testing.T) {
	for _, r := range []struct {
		name      string
		clusters  int
		operation time.Duration
		ticks     time.Duration
		// settle and confirm are the times in force.
		settle, confirm time.Duration
		change          func(*rotation.Settings)
	}{
		{"six with 8 s, polled every second", 6, 8 * time.Second, time.Second, 5 * time.Second, 2 * time.Second, func(s *rotation.Settings) {
			s.Loopback, s.Settle, s.Confirm, s.Poll = true, 5*time.Second, 2*time.Second, time.Second
		}},
		{"seven with 9 min", 7, 9 * time.Minute, time.Minute, settleTime(), 50 * time.Second, func(*rotation.Settings) {}},
		{"ten with 8 s", 10, 8 * time.Second, time.Minute, settleTime(), 50 * time.Second, func(*rotation.Settings) {}},
		{"one with 40 min", 1, 40 * time.Minute, time.Minute, settleTime(), 50 * time.Second, func(*rotation.Settings) {}},
	} {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := sharedKey(r.clusters)
				seed.Switches = map[string]string{simulator.RotationDuration: r.operation.String(), simulator.KMSPropagation: "1s"}
				world := newSimulator(t, seed)
				f := follower(t, world, cmektest.NewStore(), 20*time.Millisecond)
				r.change(&f.Settings)
				f.Settings.SweepEvery = 24 * time.Hour
				step := func() {
					next := time.Now().Add(r.ticks)
					ctx, cancel := context.WithTimeout(context.Background(), 55*time.Second)
					defer cancel()
					must(t, f.Tick(ctx))
					time.Sleep(time.Until(next))
				}
				step()
				step()
				must(t, world.Rotate(string(seed.Clusters[0].Regions[0].Key)))
				time.Sleep(4 * time.Second)
				from := len(world.Requests())
				announced := time.Now()
				announce(t, f, world)
				if n := len(world.Requests()) - from; n != 0 {
					t.Errorf("the events cost %d requests, want none", n)
				}
				for open(t, f) > 0 {
					if time.Since(announced) > 12*time.Hour {
						t.Fatalf("%d clusters are open after 12 h", open(t, f))
					}
					step()
				}
				took, want := time.Duration(0), bound(r.clusters, r.operation, r.ticks, r.settle, r.confirm, f.Settings)
				for _, c := range seed.Clusters {
					done, _ := item(t, f, c.ID).DoneIn(homeRegion())
					took = max(took, done.At.Sub(announced))
				}
				t.Logf("%d clusters: %s, the bound is %s: %.2f of it", r.clusters, took.Round(time.Second), want, took.Seconds()/want.Seconds())
				if took.Seconds() > 1.3*want.Seconds() {
					t.Errorf("it took %s, want at most 1.3 × %s", took, want)
				}
				checkBudget(t, world, from, r.clusters, r.operation)
				if behind(world) > 0 {
					t.Errorf("%d store keys are behind", behind(world))
				}
			})
		})
	}
}

// checkBudget checks what the requests from the nth on cost: a PUT for each cluster, and five GETs beside one for each poll while its
// operation runs.
func checkBudget(t *testing.T, world *simulator.World, from, clusters int, operation time.Duration) {
	t.Helper()
	puts := world.PUTs()
	if len(puts) != clusters || slices.ContainsFunc(puts, func(p simulator.PUT) bool { return p.Outcome != "accepted" }) {
		t.Errorf("%d PUTs were sent to %d clusters: %v", len(puts), clusters, puts)
	}
	gets, running := 0, 0
	for _, r := range world.Requests()[from:] {
		if r.API != "cloud" || r.Method != http.MethodGet {
			continue
		}
		gets++
		for _, put := range puts {
			if strings.Contains(r.Path, put.ClusterID) && r.Time.After(put.Time) && r.Time.Before(put.Time.Add(operation)) {
				running++
			}
		}
	}
	calls := kmsCalls(world, from)
	t.Logf("%d PUTs, %d GETs of which %d while operations run, KMS %v", len(puts), gets, running, calls)
	if gets-running > 5*clusters {
		t.Errorf("%d GETs beside %d polls of running operations, want at most %d", gets-running, running, 5*clusters)
	}
}
