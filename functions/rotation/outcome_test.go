package rotation

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// confirmed: the read before this one, a minute ago, showed ENABLED as well.
func confirmed(w *world) { rested(cmek.Enabled, time.Minute)(w) }

// failedBefore: the read before this one showed the same failure.
func failedBefore(w *world) { rested(cmek.RotateFailed, time.Minute)(w) }

func TestOutcome_acceptedRequest_done(t *testing.T) {
	onBothClouds(t, testOutcome_acceptedRequest_done)
}

func testOutcome_acceptedRequest_done(t *testing.T) {
	overdue := sent(10 * time.Minute)
	decides(t, []row{
		{sentence: "an outcome that was not read is read at once", given: []given{accepted, cmekUnread}, want: Wait, until: noon},
		{sentence: "a read from before the request left is no outcome", want: Wait, because: "not read yet",
			given: []given{accepted, movedAt, confirmed, func(w *world) { w.facts.ReadAt = ago(3 * time.Minute) }}},
		{sentence: "an older read decides nothing", given: []given{accepted, traced, confirmed, olderRead}, want: Wait, because: "older"},

		{sentence: "updated_at moved, ENABLED in two reads: done", given: []given{accepted, movedAt, confirmed}, want: Complete, because: "updated_at moved"},
		{sentence: "ENABLED in one read is not done", given: []given{accepted, movedAt}, want: Wait, because: "read once", until: in(30 * time.Second)},
		{sentence: "ENABLED in two reads 50 s apart is done", given: []given{accepted, movedAt, rested(cmek.Enabled, 50*time.Second)}, want: Complete},
		{sentence: "ENABLED in two reads 49 s apart is not done", given: []given{accepted, movedAt, rested(cmek.Enabled, 49*time.Second)}, want: Wait, because: "read once", until: in(time.Second)},
		{sentence: "a read that began too early is not the second one", want: Wait, because: "read once",
			given: []given{accepted, movedAt, rested(cmek.Enabled, 50*time.Second), func(w *world) { w.facts.ReadAt = ago(time.Second) }}},
		{sentence: "KEYTURN_CONFIRM lengthens it", want: Wait, because: "read once",
			given: []given{accepted, movedAt, confirmed, func(w *world) { w.settings.Confirm = 2 * time.Minute }}},
		{sentence: "KEYTURN_CONFIRM does not shorten it", want: Wait, because: "read once",
			given: []given{accepted, movedAt, rested(cmek.Enabled, 10*time.Second), func(w *world) { w.settings.Confirm = time.Second }}},
		{sentence: "against loopback it may be shorter", want: Complete,
			given: []given{accepted, movedAt, rested(cmek.Enabled, time.Second), func(w *world) { w.settings.Confirm, w.settings.Loopback = time.Second, true }}},
		{sentence: "an operation between two reads of ENABLED is contrary", want: Wait, because: "ROTATING",
			given: []given{accepted, movedAt, confirmed, regionStatus(cmek.Rotating)}},
		{sentence: "a failure between two reads of ENABLED is contrary", want: Wait, because: "read once",
			given: []given{accepted, movedAt, failedBefore}},

		{sentence: "an operation seen before is evidence", given: []given{accepted, traced, confirmed}, want: Complete, because: "operation seen"},
		{sentence: "ENABLED in two reads without a trace is not done", given: []given{accepted, confirmed}, want: Wait, because: "no trace"},
		{sentence: "updated_at before the baseline's is no evidence", given: []given{accepted, confirmed, updated(longAgo.Add(-time.Hour))}, want: Wait, because: "no trace"},
		{sentence: "updated_at without one in the baseline is no evidence", want: Wait, because: "no trace",
			given: []given{accepted, movedAt, confirmed, baseline(func(b *ledger.Baseline) { b.UpdatedAt = time.Time{} })}},
		{sentence: "updated_at by another clock counts if it moved", want: Complete, because: "updated_at moved",
			given: []given{accepted, updated(ago(9 * time.Minute)), confirmed}},
		{sentence: "the PUT's own answer is no evidence", want: Wait, because: "no trace",
			given: []given{accepted, confirmed, request(func(r *ledger.Request) {
				r.Timeline = []ledger.Sighting{{At: ago(2 * time.Minute), Region: cmek.Rotating, Key: cmek.Enabling, UpdatedAt: after}}
			})}},
		{sentence: "the cluster's operation status is no evidence", want: Wait,
			given: []given{accepted, confirmed, operation(cmek.CMEKOperationRunning)}},

		{sentence: "without a trace it waits until the end of the grace time", want: Wait, because: "no trace",
			given: []given{accepted, sent(10*time.Minute - time.Second), confirmed}},
		{sentence: "without a trace it is done after it, marked so", given: []given{accepted, overdue, confirmed}, want: Complete, because: "no trace within 10m0s"},
		{sentence: "without a trace it needs two reads of ENABLED, too", given: []given{accepted, overdue}, want: Wait, because: "read once"},
		{sentence: "it is not done before the cluster was read", given: []given{accepted, movedAt, confirmed, clusterUnread}, want: Wait, because: "cluster was not read", until: noon},
		{sentence: "a failed CMEK operation is never done", want: Wait, because: cmek.CMEKOperationFailed,
			given: []given{accepted, movedAt, confirmed, operation(cmek.CMEKOperationFailed), baseline(func(b *ledger.Baseline) { b.Operation = cmek.CMEKOperationFailed })}},
		{sentence: "a failed CMEK operation is blocked after 2 h", want: Block, because: cmek.CMEKOperationFailed,
			given: []given{accepted, sent(2 * time.Hour), movedAt, confirmed, operation(cmek.CMEKOperationFailed), baseline(func(b *ledger.Baseline) { b.Operation = cmek.CMEKOperationFailed })}},
		{sentence: "the evidence is the first that was read", given: []given{accepted, traced, movedAt, confirmed}, want: Complete, because: "operation seen"},
		{sentence: "a failed CMEK operation is never done without a trace", want: Wait, because: cmek.CMEKOperationFailed,
			given: []given{accepted, sent(time.Hour), confirmed, operation(cmek.CMEKOperationFailed), baseline(func(b *ledger.Baseline) { b.Operation = cmek.CMEKOperationFailed })}},
		{sentence: "a failed operation of another kind does not matter", given: []given{accepted, movedAt, confirmed, operation("CRDB_SCALE_FAILED")}, want: Complete},
	})
}

