package rotation

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestTransition_movesWorkOn(t *testing.T) { onBothClouds(t, testTransition_movesWorkOn) }

func testTransition_movesWorkOn(t *testing.T) {
	failsNow := func(w *world) { failedBefore(w); regionStatus(cmek.RotateFailed)(w) }
	for _, r := range []struct {
		sentence string
		given    []given
		want     ledger.Work // state, counters, flags and backoff
		reason   string
	}{
		{"due work stays due until it is claimed", []given{due}, ledger.Work{State: ledger.Due}, "older version"},
		{"an unusable key blocks the work", []given{due, keyState(cmek.KeyDisabled)}, ledger.Work{State: ledger.Blocked}, "disabled"},
		{"a key that is still unusable blocks it on", []given{due, blocked, keyState(cmek.KeyDisabled)}, ledger.Work{State: ledger.Blocked}, "disabled"},
		{"a key that recovered unblocks it", []given{due, blocked}, ledger.Work{State: ledger.Due}, "older version"},
		{"a key that recovered unblocks it to wait", []given{due, blocked, state(cmek.StateLocked)}, ledger.Work{State: ledger.Due, Detained: true}, "LOCKED"},
		{"a key that we may not read leaves it due", []given{due, keyUnread(cmek.ErrDenied)}, ledger.Work{State: ledger.Due, Detained: true}, "may not read"},
		{"a key that we may not read leaves it blocked", []given{due, blocked, keyUnread(cmek.ErrDenied)}, ledger.Work{State: ledger.Blocked}, ""},
		{"an older read leaves it blocked", []given{due, blocked, olderRead}, ledger.Work{State: ledger.Blocked}, ""},
		{"a busy cluster is something of its own", []given{due, operation("CRDB_SCALE_RUNNING")}, ledger.Work{State: ledger.Due, Detained: true}, "SCALE"},
		{"a canary is not", []given{due, with(member("a", waiting))}, ledger.Work{State: ledger.Due}, "canary"},
		{"observe mode notes that it announced the work", []given{due, observing}, ledger.Work{State: ledger.Due, Announced: true}, "observe mode"},
		{"a request stays one while it is watched", []given{accepted}, ledger.Work{State: ledger.Requested}, "no trace"},
		{"a revocation since blocks it", []given{accepted, statusEverywhere(cmek.Revoked)}, ledger.Work{State: ledger.Blocked}, "hands off"},
		{"a revocation that ended is watched again", []given{accepted, blocked}, ledger.Work{State: ledger.Requested}, "no trace"},

		{"the first failure is due again after a backoff", []given{accepted, failsNow}, ledger.Work{State: ledger.Due, Failed: 1, NotBefore: in(30 * time.Second)}, "ROTATE_FAILED"},
		{"the second failure is blocked", []given{accepted, failsNow, failed(1)}, ledger.Work{State: ledger.Blocked, Failed: 2, NotBefore: in(time.Minute)}, "ROTATE_FAILED"},
		{"a request without a trace is due once more", []given{timedOut, sent(time.Hour)}, ledger.Work{State: ledger.Due, Lost: 1}, "no trace"},
		{"a second one without a trace blocks the work", []given{timedOut, sent(time.Hour), lost(1)}, ledger.Work{State: ledger.Blocked, Lost: 2}, "two requests"},
		{"a second one does not where updated_at moves", []given{timedOut, sent(time.Hour), lost(1), updatedAtMoves}, ledger.Work{State: ledger.Due, Lost: 2}, "no trace"},
		{"work after two lost requests is blocked", []given{givenUp, lost(2)}, ledger.Work{State: ledger.Blocked, Lost: 2}, "two requests"},
		{"work after two lost requests is not where updated_at moves", []given{givenUp, lost(2), updatedAtMoves}, ledger.Work{State: ledger.Due, Lost: 2}, "older version"},
		{"a late trace brings a request given up back", []given{givenUp, movedAt}, ledger.Work{State: ledger.Requested, Lost: 1}, "read once"},
		{"a late trace brings a blocked one back", []given{givenUp, lost(2), blocked, movedAt}, ledger.Work{State: ledger.Requested, Lost: 2}, "read once"},
		{"a late trace brings a refused one back", []given{refusedOnce, movedAt}, ledger.Work{State: ledger.Requested, Attempts: 1}, "read once"},
		{"a newer version starts anew", []given{due, failed(2), blocked, version(v3), rotated(10 * time.Minute)}, ledger.Work{State: ledger.Due, Retried: true}, v3.Short()},
		{"a key that we may not read frees no claim", []given{due, claimedBefore(time.Second), keyUnread(cmek.ErrDenied)}, ledger.Work{State: ledger.Due, Detained: true, Claim: &ledger.Claim{Intent: ago(time.Second)}}, "may not read"},
		{"a claim whose worker is gone is taken back", []given{due, claimedBefore(time.Minute)}, ledger.Work{State: ledger.Due}, "older version"},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			item := newWorld(r.given...).transition().item
			if len(item.Work) != 1 {
				t.Fatalf("%s: the work is %+v, want one piece", r.sentence, item.Work)
			}
			w := item.Work[0]
			got := ledger.Work{State: w.State, Attempts: w.Attempts, Failed: w.Failed, Lost: w.Lost, Announced: w.Announced, Detained: w.Detained, Retried: w.Retried, NotBefore: w.NotBefore, Claim: w.Claim}
			if !reflect.DeepEqual(got, r.want) {
				t.Errorf("%s: the work became %+v, want %+v", r.sentence, got, r.want)
			}
			if !strings.Contains(w.Reason, r.reason) {
				t.Errorf("%s: the reason on record is %q, want it to say %q", r.sentence, w.Reason, r.reason)
			}
		})
	}
}

func TestTransition_version_isTheKMSsUntilTheRequest(t *testing.T) {
	onBothClouds(t, testTransition_version_isTheKMSsUntilTheRequest)
}

func testTransition_version_isTheKMSsUntilTheRequest(t *testing.T) {
	unversioned := work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })
	got := newWorld(due, unversioned).transition().item.Work[0]
	if got.Version != v2 || !got.RotatedAt.Equal(ago(time.Hour)) || !got.SeenVersion().Equal(noon) {
		t.Errorf("due work is for version %s of %s, seen %s, want the KMS's %s", got.Version.Short(), got.RotatedAt, got.SeenVersion(), v2.Short())
	}
	if got := newWorld(due, work(func(w *ledger.Work) { w.RotatedAt = ago(2 * time.Hour) }), keyUnread(errOutage)).transition().item.Work[0]; got.Version != v2 || !got.RotatedAt.Equal(ago(2*time.Hour)) {
		t.Errorf("a key that was not read made due work one for version %s of %s", got.Version.Short(), got.RotatedAt)
	}
	if got := newWorld(accepted, version(v3)).transition().item.Work[0]; got.Version != v2 {
		t.Errorf("a request for %s became one for %s", v2.Short(), got.Version.Short())
	}
}

