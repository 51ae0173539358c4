package rotation

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestDecideInCorners(t *testing.T) {
	old := ago(300 * 24 * time.Hour)
	decides(t, []row{
		{sentence: "due work waits while another region of the cluster is rotating", want: Wait,
			given: []given{due, alsoWest(westKey), func(w *world) {
				w.facts.CMEK.Status, w.facts.CMEK.RegionInfos[1].Status = cmek.Rotating, cmek.Rotating
			}}},
		{sentence: "due work waits while our request for another region is open", want: Wait,
			given: []given{due, alsoWest(westKey), func(w *world) {
				o := workFor(west, westKey)
				o.State, o.Request = ledger.Requested, &ledger.Request{Intent: ago(2 * time.Minute), Before: old, Answer: &cmek.Answer{Outcome: cmek.Accepted}}
				w.item.Work = append(w.item.Work, o)
			}}},
		{sentence: "due work of a region and key of unknown status waits", given: []given{due, statusEverywhere(strange)}, want: Wait},
		{sentence: "due work waits while a switch to another key is under way", want: Wait,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, old), keyInfo(newKey, cmek.Enabling, ago(time.Minute)))}},
		{sentence: "a first sight is not adopted while an earlier request is open", want: Wait, given: []given{
			due, neverDone, updated(ago(54 * time.Minute)), func(w *world) {
				o := workFor(east, eastKey)
				o.Version = v1
				o.State, o.Request = ledger.Requested, &ledger.Request{Intent: ago(56 * time.Minute), Before: old}
				w.item.Work = append(w.item.Work, o)
			}}},
		{sentence: "requested: URI changed, old key listed as past drops", given: []given{accepted,
			keys(keyInfo(eastKey, cmek.Disabled, after), keyInfo(newKey, cmek.Enabled, after))}, want: Drop},
		{sentence: "append, newest first, same time", want: Settle,
			given: []given{accepted, keys(keyInfo(eastKey, cmek.Enabled, after), keyInfo(eastKey, cmek.Disabled, after))}},
		{sentence: "append: old one disabled a moment after", want: Settle,
			given: []given{accepted, keys(cmek.KeyInfo{Spec: spec(eastKey), Status: cmek.Disabled, CreatedAt: old, UpdatedAt: after.Add(time.Second)}, keyInfo(eastKey, cmek.Enabled, after))}},
		{sentence: "failed op before the PUT is never done even though updated_at moved", want: Wait,
			given: []given{accepted, operation(cmek.CMEKOperationFailed), request(func(r *ledger.Request) { r.FailedBefore = true }), updated(after)}},
		{sentence: "ROTATE_FAILED since a PUT of unknown outcome is a failure of ours", want: Fail, given: []given{timedOut, statusEverywhere(cmek.RotateFailed)}},
		{sentence: "unknown status since a PUT of unknown outcome is evidence", want: Settle,
			given: []given{timedOut, sighting(ledger.Sighting{Region: strange, Key: cmek.Enabled})}},
		{sentence: "crash, op had failed before", want: Wait,
			given: []given{unanswered, operation(cmek.CMEKOperationFailed), request(func(r *ledger.Request) { r.FailedBefore = true })}},
		{sentence: "late evidence of a lost PUT settles instead of second PUT", want: Settle,
			given: []given{timedOut, updated(after), work(func(w *ledger.Work) { w.State, w.Lost = ledger.Due, 1 })}},
		{sentence: "event of unknown time, KMS lags", want: Wait, given: []given{due, version(v1), rotated(300 * 24 * time.Hour),
			work(func(w *ledger.Work) { w.Since, w.Trigger.Time = ago(time.Minute), time.Time{} })}},
		{sentence: "hands off, appended: cluster enabled", want: Send, given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, old), keyInfo(eastKey, cmek.Disabled, old))}},
	})
}

func TestTwoPiecesOfWorkForOneRegionPutItOnce(t *testing.T) {
	w := newWorld(due, work(func(w *ledger.Work) { w.Attempts = 1 }))
	w.item.Work = append(w.item.Work, workFor(east, eastKey))
	if put := w.decide().Put; len(put) != 1 {
		t.Errorf("two pieces for one region put %d specs: %+v", len(put), put)
	}
}

func TestASettledRegionIsNotAdoptedInTheSameLook(t *testing.T) {
	item := newWorld(accepted, neverDone, updated(after)).apply().item
	if d, _ := item.DoneIn(east); !d.Followed {
		t.Errorf("settled as %+v", d)
	}
}

func TestAlarmsKnowReplicasAndKeysThatAreNoLongerUsed(t *testing.T) {
	w := newWorld(usingKey(mrkEast), alsoWest(mrkWest))
	f := w.facts.Keys[mrkWest]
	f.Key.State = cmek.KeyDisabled
	w.facts.Keys[mrkWest] = f
	if told := alerts(w.apply().item); len(told) != 1 {
		t.Errorf("disabled replica told %+v", told)
	}
	w = newWorld(keyState(cmek.KeyDisabled)).apply()
	usingKey(newKey)(w)
	w.apply()
	if len(w.item.Alarms) > 0 {
		t.Errorf("switched key keeps %+v", w.item.Alarms)
	}
}

