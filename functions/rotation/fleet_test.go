package rotation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// change changes a cluster of the fleet.
type change func(*ledger.Cluster)

// member is another healthy cluster of the key eastKey.
func member(name string, changes ...change) *ledger.Cluster {
	c := &ledger.Cluster{
		ID: "id-of-" + name, Cluster: cmek.Cluster{ID: "id-of-" + name, Name: name, State: cmek.StateCreated},
		CMEK: cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{regionInfo(east, eastKey)}},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func withWork(change func(*ledger.Work)) change {
	return func(c *ledger.Cluster) {
		w := workFor(east, eastKey)
		change(&w)
		c.Work = append(c.Work, w)
	}
}

var (
	waiting = withWork(func(*ledger.Work) {})
	flying  = withWork(func(w *ledger.Work) { w.State, w.Request = ledger.Requested, requestOf(time.Minute) })
	claims  = withWork(func(w *ledger.Work) { w.Claim = &ledger.Claim{Intent: ago(time.Second)} })
	// detained: it waits for something of its own.
	detained = withWork(func(w *ledger.Work) { w.Detained = true })
	// unresolved: its request left no trace and it is due once more, but it is busy.
	unresolved = withWork(func(w *ledger.Work) {
		w.Detained, w.Lost, w.Request = true, 1, requestOf(11*time.Minute)
		w.Request.GivenUp = true
	})
)

// refusedFor: the cluster's PUTs were refused since so long ago, last tried so long ago.
func refusedFor(since, tried time.Duration) change {
	return withWork(func(w *ledger.Work) {
		w.Attempts, w.RefusedSince, w.Request = 3, ago(since), requestOf(tried)
		w.Request.Answer, w.Request.Answered = &cmek.Answer{Outcome: cmek.Refused}, ago(tried)
	})
}

func selfRefusedFor(since, tried time.Duration) given {
	return func(w *world) {
		refusedFor(since, tried)(w.item)
		w.item.Work = w.item.Work[len(w.item.Work)-1:]
	}
}

func followed(v cmek.KeyVersion) change {
	return func(c *ledger.Cluster) {
		c.SetDone(ledger.Done{Region: east, Key: eastKey, Version: v, Followed: true})
	}
}

func adoptedOnly(c *ledger.Cluster) { c.SetDone(ledger.Done{Region: east, Key: eastKey, Version: v2}) }

// failedOnce: our PUT for v2 failed once.
func failedOnce(state ledger.State) change {
	return withWork(func(w *ledger.Work) { w.State, w.Failed, w.Request = state, 1, requestOf(time.Minute) })
}

func labeled(value string) change {
	return func(c *ledger.Cluster) { c.Cluster.Labels = map[string]string{"keyturn": value} }
}

func clusterStatus(s cmek.Status) change { return func(c *ledger.Cluster) { c.CMEK.Status = s } }

// failedRegion: the region shows the failure since the time given, and no work of ours stands for it.
func failedRegion(s cmek.Status, at time.Time) change {
	return func(c *ledger.Cluster) {
		c.CMEK.RegionInfos[0].Status = s
		c.CMEK.RegionInfos[0].KeyInfos[0].Status = cmek.EnableFailed
		c.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = at
	}
}

func skippedEast(c *ledger.Cluster) { c.Skipped = []string{east} }

func principal(p cmek.Principal) change {
	return func(c *ledger.Cluster) { c.CMEK.RegionInfos[0].KeyInfos[0].Spec.AuthPrincipal = p }
}

// with adds clusters to the fleet of eastKey.
func with(members ...*ledger.Cluster) given {
	return func(w *world) {
		if w.facts.Fleet == nil {
			w.facts.Fleet = map[string][]*ledger.Cluster{eastKey.Canonical(): {w.item}}
		}
		w.facts.Fleet[eastKey.Canonical()] = append(w.facts.Fleet[eastKey.Canonical()], members...)
	}
}

// The cluster that is decided about is called orders.

func TestFleet_canaryGoesFirst(t *testing.T) { onBothClouds(t, testFleet_canaryGoesFirst) }

func testFleet_canaryGoesFirst(t *testing.T) {
	on := func(key cmek.KeyURI, c change) change {
		return func(x *ledger.Cluster) { c(x); x.Work[len(x.Work)-1].Key = key }
	}
	atVersion := func(v cmek.KeyVersion, c change) change {
		return func(x *ledger.Cluster) { c(x); x.Work[len(x.Work)-1].Version = v }
	}
	selfCanary := func(w *world) {
		w.item.Cluster.Labels = map[string]string{"keyturn": "canary"}
		w.facts.Cluster.Labels = w.item.Cluster.Labels
	}
	decides(t, []row{
		{sentence: "the only cluster of the key goes", given: []given{due}, want: Send},
		{sentence: "the first by name is the canary", given: []given{due, with(member("p", waiting), member("q", waiting))}, want: Send},
		{sentence: "the second by name waits for it", given: []given{due, with(member("a", waiting))}, want: Wait, because: "canary a"},
		{sentence: "a cluster with the label keyturn=canary goes first", given: []given{due, with(member("z", waiting, labeled("canary")))}, want: Wait, because: "canary z"},
		{sentence: "the label makes us the canary", given: []given{due, selfCanary, with(member("a", waiting))}, want: Send},
		{sentence: "of two with the label the first by name goes", given: []given{due, selfCanary, with(member("a", waiting, labeled("canary")))}, want: Wait, because: "canary a"},

		{sentence: "a canary in progress is waited for", given: []given{due, with(member("z", flying))}, want: Wait, because: "canary z"},
		{sentence: "a canary with a claim is waited for", given: []given{due, with(member("z", claims))}, want: Wait, because: "canary z"},
		{sentence: "a canary whose worker is gone is not", given: []given{due, with(member("z", withWork(func(w *ledger.Work) { w.Claim = &ledger.Claim{Intent: ago(time.Minute)} })))}, want: Send},
		{sentence: "a canary that is done lets the next one go", given: []given{due, with(member("a", followed(v2)))}, want: Send},
		{sentence: "a cluster that was adopted is no canary", given: []given{due, with(member("a", adoptedOnly), member("b", waiting))}, want: Wait, because: "canary b"},
		{sentence: "a canary of the version before is none", given: []given{due, with(member("a", followed(v1)), member("b", waiting))}, want: Wait, because: "canary b"},
		{sentence: "a request of the version before is not in flight", given: []given{due, with(member("a", atVersion(v1, flying)))}, want: Send},
		{sentence: "a request of an unknown version is in flight", given: []given{due, with(member("a", atVersion(cmek.KeyVersion{}, flying)))}, want: Wait, because: "canary a"},
		{sentence: "a request under another key is not in flight", given: []given{due, with(member("a", on(newKey, flying)))}, want: Send},

		{sentence: "a cluster that waits for something of its own is skipped", given: []given{due, with(member("a", detained))}, want: Send},
		{sentence: "an unresolved canary stays canary while it is busy", given: []given{due, with(member("a", unresolved))}, want: Wait, because: "canary a"},
		{sentence: "an unresolved canary stays canary after a first by name", given: []given{due, with(member("z", unresolved))}, want: Wait, because: "canary z"},
		{sentence: "a blocked cluster is not waited for", given: []given{due, with(member("a", withWork(func(w *ledger.Work) { w.State = ledger.Blocked })))}, want: Send},
		{sentence: "an opted-out cluster is not waited for", given: []given{due, with(member("a", waiting, labeled("off")))}, want: Send},
		{sentence: "a revoked cluster is not waited for", given: []given{due, with(member("a", waiting, clusterStatus(cmek.Revoked)))}, want: Send},
		{sentence: "a deleted cluster is not waited for", given: []given{due, with(member("a", waiting, func(c *ledger.Cluster) { c.Gone = true }))}, want: Send},
		{sentence: "an item that cannot be decoded is waited for", given: []given{due, with(nil, member("a", followed(v2)))}, want: Wait, because: "cannot be read"},
		{sentence: "a cluster that is not shown is not waited for", given: []given{due,
			with(member("a", waiting, func(c *ledger.Cluster) { c.Unread = ledger.Unread{Since: ago(time.Hour), Why: whyHidden} }))}, want: Send},
	})
}

func TestByRank_putsCanariesThenNames_unreadOnesLast(t *testing.T) {
	onBothClouds(t, testByRank_putsCanariesThenNames_unreadOnesLast)
}

func testByRank_putsCanariesThenNames_unreadOnesLast(t *testing.T) {
	failing := func(c *ledger.Cluster) { c.Failures = 3 }
	once := func(c *ledger.Cluster) { c.Failures = 1 }
	batch := []*ledger.Cluster{member("a", failing), member("c"), member("b"), member("y", labeled("canary")), member("x", once, labeled("canary"))}
	slices.SortStableFunc(batch, byRank)
	var names []string
	for _, c := range batch {
		names = append(names, c.Cluster.Name)
	}
	if want := []string{"y", "b", "c", "x", "a"}; !slices.Equal(names, want) {
		t.Errorf("a batch is polled in the order %q, want %q", names, want)
	}
}

func TestFleet_atMostThreeInFlight(t *testing.T) { onBothClouds(t, testFleet_atMostThreeInFlight) }

func testFleet_atMostThreeInFlight(t *testing.T) {
	twoRegions := func(c *ledger.Cluster) { flying(c); flying(c); c.Work[1].Region = west }
	backingOff := withWork(func(w *ledger.Work) { w.NotBefore = in(time.Minute) })
	decides(t, []row{
		{sentence: "two in flight: the next goes", given: []given{due, with(member("a", followed(v2)), member("b", flying), member("c", flying))}, want: Send},
		{sentence: "three in flight: it waits", given: []given{due, with(member("a", followed(v2)), member("b", flying), member("c", flying), member("d", claims))},
			want: Wait, because: "3 in progress"},
		{sentence: "two regions of a cluster in flight are one cluster", want: Send,
			given: []given{due, with(member("a", followed(v2)), member("b", flying), member("c", twoRegions))}},
		{sentence: "two in flight, one before it in order: it waits", want: Wait, because: "1 before it",
			given: []given{due, with(member("a", followed(v2)), member("b", waiting), member("c", flying), member("d", flying))}},
		{sentence: "two in flight, one after it in order: it goes", want: Send,
			given: []given{due, with(member("a", followed(v2)), member("z", waiting), member("c", flying), member("d", flying))}},
		{sentence: "one that backs off is not before it", want: Send,
			given: []given{due, with(member("a", followed(v2)), member("b", backingOff), member("c", flying), member("d", flying))}},
		{sentence: "KEYTURN_IN_FLIGHT limits them", want: Wait, because: "1 in progress",
			given: []given{due, with(member("a", followed(v2)), member("b", flying)), func(w *world) { w.settings.InFlight = 1 }}},
	})
}

func TestFleet_failureStopsTheRest(t *testing.T) { onBothClouds(t, testFleet_failureStopsTheRest) }

func testFleet_failureStopsTheRest(t *testing.T) {
	fail := func(changes ...change) []given {
		return []given{due, with(member("a", followed(v2)), member("b", changes...))}
	}
	year := ago(365 * 24 * time.Hour)
	decides(t, []row{
		{sentence: "a failure that is blocked stops the rest", given: fail(failedOnce(ledger.Blocked)), want: Wait, because: "cluster b failed"},
		{sentence: "a failure that is due for its retry stops the rest", given: fail(failedOnce(ledger.Due)), want: Wait, because: "cluster b failed"},
		{sentence: "a failure during its retry stops the rest", given: fail(failedOnce(ledger.Requested)), want: Wait, because: "cluster b failed"},
		{sentence: "a failure before a canary is done stops the rest", given: []given{due, with(member("z", failedOnce(ledger.Due)))}, want: Wait, because: "cluster z failed"},
		{sentence: "our own failure does not stop our retry", given: []given{due, failed(1), with(member("a", followed(v2)))}, want: Send},
		{sentence: "our retry goes before a canary", given: []given{due, failed(1), with(member("a", waiting))}, want: Send},
		{sentence: "our retry goes before a cluster that is stopped", given: []given{due, failed(1), with(member("a", failedOnce(ledger.Blocked)))}, want: Send},
		{sentence: "our retry waits for one in flight", given: []given{due, failed(1), with(member("a", followed(v2)), member("b", flying))}, want: Wait, because: "cluster b"},
		{sentence: "our failure in another region does not stop this one", want: Send,
			given: []given{due, alsoWest(eastKey), func(w *world) {
				other := workFor(west, eastKey)
				other.Failed, other.State = 2, ledger.Blocked
				w.item.Work = append(w.item.Work, other)
			}}},
		{sentence: "a block that is no failure does not", given: fail(withWork(func(w *ledger.Work) { w.State = ledger.Blocked })), want: Send},
		{sentence: "a failure under another key does not", want: Send,
			given: fail(failedOnce(ledger.Blocked), func(c *ledger.Cluster) { c.Work[0].Key = newKey })},
		{sentence: "a failure of the version before does not", want: Send,
			given: fail(failedOnce(ledger.Blocked), func(c *ledger.Cluster) { c.Work[0].Version = v1 })},
		{sentence: "a failure that an operator skipped does not", given: fail(failedOnce(ledger.Blocked), skippedEast), want: Send},
		{sentence: "a failure of an opted-out cluster does not", given: fail(failedOnce(ledger.Blocked), labeled("off")), want: Send},
		{sentence: "a failure of a revoked cluster does not", given: fail(failedOnce(ledger.Blocked), clusterStatus(cmek.Revoked)), want: Send},
		{sentence: "a failure of a deleted cluster does not", given: fail(failedOnce(ledger.Blocked), func(c *ledger.Cluster) { c.Gone = true }), want: Send},

		{sentence: "ROTATE_FAILED since the work opened stops the rest", given: fail(failedRegion(cmek.RotateFailed, ago(30*time.Minute))), want: Wait, because: "cluster b failed"},
		{sentence: "ENABLE_FAILED since the work opened stops the rest", given: fail(failedRegion(cmek.EnableFailed, ago(30*time.Minute))), want: Wait, because: "cluster b failed"},
		{sentence: "ROTATE_FAILED within the clocks' offset stops the rest", given: fail(failedRegion(cmek.RotateFailed, ago(70*time.Minute))), want: Wait},
		{sentence: "ROTATE_FAILED from before the work opened does not", given: fail(failedRegion(cmek.RotateFailed, ago(71*time.Minute))), want: Send},
		{sentence: "a year-old ROTATE_FAILED does not", given: fail(failedRegion(cmek.RotateFailed, year)), want: Send},
		{sentence: "ROTATE_FAILED of an unknown time stops the rest", given: fail(failedRegion(cmek.RotateFailed, time.Time{})), want: Wait, because: "cluster b failed"},
		{sentence: "it counts from the first work of the version", want: Wait, because: "cluster b failed",
			given: []given{due, with(member("b", failedRegion(cmek.RotateFailed, ago(2*time.Hour))),
				member("z", withWork(func(w *ledger.Work) { w.Since, w.State = ago(3*time.Hour), ledger.Blocked })))}},
		{sentence: "ROTATE_FAILED of an opted-out cluster does not", given: fail(failedRegion(cmek.RotateFailed, noon), labeled("off")), want: Send},
		{sentence: "ROTATE_FAILED of a revoked cluster does not", given: fail(failedRegion(cmek.RotateFailed, noon), clusterStatus(cmek.Revoked)), want: Send},
		{sentence: "ROTATE_FAILED that an operator skipped does not", given: fail(failedRegion(cmek.RotateFailed, noon), skippedEast), want: Send},
		{sentence: "DISABLE_FAILED does not", given: fail(failedRegion(cmek.DisableFailed, noon)), want: Send},
		{sentence: "ROTATE_FAILED of a cluster with a past info of the key does not", want: Send,
			given: fail(func(c *ledger.Cluster) {
				c.CMEK.RegionInfos[0] = cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: []cmek.KeyInfo{
					keyInfo(eastKey, cmek.Disabled, longAgo), keyInfo(newKey, cmek.EnableFailed, after)}}
			})},
	})
}

