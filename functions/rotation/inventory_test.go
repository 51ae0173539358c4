package rotation

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// reading is a read of cluster, CMEK and keys that shows what the world's facts say, at the given time.
func (w *world) reading(at time.Time) Reads {
	cluster, info := w.facts.Cluster, w.facts.CMEK
	return Reads{At: at, Cluster: &cluster, CMEK: &info, Keys: w.facts.Keys, Paused: w.facts.Paused, Fleet: w.facts.Fleet, UpdatedAtMoves: w.facts.UpdatedAtMoves}
}

// hidden is a read to which the Cloud API does not show the cluster.
func hidden(at time.Time) Reads { return Reads{At: at, Hidden: true, CMEK: &cmek.ClusterInfo{}} }

// without removes regions from the read's cluster, its CMEK or both.
func (r Reads) without(region string, cluster, cmekToo bool) Reads {
	c, info := *r.Cluster, *r.CMEK
	if cluster {
		c.Regions = slices.DeleteFunc(slices.Clone(c.Regions), func(x cmek.Region) bool { return x.Name == region })
	}
	if cmekToo {
		info.RegionInfos = slices.DeleteFunc(slices.Clone(info.RegionInfos), func(x cmek.RegionInfo) bool { return x.Region == region })
	}
	r.Cluster, r.CMEK = &c, &info
	return r
}

// unreadCluster is the read without the cluster.
func (r Reads) unreadCluster() Reads { r.Cluster = nil; return r }

// keyUpdated is the read with another updated_at of the first key.
func (r Reads) keyUpdated(at time.Time) Reads {
	info := *r.CMEK
	info.RegionInfos = slices.Clone(info.RegionInfos)
	info.RegionInfos[0].KeyInfos = slices.Clone(info.RegionInfos[0].KeyInfos)
	info.RegionInfos[0].KeyInfos[0].UpdatedAt = at
	r.CMEK = &info
	return r
}

// withoutKey is the read without the first key of us-east-1.
func (r Reads) withoutKey() Reads {
	info := *r.CMEK
	info.RegionInfos = slices.Clone(info.RegionInfos)
	info.RegionInfos[0].KeyInfos = nil
	r.CMEK = &info
	return r
}

func regionNames(info cmek.ClusterInfo) (names []string) {
	for _, r := range info.RegionInfos {
		names = append(names, r.Region)
	}
	slices.Sort(names)
	return names
}

func TestAbsorb_aReadEntersInventoryAndFacts(t *testing.T) {
	onBothClouds(t, testAbsorb_aReadEntersInventoryAndFacts)
}

func testAbsorb_aReadEntersInventoryAndFacts(t *testing.T) {
	w := newWorld(regionStatus(cmek.Rotating), updated(after), cluster(func(c *cmek.Cluster) { c.Name = "orders-eu" }))
	f := absorb(w.item, w.reading(noon), noon)
	if !f.ClusterRead || !f.CMEKRead || f.Older || f.Gone || f.Unread != "" || len(f.Unshown) > 0 || !f.ReadAt.Equal(noon) {
		t.Errorf("a good read made the facts %+v", f)
	}
	if f.CMEK.RegionInfos[0].Status != cmek.Rotating || w.item.CMEK.RegionInfos[0].Status != cmek.Rotating || w.item.Cluster.Name != "orders-eu" {
		t.Errorf("a good read is not in the facts and the inventory: %+v, %+v", f.CMEK, w.item.CMEK)
	}
	if !w.item.SeenAt.Equal(noon) {
		t.Errorf("the item was seen at %s, want %s", w.item.SeenAt, noon)
	}
}

func TestAbsorb_nothingReadChangesNothing(t *testing.T) {
	onBothClouds(t, testAbsorb_nothingReadChangesNothing)
}

func testAbsorb_nothingReadChangesNothing(t *testing.T) {
	w := newWorld(due)
	f := absorb(w.item, Reads{At: noon}, noon)
	if f.ClusterRead || f.CMEKRead || f.CMEK.RegionInfos[0].Region != east || f.Cluster.ID != "c-1" {
		t.Errorf("without a read the facts are %+v, want the inventory marked as not read", f)
	}
	if want := newWorld(due).item; !reflect.DeepEqual(w.item, want) {
		t.Errorf("without a read the item became %+v, want %+v", w.item, want)
	}
}