// An event without a version comes before the KMS shows the new one.
func TestTransition_eventAheadOfTheKMS_isKept(t *testing.T) {
	onBothClouds(t, testTransition_eventAheadOfTheKMS_isKept)
}

func testTransition_eventAheadOfTheKMS_isKept(t *testing.T) {
	w := newWorld(due, doneWith(eastKey, v2), work(func(w *ledger.Work) { w.Version, w.Since = cmek.KeyVersion{}, noon })).transition()
	if len(w.item.Work) != 1 || !w.item.Work[0].Version.IsZero() || !w.item.NextLook.Equal(in(50*time.Second)) {
		t.Fatalf("while the KMS shows the version that is done the work is %+v, polled at %s; want it open", w.item.Work, w.item.NextLook)
	}
	version(v3)(w)
	if w.transition(); len(w.item.Work) != 1 || w.item.Work[0].Version != v3 || !w.item.Work[0].SeenVersion().Equal(noon) {
		t.Errorf("once the KMS shows %s the work is %+v", v3.Short(), w.item.Work)
	}
}

func TestTransition_requestEnds_freesTheOtherRegions(t *testing.T) {
	onBothClouds(t, testTransition_requestEnds_freesTheOtherRegions)
}

func testTransition_requestEnds_freesTheOtherRegions(t *testing.T) {
	alsoDueWest := func(reason string) given {
		return func(w *world) {
			alsoWest(westKey)(w)
			other := workFor(west, westKey)
			other.Reason, other.Detained = reason, true
			w.item.Work = append(w.item.Work, other)
		}
	}
	waits := alsoDueWest(whyInFlight)
	for _, r := range []struct {
		sentence string
		given    []given
		detained bool
		now      bool // it is polled again at once
	}{
		{"a request that is done", []given{accepted, movedAt, confirmed, waits}, false, true},
		{"a request that is open", []given{accepted, regionStatus(cmek.Rotating), waits}, true, false},
		{"a request that failed", []given{accepted, regionStatus(cmek.RotateFailed), rested(cmek.RotateFailed, time.Minute), waits}, false, true},
		{"a request whose region's key changed", []given{accepted, waits, keys(keyInfo(newKey, cmek.Enabled, after))}, false, true},
		{"no request", []given{due, state(cmek.StateLocked), waits}, true, false},
		{"a request that is done, beside a key of its own that cannot be read", []given{accepted, movedAt, confirmed, waits, func(w *world) { w.facts.Keys[westKey] = KeyFact{Err: errOutage} }}, true, false},
		{"a request that is done, beside a key of its own that is disabled",
			[]given{accepted, movedAt, confirmed, waits, func(w *world) { w.facts.Keys[westKey] = KeyFact{Key: cmek.Key{State: cmek.KeyDisabled}} }}, false, false},
	} {
		w := newWorld(r.given...).transition()
		i := slices.IndexFunc(w.item.Work, func(x ledger.Work) bool { return x.Region == west })
		if i < 0 {
			t.Errorf("%s: the other region's work is gone: %+v", r.sentence, w.item.Work)
			continue
		}
		if got := w.item.Work[i]; got.Detained != r.detained || !w.item.NextLook.After(noon) != r.now {
			t.Errorf("%s: the other region's work is detained: %t (%s), and polled at %s; want %t, at once: %t", r.sentence, got.Detained, got.Reason, w.item.NextLook, r.detained, r.now)
		}
	}
}

func TestTransition_supersede_keepsTriggerAndAge(t *testing.T) {
	onBothClouds(t, testTransition_supersede_keepsTriggerAndAge)
}

func testTransition_supersede_keepsTriggerAndAge(t *testing.T) {
	w := newWorld(due, version(v3), rotated(10*time.Minute)).transition()
	want := ledger.Work{Region: east, Key: eastKey, Version: v3, VersionSeen: noon, RotatedAt: ago(10 * time.Minute), State: ledger.Due,
		Reason: "the key's version is now " + v3.Short(), Trigger: workFor(east, eastKey).Trigger, Since: ago(time.Hour)}
	if len(w.item.Work) != 1 || !reflect.DeepEqual(w.item.Work[0], want) {
		t.Errorf("superseded work is %+v, want %+v", w.item.Work, want)
	}
	if v := w.verdict(t, east); v.Act != Wait || !v.Until.Equal(in(5*time.Minute)) {
		t.Errorf("then it is decided %q (%s) until %s, want it to settle", v.Act, v.Why, v.Until)
	}
}

func TestTransition_notesWhatIsDone(t *testing.T) { onBothClouds(t, testTransition_notesWhatIsDone) }

func testTransition_notesWhatIsDone(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     ledger.Done
	}{
		{"a PUT that did it is followed", []given{accepted, movedAt, confirmed, keysUnread},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Followed: true, Sent: ago(2 * time.Minute), Evidence: "updated_at moved"}},
		{"a PUT that did it on first discovery is followed", []given{accepted, neverDone, movedAt, confirmed},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Followed: true, Sent: ago(2 * time.Minute), Evidence: "updated_at moved"}},
		{"a region on first discovery is adopted", []given{neverDone, rotated(5 * time.Hour), movedAt},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Evidence: "encrypted after the key's last rotation"}},
		{"due work on first discovery is adopted", []given{due, neverDone, rotated(5 * time.Hour), movedAt},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Evidence: "encrypted after the key's last rotation"}},
	} {
		item := newWorld(r.given...).transition().item
		if got, _ := item.DoneIn(east); got != r.want {
			t.Errorf("%s: noted %+v, want %+v", r.sentence, got, r.want)
		}
		if len(item.Work) > 0 {
			t.Errorf("%s: work stays open: %+v", r.sentence, item.Work)
		}
	}
}

func TestTransition_keepsTheReasonOfDroppedWork(t *testing.T) {
	onBothClouds(t, testTransition_keepsTheReasonOfDroppedWork)
}

func testTransition_keepsTheReasonOfDroppedWork(t *testing.T) {
	item := newWorld(due, usingKey(newKey)).transition().item
	want := ledger.Dropped{Region: east, Key: eastKey, Version: v2, Reason: "the region's key changed to " + string(newKey), At: noon}
	if len(item.Dropped) != 1 || item.Dropped[0] != want {
		t.Errorf("dropped %+v, want %+v", item.Dropped, want)
	}
	for i := range 12 {
		item.Dropped = dropped(item.Dropped, ledger.Work{Region: east}, fmt.Sprintf("reason %d", i), noon)
	}
	if n := len(item.Dropped); n != 10 || item.Dropped[9].Reason != "reason 11" {
		t.Errorf("kept %d dropped pieces, want the newest 10: %+v", n, item.Dropped)
	}
}