func TestFleet_refusedCanary(t *testing.T) { onBothClouds(t, testFleet_refusedCanary) }

func testFleet_refusedCanary(t *testing.T) {
	const other = "arn:aws:iam::111122223333:role/other"
	decides(t, []row{
		{sentence: "a refused canary keeps the rest waiting", given: []given{due, with(member("a", refusedFor(29*time.Minute, time.Minute)))}, want: Wait, because: "canary a, which is refused"},
		{sentence: "it keeps the rest waiting if it is not the first by name", given: []given{due, with(member("z", refusedFor(29*time.Minute, time.Minute)))}, want: Wait, because: "canary z, which is refused"},
		{sentence: "a refused canary tries again by itself", given: []given{selfRefusedFor(29*time.Minute, time.Minute), with(member("p", waiting))}, want: Send},
		{sentence: "after 30 min the next cluster is canary", given: []given{due, with(member("a", refusedFor(30*time.Minute, time.Minute)))}, want: Send},
		{sentence: "after 30 min the refused one waits for it", given: []given{selfRefusedFor(30*time.Minute, time.Minute), with(member("p", waiting))}, want: Wait, because: "canary p"},
		{sentence: "another principal is preferred", want: Wait, because: "canary z",
			given: []given{due, with(member("a", refusedFor(30*time.Minute, time.Minute)), member("z", waiting, principal(other)))}},
		{sentence: "with one principal the first by name is preferred", want: Send,
			given: []given{due, with(member("a", refusedFor(30*time.Minute, time.Minute)), member("z", waiting))}},
		{sentence: "accepted, the rest goes on", want: Send,
			given: []given{due, with(member("a", refusedFor(time.Hour, time.Minute)), member("b", followed(v2)))}},
		{sentence: "a second canary that is refused tries on for its 30 min", want: Wait, because: "canary b, which is refused",
			given: []given{due, with(member("a", refusedFor(45*time.Minute, 15*time.Minute)), member("b", refusedFor(10*time.Minute, time.Minute)))}},
		{sentence: "two refused: the third waits an hour since the last try", want: Wait, because: "one request an hour", until: in(30 * time.Minute),
			given: []given{due, with(member("a", refusedFor(2*time.Hour, time.Hour)), member("b", refusedFor(time.Hour, 30*time.Minute)))}},
		{sentence: "two refused: after an hour the third is tried", want: Send,
			given: []given{due, with(member("a", refusedFor(3*time.Hour, 2*time.Hour)), member("b", refusedFor(2*time.Hour, time.Hour)))}},
		{sentence: "all refused: the one tried longest ago is next", want: Wait, because: "canary a",
			given: []given{selfRefusedFor(2*time.Hour, 30*time.Minute), with(member("a", refusedFor(3*time.Hour, 2*time.Hour)))}},
		{sentence: "all refused: it waits an hour since the last try", want: Wait, because: "one request an hour", until: in(30 * time.Minute),
			given: []given{selfRefusedFor(3*time.Hour, 2*time.Hour), with(member("a", refusedFor(2*time.Hour, 30*time.Minute)))}},
		{sentence: "all refused: after an hour it is tried", want: Send,
			given: []given{selfRefusedFor(3*time.Hour, 2*time.Hour), with(member("a", refusedFor(2*time.Hour, time.Hour)))}},
		{sentence: "a single refused cluster is not held to an hour", want: Send, given: []given{selfRefusedFor(3*time.Hour, 10*time.Minute)}},
	})
}

