package rotation

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestApplyMovesWorkOn(t *testing.T) {
	held := work(func(w *ledger.Work) { w.State, w.Reason = ledger.Held, "the key is disabled" })
	for _, r := range []struct {
		sentence string
		given    []given
		want     ledger.Work // state, counters and backoff
		reason   string
	}{
		{"due work stays due until it is claimed", []given{due}, ledger.Work{State: ledger.Due}, "older version"},
		{"an unusable key holds the work", []given{due, keyState(cmek.KeyDisabled)}, ledger.Work{State: ledger.Held}, "disabled"},
		{"a key that is still unusable holds the work on", []given{due, held, keyState(cmek.KeyDisabled)}, ledger.Work{State: ledger.Held}, "disabled"},
		{"held work is released by itself when the key is well again", []given{due, held}, ledger.Work{State: ledger.Due}, "older version"},
		{"held work is released by itself though it has to wait for something else", []given{due, held, state(cmek.StateLocked)}, ledger.Work{State: ledger.Due}, "LOCKED"},
		{"a key that we may not read leaves the work due", []given{due, keyUnread(cmek.ErrDenied)}, ledger.Work{State: ledger.Due}, "may not read"},
		{"observe mode notes that it announced the work", []given{due, observing}, ledger.Work{State: ledger.Due, Announced: true}, "observe mode"},
		{"a request stays a request while it is watched", []given{accepted}, ledger.Work{State: ledger.Requested}, "no trace"},
		{"the first failure makes the work due again after a backoff", []given{accepted, regionStatus(cmek.RotateFailed)},
			ledger.Work{State: ledger.Due, Failed: 1, NotBefore: in(30 * time.Second)}, "ROTATE_FAILED"},
		{"the second failure holds the work", []given{accepted, regionStatus(cmek.RotateFailed), updated(after), work(func(w *ledger.Work) { w.Failed = 1 })},
			ledger.Work{State: ledger.Held, Failed: 2, NotBefore: in(time.Minute)}, "ROTATE_FAILED"},
		{"a PUT without a trace makes the work due once more", []given{timedOut, sent(time.Hour)}, ledger.Work{State: ledger.Due, Lost: 1}, "no trace"},
		{"a second PUT without a trace holds the work", []given{timedOut, sent(time.Hour), work(func(w *ledger.Work) { w.Lost = 1 })},
			ledger.Work{State: ledger.Held, Lost: 2}, "no trace"},
		{"work held after two PUTs without a trace stays held", []given{due, work(func(w *ledger.Work) { w.State, w.Lost = ledger.Held, 2 })},
			ledger.Work{State: ledger.Held, Lost: 2}, "two requests"},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			item := newWorld(r.given...).apply().item
			if len(item.Work) != 1 {
				t.Fatalf("%s: the work is %+v, want one piece", r.sentence, item.Work)
			}
			w := item.Work[0]
			got := ledger.Work{State: w.State, Failed: w.Failed, Lost: w.Lost, Announced: w.Announced, NotBefore: w.NotBefore}
			if !reflect.DeepEqual(got, r.want) {
				t.Errorf("%s: the work became %+v, want %+v", r.sentence, got, r.want)
			}
			if !strings.Contains(w.Reason, r.reason) {
				t.Errorf("%s: the reason on record is %q, want it to say %q", r.sentence, w.Reason, r.reason)
			}
		})
	}
}

func TestApplyTakesTheVersionFromTheKMSUntilTheRequestLeft(t *testing.T) {
	unversioned := work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })
	if got := newWorld(due, unversioned).apply().item.Work[0]; got.Version != v2 || !got.RotatedAt.Equal(ago(time.Hour)) {
		t.Errorf("due work is for version %s of %s, want the KMS' %s of %s", got.Version.Short(), got.RotatedAt, v2.Short(), ago(time.Hour))
	}
	if got := newWorld(accepted, version(v3)).apply().item.Work[0]; got.Version != v2 {
		t.Errorf("a request for %s became one for %s", v2.Short(), got.Version.Short())
	}
}