func TestTransition_missedRotation_settlesFirst(t *testing.T) {
	onBothClouds(t, testTransition_missedRotation_settlesFirst)
}

func testTransition_missedRotation_settlesFirst(t *testing.T) {
	w := newWorld().transition()
	want := []ledger.Work{{Region: east, Key: eastKey, Version: v2, State: ledger.Due, Reason: "the new version settles",
		Trigger: ledger.Trigger{Kind: "sweep", Time: noon}, Since: noon, RotatedAt: ago(time.Hour)}}
	if !reflect.DeepEqual(w.item.Work, want) {
		t.Errorf("a rotation that no event announced opened %+v, want %+v", w.item.Work, want)
	}
	if len(w.item.Messages) > 0 {
		t.Errorf("opening work sent messages: %+v", w.item.Messages)
	}
	if put := w.decide().Put; len(put) > 0 {
		t.Errorf("work opened on first sight is sent at once: %+v", put)
	}
}

func TestTransition_stuckAfterTwoHours(t *testing.T) {
	onBothClouds(t, testTransition_stuckAfterTwoHours)
}

func testTransition_stuckAfterTwoHours(t *testing.T) {
	rotating := regionStatus(cmek.Rotating)
	for _, r := range []struct {
		sentence string
		given    []given
		want     time.Time
	}{
		{"a request of less than two hours", []given{accepted, sent(2*time.Hour - time.Second), rotating}, time.Time{}},
		{"a request of two hours", []given{accepted, sent(2 * time.Hour), rotating}, noon},
		{"a request that is stuck already", []given{accepted, sent(4 * time.Hour), rotating, request(func(r *ledger.Request) { r.StuckSince = ago(time.Hour) })}, ago(time.Hour)},
	} {
		item := newWorld(r.given...).transition().item
		if got := item.Work[0].Request.StuckSince; item.Work[0].State != ledger.Requested || !got.Equal(r.want) {
			t.Errorf("%s is %s, stuck since %s, want %s", r.sentence, item.Work[0].State, got, r.want)
		}
	}
}

func TestTransition_isRepeatableAndLeavesFactsAlone(t *testing.T) {
	onBothClouds(t, testTransition_isRepeatableAndLeavesFactsAlone)
}

func testTransition_isRepeatableAndLeavesFactsAlone(t *testing.T) {
	for name, givens := range map[string][]given{
		"a done PUT":         {accepted, movedAt, confirmed},
		"a failed PUT":       {accepted, failedBefore, regionStatus(cmek.RotateFailed), userMessage("no permission")},
		"an unusable key":    {due, keyState(cmek.KeyDisabled)},
		"an announcement":    {due, observing},
		"a newer version":    {due, version(v3), rotated(10 * time.Minute)},
		"a watched PUT":      {accepted, traced, regionStatus(cmek.Rotating)},
		"a deleted cluster":  {due, deleted},
		"a cluster unshown":  {accepted, unshown},
		"a request given up": {timedOut, sent(time.Hour)},
	} {
		first, again := newWorld(givens...).transition(), newWorld(givens...).transition()
		if !reflect.DeepEqual(first.item, again.item) {
			t.Errorf("%s: the same plan on the same item gave two items:\n%+v\n%+v", name, first.item, again.item)
		}
		if untouched := newWorld(givens...); !reflect.DeepEqual(first.facts, untouched.facts) {
			t.Errorf("%s: transition changed the facts:\n%+v\nwere\n%+v", name, first.facts, untouched.facts)
		}
	}
}

func TestTransition_neverWritesThroughASharedRequest(t *testing.T) {
	onBothClouds(t, testTransition_neverWritesThroughASharedRequest)
}

func testTransition_neverWritesThroughASharedRequest(t *testing.T) {
	for name, givens := range map[string][]given{
		"a stuck request":  {accepted, sent(3 * time.Hour), regionStatus(cmek.Rotating)},
		"a failed request": {accepted, failedBefore, regionStatus(cmek.RotateFailed)},
		"a lost request":   {timedOut, sent(time.Hour)},
	} {
		w := newWorld(givens...)
		shared := w.item.Work[0].Request
		before := *shared
		w.transition()
		if !reflect.DeepEqual(*shared, before) {
			t.Errorf("%s: transition wrote into a request that a copy of the item shares: %+v, was %+v", name, *shared, before)
		}
		before = *w.item.Work[0].Request
		shared = w.item.Work[0].Request
		if retry(w.item, false, noon); !reflect.DeepEqual(*shared, before) {
			t.Errorf("%s: retry wrote into a request that a copy of the item shares", name)
		}
	}
}

func TestTransition_nextLook(t *testing.T) { onBothClouds(t, testTransition_nextLook) }

func testTransition_nextLook(t *testing.T) {
	hiddenFrom := func(d time.Duration) given {
		return func(w *world) {
			w.facts.Unread, w.item.Unread = whyHidden, ledger.Unread{Since: ago(d), Why: whyHidden}
		}
	}
	for _, r := range []struct {
		sentence string
		given    []given
		want     time.Time
	}{
		{"without open work, 14 h after the cluster was seen", []given{doneWith(eastKey, v2)}, in(13 * time.Hour)},
		{"with a version that settles, at the end of the settle time", []given{due, work(func(w *ledger.Work) { w.VersionSeen = ago(2 * time.Minute) })}, in(3 * time.Minute)},
		{"with work just opened, at once", nil, noon},
		{"with a request, at the next poll", []given{accepted, regionStatus(cmek.Rotating)}, in(30 * time.Second)},
		{"with a canary to wait for, in three minutes", []given{due, with(member("a", waiting))}, in(3 * time.Minute)},
		{"hidden just now, when it is reported", []given{hiddenFrom(time.Minute)}, in(14 * time.Minute)},
		{"hidden and reported, 14 h after the cluster was seen", []given{hiddenFrom(15 * time.Minute)}, in(13 * time.Hour)},
		{"seen long ago, in an hour", []given{doneWith(eastKey, v2), func(w *world) { w.item.SeenAt = ago(20 * time.Hour) }}, in(time.Hour)},
		{"never, if the cluster is deleted", []given{due, deleted}, time.Time{}},
	} {
		if got := newWorld(r.given...).transition().item.NextLook; !got.Equal(r.want) {
			t.Errorf("%s: the next poll is at %s, want %s", r.sentence, got, r.want)
		}
	}
}

func TestTransition_readable_endsTheCountOfFailedPolls(t *testing.T) {
	onBothClouds(t, testTransition_readable_endsTheCountOfFailedPolls)
}