func TestAbsorb_seenAt_isWrittenTwiceADay(t *testing.T) {
	onBothClouds(t, testAbsorb_seenAt_isWrittenTwiceADay)
}

func testAbsorb_seenAt_isWrittenTwiceADay(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		seen     time.Duration
		want     time.Time
	}{
		{"a read that shows nothing new", nil, time.Hour, ago(time.Hour)},
		{"a read that shows nothing new after 12 h", nil, 12*time.Hour + time.Second, noon},
		{"a read of another status", []given{regionStatus(cmek.Rotating)}, time.Hour, noon},
		{"a read of another name", []given{cluster(func(c *cmek.Cluster) { c.Name = "x" })}, time.Hour, noon},
	} {
		w := newWorld(r.given...)
		w.item.SeenAt = ago(r.seen)
		absorb(w.item, w.reading(noon), noon)
		if !w.item.SeenAt.Equal(r.want) {
			t.Errorf("after %s the item was seen at %s, want %s", r.sentence, w.item.SeenAt, r.want)
		}
	}
}

func TestAbsorb_gone_onlyIfDeleted(t *testing.T) { onBothClouds(t, testAbsorb_gone_onlyIfDeleted) }

func testAbsorb_gone_onlyIfDeleted(t *testing.T) {
	for _, r := range []struct {
		sentence string
		read     func(*world) Reads
		gone     bool
	}{
		{"state DELETED", func(w *world) Reads { state(cmek.StateDeleted)(w); return w.reading(noon) }, true},
		{"state DELETED and no CMEK", func(w *world) Reads { state(cmek.StateDeleted)(w); regionGone(w); return w.reading(noon) }, true},
		{"an unknown state", func(w *world) Reads { state("DELETING")(w); return w.reading(noon) }, false},
		{"a hidden cluster", func(*world) Reads { return hidden(noon) }, false},
		{"no key in any region", func(w *world) Reads { return w.reading(noon).withoutKey() }, false},
		{"no CMEK", func(w *world) Reads { regionGone(w); return w.reading(noon) }, false},
	} {
		w := newWorld(due)
		f := absorb(w.item, r.read(w), noon)
		if f.Gone != r.gone || w.item.Gone != r.gone {
			t.Errorf("%s: gone is %t and %t on the item, want %t", r.sentence, f.Gone, w.item.Gone, r.gone)
		}
		if act := Decide(f, w.item, noon, w.settings).Verdicts[0].Act; (act == Drop) != r.gone {
			t.Errorf("%s: the open work is decided %q", r.sentence, act)
		}
		if keys := w.item.Keys(); (len(keys) == 0) != r.gone {
			t.Errorf("%s: the item is listed by its keys %q", r.sentence, keys)
		}
	}
}

func TestAbsorb_aDeletedClusterThatIsShownAgain(t *testing.T) {
	onBothClouds(t, testAbsorb_aDeletedClusterThatIsShownAgain)
}

func testAbsorb_aDeletedClusterThatIsShownAgain(t *testing.T) {
	w := newWorld()
	w.item.Gone = true
	if f := absorb(w.item, w.reading(noon), noon); f.Gone || w.item.Gone {
		t.Error("a cluster that is shown as CREATED again stays gone")
	}
}

func TestAbsorb_aForgottenClusterStaysForgotten_untilItsCMEKIsShown(t *testing.T) {
	onBothClouds(t, testAbsorb_aForgottenClusterStaysForgotten_untilItsCMEKIsShown)
}