func TestOutcome_acceptedRequest_running(t *testing.T) {
	onBothClouds(t, testOutcome_acceptedRequest_running)
}

func testOutcome_acceptedRequest_running(t *testing.T) {
	decides(t, []row{
		{sentence: "a rotating region waits", given: []given{accepted, movedAt, confirmed, regionStatus(cmek.Rotating)}, want: Wait},
		{sentence: "a key in progress waits", given: []given{accepted, confirmed, keys(keyInfo(eastKey, cmek.Enabling, after))}, want: Wait},
		{sentence: "a region of unknown status waits", given: []given{accepted, movedAt, confirmed, regionStatus(strange)}, want: Wait},
		{sentence: "a locked cluster waits", given: []given{accepted, movedAt, confirmed, state(cmek.StateLocked)}, want: Wait},
		{sentence: "a cluster locked by a named other operation does not", want: Complete,
			given: []given{accepted, movedAt, confirmed, state(cmek.StateLocked), operation("CRDB_SCALE_RUNNING")}},
		{sentence: "a running CMEK operation waits", given: []given{accepted, movedAt, confirmed, operation(cmek.CMEKOperationRunning)}, want: Wait},
		{sentence: "an operation of more than 2 h waits on", given: []given{accepted, sent(3 * time.Hour), regionStatus(cmek.Rotating)}, want: Wait, until: in(2 * time.Minute)},

		{sentence: "an info appended for the same URI is done", want: Complete,
			given: []given{accepted, confirmed, keys(keyInfo(eastKey, cmek.Disabled, longAgo), keyInfo(eastKey, cmek.Enabled, after))}},
		{sentence: "an info put in front for the same URI is done", want: Complete,
			given: []given{accepted, confirmed, keys(keyInfo(eastKey, cmek.Enabled, after), keyInfo(eastKey, cmek.Disabled, longAgo))}},
		{sentence: "an old info that was disabled last is past", want: Complete,
			given: []given{accepted, confirmed, keys(cmek.KeyInfo{Spec: spec(eastKey), Status: cmek.Disabled, CreatedAt: longAgo, UpdatedAt: after.Add(time.Second)}, keyInfo(eastKey, cmek.Enabled, after))}},
		{sentence: "an info appended for the same URI waits while ENABLING", want: Wait,
			given: []given{accepted, regionStatus(cmek.Rotating), keys(keyInfo(eastKey, cmek.Disabling, longAgo), keyInfo(eastKey, cmek.Enabling, after))}},
		{sentence: "the infos of other keys do not matter", want: Complete,
			given: []given{accepted, confirmed, keys(keyInfo(newKey, cmek.Disabled, after), keyInfo(eastKey, cmek.Enabled, after))}},
		{sentence: "updated_at of another key is no evidence", want: Wait, because: "no trace",
			given: []given{accepted, confirmed, keys(keyInfo(newKey, cmek.Disabled, after), keyInfo(eastKey, cmek.Enabled, longAgo))}},

		{sentence: "a key disabled since does not undo it", given: []given{accepted, movedAt, confirmed, keyState(cmek.KeyDisabled)}, want: Complete},
		{sentence: "a key that is not read does not matter", given: []given{accepted, movedAt, confirmed, keysUnread}, want: Complete},
		{sentence: "a cluster revoked since is left alone", want: Block, because: "hands off",
			given: []given{accepted, movedAt, confirmed, func(w *world) { w.facts.CMEK.Status = cmek.Revoked }}},
		{sentence: "blocked since a revocation, it is watched on", given: []given{accepted, movedAt, confirmed, blocked}, want: Complete},
		{sentence: "a deleted cluster drops it", given: []given{accepted, movedAt, confirmed, deleted}, want: Drop, because: "deleted"},
		{sentence: "a cluster that shows no CMEK keeps it open", given: []given{accepted, sent(25 * time.Hour), unshown}, want: Wait, because: "shows no CMEK"},
		{sentence: "a region that is gone drops it", given: []given{accepted, regionGone}, want: Drop, because: "region is gone"},
		{sentence: "a region that is not shown keeps it open", given: []given{accepted, sent(25 * time.Hour), regionUnshown}, want: Wait, because: "does not show"},
		{sentence: "a region that no longer lists the key drops it", given: []given{accepted, usingKey(newKey)}, want: Drop, because: "key changed"},
		{sentence: "a region that lists the key as past drops it", want: Drop, because: "key changed",
			given: []given{accepted, keys(keyInfo(eastKey, cmek.Disabled, after), keyInfo(newKey, cmek.Enabled, after))}},
	})
}