func testTransition_readable_endsTheCountOfFailedPolls(t *testing.T) {
	listed := func(w *world) { w.facts.Listed = true }
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"cluster and CMEK were read", []given{due}, true},
		{"the CMEK was not read", []given{due, cmekUnread}, false},
		{"the cluster was not read", []given{due, clusterUnread}, false},
		{"a list shows the cluster", []given{due, listed}, false},
		{"a list shows the cluster, and nothing is open", []given{doneWith(eastKey, v2), listed}, true},
		{"the cluster was not read, and nothing is open", []given{doneWith(eastKey, v2), clusterUnread}, true},
		{"the CMEK was not read, and nothing is open", []given{doneWith(eastKey, v2), cmekUnread}, false},
	} {
		w := newWorld(r.given...)
		w.item.Failures = 2
		if got := w.transition().item.Failures == 0; got != r.want {
			t.Errorf("%s: the count of failed polls ends: %t, want %t", r.sentence, got, r.want)
		}
	}
}

// Work that was dropped while its request was open, and is opened again.
func TestTransition_workOpenedAgain_goesOnWithItsRequest(t *testing.T) {
	onBothClouds(t, testTransition_workOpenedAgain_goesOnWithItsRequest)
}

func testTransition_workOpenedAgain_goesOnWithItsRequest(t *testing.T) {
	was := newWorld(timedOut).item.Work[0].Request
	remembered := func(w *world) {
		w.item.Dropped = []ledger.Dropped{{Region: east, Key: eastKey, Version: v2, Request: was}}
	}
	unversioned := work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })
	for _, r := range []struct {
		sentence string
		given    []given
		want     ledger.State
		request  bool
	}{
		{"once the version is known", []given{due, unversioned, remembered}, ledger.Requested, true},
		{"not while its key is unusable", []given{due, remembered, keyState(cmek.KeyDisabled)}, ledger.Blocked, false},
		{"not while a worker may send it", []given{due, remembered, claimedBefore(time.Second)}, ledger.Due, false},
		{"when a sweep finds it", []given{remembered}, ledger.Requested, true},
	} {
		got := newWorld(r.given...).transition().item.Work[0]
		if got.State != r.want || (got.Request != nil) != r.request {
			t.Errorf("%s: the work is %s with request %+v, want %s, with the request: %t", r.sentence, got.State, got.Request, r.want, r.request)
		}
	}
}

func TestRevived_takesTheLastRequestOfTheSameWork(t *testing.T) {
	onBothClouds(t, testRevived_takesTheLastRequestOfTheSameWork)
}

func testRevived_takesTheLastRequestOfTheSameWork(t *testing.T) {
	request := func(g given) *ledger.Request { return newWorld(g).item.Work[0].Request }
	open, gaveUp, wasRefused := request(timedOut), request(givenUp), request(refusedOnce)
	dropped := func(region string, key cmek.KeyURI, v cmek.KeyVersion, r *ledger.Request) ledger.Dropped {
		return ledger.Dropped{Region: region, Key: key, Version: v, Request: r}
	}
	same := func(r *ledger.Request) ledger.Dropped { return dropped(east, eastKey, v2, r) }
	for _, r := range []struct {
		sentence string
		dropped  []ledger.Dropped
		want     *ledger.Request
		state    ledger.State
	}{
		{"nothing was dropped", nil, nil, ledger.Due},
		{"the request is open", []ledger.Dropped{same(open)}, open, ledger.Requested},
		{"the request was given up", []ledger.Dropped{same(gaveUp)}, gaveUp, ledger.Due},
		{"the request was refused", []ledger.Dropped{same(wasRefused)}, wasRefused, ledger.Due},
		{"the last one counts", []ledger.Dropped{same(open), same(gaveUp)}, gaveUp, ledger.Due},
		{"one without a request does not", []ledger.Dropped{same(open), same(nil)}, open, ledger.Requested},
		{"another region's does not", []ledger.Dropped{dropped(west, eastKey, v2, open)}, nil, ledger.Due},
		{"another key's does not", []ledger.Dropped{dropped(east, newKey, v2, open)}, nil, ledger.Due},
		{"another version's does not", []ledger.Dropped{dropped(east, eastKey, v3, open)}, nil, ledger.Due},
	} {
		got := revived(&ledger.Cluster{Dropped: r.dropped}, workFor(east, eastKey))
		if got.Request != r.want || got.State != r.state {
			t.Errorf("%s: the work is %s with request %+v, want %s with %+v", r.sentence, got.State, got.Request, r.state, r.want)
		}
	}
}

func TestDecidePoll_withoutAPUT_keepsThePlansPoll(t *testing.T) {
	onBothClouds(t, testDecidePoll_withoutAPUT_keepsThePlansPoll)
}

func testDecidePoll_withoutAPUT_keepsThePlansPoll(t *testing.T) {
	w := newWorld(due, work(func(w *ledger.Work) { w.VersionSeen = ago(2 * time.Minute) }))
	if plan := decidePoll(w.item, w.reading(noon), noon, w.settings); len(plan.Put) > 0 || !w.item.NextLook.Equal(in(3*time.Minute)) {
		t.Errorf("a poll with the PUT %+v polls again at %s, want %s", plan.Put, w.item.NextLook, in(3*time.Minute))
	}
}

func TestTransition_hiddenInBetween_forgetsNoRequest(t *testing.T) {
	onBothClouds(t, testTransition_hiddenInBetween_forgetsNoRequest)
}

func testTransition_hiddenInBetween_forgetsNoRequest(t *testing.T) {
	for name, hide := range map[string]func(w *world) Reads{
		"a passing DISABLING": func(w *world) Reads { w.facts.CMEK.Status = cmek.Disabling; return w.reading(noon) },
		"a hidden cluster":    func(*world) Reads { return hidden(noon) },
		"a CMEK not shown":    func(w *world) Reads { w.facts.CMEK = cmek.ClusterInfo{}; return w.reading(noon) },
		"a region not shown":  func(w *world) Reads { return w.reading(noon).without(east, false, true) },
		"a region absent":     func(w *world) Reads { return w.reading(noon).without(east, true, true) },
		"a poll without CMEK": func(*world) Reads { return Reads{At: noon} },
	} {
		w := newWorld(accepted)
		step := func(r Reads, at time.Time) Plan {
			f := absorb(w.item, r, at)
			plan := Decide(f, w.item, at, w.settings)
			transition(w.item, f, plan, at, w.settings)
			return plan
		}
		if plan := step(hide(w), noon); len(plan.Put) > 0 || len(w.item.Work) != 1 {
			t.Fatalf("%s: the plan is %+v, the work %+v", name, plan, w.item.Work)
		}
		again := newWorld(movedAt)
		for _, d := range []time.Duration{time.Minute, 2 * time.Minute} {
			if plan := step(again.reading(in(d)), in(d)); len(plan.Put) > 0 {
				t.Errorf("after %s a second PUT is due: %+v", name, plan.Put)
			}
		}
		if len(w.item.Work) > 0 || len(w.item.Done) != 1 || !w.item.Done[0].Followed {
			t.Errorf("after %s the PUT is not done: work %+v, done %+v", name, w.item.Work, w.item.Done)
		}
	}
}

