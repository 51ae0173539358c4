package rotation

import (
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// An updated_at that the read before a PUT does not show, or shows in the future, cannot prove afterwards that it moved.
func TestDepart_noUsableUpdatedAt_provesNothing(t *testing.T) {
	onBothClouds(t, testDepart_noUsableUpdatedAt_provesNothing)
}

func testDepart_noUsableUpdatedAt_provesNothing(t *testing.T) {
	longAgo := ago(300 * 24 * time.Hour)
	for sentence, shown := range map[string]time.Time{"left out": {}, "in the future": in(16 * time.Minute)} {
		w := newWorld(due)
		w.item.CMEK.RegionInfos[0].KeyInfos[0].CreatedAt = longAgo
		read := func(at, updated time.Time) Reads {
			info := cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{regionInfo(east, eastKey)}}
			info.RegionInfos[0].KeyInfos[0].UpdatedAt, info.RegionInfos[0].KeyInfos[0].CreatedAt = updated, longAgo
			c := w.facts.Cluster
			return Reads{At: at, Cluster: &c, CMEK: &info, Keys: w.facts.Keys, Fleet: Fleet{}}
		}
		plan := decidePoll(w.item, read(noon, shown), noon, w.settings)
		if _, leaves := decideSend(w.item, read(noon, shown), plan.Put, noon, noon, w.settings); !leaves {
			t.Fatalf("%s: the PUT does not leave", sentence)
		}
		answer(w.item, noon, cmek.Answer{Outcome: cmek.Unknown}, noon, w.settings)
		for m := range 8 {
			at := in(time.Duration(m+1) * time.Minute)
			decidePoll(w.item, read(at, ago(90*time.Minute)), at, w.settings) // a person's, of before the rotation
		}
		if done, _ := w.item.DoneIn(east); done.Version == v2 {
			t.Errorf("updated_at %s before the PUT: it is done by %q", sentence, done.Evidence)
		}
	}
}

func TestAbsorb_regionWithoutKeys_keepsItsKey(t *testing.T) {
	onBothClouds(t, testAbsorb_regionWithoutKeys_keepsItsKey)
}

func testAbsorb_regionWithoutKeys_keepsItsKey(t *testing.T) {
	w := newWorld(alsoWest(westKey))
	for m := range 6 {
		info := cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{regionInfo(east, eastKey), {Region: west, Status: cmek.Enabled}}}
		f := absorb(w.item, Reads{At: in(time.Duration(m) * 5 * time.Minute), CMEK: &info}, in(time.Duration(m)*5*time.Minute))
		if !slices.Contains(f.Unshown, west) {
			t.Errorf("read %d: the region without keys is not among the unshown ones %q", m, f.Unshown)
		}
	}
	if !slices.Contains(w.item.Keys(), westKey.Canonical()) {
		t.Errorf("the inventory's keys are %q, want that of the region that shows none", w.item.Keys())
	}
}

func TestDecide_regionOfTheCMEKOnly_isNotSent(t *testing.T) {
	onBothClouds(t, testDecide_regionOfTheCMEKOnly_isNotSent)
}

func testDecide_regionOfTheCMEKOnly_isNotSent(t *testing.T) {
	w := newWorld(due, func(w *world) { w.item.Partial = map[string]time.Time{east: ago(time.Minute)} })
	if p := w.decide(); len(p.Put) > 0 {
		t.Errorf("a region that the cluster does not show is sent: %+v", p.Put)
	}
}

// refusedRegions is work of two regions of which a PUT with both was refused as often as given.
func refusedRegions(times ...int) *world {
	w := newWorld(alsoWest(westKey))
	for i, work := range []ledger.Work{workFor(east, eastKey), workFor(west, westKey)} {
		work.Attempts, work.RefusedSince = times[i], ago(time.Hour)
		w.item.Work = append(w.item.Work, work)
	}
	return w
}

func TestDecide_putRefusedTwice_goesByRegion(t *testing.T) {
	onBothClouds(t, testDecide_putRefusedTwice_goesByRegion)
}

