package rotation

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// after is a time since the PUT of two minutes ago, before now.
var after = ago(time.Minute)

func TestDecideWhetherAnAcceptedPutIsDone(t *testing.T) {
	old := ago(300 * 24 * time.Hour)
	decides(t, []row{
		{sentence: "an outcome that was not read yet is read at once",
			given: []given{accepted, func(w *world) { w.facts.CMEKRead = false }}, want: Wait, until: noon},
		{sentence: "a read that shows nothing new may be stale and is not believed", given: []given{accepted}, want: Wait, because: "no trace"},
		{sentence: "it is done when updated_at moved", given: []given{accepted, updated(after)}, want: Settle, because: "updated_at moved"},
		{sentence: "updated_at from before the PUT is no evidence, though it is not the one noted",
			given: []given{accepted, updated(ago(time.Hour))}, want: Wait},
		{sentence: "updated_at may come from a clock that is a little behind ours",
			given: []given{accepted, updated(ago(2*time.Minute + 30*time.Second))}, want: Settle, because: "updated_at moved"},
		{sentence: "it is done when the region was seen rotating",
			given: []given{accepted, sighting(ledger.Sighting{Region: cmek.Rotating, Key: cmek.Enabled})}, want: Settle, because: "operation seen"},
		{sentence: "it is done when the key was seen at work",
			given: []given{accepted, sighting(ledger.Sighting{Region: cmek.Enabled, Key: cmek.Enabling})}, want: Settle, because: "operation seen"},
		{sentence: "it is done when the cluster was seen locked",
			given: []given{accepted, sighting(ledger.Sighting{Region: cmek.Enabled, Key: cmek.Enabled, Operation: cmek.StateLocked})}, want: Settle, because: "operation seen"},
		{sentence: "it is done when a CMEK operation was seen running",
			given: []given{accepted, sighting(ledger.Sighting{Region: cmek.Enabled, Key: cmek.Enabled, Operation: cmek.CMEKOperationRunning})}, want: Settle, because: "operation seen"},

		{sentence: "without a trace it waits until the end of the grace time",
			given: []given{accepted, sent(10*time.Minute - time.Second)}, want: Wait},
		{sentence: "without a trace it is done after the grace time, and says so",
			given: []given{accepted, sent(10 * time.Minute)}, want: Settle, because: "no trace within 10m0s"},
		{sentence: "without a trace it is not done before the cluster was read",
			given: []given{accepted, sent(10 * time.Minute), clusterUnread}, want: Wait},

		{sentence: "a region that is still rotating waits", given: []given{accepted, regionStatus(cmek.Rotating), updated(after)}, want: Wait},
		{sentence: "a key that is still at work waits", want: Wait,
			given: []given{accepted, keys(keyInfo(eastKey, cmek.Enabling, after))}},
		{sentence: "a region of unknown status waits", given: []given{accepted, regionStatus(strange), updated(after)}, want: Wait},
		{sentence: "a cluster that is still locked waits", given: []given{accepted, state(cmek.StateLocked), updated(after)}, want: Wait},
		{sentence: "a CMEK operation that still runs waits", given: []given{accepted, operation(cmek.CMEKOperationRunning), updated(after)}, want: Wait},
		{sentence: "a PUT under way for more than two hours waits on",
			given: []given{accepted, sent(3 * time.Hour), regionStatus(cmek.Rotating)}, want: Wait, until: in(10 * time.Minute)},

		{sentence: "an info appended for the same URI is done when it reads ENABLED", want: Settle,
			given: []given{accepted, keys(keyInfo(eastKey, cmek.Disabled, old), keyInfo(eastKey, cmek.Enabled, after))}},
		{sentence: "an info put in front for the same URI is done when it reads ENABLED", want: Settle,
			given: []given{accepted, keys(keyInfo(eastKey, cmek.Enabled, after), keyInfo(eastKey, cmek.Disabled, old))}},
		{sentence: "an info appended for the same URI waits while it reads ENABLING", want: Wait,
			given: []given{accepted, regionStatus(cmek.Rotating),
				keys(keyInfo(eastKey, cmek.Disabling, old), keyInfo(eastKey, cmek.Enabling, after))}},
		{sentence: "the infos of other keys do not matter", want: Settle,
			given: []given{accepted, keys(keyInfo(newKey, cmek.Disabled, after), keyInfo(eastKey, cmek.Enabled, after))}},

		{sentence: "a key disabled since does not undo it", given: []given{accepted, updated(after), keyState(cmek.KeyDisabled)}, want: Settle},
		{sentence: "the label keyturn=off does not stop the watch", given: []given{accepted, updated(after), optedOut}, want: Settle},
		{sentence: "a cluster revoked since is left alone", want: Hold, because: "hands off",
			given: []given{accepted, updated(after), func(w *world) { w.facts.CMEK.Status = cmek.Revoked }}},
		{sentence: "a cluster that is not shown keeps it open: a role may have been taken away", given: []given{accepted, gone}, want: Wait, because: "does not show the cluster"},
		{sentence: "a cluster that is gone for a day drops it", given: []given{accepted, sent(25 * time.Hour), gone}, want: Drop, because: "cluster is gone"},
		{sentence: "a region that is gone for a day drops it", want: Drop, because: "region is gone",
			given: []given{accepted, sent(25 * time.Hour), func(w *world) { w.facts.CMEK.RegionInfos = nil }}},
		{sentence: "a region that no longer lists the key drops it", given: []given{accepted, usingKey(newKey)}, want: Drop, because: "key changed"},
	})
}