func TestTransition_done_isNotOpenedAgain(t *testing.T) {
	onBothClouds(t, testTransition_done_isNotOpenedAgain)
}

func testTransition_done_isNotOpenedAgain(t *testing.T) {
	if item := newWorld(accepted, movedAt, confirmed).transition().item; len(item.Work) > 0 {
		t.Errorf("a PUT that is done in a poll that also read the key opened %+v again", item.Work)
	}
}

// Sending.

func TestClaim_marksTheRegionsInThePutOnly(t *testing.T) {
	onBothClouds(t, testClaim_marksTheRegionsInThePutOnly)
}

func testClaim_marksTheRegionsInThePutOnly(t *testing.T) {
	w := newWorld(givenUp, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	before := w.item.Work[0].Request
	claim(w.item, []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}, noon)
	if got := w.item.Work[0]; got.State != ledger.Due || got.Claim == nil || !got.Claim.Intent.Equal(noon) || got.Request != before {
		t.Errorf("claimed work is %s with claim %+v, request %+v; want it due with the request before", got.State, got.Claim, got.Request)
	}
	if got := w.item.Work[1]; got.Claim != nil {
		t.Errorf("the region that is not in the PUT has the claim %+v", got.Claim)
	}
	if want := noon.Add(answerWithin); !w.item.NextLook.Equal(want) {
		t.Errorf("after a crash the next poll is at %s, want %s", w.item.NextLook, want)
	}
}

func TestDepart_makesARequestWithItsBaseline(t *testing.T) {
	onBothClouds(t, testDepart_makesARequestWithItsBaseline)
}

func testDepart_makesARequestWithItsBaseline(t *testing.T) {
	w := newWorld(due, alsoWest(westKey), regionStatus(cmek.RotateFailed), updated(after), operation(cmek.CMEKOperationFailed))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	put := []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}
	claim(w.item, put, ago(time.Second))
	w.item.Work[1].Claim = &ledger.Claim{Intent: ago(time.Second)} // of a region that the second read took out
	depart(w.item, w.facts, put, ago(time.Second), noon)
	want := &ledger.Request{Intent: ago(time.Second), Sent: noon, Baseline: &ledger.Baseline{ReadAt: noon, Region: cmek.RotateFailed,
		Key: cmek.Enabled, UpdatedAt: after, Operation: cmek.CMEKOperationFailed}}
	if got := w.item.Work[0]; got.State != ledger.Requested || got.Claim != nil || !reflect.DeepEqual(got.Request, want) {
		t.Errorf("departed work is %s with claim %+v, request %+v, want %+v", got.State, got.Claim, got.Request, want)
	}
	if got := w.item.Work[1]; got.State != ledger.Due || got.Claim != nil || got.Request != nil {
		t.Errorf("the region that is not in the PUT is %s with claim %+v, request %+v", got.State, got.Claim, got.Request)
	}
}

func TestDepart_isForItsOwnIntentOnly(t *testing.T) {
	onBothClouds(t, testDepart_isForItsOwnIntentOnly)
}

func testDepart_isForItsOwnIntentOnly(t *testing.T) {
	w := newWorld(due, claimedBefore(time.Second))
	depart(w.item, w.facts, []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}, ago(2*time.Second), noon)
	if got := w.item.Work[0]; got.State != ledger.Due || got.Request != nil || got.Claim == nil {
		t.Errorf("another intent made the claim a request: %+v", got)
	}
}

func TestUnclaim_keepsTheRequestBefore(t *testing.T) {
	onBothClouds(t, testUnclaim_keepsTheRequestBefore)
}

func testUnclaim_keepsTheRequestBefore(t *testing.T) {
	for intent, taken := range map[time.Time]bool{ago(time.Second): true, ago(2 * time.Second): false} {
		w := newWorld(givenUp, claimedBefore(time.Second))
		before := w.item.Work[0].Request
		unclaim(w.item, intent)
		if got := w.item.Work[0]; (got.Claim == nil) != taken || got.Request != before || got.Lost != 1 {
			t.Errorf("unclaiming the intent of %s left claim %+v and request %+v", intent, got.Claim, got.Request)
		}
	}
}

func TestStay_bringsBackTheRequestBefore(t *testing.T) {
	onBothClouds(t, testStay_bringsBackTheRequestBefore)
}

func testStay_bringsBackTheRequestBefore(t *testing.T) {
	earlier := func(region string, since time.Time, v cmek.KeyVersion) ledger.Work {
		return ledger.Work{Region: region, Since: since, Version: v, Request: requestOf(time.Hour)}
	}
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool // the request is taken back
	}{
		{"a request that never left", nil, true},
		{"a request that was answered", []given{answered(cmek.Answer{Outcome: cmek.Unknown})}, false},
		{"a request of another intent", []given{request(func(r *ledger.Request) { r.Intent = ago(time.Second) })}, false},
	} {
		before := newWorld(givenUp).item.Work
		before = append(before, earlier(east, noon, v2), earlier(east, before[0].Since, v3), earlier(west, before[0].Since, v2), earlier(west, noon, v2))
		w := newWorld(givenUp, claimedBefore(0))
		depart(w.item, w.facts, []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}, noon, noon)
		for _, change := range r.given {
			change(w)
		}
		stay(w.item, before, noon, noon)
		got := w.item.Work[0]
		if r.want && (got.State != ledger.Due || !reflect.DeepEqual(got.Request, before[0].Request)) || !r.want && got.State != ledger.Requested {
			t.Errorf("%s: stay left the work %s with request %+v", r.sentence, got.State, got.Request)
		}
	}
}

func TestStands_decidesWhetherAClaimLeaves(t *testing.T) {
	onBothClouds(t, testStands_decidesWhetherAClaimLeaves)
}