func testAbsorb_aForgottenClusterStaysForgotten_untilItsCMEKIsShown(t *testing.T) {
	w := newWorld()
	w.item.Gone = true
	for range 2 {
		r := w.reading(noon)
		r.CMEK = &cmek.ClusterInfo{Status: cmek.Disabled}
		if f := absorb(w.item, r, noon); !f.Gone || f.Unread != "" || !w.item.Unread.IsZero() {
			t.Errorf("without a CMEK it is gone: %t, unread: %q; want it gone and not reported again", f.Gone, f.Unread)
		}
	}
	if f := absorb(w.item, w.reading(noon), noon); f.Gone || !f.CMEKRead {
		t.Error("a forgotten cluster whose CMEK is shown again stays forgotten")
	}
}

func TestAbsorb_unread_keepsTheInventory(t *testing.T) {
	onBothClouds(t, testAbsorb_unread_keepsTheInventory)
}

func testAbsorb_unread_keepsTheInventory(t *testing.T) {
	noCMEK := func(w *world) Reads {
		r := w.reading(noon)
		r.CMEK = &cmek.ClusterInfo{Status: cmek.Disabled}
		return r
	}
	for _, r := range []struct {
		sentence string
		read     func(*world) Reads
		why      string
	}{
		{"a hidden cluster is unread", func(*world) Reads { return hidden(noon) }, whyHidden},
		{"a CMEK that vanished is unread", noCMEK, whyNoCMEK},
		{"a CMEK whose keys vanished is unread", func(w *world) Reads {
			r := w.reading(noon)
			r.CMEK = &cmek.ClusterInfo{Status: cmek.Disabled, RegionInfos: []cmek.RegionInfo{{Region: east, Status: cmek.Disabled}}}
			return r
		}, whyNoCMEK},
		{"a CMEK that vanished, cluster not read, is unread", func(w *world) Reads { return noCMEK(w).unreadCluster() }, whyNoCMEK},
	} {
		w := newWorld(due, alsoWest(westKey))
		before := newWorld(due, alsoWest(westKey)).item
		f := absorb(w.item, r.read(w), noon)
		if f.Unread != r.why || f.CMEKRead || w.item.Unread.Why != r.why || !w.item.Unread.Since.Equal(noon) {
			t.Errorf("%s: the facts say %q (read %t), the item %+v", r.sentence, f.Unread, f.CMEKRead, w.item.Unread)
		}
		if !reflect.DeepEqual(w.item.CMEK, before.CMEK) || !slices.Equal(w.item.Keys(), before.Keys()) {
			t.Errorf("%s: the inventory became %+v", r.sentence, w.item.CMEK)
		}
		plan := Decide(f, w.item, noon, w.settings)
		if v := plan.Verdicts[0]; v.Act != Wait || len(plan.Put) > 0 {
			t.Errorf("%s: the open work is decided %q (%s)", r.sentence, v.Act, v.Why)
		}
	}
}

func TestAbsorb_unread_keepsTheFirstTime(t *testing.T) {
	onBothClouds(t, testAbsorb_unread_keepsTheFirstTime)
}

func testAbsorb_unread_keepsTheFirstTime(t *testing.T) {
	w := newWorld()
	absorb(w.item, hidden(ago(time.Hour)), ago(time.Hour))
	absorb(w.item, hidden(noon), noon)
	if !w.item.Unread.Since.Equal(ago(time.Hour)) {
		t.Errorf("a cluster hidden for an hour is unread since %s", w.item.Unread.Since)
	}
	absorb(w.item, Reads{At: noon}, noon)
	if w.item.Unread.IsZero() {
		t.Error("a poll that read nothing ended it")
	}
	absorb(w.item, w.reading(noon), noon)
	if !w.item.Unread.IsZero() {
		t.Errorf("a cluster that is shown again is unread: %+v", w.item.Unread)
	}
}

func TestAbsorb_aClusterThatNeverHadACMEK(t *testing.T) {
	onBothClouds(t, testAbsorb_aClusterThatNeverHadACMEK)
}

func testAbsorb_aClusterThatNeverHadACMEK(t *testing.T) {
	item := &ledger.Cluster{ID: "c-2"}
	created := cmek.Cluster{ID: "c-2", State: cmek.StateCreated}
	f := absorb(item, Reads{At: noon, Cluster: &created, CMEK: &cmek.ClusterInfo{Status: cmek.Disabled}}, noon)
	if f.Unread != "" || !item.Unread.IsZero() || !f.CMEKRead {
		t.Errorf("a cluster without a CMEK is unread: %+v", item.Unread)
	}
	f = absorb(item, Reads{At: noon, Hidden: true}, noon)
	if f.Unread != "" || f.Gone {
		t.Errorf("a hidden cluster that never had a CMEK is %q, gone %t", f.Unread, f.Gone)
	}
}