func TestFleet_replicasAreOneKey(t *testing.T) {
	other := member("a", flying, func(c *ledger.Cluster) { c.Work[0].Key = mrkWest })
	w := newWorld(usingKey(mrkEast), doneWith(mrkEast, v1), due, work(func(w *ledger.Work) { w.Key = mrkEast }))
	w.facts.Fleet = map[string][]*ledger.Cluster{mrkEast.Canonical(): {w.item, other}}
	if v := w.verdict(t, east); v.Act != Wait || !strings.Contains(v.Why, "canary a") {
		t.Errorf("with the canary in flight under another replica of the key: %q (%s), want %q", v.Act, v.Why, Wait)
	}
}

func TestFleet_sameNames_areToldByID(t *testing.T) { onBothClouds(t, testFleet_sameNames_areToldByID) }

func testFleet_sameNames_areToldByID(t *testing.T) {
	b := member("b", flying)
	b.ID = "other"
	w := newWorld(due, with(member("a", followed(v2)), member("b", flying), b, member("c", flying)))
	if v := w.verdict(t, east); v.Act != Wait {
		t.Errorf("with three in flight, two of one name: %q (%s), want %q", v.Act, v.Why, Wait)
	}
}

func TestFleet_skip_letsTheRestGo(t *testing.T) { onBothClouds(t, testFleet_skip_letsTheRestGo) }

