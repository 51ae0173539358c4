package rotation

import (
	"reflect"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestClaimRecordsTheIntentOfTheRegionsInThePutOnly(t *testing.T) {
	w := newWorld(due, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	claim(w.item, []cmek.RegionSpec{{Region: east, KeySpec: spec(eastKey)}}, noon)

	want := &ledger.Request{Intent: noon, Before: ago(300 * 24 * time.Hour)}
	if got := w.item.Work[0]; got.State != ledger.Requested || !reflect.DeepEqual(got.Request, want) {
		t.Errorf("claimed work is %s with request %+v, want %s with %+v", got.State, got.Request, ledger.Requested, want)
	}
	if got := w.item.Work[1]; got.State != ledger.Due || got.Request != nil {
		t.Errorf("the region that is not in the PUT became %s with request %+v", got.State, got.Request)
	}
	if want := noon.Add(answerWithin); !w.item.NextLook.Equal(want) {
		t.Errorf("after a crash somebody looks at %s, want %s", w.item.NextLook, want)
	}
}

func TestUnclaimTakesBackOnlyTheUnansweredClaimOfItsIntent(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    given
		intent   time.Time
		want     ledger.State
	}{
		{"its own claim", unanswered, ago(2 * time.Minute), ledger.Due},
		{"a claim of another time", unanswered, ago(3 * time.Minute), ledger.Requested},
		{"an answered request", accepted, ago(2 * time.Minute), ledger.Requested},
	} {
		w := newWorld(r.given)
		unclaim(w.item, r.intent)
		if got := w.item.Work[0].State; got != r.want {
			t.Errorf("unclaiming %s made it %s, want %s", r.sentence, got, r.want)
		}
	}
}

func TestAnswerDecidesHowTheWorkGoesOn(t *testing.T) {
	attempts := func(n int) given { return work(func(w *ledger.Work) { w.Attempts = n }) }
	for _, r := range []struct {
		sentence string
		given    []given
		answer   cmek.Answer
		want     ledger.Work // state, attempts and backoff
		look     time.Time
	}{
		{"an accepted PUT is watched", []given{unanswered, attempts(2)}, cmek.Answer{Outcome: cmek.Accepted},
			ledger.Work{State: ledger.Requested}, in(15 * time.Second)},
		{"a PUT of unknown outcome is watched", []given{unanswered}, cmek.Answer{Outcome: cmek.Unknown},
			ledger.Work{State: ledger.Requested}, in(15 * time.Second)},
		{"a refused PUT is due after 15 s", []given{unanswered}, cmek.Answer{Outcome: cmek.Refused},
			ledger.Work{State: ledger.Due, Attempts: 1, NotBefore: in(15 * time.Second)}, in(15 * time.Second)},
		{"a PUT refused again is due after twice the time", []given{unanswered, attempts(1)}, cmek.Answer{Outcome: cmek.Refused},
			ledger.Work{State: ledger.Due, Attempts: 2, NotBefore: in(30 * time.Second)}, in(30 * time.Second)},
		{"a PUT refused many times is due after 10 min", []given{unanswered, attempts(40)}, cmek.Answer{Outcome: cmek.Refused},
			ledger.Work{State: ledger.Due, Attempts: 41, NotBefore: in(10 * time.Minute)}, in(10 * time.Minute)},
		{"the server's wish for a longer wait is honored", []given{unanswered}, cmek.Answer{Outcome: cmek.Refused, RetryAfter: time.Hour},
			ledger.Work{State: ledger.Due, Attempts: 1, NotBefore: in(time.Hour)}, in(time.Hour)},
		{"the server's wish for a shorter wait is not", []given{unanswered, attempts(3)}, cmek.Answer{Outcome: cmek.Refused, RetryAfter: time.Second},
			ledger.Work{State: ledger.Due, Attempts: 4, NotBefore: in(2 * time.Minute)}, in(2 * time.Minute)},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			item := newWorld(r.given...).item
			answer(item, ago(2*time.Minute), r.answer, false, noon, DefaultSettings())
			w := item.Work[0]
			if got := (ledger.Work{State: w.State, Attempts: w.Attempts, NotBefore: w.NotBefore}); !reflect.DeepEqual(got, r.want) {
				t.Errorf("%s: the work became %+v, want %+v", r.sentence, got, r.want)
			}
			if w.Request.Answer == nil || w.Request.Answer.Outcome != r.answer.Outcome || !w.Request.Answered.Equal(noon) {
				t.Errorf("%s: the answer on record is %+v at %s", r.sentence, w.Request.Answer, w.Request.Answered)
			}
			if !item.NextLook.Equal(r.look) {
				t.Errorf("%s: the next look is at %s, want %s", r.sentence, item.NextLook, r.look)
			}
		})
	}
}

func TestAnswerIsNotNotedForAnotherIntent(t *testing.T) {
	item := newWorld(unanswered).item
	answer(item, ago(time.Hour), cmek.Answer{Outcome: cmek.Refused}, false, noon, DefaultSettings())
	if w := item.Work[0]; w.State != ledger.Requested || w.Request.Answer != nil {
		t.Errorf("the answer to an earlier PUT made the work %s with answer %+v", w.State, w.Request.Answer)
	}
}

func TestAnswerTakesTheFirstSightingFromItsOwnBody(t *testing.T) {
	item := newWorld(unanswered).item
	body := cmek.ClusterInfo{RegionInfos: []cmek.RegionInfo{{Region: east, Status: cmek.Rotating,
		KeyInfos: []cmek.KeyInfo{keyInfo(eastKey, cmek.Enabling, after)}}}}
	answer(item, ago(2*time.Minute), cmek.Answer{Outcome: cmek.Accepted, Info: body}, false, noon, DefaultSettings())
	want := []ledger.Sighting{{At: noon, Region: cmek.Rotating, Key: cmek.Enabling, UpdatedAt: after}}
	if got := item.Work[0].Request.Timeline; !reflect.DeepEqual(got, want) {
		t.Errorf("the timeline begins with %+v, want %+v", got, want)
	}
}