func TestOutcome_acceptedRequest_failed(t *testing.T) {
	onBothClouds(t, testOutcome_acceptedRequest_failed)
}

func testOutcome_acceptedRequest_failed(t *testing.T) {
	failedBaseline := baseline(func(b *ledger.Baseline) { b.Region, b.Key = cmek.RotateFailed, cmek.RotateFailed })
	decides(t, []row{
		{sentence: "a failed region in two reads is a failure with the message", want: Fail, because: `ROTATE_FAILED: "no permission"`,
			given: []given{accepted, failedBefore, regionStatus(cmek.RotateFailed), userMessage("no permission")}},
		{sentence: "a failed region in one read is not", want: Wait, because: "read once",
			given: []given{accepted, regionStatus(cmek.RotateFailed)}},
		{sentence: "a failed region after ENABLED is read again", want: Wait, because: "read once",
			given: []given{accepted, confirmed, regionStatus(cmek.RotateFailed)}},
		{sentence: "a failed key is a failure, whatever the region says", want: Fail, because: "ENABLE_FAILED",
			given: []given{accepted, rested(cmek.EnableFailed, time.Minute), keys(keyInfo(eastKey, cmek.EnableFailed, after))}},
		{sentence: "a failed CMEK operation of ours is a failure", want: Fail, because: cmek.CMEKOperationFailed,
			given: []given{accepted, rested(cmek.Status(cmek.CMEKOperationFailed), time.Minute), operation(cmek.CMEKOperationFailed), movedAt}},
		{sentence: "a failed CMEK operation is ours without a trace, once the PUT was accepted", want: Fail, because: cmek.CMEKOperationFailed,
			given: []given{accepted, sent(10 * time.Minute), rested(cmek.Status(cmek.CMEKOperationFailed), time.Minute), operation(cmek.CMEKOperationFailed)}},
		{sentence: "one that had failed before is not ours", want: Wait, because: "no trace",
			given: []given{accepted, confirmed, operation(cmek.CMEKOperationFailed), baseline(func(b *ledger.Baseline) { b.Operation = cmek.CMEKOperationFailed })}},
		{sentence: "a failure of another region is not ours", want: Complete,
			given: []given{accepted, movedAt, confirmed, alsoWest(westKey), func(w *world) {
				w.facts.CMEK.Status, w.facts.CMEK.RegionInfos[1].Status = cmek.RotateFailed, cmek.RotateFailed
			}}},
		{sentence: "the retry may still read the first failure", want: Wait, because: "no trace",
			given: []given{accepted, failed(1), failedBaseline, failedBefore, statusEverywhere(cmek.RotateFailed)}},
		{sentence: "the retry has failed if updated_at moved", want: Fail,
			given: []given{accepted, failed(1), failedBaseline, failedBefore, statusEverywhere(cmek.RotateFailed), movedAt}},
		{sentence: "the retry has failed if it was seen in progress", want: Fail,
			given: []given{accepted, failed(1), failedBaseline, failedBefore, statusEverywhere(cmek.RotateFailed), traced}},
		{sentence: "the retry has failed if the failure outlasts the grace time", want: Fail,
			given: []given{accepted, failed(1), sent(10 * time.Minute), failedBaseline, failedBefore, statusEverywhere(cmek.RotateFailed)}},
		{sentence: "a request that ended in a failure has no later traces", want: Send,
			given: []given{accepted, failed(1), movedAt, confirmed, request(func(r *ledger.Request) { r.Ended = true }), work(func(w *ledger.Work) { w.State = ledger.Due })}},
	})
}