func TestAbsorb_region_isGoneAfterTwoReads(t *testing.T) {
	onBothClouds(t, testAbsorb_region_isGoneAfterTwoReads)
}

func testAbsorb_region_isGoneAfterTwoReads(t *testing.T) {
	shown := func(w *world, at time.Time) Reads { return w.reading(at) }
	absent := func(w *world, at time.Time) Reads { return w.reading(at).without(west, true, true) }
	onlyInCluster := func(w *world, at time.Time) Reads { return w.reading(at).without(west, false, true) }
	onlyInCMEK := func(w *world, at time.Time) Reads { return w.reading(at).without(west, true, false) }
	clusterNotRead := func(w *world, at time.Time) Reads { return absent(w, at).unreadCluster() }
	noRegions := func(w *world, at time.Time) Reads {
		r := absent(w, at)
		r.Cluster.Regions = nil
		return r
	}
	notRead := func(_ *world, at time.Time) Reads { return Reads{At: at} }
	none := func(_ *world, at time.Time) Reads { return hidden(at) }
	type read struct {
		at   time.Duration // after the first
		read func(*world, time.Time) Reads
	}
	for _, r := range []struct {
		sentence string
		reads    []read
		gone     bool
	}{
		{"absent in one read", []read{{0, absent}}, false},
		{"absent in two reads 50 s apart", []read{{0, absent}, {50 * time.Second, absent}}, true},
		{"absent in two reads 49 s apart", []read{{0, absent}, {49 * time.Second, absent}}, false},
		{"absent in three reads over 50 s", []read{{0, absent}, {30 * time.Second, absent}, {time.Minute, absent}}, true},
		{"absent, shown, absent", []read{{0, absent}, {time.Minute, shown}, {2 * time.Minute, absent}}, false},
		{"absent, in the cluster only, absent", []read{{0, absent}, {time.Minute, onlyInCluster}, {2 * time.Minute, absent}}, false},
		{"absent, in the CMEK only, absent", []read{{0, absent}, {time.Minute, onlyInCMEK}, {2 * time.Minute, absent}}, false},
		{"absent from the CMEK for ever", []read{{0, onlyInCluster}, {time.Hour, onlyInCluster}, {48 * time.Hour, onlyInCluster}}, false},
		{"absent from the cluster for ever", []read{{0, onlyInCMEK}, {time.Hour, onlyInCMEK}, {48 * time.Hour, onlyInCMEK}}, false},
		{"absent, the cluster not read", []read{{0, clusterNotRead}, {time.Hour, clusterNotRead}}, false},
		{"absent, the cluster without regions", []read{{0, noRegions}, {time.Hour, noRegions}}, false},
		{"absent, nothing read, absent", []read{{0, absent}, {time.Minute, notRead}, {2 * time.Minute, absent}}, true},
		{"hidden twice", []read{{0, none}, {time.Hour, none}}, false},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld(due, alsoWest(westKey))
			w.item.Work = append(w.item.Work, workFor(west, westKey))
			var f Facts
			for _, step := range r.reads {
				at := noon.Add(step.at)
				f = absorb(w.item, step.read(w, at), at)
			}
			if known := slices.Contains(regionNames(w.item.CMEK), west); known == r.gone {
				t.Errorf("the inventory has %q, want us-west-2 gone: %t", regionNames(w.item.CMEK), r.gone)
			}
			act := Decide(f, w.item, noon.Add(r.reads[len(r.reads)-1].at), w.settings).Verdicts[1].Act
			if (act == Drop) != r.gone {
				t.Errorf("the region's work is decided %q, want it dropped: %t", act, r.gone)
			}
		})
	}
}