func testStands_decidesWhetherAClaimLeaves(t *testing.T) {
	put := []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}
	own := func(d time.Duration) []given {
		return []given{due, claimedBefore(d), func(w *world) { w.facts.Claimed = ago(d) }}
	}
	for _, r := range []struct {
		sentence string
		given    []given
		intent   time.Duration
		want     bool
	}{
		{"nothing changed", own(time.Second), time.Second, true},
		{"30 s passed since the intent", own(30 * time.Second), 30 * time.Second, true},
		{"more than 30 s passed since the intent", own(30*time.Second + 1), 30*time.Second + 1, false},
		{"the claim is another worker's", []given{due, claimedBefore(2 * time.Second)}, time.Second, false},
		{"the claim was taken back", []given{due}, time.Second, false},
		{"the cluster is locked now", append(own(time.Second), state(cmek.StateLocked)), time.Second, false},
		{"the region is rotating now", append(own(time.Second), regionStatus(cmek.Rotating)), time.Second, false},
		{"the key is disabled now", append(own(time.Second), keyState(cmek.KeyDisabled)), time.Second, false},
		{"the key was rotated again", append(own(time.Second), version(v3), rotated(0)), time.Second, false},
		{"the key cannot be read now", append(own(time.Second), keyUnread(errOutage)), time.Second, false},
		{"the principal changed", append(own(time.Second), keys(otherPrincipal(keyInfo(eastKey, cmek.Enabled, longAgo)))), time.Second, false},
		{"the region uses another key now", append(own(time.Second), usingKey(newKey)), time.Second, false},
		{"the operator paused", append(own(time.Second), paused), time.Second, false},
		{"the refused request left a trace", []given{refusedOnce, claimedBefore(time.Second), func(w *world) { w.facts.Claimed = ago(time.Second) }, movedAt}, time.Second, false},
		{"another region is due, too", append(own(time.Second), alsoWest(westKey), func(w *world) { w.item.Work = append(w.item.Work, workFor(west, westKey)) }), time.Second, false},
		{"another cluster is in flight now", append(own(time.Second), with(member("a", flying))), time.Second, false},
	} {
		w := newWorld(r.given...)
		if got := stands(w.item, w.decide(), put, ago(r.intent), noon); got != r.want {
			t.Errorf("%s: the claim leaves: %t, want %t", r.sentence, got, r.want)
		}
	}
}

func TestAnswer_decidesHowTheWorkGoesOn(t *testing.T) {
	onBothClouds(t, testAnswer_decidesHowTheWorkGoesOn)
}

func testAnswer_decidesHowTheWorkGoesOn(t *testing.T) {
	attempts := func(n int) given {
		return work(func(w *ledger.Work) { w.Attempts, w.RefusedSince = n, ago(time.Hour) })
	}
	busy := func(a cmek.Answer) cmek.Answer { a.Outcome, a.HTTPStatus = cmek.Refused, 503; return a }
	denied := cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 403, Denied: true}
	for _, r := range []struct {
		sentence string
		given    []given
		answer   cmek.Answer
		want     ledger.Work // state, attempts and backoff
		look     time.Time
	}{
		{"an accepted PUT is watched", []given{unanswered, attempts(2)}, cmek.Answer{Outcome: cmek.Accepted}, ledger.Work{State: ledger.Requested}, in(15 * time.Second)},
		{"a PUT of unknown outcome is watched", []given{unanswered, attempts(2)}, cmek.Answer{Outcome: cmek.Unknown}, ledger.Work{State: ledger.Requested, Attempts: 2, RefusedSince: ago(time.Hour)}, in(15 * time.Second)},
		{"a denied PUT is due after 15 s", []given{unanswered}, denied, ledger.Work{State: ledger.Due, Attempts: 1, RefusedSince: noon, NotBefore: in(15 * time.Second)}, in(15 * time.Second)},
		{"a PUT that never left is due after 15 s", []given{unanswered}, cmek.Answer{Outcome: cmek.Refused, Unsent: true},
			ledger.Work{State: ledger.Due, Attempts: 1, RefusedSince: noon, NotBefore: in(15 * time.Second)}, in(15 * time.Second)},
		{"a refusal that may be a proxy's is read after 50 s", []given{unanswered}, busy(cmek.Answer{}),
			ledger.Work{State: ledger.Due, Attempts: 1, RefusedSince: noon, NotBefore: in(50 * time.Second)}, in(50 * time.Second)},
		{"a PUT denied again is due after twice the time", []given{unanswered, attempts(1)}, denied,
			ledger.Work{State: ledger.Due, Attempts: 2, RefusedSince: ago(time.Hour), NotBefore: in(30 * time.Second)}, in(30 * time.Second)},
		{"a PUT refused many times is due after 10 min", []given{unanswered, attempts(40)}, busy(cmek.Answer{}),
			ledger.Work{State: ledger.Due, Attempts: 41, RefusedSince: ago(time.Hour), NotBefore: in(10 * time.Minute)}, in(10 * time.Minute)},
		{"the server's longer wait is kept", []given{unanswered}, busy(cmek.Answer{RetryAfter: time.Hour}),
			ledger.Work{State: ledger.Due, Attempts: 1, RefusedSince: noon, NotBefore: in(time.Hour)}, in(time.Hour)},
		{"the server's shorter wait is not", []given{unanswered, attempts(3)}, busy(cmek.Answer{RetryAfter: time.Second}),
			ledger.Work{State: ledger.Due, Attempts: 4, RefusedSince: ago(time.Hour), NotBefore: in(2 * time.Minute)}, in(2 * time.Minute)},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			item := newWorld(r.given...).item
			answer(item, ago(2*time.Minute), r.answer, noon, DefaultSettings())
			w := item.Work[0]
			if got := (ledger.Work{State: w.State, Attempts: w.Attempts, RefusedSince: w.RefusedSince, NotBefore: w.NotBefore}); !reflect.DeepEqual(got, r.want) {
				t.Errorf("%s: the work became %+v, want %+v", r.sentence, got, r.want)
			}
			if w.Request.Answer == nil || w.Request.Answer.Outcome != r.answer.Outcome || !w.Request.Answered.Equal(noon) {
				t.Errorf("%s: the answer on record is %+v at %s", r.sentence, w.Request.Answer, w.Request.Answered)
			}
			if !item.NextLook.Equal(r.look) {
				t.Errorf("%s: the next poll is at %s, want %s", r.sentence, item.NextLook, r.look)
			}
		})
	}
}

func TestAnswer_ofAnotherIntent_isNotNoted(t *testing.T) {
	onBothClouds(t, testAnswer_ofAnotherIntent_isNotNoted)
}

func testAnswer_ofAnotherIntent_isNotNoted(t *testing.T) {
	item := newWorld(unanswered).item
	answer(item, ago(time.Hour), cmek.Answer{Outcome: cmek.Refused}, noon, DefaultSettings())
	if w := item.Work[0]; w.State != ledger.Requested || w.Request.Answer != nil {
		t.Errorf("the answer to an earlier PUT made the work %s with answer %+v", w.State, w.Request.Answer)
	}
}

func TestAnswer_body_beginsTheTimelineOnly(t *testing.T) {
	onBothClouds(t, testAnswer_body_beginsTheTimelineOnly)
}