func TestDecideWhetherAnAcceptedPutFailed(t *testing.T) {
	failedOnce := work(func(w *ledger.Work) { w.Failed = 1 })
	failedBefore := request(func(r *ledger.Request) { r.FailedBefore = true })
	decides(t, []row{
		{sentence: "a failed region is a failure with the message of Cockroach Labs",
			given: []given{accepted, regionStatus(cmek.RotateFailed), userMessage("no permission")}, want: Fail, because: `ROTATE_FAILED: "no permission"`},
		{sentence: "a failed key is a failure, whatever the region says", want: Fail, because: "ENABLE_FAILED",
			given: []given{accepted, keys(keyInfo(eastKey, cmek.EnableFailed, after))}},
		{sentence: "a failed CMEK operation is a failure, even if everything reads ENABLED",
			given: []given{accepted, operation(cmek.CMEKOperationFailed), updated(after)}, want: Fail, because: cmek.CMEKOperationFailed},
		{sentence: "a CMEK operation that had failed before the PUT does not tell that the PUT failed",
			given: []given{accepted, operation(cmek.CMEKOperationFailed), failedBefore}, want: Wait},
		{sentence: "a CMEK operation that had failed before the PUT is never taken for done without a trace",
			given: []given{accepted, operation(cmek.CMEKOperationFailed), failedBefore, sent(time.Hour)}, want: Wait, because: cmek.CMEKOperationFailed},
		{sentence: "a failure of the cluster in another region is not ours",
			given: []given{accepted, updated(after), func(w *world) { w.facts.CMEK.Status = cmek.RotateFailed }}, want: Settle},
		{sentence: "the second PUT may still see the failure of the first",
			given: []given{accepted, failedOnce, statusEverywhere(cmek.RotateFailed)}, want: Wait},
		{sentence: "the second PUT has failed if updated_at moved",
			given: []given{accepted, failedOnce, statusEverywhere(cmek.RotateFailed), updated(after)}, want: Fail},
		{sentence: "the second PUT has failed if it was seen at work", want: Fail,
			given: []given{accepted, failedOnce, statusEverywhere(cmek.RotateFailed), sighting(ledger.Sighting{Region: cmek.Rotating})}},
		{sentence: "the second PUT has failed if the failure outlasts the grace time", want: Fail,
			given: []given{accepted, failedOnce, statusEverywhere(cmek.RotateFailed), sent(10 * time.Minute)}},
	})
}