func TestAbsorb_partialRegion_keepsTheFirstTime(t *testing.T) {
	onBothClouds(t, testAbsorb_partialRegion_keepsTheFirstTime)
}

func testAbsorb_partialRegion_keepsTheFirstTime(t *testing.T) {
	w := newWorld(alsoWest(westKey))
	absorb(w.item, w.reading(ago(time.Hour)).without(west, false, true), ago(time.Hour))
	f := absorb(w.item, w.reading(noon).without(west, false, true), noon)
	if at := w.item.Partial[west]; !at.Equal(ago(time.Hour)) || !slices.Equal(f.Unshown, []string{west}) {
		t.Errorf("a region that only the cluster shows is partial since %s, unshown %q", at, f.Unshown)
	}
	if f = absorb(w.item, w.reading(noon), noon); len(w.item.Partial) > 0 || len(f.Unshown) > 0 {
		t.Errorf("a region that is shown again is partial: %+v, unshown %q", w.item.Partial, f.Unshown)
	}
}

func TestAbsorb_olderRead_decidesNothing(t *testing.T) {
	onBothClouds(t, testAbsorb_olderRead_decidesNothing)
}

func testAbsorb_olderRead_decidesNothing(t *testing.T) {
	newer := func(w *world) { w.item.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = after }
	for _, r := range []struct {
		sentence string
		given    []given
		read     func(Reads) Reads
		older    bool
	}{
		{"an earlier updated_at is older", []given{newer}, func(r Reads) Reads { return r }, true},
		{"the same updated_at is not", nil, func(r Reads) Reads { return r }, false},
		{"a later updated_at is not", nil, func(r Reads) Reads { return r.keyUpdated(after) }, false},
		{"a missing updated_at is not", []given{newer}, func(r Reads) Reads { return r.keyUpdated(time.Time{}) }, false},
		{"a region that shows no key at all is not read, and not older", []given{alsoWest(westKey)}, Reads.withoutKey, false},
		{"one older region makes the read older", []given{alsoWest(westKey), func(w *world) { w.item.CMEK.RegionInfos[1].KeyInfos[0].UpdatedAt = after }},
			func(r Reads) Reads { return r }, true},
		{"a region that is missing is not older", []given{alsoWest(westKey)}, func(r Reads) Reads { return r.without(west, true, true) }, false},
		{"an updated_at of another key is not compared", nil, func(r Reads) Reads {
			info := *r.CMEK
			info.RegionInfos = slices.Clone(info.RegionInfos)
			info.RegionInfos[0].KeyInfos = append(slices.Clone(info.RegionInfos[0].KeyInfos), keyInfo(newKey, cmek.Enabling, longAgo.Add(-time.Hour)))
			r.CMEK = &info
			return r
		}, false},
	} {
		w := newWorld(r.given...)
		before := w.item.CMEK
		f := absorb(w.item, r.read(w.reading(noon)), noon)
		if f.Older != r.older || f.CMEKRead == r.older {
			t.Errorf("%s: older is %t, read %t", r.sentence, f.Older, f.CMEKRead)
		}
		if r.older && !reflect.DeepEqual(w.item.CMEK, before) {
			t.Errorf("%s: the inventory became %+v", r.sentence, w.item.CMEK)
		}
	}
}

func TestAbsorb_anOldFailure_doesNotMakeAReadOlder(t *testing.T) {
	onBothClouds(t, testAbsorb_anOldFailure_doesNotMakeAReadOlder)
}

func testAbsorb_anOldFailure_doesNotMakeAReadOlder(t *testing.T) {
	failed, current := keyInfo(eastKey, cmek.EnableFailed, ago(2*time.Hour)), keyInfo(eastKey, cmek.Enabled, ago(time.Hour))
	w := newWorld(keys(failed, current))
	w.item.CMEK = w.facts.CMEK
	disabled := current
	disabled.Status, disabled.UpdatedAt = cmek.Disabled, after
	w.facts.CMEK = newWorld(keys(failed, disabled, keyInfo(newKey, cmek.Enabled, after))).facts.CMEK
	if f := absorb(w.item, w.reading(noon), noon); f.Older || !f.CMEKRead {
		t.Error("a move to another key after an operation that had failed once is taken for an older read")
	}
}