func testFleet_skip_letsTheRestGo(t *testing.T) {
	for name, failure := range map[string]change{"a failure of ours": failedOnce(ledger.Blocked), "a failure that is not": failedRegion(cmek.RotateFailed, noon)} {
		failed := member("a", failure)
		w := newWorld(due, with(failed))
		if v := w.verdict(t, east); v.Act != Wait {
			t.Fatalf("%s does not stop the rest: %q", name, v.Act)
		}
		if regions := skip(failed); !slices.Equal(regions, []string{east}) {
			t.Errorf("%s: skip skipped %q, want the failed region", name, regions)
		}
		if v := w.verdict(t, east); v.Act != Send {
			t.Errorf("%s: after the skip the rest is decided %q (%s), want %q", name, v.Act, v.Why, Send)
		}
		if regions := skip(failed); len(regions) > 0 {
			t.Errorf("%s: a second skip skipped %q", name, regions)
		}
	}
}

// eachDecides lets each cluster of the fleet decide in the order given, after the earlier ones' claims, and returns the names of
// those that may send.
func eachDecides(fleet []*ledger.Cluster, order []int, s Settings) (sends []string) {
	for _, i := range order {
		c := fleet[i]
		f := Facts{Cluster: c.Cluster, CMEK: c.CMEK, ClusterRead: true, CMEKRead: true, ReadAt: noon,
			Keys: map[cmek.KeyURI]KeyFact{eastKey: {Key: healthyKey(eastKey)}}, Fleet: map[string][]*ledger.Cluster{eastKey.Canonical(): fleet}}
		plan := Decide(f, c, noon, s)
		transition(c, f, plan, noon, s)
		if len(plan.Put) > 0 {
			sends = append(sends, c.Cluster.Name)
			claim(c, plan.Put, noon)
		}
	}
	return sends
}