func testDecide_putRefusedTwice_goesByRegion(t *testing.T) {
	for _, r := range []struct {
		east, west int
		want       []string
	}{
		{0, 0, []string{east, west}}, {1, 1, []string{east, west}}, {2, 2, []string{east}}, {3, 2, []string{west}}, {5, 0, []string{west}},
	} {
		var got []string
		for _, spec := range refusedRegions(r.east, r.west).decide().Put {
			got = append(got, spec.Region)
		}
		if !slices.Equal(got, r.want) {
			t.Errorf("after %d and %d refusals the PUT carries %q, want %q", r.east, r.west, got, r.want)
		}
	}
}

func TestRetry_afterARefusal_keepsTheWaitForFreshReads(t *testing.T) {
	onBothClouds(t, testRetry_afterARefusal_keepsTheWaitForFreshReads)
}

func testRetry_afterARefusal_keepsTheWaitForFreshReads(t *testing.T) {
	w := newWorld(due)
	put := []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}
	claim(w.item, put, noon)
	depart(w.item, w.facts, put, noon, noon)
	answer(w.item, noon, cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 503, Message: "cluster is locked", Busy: true}, noon, w.settings)
	retry(w.item, false, in(2*time.Second))
	for after, want := range map[time.Duration]bool{5 * time.Second: false, confirmMin: true} {
		w.facts.ReadAt = in(after)
		if p := Decide(w.facts, w.item, in(after), w.settings); (len(p.Put) > 0) != want {
			t.Errorf("%s after the refused PUT a retry sends %+v, want a PUT: %t", after, p.Put, want)
		}
	}
}

func TestRetry_operationThatStaysFailed_isSentAgain(t *testing.T) {
	onBothClouds(t, testRetry_operationThatStaysFailed_isSentAgain)
}

func testRetry_operationThatStaysFailed_isSentAgain(t *testing.T) {
	w := newWorld(accepted, sent(3*time.Hour), updated(ago(time.Hour)), operation(cmek.CMEKOperationFailed),
		request(func(r *ledger.Request) {
			r.Baseline.Operation = cmek.CMEKOperationFailed
			r.Final = ledger.Final{Status: cmek.Enabled, Since: ago(time.Hour)}
		}))
	w.transition()
	if got := w.item.Work[0]; got.State != ledger.Blocked {
		t.Fatalf("work whose cluster stays failed is %s (%s), want blocked", got.State, got.Reason)
	}
	retry(w.item, false, noon)
	if p := w.decide(); len(p.Put) != 1 {
		t.Errorf("after a retry the plan is %+v, want a PUT", p.Verdicts)
	}
}

func TestMoved_offAndOn_keepsTheRequest(t *testing.T) {
	onBothClouds(t, testMoved_offAndOn_keepsTheRequest)
}

func testMoved_offAndOn_keepsTheRequest(t *testing.T) {
	w := newWorld(timedOut, sent(2*time.Minute), optedOut)
	w.item.Work[0].State = ledger.Due
	w.item.Work[0].Request.GivenUp = true
	w.transition()
	if len(w.item.Work) > 0 || len(w.item.Dropped) != 1 || w.item.Dropped[0].Request == nil {
		t.Fatalf("the label left work %+v, dropped %+v; want the request remembered", w.item.Work, w.item.Dropped)
	}
	again := revived(w.item, workFor(east, eastKey))
	if again.Request == nil || revived(w.item, workFor(west, westKey)).Request != nil {
		t.Errorf("the same work opened again has the request %+v, want the one before; and no other work has it", again.Request)
	}
	reopened := workFor(east, eastKey)
	if reopened.Retried = true; revived(w.item, reopened).Request != nil {
		t.Error("work that an operator reopened goes on with the request before it instead of being sent")
	}
	other := workFor(east, eastKey)
	other.Version = v3
	if revived(w.item, other).Request != nil {
		t.Error("work for another version goes on with a request that was not for it")
	}
}