func TestAbsorb_threeOlderReads_becomeTheTruth(t *testing.T) {
	onBothClouds(t, testAbsorb_threeOlderReads_becomeTheTruth)
}

func testAbsorb_threeOlderReads_becomeTheTruth(t *testing.T) {
	older := func(w *world, at time.Time) Reads { return w.reading(at) }
	another := func(w *world, at time.Time) Reads { return w.reading(at).keyUpdated(longAgo.Add(time.Hour)) }
	current := func(w *world, at time.Time) Reads { return w.reading(at).keyUpdated(after) }
	notRead := func(_ *world, at time.Time) Reads { return Reads{At: at} }
	type read struct {
		at   time.Duration
		read func(*world, time.Time) Reads
	}
	for _, r := range []struct {
		sentence string
		reads    []read
		truth    bool
	}{
		{"two over 10 min", []read{{0, older}, {10 * time.Minute, older}}, false},
		{"three over 10 min", []read{{0, older}, {5 * time.Minute, older}, {10 * time.Minute, older}}, true},
		{"three over 9 min", []read{{0, older}, {5 * time.Minute, older}, {9 * time.Minute, older}}, false},
		{"ten over 9 min", []read{{0, older}, {1, older}, {2, older}, {3, older}, {4, older}, {5, older}, {6, older}, {7, older}, {8, older}, {9 * time.Minute, older}}, false},
		{"three that differ", []read{{0, older}, {5 * time.Minute, another}, {10 * time.Minute, older}}, false},
		{"three with a newer one between", []read{{0, older}, {5 * time.Minute, older}, {6 * time.Minute, current}, {10 * time.Minute, older}}, false},
		{"three with a poll between that read nothing", []read{{0, older}, {5 * time.Minute, older}, {6 * time.Minute, notRead}, {10 * time.Minute, older}}, true},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld()
			w.item.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = after
			var f Facts
			for _, step := range r.reads {
				at := noon.Add(step.at)
				f = absorb(w.item, step.read(w, at), at)
			}
			if f.CMEKRead != r.truth || w.item.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt.Equal(longAgo) != r.truth {
				t.Errorf("the older read is believed: %t, inventory %+v, want %t", f.CMEKRead, w.item.CMEK, r.truth)
			}
			var changes []cmek.Change
			for _, a := range alerts(w.item) {
				changes = append(changes, a.Change)
				if a.Audience != alert.Operations {
					t.Errorf("the alert goes to %s", a.Audience)
				}
			}
			if want := []cmek.Change{changeReadsRewound}; slices.Equal(changes, want) != r.truth {
				t.Errorf("the alerts are %q, want %q: %t", changes, want, r.truth)
			}
		})
	}
}

func TestAbsorb_olderReads_inAnyOrder_areConsistent(t *testing.T) {
	onBothClouds(t, testAbsorb_olderReads_inAnyOrder_areConsistent)
}

func testAbsorb_olderReads_inAnyOrder_areConsistent(t *testing.T) {
	past, current := keyInfo(newKey, cmek.Disabled, longAgo), keyInfo(eastKey, cmek.Enabled, longAgo)
	w := newWorld(keys(past, current))
	w.item.CMEK = newWorld(keys(past, keyInfo(eastKey, cmek.Enabled, after))).facts.CMEK
	w.item.CMEK.RegionInfos[0].KeyInfos[1].CreatedAt = longAgo
	var f Facts
	for i, order := range [][]cmek.KeyInfo{{past, current}, {current, past}, {past, current}} {
		at := noon.Add(time.Duration(i) * 5 * time.Minute)
		keys(order...)(w)
		f = absorb(w.item, w.reading(at), at)
	}
	if !f.CMEKRead {
		t.Errorf("three reads that differ in the order of keys only are not consistent: %+v", w.item.Older)
	}
}

func TestAbsorb_futureUpdatedAt_isNotUsed(t *testing.T) {
	onBothClouds(t, testAbsorb_futureUpdatedAt_isNotUsed)
}