func TestApplyNotesWhatWasDone(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     ledger.Done
	}{
		{"a PUT that did it is followed", []given{accepted, updated(after), keysUnread},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Followed: true, Evidence: "updated_at moved"}},
		{"a region seen first is adopted", []given{neverDone, updated(after)},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Evidence: "wrapped after the key's last rotation"}},
		{"due work of a region seen first is adopted", []given{due, neverDone, updated(after)},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Evidence: "wrapped after the key's last rotation"}},
		{"a change of scheme is adopted", []given{doneWith(eastKey, cmek.RotatedOnVersion(ago(time.Hour)))},
			ledger.Done{Region: east, Key: eastKey, Version: v2, At: noon, Evidence: "the KMS now names versions by material"}},
	} {
		item := newWorld(r.given...).apply().item
		if got, _ := item.DoneIn(east); got != r.want {
			t.Errorf("%s: noted %+v, want %+v", r.sentence, got, r.want)
		}
		if len(item.Work) > 0 {
			t.Errorf("%s: work stays open: %+v", r.sentence, item.Work)
		}
	}
}

func TestApplyKeepsTheReasonOfDroppedWork(t *testing.T) {
	item := newWorld(due, usingKey(newKey)).apply().item
	want := ledger.Dropped{Region: east, Key: eastKey, Version: v2, Reason: "the region's key changed to " + string(newKey), At: noon}
	if len(item.Dropped) != 1 || item.Dropped[0] != want {
		t.Errorf("dropped %+v, want %+v", item.Dropped, want)
	}
}

func TestApplyKeepsTheNewestTenDroppedPieces(t *testing.T) {
	item := newWorld().item
	for i := range 12 {
		item.Dropped = dropped(item.Dropped, ledger.Work{Region: east}, fmt.Sprintf("reason %d", i), noon)
	}
	if n := len(item.Dropped); n != 10 || item.Dropped[9].Reason != "reason 11" {
		t.Errorf("kept %d dropped pieces, want the newest 10: %+v", n, item.Dropped)
	}
}

func TestApplyOpensMissedWorkThatSettlesFirst(t *testing.T) {
	item := newWorld().apply().item
	want := []ledger.Work{{Region: east, Key: eastKey, Version: v2, State: ledger.Due, Reason: "the new version settles",
		Trigger: ledger.Trigger{Kind: "sweep", Time: noon}, Since: noon, RotatedAt: ago(time.Hour)}}
	if !reflect.DeepEqual(item.Work, want) {
		t.Errorf("a rotation that no event told of opened %+v, want %+v", item.Work, want)
	}
	if len(item.Messages) > 0 {
		t.Errorf("opening work told people: %+v", item.Messages)
	}
	again := Decide(Facts{Cluster: item.Cluster, CMEK: item.CMEK, ClusterRead: true, CMEKRead: true,
		Keys: map[cmek.KeyURI]KeyFact{eastKey: {Key: healthyKey(eastKey)}}}, item, noon, newWorld().settings)
	if len(again.Put) > 0 {
		t.Errorf("work opened at first sight is sent at once: %+v", again.Put)
	}
}

func TestApplyMarksARequestStuckAfterTwoHours(t *testing.T) {
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
		item := newWorld(r.given...).apply().item
		if got := item.Work[0].Request.StuckSince; !got.Equal(r.want) {
			t.Errorf("%s is stuck since %s, want %s", r.sentence, got, r.want)
		}
	}
}