func testAnswer_body_beginsTheTimelineOnly(t *testing.T) {
	item := newWorld(unanswered).item
	body := cmek.ClusterInfo{RegionInfos: []cmek.RegionInfo{{Region: east, Status: cmek.Rotating,
		KeyInfos: []cmek.KeyInfo{keyInfo(eastKey, cmek.Enabling, after)}}}}
	answer(item, ago(2*time.Minute), cmek.Answer{Outcome: cmek.Accepted, Info: body}, noon, DefaultSettings())
	want := []ledger.Sighting{{At: noon, Region: cmek.Rotating, Key: cmek.Enabling, UpdatedAt: after}}
	r := item.Work[0].Request
	if !reflect.DeepEqual(r.Timeline, want) || !r.Evidence.IsZero() || !r.Final.IsZero() {
		t.Errorf("the answer's body made the timeline %+v, evidence %+v, final %+v; want only the timeline %+v", r.Timeline, r.Evidence, r.Final, want)
	}
}

// Operators and events.

func TestRetry_letsWorkTryAgain(t *testing.T) { onBothClouds(t, testRetry_letsWorkTryAgain) }

func testRetry_letsWorkTryAgain(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"blocked work", []given{due, failed(2), blocked}, true},
		{"work after two lost requests", []given{givenUp, lost(2), blocked}, true},
		{"work that waits after a failure", []given{due, failed(1), work(func(w *ledger.Work) { w.NotBefore = in(time.Minute) })}, true},
		{"work that waits after a refusal", []given{refusedOnce, work(func(w *ledger.Work) { w.NotBefore = in(time.Minute) })}, true},
		{"work lost as often as it was refused", []given{due, lost(1), work(func(w *ledger.Work) { w.Attempts = 1 })}, true},
		{"work that failed as often as it was lost", []given{due, failed(1), lost(1)}, true},
		{"work that is due anyway", []given{due}, false},
		{"a request that may be under way", []given{accepted, failed(1)}, false},
	} {
		w := newWorld(r.given...)
		before := w.item.Work[0].State
		regions := retry(w.item, false, noon)
		got := w.item.Work[0]
		if retried := len(regions) > 0; retried != r.want {
			t.Errorf("retry of %s retried %q", r.sentence, regions)
		}
		if !r.want && got.State != before {
			t.Errorf("retry of %s made it %s", r.sentence, got.State)
		}
		if r.want && (got.State != ledger.Due || !got.Retried || got.Failed+got.Lost+got.Attempts > 0 || got.NotBefore.After(noon) || !w.item.NextLook.Equal(noon)) {
			t.Errorf("retry of %s left %+v with the next poll at %s, want it due at once with nothing counted", r.sentence, got, w.item.NextLook)
		}
		if v := w.verdict(t, east); r.want && v.Act != Send {
			t.Errorf("retry of %s: then it is decided %q (%s), want %q", r.sentence, v.Act, v.Why, Send)
		}
	}
}

// What becomes of the request before a retry: one that was watched is over, one that was given up or refused may leave a trace yet.
func TestRetry_endsTheRequestThatWasWatched(t *testing.T) {
	onBothClouds(t, testRetry_endsTheRequestThatWasWatched)
}

func testRetry_endsTheRequestThatWasWatched(t *testing.T) {
	ended := request(func(r *ledger.Request) { r.Ended = true })
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"blocked while it was watched", []given{timedOut, blocked}, true},
		{"blocked after it was given up", []given{givenUp, lost(2), blocked}, false},
		{"blocked after it was refused", []given{refusedOnce, blocked}, false},
		{"due after it was refused", []given{refusedOnce}, false},
		{"due with a request of unknown outcome before", []given{timedOut, work(func(w *ledger.Work) { w.State, w.Lost = ledger.Due, 1 })}, false},
		{"due after it failed", []given{accepted, ended, failed(1), work(func(w *ledger.Work) { w.State = ledger.Due })}, true},
	} {
		item := newWorld(r.given...).item
		retry(item, false, noon)
		if got := item.Work[0].Request; got.Ended != r.want || !got.GivenUp {
			t.Errorf("%s: after a retry the request has ended: %t, want %t, and is given up: %t", r.sentence, got.Ended, r.want, got.GivenUp)
		}
	}
}

func TestRetry_nothingToRetry_keepsThePoll(t *testing.T) {
	onBothClouds(t, testRetry_nothingToRetry_keepsThePoll)
}

func testRetry_nothingToRetry_keepsThePoll(t *testing.T) {
	item := newWorld(due).item
	item.NextLook = in(time.Minute)
	if regions := retry(item, false, noon); len(regions) > 0 || !item.NextLook.Equal(in(time.Minute)) {
		t.Errorf("a retry of %q polls at %s, want none and %s", regions, item.NextLook, in(time.Minute))
	}
	if regions := skip(item); len(regions) > 0 || len(item.Skipped) > 0 {
		t.Errorf("a cluster without a failure is skipped in %q", regions)
	}
}

// A retry and a skip let others go on in spite of failures that no work of ours stands for, in each region once.
func TestSkipFailures_skipsEachFailedRegionOnce(t *testing.T) {
	onBothClouds(t, testSkipFailures_skipsEachFailedRegionOnce)
}

func testSkipFailures_skipsEachFailedRegionOnce(t *testing.T) {
	w := newWorld(alsoWest(westKey))
	w.item.CMEK.RegionInfos[0].Status = cmek.RotateFailed
	w.item.CMEK.RegionInfos[1].Status = cmek.EnableFailed
	w.item.Skipped = []string{west}
	if regions := skip(w.item); !slices.Equal(regions, []string{east}) || !slices.Equal(w.item.Skipped, []string{west, east}) {
		t.Errorf("skip skipped %q, all skipped are %q", regions, w.item.Skipped)
	}
	w = newWorld(due, failed(2), blocked)
	w.item.CMEK.RegionInfos[0].Status = cmek.RotateFailed
	if regions := retry(w.item, false, noon); !slices.Equal(regions, []string{east}) || len(w.item.Skipped) > 0 {
		t.Errorf("a retry of a failed region retried %q and skipped %q, want it retried only", regions, w.item.Skipped)
	}
}

func TestRetry_doneToo_opensItAgain(t *testing.T) { onBothClouds(t, testRetry_doneToo_opensItAgain) }

func testRetry_doneToo_opensItAgain(t *testing.T) {
	w := newWorld(doneWith(eastKey, v2))
	if regions := retry(w.item, false, noon); len(regions) > 0 || len(w.item.Work) > 0 {
		t.Fatalf("retry without --done reopened %q", regions)
	}
	regions := retry(w.item, true, noon)
	if !slices.Equal(regions, []string{east}) || len(w.item.Work) != 1 || len(w.item.Done) > 0 {
		t.Fatalf("retry of done work reopened %q: work %+v, done %+v", regions, w.item.Work, w.item.Done)
	}
	both := newWorld(due, alsoWest(westKey))
	if regions := retry(both.item, true, noon); !slices.Equal(regions, []string{west}) || len(both.item.Work) != 2 {
		t.Errorf("retry of done work beside open work reopened %q: %+v, want the region without open work", regions, both.item.Work)
	}
	w.item.Work[0].Since = ago(time.Hour)
	if v := w.verdict(t, east); v.Act != Send {
		t.Errorf("reopened work is decided %q (%s), want %q", v.Act, v.Why, Send)
	}
}