func testAbsorb_futureUpdatedAt_isNotUsed(t *testing.T) {
	for _, r := range []struct {
		ahead time.Duration
		used  bool
	}{{14 * time.Minute, true}, {15 * time.Minute, true}, {15*time.Minute + time.Second, false}, {48 * time.Hour, false}} {
		w := newWorld(accepted, confirmed, updated(in(r.ahead)))
		f := absorb(w.item, w.reading(noon), noon)
		if used := f.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt.Equal(in(r.ahead)); used != r.used {
			t.Errorf("an updated_at %s ahead of us is used: %t, want %t", r.ahead, used, r.used)
		}
		if v := Decide(f, w.item, noon, w.settings).Verdicts[0]; (v.Act == Complete) != r.used {
			t.Errorf("an updated_at %s ahead of us: decided %q (%s)", r.ahead, v.Act, v.Why)
		}
	}
}

func TestAbsorb_missingUpdatedAt_keepsTheNewestSeen(t *testing.T) {
	onBothClouds(t, testAbsorb_missingUpdatedAt_keepsTheNewestSeen)
}

func testAbsorb_missingUpdatedAt_keepsTheNewestSeen(t *testing.T) {
	for name, unusable := range map[string]time.Time{"left out": {}, "in the future": in(time.Hour)} {
		w := newWorld()
		w.item.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = after
		absorb(w.item, w.reading(noon).keyUpdated(unusable), noon)
		if f := absorb(w.item, w.reading(in(time.Minute)), in(time.Minute)); !f.Older {
			t.Errorf("after an updated_at that was %s, a read older than the one before it is believed", name)
		}
	}
}

func TestAbsorb_skipped_endsWithTheFailure(t *testing.T) {
	onBothClouds(t, testAbsorb_skipped_endsWithTheFailure)
}

func testAbsorb_skipped_endsWithTheFailure(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"a region that still reads ROTATE_FAILED", []given{regionStatus(cmek.RotateFailed)}, true},
		{"a region that recovered", nil, false},
		{"a region whose work failed and is retried", []given{due, failed(1)}, true},
	} {
		w := newWorld(r.given...)
		w.item.Skipped = []string{east}
		absorb(w.item, w.reading(noon), noon)
		if got := slices.Contains(w.item.Skipped, east); got != r.want {
			t.Errorf("%s is skipped: %t, want %t", r.sentence, got, r.want)
		}
	}
}

// randomReads returns any read at all of a cluster with two regions and two keys.
func randomReads(rnd *rand.Rand, at time.Time) Reads {
	statuses := append([]cmek.Status{"", strange}, cmek.Statuses...)
	pick := func() cmek.Status { return statuses[rnd.IntN(len(statuses))] }
	r := Reads{At: at, Hidden: rnd.IntN(6) == 0}
	if rnd.IntN(3) > 0 {
		states := []string{"", cmek.StateCreated, cmek.StateLocked, "CREATING"}
		r.Cluster = &cmek.Cluster{ID: "c-1", Name: "orders", State: states[rnd.IntN(len(states))]}
		for _, region := range []string{east, west, "eu-west-1"} {
			if rnd.IntN(2) == 0 {
				r.Cluster.Regions = append(r.Cluster.Regions, cmek.Region{Name: region})
			}
		}
	}
	if rnd.IntN(4) > 0 {
		r.CMEK = &cmek.ClusterInfo{Status: pick()}
		for _, region := range []string{east, west, "eu-west-1"} {
			if rnd.IntN(3) == 0 {
				continue
			}
			info := cmek.RegionInfo{Region: region, Status: pick()}
			for _, key := range []cmek.KeyURI{eastKey, westKey, newKey} {
				if rnd.IntN(2) == 0 {
					k := keyInfo(key, pick(), at.Add(time.Duration(rnd.IntN(4)-2)*time.Hour))
					if rnd.IntN(5) == 0 {
						k.UpdatedAt = time.Time{}
					}
					info.KeyInfos = append(info.KeyInfos, k)
				}
			}
			r.CMEK.RegionInfos = append(r.CMEK.RegionInfos, info)
		}
	}
	return r
}