func TestApplyIsRepeatableAndLeavesTheFactsAlone(t *testing.T) {
	for name, givens := range map[string][]given{
		"a done PUT":        {accepted, updated(after)},
		"a failed PUT":      {accepted, regionStatus(cmek.RotateFailed), userMessage("no permission")},
		"an unusable key":   {due, keyState(cmek.KeyDisabled)},
		"an announcement":   {due, observing},
		"a dropped version": {due, version(v3), rotated(10 * time.Minute)},
		"a watched PUT":     {accepted, sighting(ledger.Sighting{Region: cmek.Rotating}), regionStatus(cmek.Rotating)},
		"a gone cluster":    {due, gone},
	} {
		t.Run(name, func(t *testing.T) {
			first, again := newWorld(givens...).apply(), newWorld(givens...).apply()
			if !reflect.DeepEqual(first.item, again.item) {
				t.Errorf("the same plan on the same item gave two items:\n%+v\n%+v", first.item, again.item)
			}
			if untouched := newWorld(givens...); !reflect.DeepEqual(first.facts, untouched.facts) {
				t.Errorf("apply changed the facts:\n%+v\nwere\n%+v", first.facts, untouched.facts)
			}
		})
	}
}

func TestApplyNeverWritesThroughAnOlderCopyOfTheRequest(t *testing.T) {
	w := newWorld(accepted, sent(3*time.Hour), regionStatus(cmek.Rotating))
	shared := w.item.Work[0].Request
	before := *shared
	w.apply()
	if !reflect.DeepEqual(*shared, before) {
		t.Errorf("apply wrote into a request that a copy of the item shares: %+v, was %+v", *shared, before)
	}
}

func TestApplySetsTheNextLook(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     time.Time
	}{
		{"without open work a day after the cluster was seen", []given{doneWith(eastKey, v2)}, ago(time.Hour).Add(24 * time.Hour)},
		{"with a version that settles, at the end of the settle time", []given{due, rotated(2 * time.Minute)}, in(3 * time.Minute)},
		{"with work just opened, at once", nil, noon},
		{"with a request, at the next poll", []given{accepted, regionStatus(cmek.Rotating)}, in(2 * time.Minute)},
		{"never, if the cluster is gone", []given{due, gone}, time.Time{}},
	} {
		w := newWorld(r.given...)
		w.item.CMEK = w.facts.CMEK // a read that shows nothing new
		if got := w.apply().item.NextLook; !got.Equal(r.want) {
			t.Errorf("%s: the next look is at %s, want %s", r.sentence, got, r.want)
		}
	}
}

func TestApplyRemembersWhatWasRead(t *testing.T) {
	renamed := cluster(func(c *cmek.Cluster) { c.Name = "orders-eu" })
	if item := newWorld(doneWith(eastKey, v2), renamed).apply().item; item.Cluster.Name != "orders-eu" || !item.SeenAt.Equal(noon) {
		t.Errorf("after a read with a new name the inventory has %q, seen at %s", item.Cluster.Name, item.SeenAt)
	}
	if item := newWorld(doneWith(eastKey, v2)).apply().item; !item.SeenAt.Equal(ago(time.Hour)) {
		t.Errorf("a read that shows nothing new within 12 h changed the item: seen at %s", item.SeenAt)
	}
	longAgo := func(w *world) { w.item.SeenAt = ago(13 * time.Hour) }
	if item := newWorld(doneWith(eastKey, v2), longAgo).apply().item; !item.SeenAt.Equal(noon) {
		t.Errorf("a read after more than 12 h is not noted: seen at %s", item.SeenAt)
	}
	unread := func(w *world) { w.facts.ClusterRead, w.facts.CMEKRead = false, false }
	if item := newWorld(due, unread, renamed, regionStatus(cmek.Rotating)).apply().item; item.Cluster.Name != "orders" || item.CMEK.RegionInfos[0].Status != cmek.Enabled {
		t.Errorf("what was not read entered the inventory: %+v %+v", item.Cluster, item.CMEK)
	}
	if item := newWorld(gone).apply().item; !item.Gone || item.Keys() != nil {
		t.Errorf("a cluster that is gone is still listed by its keys %q", item.Keys())
	}
}
