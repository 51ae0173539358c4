package rotation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// staged is a stage with the clusters, whose reads show their inventory and a key that rotated to v2 an hour ago.
func staged(settings Settings, clusters ...*ledger.Cluster) *stage {
	s := &stage{worker: (&Function{Settings: settings}).worker(&ledger.Worker{}, time.Time{})}
	for _, c := range clusters {
		cluster, info := c.Cluster, c.CMEK
		s.clusters = append(s.clusters, ClusterPlan{Item: c})
		s.reads = append(s.reads, Reads{At: noon, Cluster: &cluster, CMEK: &info, Keys: map[cmek.KeyURI]KeyFact{eastKey: {Key: healthyKey(eastKey)}}})
	}
	return s
}

// sends lists the PUTs as "rank name why", in order.
func sends(p Preview) (list []string) {
	for _, s := range p.Sends {
		list = append(list, strings.TrimSpace(fmt.Sprint(s.Rank, " ", s.Cluster.Cluster.Name, " ", s.Why)))
	}
	return list
}

func behind(name string, changes ...change) *ledger.Cluster {
	return member(name, append([]change{followed(v1)}, changes...)...)
}

func TestPlan_listsThePUTsInOrder(t *testing.T) { onBothClouds(t, testPlan_listsThePUTsInOrder) }

func testPlan_listsThePUTsInOrder(t *testing.T) {
	observe := DefaultSettings()
	done := func(c *ledger.Cluster) { followed(v2)(c) }
	settling := withWork(func(w *ledger.Work) { w.Since = ago(time.Minute) })
	backingOff := withWork(func(w *ledger.Work) { w.NotBefore, w.Reason = in(time.Minute), "refused: busy" })
	busy := func(c *ledger.Cluster) { waiting(c); c.Cluster.State = cmek.StateLocked }
	for _, r := range []struct {
		sentence string
		settings Settings
		clusters []*ledger.Cluster
		want     []string
	}{
		{"the canary goes first, then the others by name", following(), []*ledger.Cluster{behind("c", waiting), behind("b", waiting), behind("d", waiting, labeled("canary"))},
			[]string{"1 d", "2 b waits for the canary d", "3 c waits for the canary d"}},
		{"a rotation that nobody noticed is sent after its settle time", following(), []*ledger.Cluster{behind("a")}, []string{"1 a the new version settles"}},
		{"a version that settles is sent then", following(), []*ledger.Cluster{behind("a", settling)}, []string{"1 a the new version settles"}},
		{"a backoff is waited for", following(), []*ledger.Cluster{behind("a", done), behind("b", backingOff)}, []string{"1 b refused: busy"}},
		{"a cluster that is done is not sent", following(), []*ledger.Cluster{behind("a", done), behind("b", waiting)}, []string{"1 b"}},
		{"a busy cluster is left out", following(), []*ledger.Cluster{behind("a", busy), behind("b", waiting)}, []string{"1 b"}},
		{"an opted-out cluster is left out", following(), []*ledger.Cluster{behind("a", waiting, labeled("off")), behind("b", waiting)}, []string{"1 b"}},
		{"a failure stops the others", following(), []*ledger.Cluster{behind("a", failedRegion(cmek.RotateFailed, noon)), behind("b", waiting)}, nil},
		{"observe mode sends nothing", observe, []*ledger.Cluster{behind("a", waiting)}, nil},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			if got := sends(staged(r.settings, r.clusters...).play(noon)); !slices.Equal(got, r.want) {
				t.Errorf("%s: the plan lists %q, want %q", r.sentence, got, r.want)
			}
		})
	}
}

func TestPlan_paused_sendsNothing(t *testing.T) { onBothClouds(t, testPlan_paused_sendsNothing) }

func testPlan_paused_sendsNothing(t *testing.T) {
	s := staged(following(), behind("a", waiting))
	s.orders.Paused = ledger.Pause{Since: ago(time.Minute), By: "ana"}
	s.reads[0].Paused = s.orders.Paused
	p := s.play(noon)
	if len(p.Sends) > 0 || !strings.Contains(p.Clusters[0].Plan.Verdicts[0].Why, "paused") {
		t.Errorf("under a pause the plan lists %q and decides %+v", sends(p), p.Clusters[0].Plan.Verdicts)
	}
}

func TestPlan_onHold_sendsTheOthers(t *testing.T) { onBothClouds(t, testPlan_onHold_sendsTheOthers) }

func testPlan_onHold_sendsTheOthers(t *testing.T) {
	s := staged(following(), behind("a", waiting), behind("b", waiting))
	for i := range s.reads {
		s.reads[i].Holds = cmek.Holds{{ClusterID: "id-of-a", Since: noon, Until: in(5 * time.Hour), Reason: "CHG-7"}}
	}
	p := s.play(noon)
	if got := sends(p); !slices.Equal(got, []string{"1 b"}) || !strings.Contains(p.Clusters[0].Plan.Verdicts[0].Why, "CHG-7") {
		t.Errorf("with a on hold the plan lists %q and decides %+v", got, p.Clusters[0].Plan.Verdicts)
	}
}

func TestPlan_named_showsOnlyThem(t *testing.T) { onBothClouds(t, testPlan_named_showsOnlyThem) }

func testPlan_named_showsOnlyThem(t *testing.T) {
	s := staged(following(), behind("a", waiting), behind("b", waiting))
	s.named = []string{"id-of-b"}
	p := s.play(noon)
	if got := sends(p); !slices.Equal(got, []string{"2 b waits for the canary a"}) || len(p.Clusters) != 1 || p.Clusters[0].Item.ID != "id-of-b" {
		t.Errorf("a plan for cluster b lists %q and %d clusters, want b alone, in its place", got, len(p.Clusters))
	}
}

func TestPlan_playsOnCopies(t *testing.T) { onBothClouds(t, testPlan_playsOnCopies) }

func testPlan_playsOnCopies(t *testing.T) {
	p := staged(following(), behind("a", waiting), behind("b")).play(noon)
	a, b := p.Clusters[0], p.Clusters[1]
	if len(p.Sends) != 2 || len(a.Item.Work) != 1 || len(b.Item.Work) != 0 || len(a.Item.Messages) > 0 {
		t.Errorf("after a plan of %d PUTs the items are %+v and %+v, want them as read", len(p.Sends), a.Item, b.Item)
	}
	if a.Plan.Verdicts[0].Act != Send || b.Plan.Verdicts[0].Act != Open {
		t.Errorf("the plans are %+v and %+v", a.Plan, b.Plan)
	}
	for _, c := range p.Clusters {
		if d, _ := c.Item.DoneIn(east); d.Version != v1 {
			t.Errorf("cluster %s is noted as done at %s", c.Item.ID, d.Version.Short())
		}
	}
}

// What plan lists is what follow sends: the tick decides about the same facts with the same result.
func TestPlan_agreesWithDecide(t *testing.T) { onBothClouds(t, testPlan_agreesWithDecide) }

func testPlan_agreesWithDecide(t *testing.T) {
	for _, c := range []change{waiting, refusedFor(29*time.Minute, time.Minute), withWork(func(w *ledger.Work) { w.State = ledger.Blocked })} {
		item := behind("a", c)
		p := staged(following(), item).play(noon)
		want := eachDecides([]*ledger.Cluster{behind("a", c)}, []int{0}, following())
		var got []string
		if p.Clusters[0].Plan.Put != nil {
			got = []string{"a"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the plan would send to %q now, the tick to %q", got, want)
		}
	}
}