// The cluster's operation status says for two hours that the CMEK operation failed, and nothing else does.
func TestOutcome_operationThatStaysFailed(t *testing.T) {
	onBothClouds(t, testOutcome_operationThatStaysFailed)
}

func testOutcome_operationThatStaysFailed(t *testing.T) {
	stays := func(w *world) {
		accepted(w)
		sent(2 * time.Hour)(w)
		movedAt(w)
		confirmed(w)
		operation(cmek.CMEKOperationFailed)(w)
		baseline(func(b *ledger.Baseline) { b.Operation = cmek.CMEKOperationFailed })(w)
	}
	decides(t, []row{
		{sentence: "it is blocked", given: []given{stays}, want: Block, because: cmek.CMEKOperationFailed},
		{sentence: "a newer version of the key supersedes it", given: []given{stays, version(v3)}, want: Supersede, because: v3.Short(), until: noon},
		{sentence: "a newer version of an unusable key does not", given: []given{stays, version(v3), keyState(cmek.KeyDisabled)}, want: Block},
		{sentence: "a key that was not read does not", given: []given{stays, keysUnread}, want: Block},
		{sentence: "a key that could not be read does not", want: Block, given: []given{stays, version(v3), func(w *world) {
			w.facts.Keys[eastKey] = KeyFact{Key: w.facts.Keys[eastKey].Key, Err: errOutage}
		}}},
		{sentence: "a key without a version does not", given: []given{stays, version(cmek.KeyVersion{})}, want: Block},
		{sentence: "a version of another scheme does not", given: []given{stays, version(cmek.RotatedOnVersion(ago(time.Hour)))}, want: Block},
	})
}

func TestOutcome_unknown(t *testing.T) { onBothClouds(t, testOutcome_unknown) }