func TestDecideWhetherALostPutArrived(t *testing.T) {
	crashed := func(d time.Duration) given {
		return func(w *world) { unanswered(w); sent(d)(w) }
	}
	lostOnce := work(func(w *ledger.Work) { w.Lost = 1 })
	decides(t, []row{
		{sentence: "a PUT without an answer on record may still be on its way",
			given: []given{crashed(30 * time.Second), updated(noon)}, want: Wait, because: "on its way", until: in(10 * time.Second)},
		{sentence: "a crash after the intent is an unknown outcome", given: []given{crashed(2 * time.Minute)}, want: Wait, because: "no trace"},
		{sentence: "a crash after the intent is done if updated_at moved", given: []given{crashed(2 * time.Minute), updated(after)}, want: Settle},
		{sentence: "a crash after the intent is sent once more after the grace time", given: []given{crashed(10 * time.Minute)}, want: Resend},

		{sentence: "updated_at that moved shows that it arrived", given: []given{timedOut, updated(after)}, want: Settle, because: "updated_at moved"},
		{sentence: "an operation that was seen shows that it arrived", want: Settle, because: "operation seen",
			given: []given{timedOut, sighting(ledger.Sighting{Region: cmek.Rotating, Key: cmek.Enabled})}},
		{sentence: "an operation under way shows that it arrived, and waits", want: Wait,
			given: []given{timedOut, sent(time.Hour), regionStatus(cmek.Rotating)}},
		{sentence: "a locked cluster shows that it may have arrived, and waits", want: Wait,
			given: []given{timedOut, sent(time.Hour), state(cmek.StateLocked)}},
		{sentence: "one that arrived fails like an accepted one", want: Fail,
			given: []given{timedOut, statusEverywhere(cmek.RotateFailed), updated(after)}},
		{sentence: "a failed CMEK operation shows that it arrived and failed", want: Fail, given: []given{timedOut, operation(cmek.CMEKOperationFailed)}},

		{sentence: "without a trace it waits until the end of the grace time", given: []given{timedOut, sent(10*time.Minute - time.Second)}, want: Wait},
		{sentence: "without a trace it is not sent again before the cluster was read", given: []given{timedOut, sent(time.Hour), clusterUnread}, want: Wait},
		{sentence: "without a trace it is sent once more after the grace time", given: []given{timedOut, sent(10 * time.Minute)}, want: Resend},
		{sentence: "without a trace for the second time it is lost again", given: []given{timedOut, sent(10 * time.Minute), lostOnce}, want: Resend},
		{sentence: "a cluster locked by an operation with another name is no trace of ours", want: Resend,
			given: []given{timedOut, sent(time.Hour), state(cmek.StateLocked), operation("CRDB_SCALE_RUNNING")}},
		{sentence: "without a trace it is not sent again to a cluster that is gone", given: []given{timedOut, sent(time.Hour), gone}, want: Wait},
		{sentence: "a region of unknown status is waited for, however long", given: []given{timedOut, sent(time.Hour), regionStatus(strange)}, want: Wait},
	})
}

func TestDecideAsksForTheClusterWhenItsKeysDoNotTell(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"an unknown outcome without a trace", []given{timedOut, clusterUnread}, true},
		{"an accepted PUT without a trace within the grace time", []given{accepted, clusterUnread}, false},
		{"an accepted PUT without a trace after the grace time", []given{accepted, sent(time.Hour), clusterUnread}, true},
		{"a region that is rotating", []given{timedOut, clusterUnread, regionStatus(cmek.Rotating)}, false},
	} {
		if got := newWorld(r.given...).decide().WantCluster; got != r.want {
			t.Errorf("%s: wants a fresh read of the cluster: %t, want %t", r.sentence, got, r.want)
		}
	}
}

func TestDecideSettlesOneRegionWhileTheOtherIsStillRotating(t *testing.T) {
	w := newWorld(accepted, updated(after), alsoWest(westKey), func(w *world) {
		w.facts.CMEK.Status = cmek.Rotating
		w.facts.CMEK.RegionInfos[1].Status = cmek.Rotating
		second := w.item.Work[0]
		second.Region, second.Key = west, westKey
		w.item.Work = append(w.item.Work, second)
	})
	for region, want := range map[string]Act{east: Settle, west: Wait} {
		if v := w.verdict(t, region); v.Act != want {
			t.Errorf("region %s: decided %q (%s), want %q", region, v.Act, v.Why, want)
		}
	}
}

func TestDecideLooksLessOftenTheLongerAPutTakes(t *testing.T) {
	for _, r := range []struct{ since, want time.Duration }{
		{5 * time.Second, 15 * time.Second},
		{time.Minute, time.Minute},
		{4 * time.Minute, 4 * time.Minute},
		{time.Hour, 10 * time.Minute},
	} {
		v := newWorld(accepted, sent(r.since), regionStatus(cmek.Rotating)).verdict(t, east)
		if got := v.Until.Sub(noon); got != r.want {
			t.Errorf("%s after the PUT the next look is in %s, want %s", r.since, got, r.want)
		}
	}
}