func TestAbsorb_anyRead_shrinksNothing(t *testing.T) {
	onBothClouds(t, testAbsorb_anyRead_shrinksNothing)
}

func testAbsorb_anyRead_shrinksNothing(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(due, alsoWest(westKey), keys(keyInfo(eastKey, cmek.Enabled, longAgo), keyInfo(newKey, cmek.Disabled, longAgo)))
		w.item.CMEK = w.facts.CMEK
		before, work, done := inventoryOf(w.item), len(w.item.Work), len(w.item.Done)
		at := noon
		f := absorb(w.item, randomReads(rnd, at), at)
		after := inventoryOf(w.item)
		for _, known := range before {
			if !slices.Contains(after, known) {
				t.Fatalf("seed %d: one read removed %s from the inventory: %q", seed, known, after)
			}
		}
		if f.Gone || w.item.Gone || len(w.item.Work) != work || len(w.item.Done) != done || len(w.item.Keys()) == 0 {
			t.Fatalf("seed %d: one read ended something: gone %t, %d pieces of work, %d done", seed, w.item.Gone, len(w.item.Work), len(w.item.Done))
		}
		for _, v := range Decide(f, w.item, at, w.settings).Verdicts {
			if v.Act == Drop && v.Why != "the region's key changed to "+string(newKey) && v.Why != "the region's key changed to "+string(westKey) {
				t.Fatalf("seed %d: one read dropped work: %s", seed, v.Why)
			}
		}
	}
}

// inventoryOf lists the item's regions and keys.
func inventoryOf(item *ledger.Cluster) (all []string) {
	for _, info := range item.CMEK.RegionInfos {
		all = append(all, info.Region)
		for _, k := range info.KeyInfos {
			all = append(all, info.Region+" "+string(k.Spec.URI))
		}
	}
	return all
}

func TestAbsorb_olderReadBetweenTwo_completesNothing(t *testing.T) {
	onBothClouds(t, testAbsorb_olderReadBetweenTwo_completesNothing)
}

func testAbsorb_olderReadBetweenTwo_completesNothing(t *testing.T) {
	statuses := []cmek.Status{cmek.Enabled, cmek.Enabled, cmek.Rotating, cmek.RotateFailed, strange}
	completed := 0
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		begin := []given{accepted, timedOut, refusedOnce, givenUp}[rnd.IntN(4)]
		first := newWorld(begin, regionStatus(statuses[rnd.IntN(len(statuses))]), updated(ago(time.Duration(30+rnd.IntN(100))*time.Second)))
		second := newWorld(begin, regionStatus(statuses[rnd.IntN(len(statuses))]), updated(ago(time.Duration(rnd.IntN(30))*time.Second)))
		older := newWorld(begin, statusEverywhere(statuses[rnd.IntN(len(statuses))]), updated(ago(time.Duration(131+rnd.IntN(10000))*time.Second)))
		gap := time.Duration(1+rnd.IntN(60)) * time.Second
		last := noon.Add(gap + time.Duration(1+rnd.IntN(60))*time.Second)

		verdict := func(between bool) Act {
			w := newWorld(begin)
			step := func(read *world, at time.Time) Act {
				f := absorb(w.item, read.reading(at), at)
				plan := Decide(f, w.item, at, w.settings)
				transition(w.item, f, plan, at, w.settings)
				return plan.Verdicts[0].Act
			}
			if step(first, noon) == Complete {
				return Wait // done before
			}
			if between {
				if act := step(older, noon.Add(gap)); act == Complete || act == Fail || act == Drop || act == Resend || act == Send {
					t.Fatalf("seed %d: an older read alone decided %q", seed, act)
				}
			}
			return step(second, last)
		}
		with, without := verdict(true), verdict(false)
		if without == Complete {
			completed++
		}
		if with == Complete && without != Complete {
			t.Fatalf("seed %d: an older read between made the verdict %q out of %q", seed, with, without)
		}
	}
	if completed == 0 {
		t.Error("no random world completes: the test proves nothing")
	}
}