func testOutcome_unknown(t *testing.T) {
	crashed := func(d time.Duration) given { return func(w *world) { unanswered(w); sent(d)(w) } }
	overdue := sent(10 * time.Minute)
	decides(t, []row{
		{sentence: "a PUT without an answer may be on its way", given: []given{crashed(30 * time.Second), updated(noon)}, want: Wait, because: "on its way", until: in(10 * time.Second)},
		{sentence: "after 40 s a crash is an unknown outcome", given: []given{crashed(40 * time.Second)}, want: Wait, because: "no trace"},
		{sentence: "a crash is done if updated_at moved", given: []given{crashed(2 * time.Minute), movedAt, confirmed}, want: Complete},
		{sentence: "a crash without a trace is due again after the grace time", given: []given{crashed(10 * time.Minute)}, want: Resend},

		{sentence: "updated_at that moved shows that it arrived", given: []given{timedOut, movedAt, confirmed}, want: Complete, because: "updated_at moved"},
		{sentence: "an operation that was seen shows that it arrived", given: []given{timedOut, traced, confirmed}, want: Complete, because: "operation seen"},
		{sentence: "an operation in progress shows that it arrived", given: []given{timedOut, overdue, regionStatus(cmek.Rotating)}, want: Wait, because: "ROTATING"},
		{sentence: "a status that the baseline showed is no trace", want: Resend,
			given: []given{timedOut, overdue, regionStatus(cmek.Rotating), baseline(func(b *ledger.Baseline) { b.Region = cmek.Rotating })}},
		{sentence: "one that arrived fails like an accepted one", want: Fail,
			given: []given{timedOut, failedBefore, statusEverywhere(cmek.RotateFailed)}},
		{sentence: "a failed CMEK operation may be somebody else's", given: []given{timedOut, operation(cmek.CMEKOperationFailed)}, want: Wait, because: "no trace"},
		{sentence: "a running CMEK operation only makes it wait", given: []given{timedOut, overdue, operation(cmek.CMEKOperationRunning)}, want: Wait},
		{sentence: "a running CMEK operation is no evidence", given: []given{timedOut, confirmed, operation(cmek.CMEKOperationRunning)}, want: Wait},

		{sentence: "without a trace it waits until the end of the grace time", given: []given{timedOut, sent(10*time.Minute - time.Second)}, want: Wait, because: "no trace"},
		{sentence: "without a trace it is due again after it", given: []given{timedOut, overdue}, want: Resend, because: "within 10m0s"},
		{sentence: "without a trace it is not due before the CMEK was read", given: []given{timedOut, overdue, cmekUnread}, want: Wait},
		{sentence: "without a trace it is not due upon an older read", given: []given{timedOut, overdue, olderRead}, want: Wait},
		{sentence: "without a trace it is not due before the cluster was read", given: []given{timedOut, overdue, clusterUnread}, want: Wait, because: "cluster was not read"},
		{sentence: "without a trace it is not due while no CMEK is shown", given: []given{timedOut, overdue, unshown}, want: Wait},
		{sentence: "without a trace for the second time it is lost again", given: []given{timedOut, overdue, lost(1)}, want: Resend},

		{sentence: "where updated_at moves the first wait is 10 min", given: []given{timedOut, overdue, updatedAtMoves}, want: Resend},
		{sentence: "where updated_at moves the second wait is 20 min", given: []given{timedOut, sent(20*time.Minute - time.Second), updatedAtMoves, lost(1)}, want: Wait},
		{sentence: "where updated_at moves the second wait ends", given: []given{timedOut, sent(20 * time.Minute), updatedAtMoves, lost(1)}, want: Resend},
		{sentence: "where updated_at moves the third wait is 40 min", given: []given{timedOut, sent(40*time.Minute - time.Second), updatedAtMoves, lost(2)}, want: Wait},
		{sentence: "where updated_at moves the fourth wait is 60 min", given: []given{timedOut, sent(time.Hour - time.Second), updatedAtMoves, lost(3)}, want: Wait},
		{sentence: "where updated_at moves every later wait is 60 min", given: []given{timedOut, sent(time.Hour), updatedAtMoves, lost(90)}, want: Resend},
	})
}

func TestOutcome_lateTrace(t *testing.T) { onBothClouds(t, testOutcome_lateTrace) }