func TestTurnKnowsClustersByIDAndStopsAtEveryFailure(t *testing.T) {
	flying := working(east, ledger.Requested, v2)
	a, b := member("a", flying), member("a", flying)
	b.ID = "other"
	c := member("c", flying)
	if ok, _ := turn([]*ledger.Cluster{member("z", followed(v2)), a, b, c}, "self", ledger.Work{Region: east, Key: eastKey, Version: v2}, 3); ok {
		t.Error("same name counted once")
	}
	self := member("self", failing(ledger.Due), working(west, ledger.Due, v2))
	if ok, _ := turn([]*ledger.Cluster{member("z", followed(v2)), self}, "id-of-self", ledger.Work{Region: west, Key: eastKey, Version: v2}, 3); ok {
		t.Error("other region of failed cluster goes (function has no region)")
	}
	f := member("f")
	f.CMEK = cmek.ClusterInfo{RegionInfos: []cmek.RegionInfo{{Region: east, Status: cmek.RotateFailed, KeyInfos: []cmek.KeyInfo{keyInfo(eastKey, cmek.Enabled, noon)}}}}
	if ok, _ := turn([]*ledger.Cluster{f}, "id-of-self", ledger.Work{Region: east, Key: eastKey, Version: v2}, 3); ok {
		t.Error("foreign failure does not stop")
	}
}

func TestTheSameInstantInAnotherZoneIsNoNewSighting(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := sighted(ledger.Request{}, ledger.Sighting{Region: cmek.Rotating, UpdatedAt: at})
	r = sighted(*r, ledger.Sighting{Region: cmek.Rotating, UpdatedAt: at.In(time.FixedZone("", 0))})
	if len(r.Timeline) != 1 {
		t.Error("same instant in another zone is a new sighting")
	}
}

func TestReleasedWorkIsReadAndSentAlthoughNoKeyReadsEnabled(t *testing.T) {
	w := newWorld(due, statusEverywhere(cmek.RotateFailed), work(func(w *ledger.Work) { w.State, w.Failed = ledger.Held, 2 }))
	release(w.item, noon)
	w.item.CMEK = w.facts.CMEK
	wk := worker{Function: &Function{}}
	read := make(chan struct{})
	close(read)
	wk.keys.entries = map[keyAsked]*keyEntry{{uri: eastKey}: {read: read, fact: KeyFact{Key: healthyKey(eastKey)}}}
	if err := wk.readKeys(t.Context(), w.item, w.item.Work, &w.facts); err != nil {
		t.Fatal(err)
	}
	v := w.verdict(t, east)
	if v.Act != Send {
		t.Errorf("released work with no ENABLED key: %s (%s)", v.Act, v.Why)
	}
}

func TestOnlyAVersionThatIsDoneEverywhereWithNothingOpenIsKnown(t *testing.T) {
	doneIn := func(region string, uri cmek.KeyURI, v cmek.KeyVersion) given {
		return func(w *world) { w.item.SetDone(ledger.Done{Region: region, Key: uri, Version: v}) }
	}
	for _, r := range []struct {
		sentence string
		given    []given
		want     cmek.KeyVersion
	}{
		{"the region's version is done", nil, v1},
		{"nothing is done yet", []given{neverDone}, cmek.KeyVersion{}},
		{"another key's version is done", []given{doneWith(newKey, v1)}, cmek.KeyVersion{}},
		{"work is open", []given{due}, cmek.KeyVersion{}},
		{"two regions with the key have the same version", []given{alsoWest(eastKey)}, v1},
		{"two regions with the key have different versions", []given{alsoWest(eastKey), doneIn(west, eastKey, v2)}, cmek.KeyVersion{}},
		{"a region with another key is at another version", []given{alsoWest(westKey), doneIn(west, westKey, v2)}, v1},
		{"the region has several keys", []given{keys(keyInfo(eastKey, cmek.Enabled, noon), keyInfo(newKey, cmek.Enabled, noon))}, cmek.KeyVersion{}},
	} {
		w := newWorld(r.given...)
		if got := versionDone(w.item, w.facts.CMEK, eastKey); got != r.want {
			t.Errorf("%s: the version taken for done is %v, want %v", r.sentence, got, r.want)
		}
	}
}

func TestALookThatSettlesDoesNotOpenTheWorkAgain(t *testing.T) {
	if item := newWorld(accepted, updated(after)).apply().item; len(item.Work) > 0 {
		t.Errorf("a PUT that did it in a look that also read the key opened %+v again", item.Work)
	}
}