func TestSightingsAreNotRepeatedAndTheFirstOnesAreKept(t *testing.T) {
	r := &ledger.Request{Intent: ago(time.Hour)}
	statuses := []cmek.Status{cmek.Rotating, cmek.Rotating, cmek.Enabled}
	for i, s := range statuses {
		r = sighted(*r, ledger.Sighting{At: ago(time.Hour).Add(time.Duration(i) * time.Second), Region: s})
	}
	if n := len(r.Timeline); n != 2 {
		t.Errorf("sightings %q made a timeline of %d entries, want 2: %+v", statuses, n, r.Timeline)
	}
	for i := range 100 {
		r = sighted(*r, ledger.Sighting{At: ago(time.Minute), UpdatedAt: in(time.Duration(i))})
	}
	if n := len(r.Timeline); n > 24 {
		t.Errorf("the timeline grew to %d entries, want at most 24", n)
	}
	if r.Timeline[0].Region != cmek.Rotating {
		t.Errorf("the sighting of the operation's begin was lost: the timeline begins with %+v", r.Timeline[0])
	}
	if last := r.Timeline[len(r.Timeline)-1]; !last.UpdatedAt.Equal(in(99)) {
		t.Errorf("the timeline ends with %+v, want the newest sighting", last)
	}
}

func TestReleaseLetsWorkTryAgain(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"held work", []given{due, work(func(w *ledger.Work) { w.State, w.Failed = ledger.Held, 2 })}, true},
		{"work that waits after a failure", []given{due, work(func(w *ledger.Work) { w.Failed, w.NotBefore = 1, in(time.Minute) })}, true},
		{"work that waits after a refusal", []given{due, work(func(w *ledger.Work) { w.Attempts, w.NotBefore = 5, in(time.Minute) })}, true},
		{"work that is due anyway", []given{due}, false},
		{"a request that may be under way", []given{accepted, work(func(w *ledger.Work) { w.Failed = 1 })}, false},
	} {
		item := newWorld(r.given...).item
		state := item.Work[0].State
		regions := release(item, noon)
		w := item.Work[0]
		if released := len(regions) > 0; released != r.want {
			t.Errorf("release of %s released %q", r.sentence, regions)
		}
		if !r.want && w.State != state {
			t.Errorf("release of %s made it %s", r.sentence, w.State)
		}
		if r.want && (w.State != ledger.Due || !w.Released || w.Failed+w.Lost+w.Attempts > 0 || !w.NotBefore.IsZero() || !item.NextLook.Equal(noon)) {
			t.Errorf("release of %s left %+v with the next look at %s, want it due at once with nothing counted", r.sentence, w, item.NextLook)
		}
	}
}

func TestOpenTakesWorkFromAnEvent(t *testing.T) {
	rotation := cmek.Event{ID: "e-2", Change: cmek.Rotated, Key: eastKey, Version: v2, Time: ago(time.Minute)}
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
		{"the rotation of a multi-Region key's primary opens work for every replica", []given{mrk}, ofReplica, []string{east, west}},
		{"the rotation of another key opens nothing", []given{usingKey(newKey)}, rotation, nil},
		{"the rotation of a past key opens nothing", []given{past}, rotation, nil},
		{"a repeated event opens nothing", []given{due}, rotation, nil},
		{"an event for work under way opens nothing", []given{accepted}, rotation, nil},
		{"an event for a done version opens nothing", []given{doneWith(eastKey, v2)}, rotation, nil},
		{"an event without a version is looked into, though one is done", []given{doneWith(eastKey, v2)}, unversioned, []string{east}},
		{"an event without a version opens nothing next to due work", []given{due}, unversioned, nil},
		{"the next version opens work next to the request of the one before",
			[]given{accepted, work(func(w *ledger.Work) { w.Version = v1 })}, rotation, []string{east}},
		{"a cluster with the label keyturn=off opens nothing", []given{optedOut}, rotation, nil},
		{"a cluster that is gone opens nothing", []given{func(w *world) { w.item.Gone = true }}, rotation, nil},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			item := newWorld(r.given...).item
			before := len(item.Work)
			if got := open(item, r.event, noon, 5*time.Minute); !reflect.DeepEqual(got, r.want) {
				t.Errorf("%s: opened work for %q, want %q", r.sentence, got, r.want)
			}
			if opened := len(item.Work) - before; opened != len(r.want) {
				t.Errorf("%s: %d pieces of work were added, want %d", r.sentence, opened, len(r.want))
			}
		})
	}
}

func TestOpenCopiesTheClustersOwnKeyAndWaitsForTheVersionToSettle(t *testing.T) {
	item := newWorld(usingKey(mrkWest)).item
	open(item, cmek.Event{ID: "e-2", Source: "aws.kms", Change: cmek.Rotated, Key: mrkEast, Version: v2, Time: ago(time.Minute)}, noon, 5*time.Minute)
	want := []ledger.Work{{Region: east, Key: mrkWest, Version: v2, State: ledger.Due, Reason: "the new version settles", Since: noon,
		Trigger: ledger.Trigger{Kind: "event", EventID: "e-2", Source: "aws.kms", Time: ago(time.Minute)}}}
	if !reflect.DeepEqual(item.Work, want) {
		t.Errorf("the event opened %+v, want %+v", item.Work, want)
	}
	if want := in(5 * time.Minute); !item.NextLook.Equal(want) {
		t.Errorf("the next look is at %s, want %s at the end of the settle time", item.NextLook, want)
	}
}