func following() Settings {
	s := DefaultSettings()
	s.Mode = Follow
	return s
}

func TestFleet_wavesOfOneThenThree(t *testing.T) { onBothClouds(t, testFleet_wavesOfOneThenThree) }

func testFleet_wavesOfOneThenThree(t *testing.T) {
	var fleet []*ledger.Cluster
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		fleet = append(fleet, member(name, followed(v1), waiting))
	}
	var waves []string
	for range 10 {
		sends := eachDecides(fleet, []int{0, 1, 2, 3, 4, 5}, following())
		if len(sends) == 0 {
			break
		}
		waves = append(waves, strings.Join(sends, ""))
		for _, c := range fleet {
			if len(c.Work) > 0 && c.Work[0].Claim != nil {
				c.Work = nil
				followed(v2)(c)
			}
		}
	}
	if got, want := strings.Join(waves, " "), "a bcd ef"; got != want {
		t.Errorf("six clusters went in the waves %q, want %q", got, want)
	}
}

func TestFleet_random_oneCanaryAndInFlight(t *testing.T) {
	onBothClouds(t, testFleet_random_oneCanaryAndInFlight)
}

func testFleet_random_oneCanaryAndInFlight(t *testing.T) {
	states := map[string][]change{
		"waiting": {waiting}, "flying": {flying}, "claimed": {claims}, "detained": {detained}, "unresolved": {unresolved},
		"refused": {refusedFor(20*time.Minute, time.Minute)}, "tired": {refusedFor(2*time.Hour, 61*time.Minute)}, "tired lately": {refusedFor(2*time.Hour, time.Minute)},
		"blocked": {withWork(func(w *ledger.Work) { w.State = ledger.Blocked })}, "adopted": {adoptedOnly}, "canary": {waiting, labeled("canary")},
		"backing off": {withWork(func(w *ledger.Work) { w.NotBefore = in(time.Minute) })}, "off": {waiting, labeled("off")},
		"unversioned": {withWork(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })}, "other principal": {waiting, principal("arn:aws:iam::1:role/x")},
	}
	var names []string
	for name := range states {
		names = append(names, name)
	}
	slices.Sort(names)
	sent := map[bool]int{}
	for seed := range uint64(4000) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		canaryDone := rnd.IntN(2) == 0
		var fleet []*ledger.Cluster
		var what []string
		inFlight := 0
		for i := range 2 + rnd.IntN(8) {
			name := names[rnd.IntN(len(names))]
			what = append(what, name)
			changes := states[name]
			if name != "adopted" {
				changes = append([]change{followed(v1)}, changes...)
			}
			if name == "flying" || name == "claimed" {
				inFlight++
			}
			fleet = append(fleet, member(fmt.Sprintf("%c", 'a'+rnd.IntN(3)), changes...))
			fleet[i].ID = fmt.Sprint(i)
		}
		if canaryDone {
			fleet = append(fleet, member("z", followed(v2)))
			what = append(what, "done")
		}
		s := following()
		s.InFlight = 1 + rnd.IntN(4)
		sends := eachDecides(fleet, rnd.Perm(len(fleet)), s)
		limit := max(0, s.InFlight-inFlight)
		if !canaryDone {
			limit = 1
			if inFlight > 0 {
				limit = 0
			}
		}
		if len(sends) > limit {
			t.Fatalf("seed %d: of the fleet %q %d clusters send at once, want at most %d (canary done: %t, in flight %d of %d)",
				seed, what, len(sends), limit, canaryDone, inFlight, s.InFlight)
		}
		sent[canaryDone] += len(sends)
	}
	if sent[true] == 0 || sent[false] == 0 {
		t.Errorf("the random fleets sent %v: the test proves nothing", sent)
	}
}