func testOutcome_lateTrace(t *testing.T) {
	decides(t, []row{
		{sentence: "a trace of a refused request is watched", given: []given{refusedOnce, movedAt}, want: Wait, because: "read once"},
		{sentence: "a trace of a refused request completes", given: []given{refusedOnce, movedAt, confirmed}, want: Complete},
		{sentence: "an operation since a refused request is watched", given: []given{refusedOnce, regionStatus(cmek.Rotating)}, want: Wait, because: "ROTATING"},
		{sentence: "a trace of a refused request that was not read since is not watched", given: []given{refusedOnce, movedAt, cmekUnread}, want: Send},
		{sentence: "a trace of a refused request in a region that is not shown is not watched", want: Wait, because: "in both",
			given: []given{refusedOnce, movedAt, regionUnshown}},
		{sentence: "a refused request without a trace is sent again", given: []given{refusedOnce}, want: Send},
		{sentence: "a trace of a request given up is watched", given: []given{givenUp, movedAt}, want: Wait, because: "read once"},
		{sentence: "a trace of a request given up completes", given: []given{givenUp, movedAt, confirmed}, want: Complete},
		{sentence: "a trace of a request given up and blocked completes", given: []given{givenUp, lost(2), blocked, movedAt, confirmed}, want: Complete},
		{sentence: "a trace found before is watched on", given: []given{givenUp, traced, regionStatus(cmek.Rotating)}, want: Wait, because: "ROTATING"},
		{sentence: "a request given up without a trace is sent again", given: []given{givenUp}, want: Send},
		{sentence: "an operation of the cluster after a refusal only waits", given: []given{refusedOnce, operation(cmek.CMEKOperationRunning)}, want: Wait, because: "operation status"},
	})
}

func TestOutcome_oneRegionDoneOneRotating(t *testing.T) {
	onBothClouds(t, testOutcome_oneRegionDoneOneRotating)
}

func testOutcome_oneRegionDoneOneRotating(t *testing.T) {
	w := newWorld(accepted, movedAt, confirmed, alsoWest(westKey), func(w *world) {
		w.facts.CMEK.Status = cmek.Rotating
		w.facts.CMEK.RegionInfos[1].Status = cmek.Rotating
		second := w.item.Work[0]
		second.Region, second.Key = west, westKey
		w.item.Work = append(w.item.Work, second)
	})
	for region, want := range map[string]Act{east: Complete, west: Wait} {
		if v := w.verdict(t, region); v.Act != want {
			t.Errorf("region %s: decided %q (%s), want %q", region, v.Act, v.Why, want)
		}
	}
}

func TestOutcome_pollsLessOftenWithAge(t *testing.T) {
	onBothClouds(t, testOutcome_pollsLessOftenWithAge)
}

func testOutcome_pollsLessOftenWithAge(t *testing.T) {
	for _, r := range []struct{ since, want time.Duration }{
		{5 * time.Second, 15 * time.Second},
		{time.Minute, 15 * time.Second},
		{4 * time.Minute, time.Minute},
		{8 * time.Minute, 2 * time.Minute},
		{time.Hour, 2 * time.Minute},
	} {
		v := newWorld(accepted, sent(r.since), regionStatus(cmek.Rotating)).verdict(t, east)
		if got := v.Until.Sub(noon); got != r.want {
			t.Errorf("%s after the PUT the next poll is in %s, want %s", r.since, got, r.want)
		}
	}
}

func TestNeedsCluster_whenALookMayEnd(t *testing.T) {
	onBothClouds(t, testNeedsCluster_whenALookMayEnd)
}