func TestForget_endsTheRecordOfAnUnshownCluster(t *testing.T) {
	onBothClouds(t, testForget_endsTheRecordOfAnUnshownCluster)
}

func testForget_endsTheRecordOfAnUnshownCluster(t *testing.T) {
	w := newWorld(due, unshown)
	if err := forget(w.item, "ana", "deleted in March", noon); err != nil {
		t.Fatal(err)
	}
	if !w.item.Gone || len(w.item.Work) > 0 || len(w.item.Keys()) > 0 || !w.item.NextLook.IsZero() {
		t.Errorf("a forgotten cluster is %+v", w.item)
	}
	if d := w.item.Dropped; len(d) != 1 || !strings.Contains(d[0].Reason, "ana: deleted in March") {
		t.Errorf("its work is dropped as %+v", d)
	}
	if told := alerts(w.item); len(told) != 1 || told[0].Change != changeForgotten || told[0].Principal != "ana" {
		t.Errorf("the alerts are %+v, want one that names who forgot it", told)
	}
	if err := forget(w.item, "ana", "again", noon); !errors.Is(err, ledger.ErrUnchanged) {
		t.Errorf("forgetting it again: %v, want no change", err)
	}
	if err := forget(newWorld(due).item, "ana", "x", noon); err == nil {
		t.Error("a cluster that is shown was forgotten")
	}
	if err := forget(&ledger.Cluster{ID: "c-9"}, "ana", "x", noon); err == nil || errors.Is(err, ledger.ErrUnchanged) {
		t.Errorf("forgetting an unknown cluster: %v, want an error", err)
	}
}

func TestOpen_takesWorkFromAnEvent(t *testing.T) { onBothClouds(t, testOpen_takesWorkFromAnEvent) }

func testOpen_takesWorkFromAnEvent(t *testing.T) {
	rotation := cmek.Event{ID: "e-2", Change: cmek.ChangeRotated, Key: eastKey, Version: v2, Time: ago(time.Minute)}
	unversioned := rotation
	unversioned.Version = cmek.KeyVersion{}
	ofReplica := rotation
	ofReplica.Key = mrkEast
	mrk := func(w *world) { usingKey(mrkEast)(w); alsoWest(mrkWest)(w) }
	past := func(w *world) {
		infos := &w.item.CMEK.RegionInfos[0].KeyInfos
		(*infos)[0].Status = cmek.Disabled
		*infos = append(*infos, keyInfo(newKey, cmek.Enabled, ago(time.Hour)))
	}
	for _, r := range []struct {
		sentence string
		given    []given
		event    cmek.Event
		want     []string
	}{
		{"the rotation of the region's key opens work", nil, rotation, []string{east}},
		{"the rotation of a primary opens work for every replica", []given{mrk}, ofReplica, []string{east, west}},
		{"the rotation of another key opens nothing", []given{usingKey(newKey)}, rotation, nil},
		{"the rotation of a past key opens nothing", []given{past}, rotation, nil},
		{"a repeated event opens nothing", []given{due}, rotation, nil},
		{"an event for work under way opens nothing", []given{accepted}, rotation, nil},
		{"an event for a done version opens nothing", []given{doneWith(eastKey, v2)}, rotation, nil},
		{"an event for a version done under another key opens work", []given{doneWith(newKey, v2)}, rotation, []string{east}},
		{"an event opens work next to that of another key", []given{due, work(func(w *ledger.Work) { w.Key = newKey })}, rotation, []string{east}},
		{"an event opens work next to that of another region", []given{due, work(func(w *ledger.Work) { w.Region = west })}, rotation, []string{east}},
		{"an event without a version opens nothing next to a request of none", []given{accepted, work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })}, unversioned, nil},
		{"a region with two keys opens nothing", []given{twoSpecs, func(w *world) { w.item.CMEK = w.facts.CMEK }}, rotation, nil},
		{"an event without a version opens work though one is done", []given{doneWith(eastKey, v2)}, unversioned, []string{east}},
		{"an event without a version opens nothing next to due work", []given{due}, unversioned, nil},
		{"the next version opens work next to an open request", []given{accepted, work(func(w *ledger.Work) { w.Version = v1 })}, rotation, []string{east}},
		{"a cluster with the label keyturn=off opens nothing", []given{optedOut}, rotation, nil},
		{"a deleted cluster opens nothing", []given{deleted}, rotation, nil},
		{"a cluster that is not shown opens work that waits", []given{unshown}, rotation, []string{east}},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			item := newWorld(r.given...).item
			before := len(item.Work)
			if got, _ := open(item, r.event, noon, 5*time.Minute); !reflect.DeepEqual(got, r.want) {
				t.Errorf("%s: opened work for %q, want %q", r.sentence, got, r.want)
			}
			if opened := len(item.Work) - before; opened != len(r.want) {
				t.Errorf("%s: %d pieces of work were added, want %d", r.sentence, opened, len(r.want))
			}
		})
	}
}

func TestOpen_copiesTheClustersOwnKey(t *testing.T) {
	onBothClouds(t, testOpen_copiesTheClustersOwnKey)
}

func testOpen_copiesTheClustersOwnKey(t *testing.T) {
	item := newWorld(usingKey(mrkWest)).item
	event := cmek.Event{ID: "e-2", Source: "aws.kms", Change: cmek.ChangeRotated, Key: mrkEast, Version: v2, Time: ago(time.Minute)}
	open(item, event, noon, 5*time.Minute)
	want := []ledger.Work{{Region: east, Key: mrkWest, Version: v2, State: ledger.Due, Reason: "the new version settles", Since: noon,
		Trigger: ledger.Trigger{Kind: "event", EventID: "e-2", Source: "aws.kms", Time: ago(time.Minute)}}}
	if !reflect.DeepEqual(item.Work, want) {
		t.Errorf("the event opened %+v, want %+v", item.Work, want)
	}
	if want := in(5 * time.Minute); !item.NextLook.Equal(want) {
		t.Errorf("the next poll is at %s, want %s at the end of the settle time", item.NextLook, want)
	}
	if open(item, event, in(time.Minute), 5*time.Minute); !item.NextLook.Equal(in(5 * time.Minute)) {
		t.Errorf("a repeated event polls at %s, want no change", item.NextLook)
	}
	item = newWorld(usingKey(mrkWest)).item
	event.Version = cmek.KeyVersion{}
	if open(item, event, noon, 5*time.Minute); !item.NextLook.Equal(noon) {
		t.Errorf("an event without a version polls at %s, want at once: the KMS knows the version", item.NextLook)
	}
}