func testNeedsCluster_whenALookMayEnd(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"an accepted request within the grace time", []given{accepted}, false},
		{"an accepted request after the grace time", []given{accepted, sent(10 * time.Minute)}, true},
		{"a request of unknown outcome within the grace time", []given{timedOut}, false},
		{"a request of unknown outcome after the grace time", []given{timedOut, sent(10 * time.Minute)}, true},
		{"a trace, and ENABLED for long enough", []given{accepted, traced, confirmed}, true},
		{"a trace, and ENABLED just now", []given{accepted, traced, rested(cmek.Enabled, 49*time.Second)}, false},
		{"a trace, and running after the grace time", []given{accepted, traced, sent(11 * time.Minute)}, false},
		{"a trace, and running for less than 2 h", []given{accepted, traced, sent(2*time.Hour - time.Second)}, false},
		{"a trace, and running for 2 h", []given{accepted, traced, sent(2 * time.Hour)}, true},
		{"ENABLED without a trace", []given{accepted, confirmed}, false},
		{"due work", []given{due}, false},
		{"work given up", []given{givenUp}, false},
	} {
		w := newWorld(r.given...)
		if got := needsCluster(w.item, w.facts.UpdatedAtMoves, noon, w.settings); got != r.want {
			t.Errorf("%s: needs the cluster: %t, want %t", r.sentence, got, r.want)
		}
	}
}

func TestSighted_keepsFirstAndLast(t *testing.T) { onBothClouds(t, testSighted_keepsFirstAndLast) }

func testSighted_keepsFirstAndLast(t *testing.T) {
	var timeline []ledger.Sighting
	for i, s := range []cmek.Status{cmek.Rotating, cmek.Rotating, cmek.Enabled} {
		timeline = sighted(timeline, ledger.Sighting{At: ago(time.Hour).Add(time.Duration(i) * time.Second), Region: s})
	}
	if n := len(timeline); n != 2 {
		t.Errorf("ROTATING twice, then ENABLED made a timeline of %d entries, want 2: %+v", n, timeline)
	}
	for i := range 100 {
		timeline = sighted(timeline, ledger.Sighting{At: after, UpdatedAt: in(time.Duration(i))})
	}
	if n := len(timeline); n != 24 {
		t.Errorf("the timeline has %d entries, want 24", n)
	}
	if timeline[0].Region != cmek.Rotating {
		t.Errorf("the begin of the operation was lost: the timeline begins with %+v", timeline[0])
	}
	if last := timeline[len(timeline)-1]; !last.UpdatedAt.Equal(in(99)) {
		t.Errorf("the timeline ends with %+v, want the newest sighting", last)
	}
}

func TestSighted_sameInstantInAnotherZone(t *testing.T) {
	onBothClouds(t, testSighted_sameInstantInAnotherZone)
}

func testSighted_sameInstantInAnotherZone(t *testing.T) {
	timeline := sighted(nil, ledger.Sighting{Region: cmek.Rotating, UpdatedAt: noon})
	timeline = sighted(timeline, ledger.Sighting{Region: cmek.Rotating, UpdatedAt: noon.In(time.FixedZone("", 3600))})
	if len(timeline) != 1 {
		t.Errorf("one instant in two zones made %d sightings, want 1", len(timeline))
	}
}

// A worker may die after its PUT, and the operation end before the next read: what a sweep saw of it meanwhile is evidence, and no end.
func TestOutcome_unansweredRequest_keepsItsEvidence(t *testing.T) {
	onBothClouds(t, testOutcome_unansweredRequest_keepsItsEvidence)
}

func testOutcome_unansweredRequest_keepsItsEvidence(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		want     string
	}{
		{"an operation runs", []given{regionStatus(cmek.Rotating)}, evidenceSeen},
		{"updated_at moved", []given{updated(noon)}, "updated_at moved"},
		{"nothing is shown yet", nil, ""},
		{"an operation runs, in a read from before the request left", []given{regionStatus(cmek.Rotating), func(w *world) { w.facts.ReadAt = ago(time.Minute) }}, ""},
		{"an operation runs, in an older read", []given{regionStatus(cmek.Rotating), olderRead}, ""},
		{"the CMEK was not read", []given{regionStatus(cmek.Rotating), cmekUnread}, ""},
	} {
		v := newWorld(append([]given{unanswered, sent(30 * time.Second)}, r.given...)...).decide().Verdicts[0]
		if v.Act != Wait || v.watched == nil || v.watched.Evidence.Kind != r.want || !v.watched.Final.IsZero() {
			t.Errorf("%s: decided %s (%s), the request is %+v; want to wait, with the evidence %q", r.sentence, v.Act, v.Why, v.watched, r.want)
		}
	}
}
