package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func changesOf(list []alert.Alert) (changes []cmek.Change) {
	for _, a := range list {
		changes = append(changes, a.Change)
	}
	return changes
}

func TestAlerts_reportWhatIsWrong(t *testing.T) { onBothClouds(t, testAlerts_reportWhatIsWrong) }

func testAlerts_reportWhatIsWrong(t *testing.T) {
	refusedTwice := work(func(w *ledger.Work) {
		w.Attempts, w.NotBefore, w.Reason = 2, in(time.Minute), "refused: cluster is locked"
	})
	dayOld := work(func(w *ledger.Work) { w.Since = ago(24 * time.Hour) })
	failsNow := func(w *world) { failedBefore(w); regionStatus(cmek.RotateFailed)(w); userMessage("no permission")(w) }
	partial := func(since time.Duration) given {
		return func(w *world) { w.item.Partial = map[string]time.Time{east: ago(since)} }
	}
	for _, r := range []struct {
		sentence string
		given    []given
		want     []cmek.Change
		says     string
		audience alert.Audience
	}{
		{"nothing of a healthy cluster", []given{doneWith(eastKey, v2)}, nil, "", ""},
		{"nothing of work that waits", []given{due, work(func(w *ledger.Work) { w.VersionSeen = after })}, nil, "", ""},
		{"nothing of an adopted region", []given{neverDone, rotated(5 * time.Hour), movedAt}, nil, "", ""},
		{"nothing of an unusable key: the worker reports it", []given{due, keyState(cmek.KeyPendingImport)}, nil, "", ""},
		{"nothing of a key that we may not read: the worker reports it", []given{due, keyUnread(cmek.ErrDenied)}, nil, "", ""},

		{"a failed PUT, with Cockroach Labs' message", []given{accepted, failsNow}, []cmek.Change{changeRotateFailed}, "no permission", alert.Owners},
		{"nothing of an operation that runs", []given{accepted, operation(cmek.CMEKOperationRunning)}, nil, "", ""},
		{"a PUT that failed twice, as one failure", []given{accepted, failsNow, failed(1)}, []cmek.Change{changeRotateFailed}, "no permission", alert.Owners},
		{"a failure that is not ours, without open work", []given{doneWith(eastKey, v2), regionStatus(cmek.RotateFailed), userMessage("no permission")},
			[]cmek.Change{changeRotateFailed}, "no permission", alert.Owners},
		{"a failure that is not ours and blocks work, once", []given{due, regionStatus(cmek.RotateFailed)}, []cmek.Change{changeRotateFailed}, "ROTATE_FAILED", alert.Owners},
		{"a failed CMEK operation while all reads ENABLED", []given{doneWith(eastKey, v2), operation(cmek.CMEKOperationFailed)},
			[]cmek.Change{changeRotateFailed}, cmek.CMEKOperationFailed, alert.Owners},

		{"work blocked for several ENABLED specs", []given{due, twoSpecs}, []cmek.Change{changeBlocked}, "2 different key specs", alert.Owners},
		{"several ENABLED specs without work", []given{twoSpecs}, []cmek.Change{changeBlocked}, "several ENABLED", alert.Owners},
		{"work blocked for a revoked cluster", []given{due, statusEverywhere(cmek.Revoked)}, []cmek.Change{changeBlocked}, "REVOKED", alert.Owners},

		{"nothing of a request that left no trace once", []given{timedOut, sent(time.Hour)}, nil, "", ""},
		{"a second request that left no trace, blocked", []given{givenUp, lost(2)}, []cmek.Change{changeBlocked}, "no trace", alert.Owners},
		{"a second one where updated_at moves, not blocked", []given{givenUp, lost(2), updatedAtMoves}, []cmek.Change{changeLost}, "no trace", alert.Owners},
		{"a request lost twice that is watched again", []given{timedOut, lost(2), updatedAtMoves}, []cmek.Change{changeLost}, "no trace", alert.Owners},
		{"nothing of one lost once where updated_at moves", []given{givenUp, updatedAtMoves}, nil, "", ""},

		{"an operation of two hours", []given{accepted, sent(2 * time.Hour), regionStatus(cmek.Rotating)}, []cmek.Change{changeStuck}, "2h0m0s", alert.Owners},
		{"nothing of one of less than two hours", []given{accepted, sent(2*time.Hour - time.Minute), regionStatus(cmek.Rotating)}, nil, "", ""},

		{"a PUT refused twice", []given{refusedOnce, refusedTwice}, []cmek.Change{changeRefused}, "cluster is locked", alert.Owners},
		{"nothing of a PUT refused once", []given{refusedOnce, work(func(w *ledger.Work) { w.NotBefore = in(time.Minute) })}, nil, "", ""},
		{"nothing of a PUT denied, which is reported for all clusters", []given{refusedOnce, work(func(w *ledger.Work) { w.NotBefore = in(time.Minute) }),
			answered(cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 403, Denied: true})}, nil, "", ""},

		{"work open for a day, whatever it waits for", []given{due, state(cmek.StateLocked), dayOld}, []cmek.Change{changeOverdue}, "LOCKED", alert.Owners},
		{"nothing of work open for less", []given{due, state(cmek.StateLocked), work(func(w *ledger.Work) { w.Since = ago(24*time.Hour - time.Second) })}, nil, "", ""},
		{"a region in an unknown status for a day", []given{due, regionStatus(strange), dayOld}, []cmek.Change{changeOverdue}, string(strange), alert.Owners},
		{"work paused for a day", []given{due, paused, dayOld}, []cmek.Change{changeOverdue}, "paused", alert.Owners},
		{"nothing of observed work of a day", []given{due, observing, dayOld, work(func(w *ledger.Work) { w.Announced = true })}, nil, "", ""},

		{"a cluster that is not shown, to operations", []given{due, unshown}, []cmek.Change{changeClusterUnshown}, "shows no CMEK", alert.Operations},
		{"a region that only one of the two shows for 10 min", []given{doneWith(eastKey, v2), regionUnshown, partial(10 * time.Minute)}, []cmek.Change{changeClusterUnshown}, east, alert.Operations},
		{"nothing of one for less than that", []given{doneWith(eastKey, v2), regionUnshown, partial(9 * time.Minute)}, nil, "", ""},
		{"messages undelivered for an hour, to operations", []given{doneWith(eastKey, v2), func(w *world) { w.item.FailingSince = ago(time.Hour) }},
			[]cmek.Change{changeUndelivered}, "not been able to deliver", alert.Operations},

		{"what observe mode would send", []given{due, observing}, []cmek.Change{changeAnnounced}, v2.Short(), alert.Owners},
		{"a store key that was re-encrypted", []given{accepted, movedAt, confirmed}, []cmek.Change{changeFollowed}, v2.Short(), alert.Owners},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			told := alerts(newWorld(r.given...).transition().item)
			if got := changesOf(told); !slices.Equal(got, r.want) {
				t.Fatalf("%s: reported %q, want %q: %+v", r.sentence, got, r.want, told)
			}
			for _, a := range told {
				checkAlert(t, a)
			}
			if len(told) > 0 && (!strings.Contains(told[0].Summary, r.says) || told[0].Audience != r.audience) {
				t.Errorf("%s: reported to %s %q, want to %s %q", r.sentence, told[0].Audience, told[0].Summary, r.audience, r.says)
			}
		})
	}
}

// checkAlert checks what every alert about a cluster must have.
func checkAlert(t *testing.T, a alert.Alert) {
	t.Helper()
	if a.ID == "" || a.DedupKey == "" || a.Severity == "" || a.Audience == "" || a.Summary == "" || a.Time.IsZero() {
		t.Errorf("an alert misses its ID, dedup key, severity, audience, summary or time: %+v", a)
	}
	if want := "functions/rotation/README.md#" + strings.ReplaceAll(strings.ToLower(string(a.Change)), " ", "-"); a.Runbook != want {
		t.Errorf("the alert %q has the runbook %q, want %q", a.Change, a.Runbook, want)
	}
	cmektest.CheckSteps(t, a.RecoverySteps...)
	if len(a.Clusters) == 0 || a.Clusters[0].ID != "c-1" {
		t.Errorf("the alert %q names %+v, want the cluster", a.Change, a.Clusters)
	}
}

func TestAlerts_reportedOnce_andResolvedOnce(t *testing.T) {
	onBothClouds(t, testAlerts_reportedOnce_andResolvedOnce)
}

func testAlerts_reportedOnce_andResolvedOnce(t *testing.T) {
	w := newWorld(due, statusEverywhere(cmek.Revoked)).transition().transition()
	begun := alerts(w.item)
	if len(begun) != 1 || begun[0].Resolved || len(w.item.Alarms) != 1 {
		t.Fatalf("two polls of a revoked cluster reported %+v, open %+v", begun, w.item.Alarms)
	}
	statusEverywhere(cmek.Enabled)(w)
	ended := alerts(w.transition().transition().item)[1:]
	if len(ended) != 1 || len(w.item.Alarms) > 0 {
		t.Fatalf("two polls of the recovered cluster reported %+v, open %+v", ended, w.item.Alarms)
	}
	a := ended[0]
	if !a.Resolved || a.Severity != alert.Info || !a.Time.Equal(noon) || len(a.RecoverySteps) > 0 || a.Impact != "" {
		t.Errorf("the resolution is %+v", a)
	}
	if a.DedupKey != begun[0].DedupKey || a.ID == begun[0].ID {
		t.Errorf("the resolution has dedup key %q and ID %q; want the first alert's %q and an ID of its own", a.DedupKey, a.ID, begun[0].DedupKey)
	}
}

func TestAlerts_anotherReason_isReportedAgain(t *testing.T) {
	onBothClouds(t, testAlerts_anotherReason_isReportedAgain)
}

func testAlerts_anotherReason_isReportedAgain(t *testing.T) {
	w := newWorld(due, statusEverywhere(cmek.Revoking)).transition()
	statusEverywhere(cmek.Revoked)(w)
	told := alerts(w.transition().item)
	if len(told) != 2 || told[0].DedupKey != told[1].DedupKey || !strings.Contains(told[1].Summary, "REVOKED") {
		t.Errorf("a block for another reason reported %+v, want two alerts of one incident", told)
	}
}

func TestAlerts_deletedCluster_isNotSaidToBeHealthy(t *testing.T) {
	onBothClouds(t, testAlerts_deletedCluster_isNotSaidToBeHealthy)
}

func testAlerts_deletedCluster_isNotSaidToBeHealthy(t *testing.T) {
	w := newWorld(due, statusEverywhere(cmek.Revoked)).transition()
	deleted(w)
	told := alerts(w.transition().item)
	if len(told) != 2 || !told[1].Resolved || !strings.Contains(told[1].Summary, "is deleted") || len(w.item.Alarms) > 0 {
		t.Errorf("a deleted cluster reported %+v and keeps %+v, want the end of its incident that says why", told, w.item.Alarms)
	}
}

func TestAlerts_unshownCluster_keepsItsIncidents(t *testing.T) {
	onBothClouds(t, testAlerts_unshownCluster_keepsItsIncidents)
}

func testAlerts_unshownCluster_keepsItsIncidents(t *testing.T) {
	w := newWorld(doneWith(eastKey, v2), statusEverywhere(cmek.RotateFailed)).transition()
	f := absorb(w.item, hidden(noon), noon)
	transition(w.item, f, Decide(f, w.item, noon, w.settings), noon, w.settings)
	if told := alerts(w.item); slices.ContainsFunc(told, func(a alert.Alert) bool { return a.Resolved }) {
		t.Errorf("a hidden cluster reported %+v, want nothing resolved", told)
	}
}

func TestAlerts_aRetryThatWorks_endsTheFailure(t *testing.T) {
	onBothClouds(t, testAlerts_aRetryThatWorks_endsTheFailure)
}

func testAlerts_aRetryThatWorks_endsTheFailure(t *testing.T) {
	w := newWorld(accepted, failedBefore, regionStatus(cmek.RotateFailed)).transition()
	regionStatus(cmek.Enabled)(w)
	movedAt(w)
	w.item.Work[0].State, w.item.Work[0].Request = ledger.Requested, requestOf(2*time.Minute)
	w.item.Work[0].Request.Answer = &cmek.Answer{Outcome: cmek.Accepted}
	confirmed(w)
	w.transition()
	var ends []cmek.Change
	for _, a := range alerts(w.item) {
		if a.Resolved {
			ends = append(ends, a.Change)
		}
	}
	if !slices.Equal(ends, []cmek.Change{changeRotateFailed}) {
		t.Errorf("after a retry that did it the ends of %q are reported, want that of %q", ends, changeRotateFailed)
	}
}

// namesIn lists the clusters that an alert names, in order.
func namesIn(a alert.Alert) (all []string) {
	for _, c := range a.Clusters {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return all
}

// refusedTwice: the last two PUTs of the work were refused.
func refusedTwice(w *world) {
	refusedOnce(w)
	work(func(w *ledger.Work) { w.Attempts, w.NotBefore, w.Reason = 2, in(time.Minute), "refused: policy" })(w)
}

// unansweredSince: the cluster was refused before, and the outcome of its last PUT is not known.
func unansweredSince(c *ledger.Cluster) {
	w := &c.Work[len(c.Work)-1]
	w.State, w.Request.Answer = ledger.Requested, &cmek.Answer{Outcome: cmek.Unknown}
}

func reporting(dedupKey string, named ...string) change {
	return func(c *ledger.Cluster) {
		alarm := ledger.Alarm{Key: dedupKey}
		for _, id := range named {
			alarm.Alert.Clusters = append(alarm.Alert.Clusters, alert.AffectedCluster{ID: id})
		}
		c.Alarms = append(c.Alarms, alarm)
	}
}

// One cause is one alert, which names all clusters that wait for the canary.
func TestAlerts_canary_namesAllThatWait(t *testing.T) {
	onBothClouds(t, testAlerts_canary_namesAllThatWait)
}

func testAlerts_canary_namesAllThatWait(t *testing.T) {
	ofKey := "refused-key/" + eastKey.Canonical()
	isRefused := refusedFor(2*time.Hour, time.Hour)
	for _, r := range []struct {
		sentence string
		given    []given
		want     string // the dedup key; "" for no alert
		severity alert.Severity
		names    []string
	}{
		{"a refused canary", []given{refusedTwice, with(member("p", waiting), member("q", waiting), member("r", followed(v1)))},
			"refused/c-1", alert.High, []string{"orders", "p", "q"}},
		{"a refusal after the canary is done", []given{refusedTwice, with(member("p", waiting), member("a", followed(v2)))},
			"refused/c-1", alert.High, []string{"orders"}},
		{"a second refused canary", []given{refusedTwice, with(member("p", isRefused), member("q", waiting))},
			ofKey, alert.Critical, []string{"orders", "p", "q"}},
		{"a second one, while the first has no answer", []given{refusedTwice, with(member("p", isRefused, unansweredSince), member("q", waiting))},
			ofKey, alert.Critical, []string{"orders", "p", "q"}},
		{"a second one, the first being left alone now", []given{refusedTwice, with(member("p", isRefused, labeled("off")))},
			"refused/c-1", alert.High, []string{"orders"}},
		{"a key that another cluster reported", []given{refusedTwice, with(member("p", isRefused, reporting(ofKey)))}, "", "", nil},
		{"a key that another cluster reported, which has no answer now",
			[]given{refusedTwice, with(member("p", isRefused, unansweredSince, reporting(ofKey)))}, "", "", nil},
		{"a key that another cluster reported, once the canary is done",
			[]given{refusedTwice, with(member("p", isRefused, reporting(ofKey)), member("a", followed(v2)))}, "refused/c-1", alert.High, []string{"orders", "p"}},

		{"a lost canary", []given{givenUp, lost(2), updatedAtMoves, with(member("p", waiting), member("q", waiting), member("r", followed(v1)))},
			"lost/c-1", alert.High, []string{"orders", "p", "q"}},
		{"requests lost after the canary is done", []given{givenUp, lost(2), updatedAtMoves, with(member("p", waiting), member("a", followed(v2)))},
			"lost/c-1", alert.High, []string{"orders"}},
		{"a lost canary that another one's alert names", []given{givenUp, lost(2), updatedAtMoves, with(member("a", unresolved, reporting("lost/id-of-a", "c-1")))}, "", "", nil},
		{"a lost canary that another one's alert does not name", []given{givenUp, lost(2), updatedAtMoves, with(member("a", unresolved, reporting("lost/id-of-a")))},
			"lost/c-1", alert.High, []string{"a", "orders"}},

		{"a hidden canary with a request", []given{timedOut, unshown, with(member("p", waiting), member("q", waiting))},
			"cluster-unshown/c-1", alert.High, []string{"orders", "p", "q"}},
		{"a hidden cluster without a request keeps nobody", []given{due, unshown, with(member("p", waiting))}, "cluster-unshown/c-1", alert.High, []string{"orders"}},
		{"one that is hidden for half an hour keeps nobody", []given{timedOut, unshown, func(w *world) { w.item.Unread.Since = ago(30 * time.Minute) }, with(member("p", waiting))},
			"cluster-unshown/c-1", alert.High, []string{"orders"}},
		{"a canary with a region that only one of two views shows", []given{timedOut, regionUnshown, with(member("p", waiting)),
			func(w *world) { w.item.Partial = map[string]time.Time{east: ago(10 * time.Minute)} }}, "region-unshown/c-1", alert.Medium, []string{"orders", "p"}},
	} {
		w := newWorld(r.given...).transition()
		sent := alerts(w.item)
		if r.want == "" {
			if len(sent) > 0 {
				t.Errorf("%s is reported although another cluster did: %+v", r.sentence, sent)
			}
			continue
		}
		if len(sent) != 1 || sent[0].DedupKey != r.want || sent[0].Severity != r.severity || !slices.Equal(namesIn(sent[0]), r.names) {
			t.Errorf("%s is reported as %+v, want one alert %q, %s, that names %q", r.sentence, sent, r.want, r.severity, r.names)
		}
		for range 2 {
			if again := alerts(w.transition().item); len(again) != len(sent) {
				t.Errorf("%s is reported again: %+v", r.sentence, again[len(sent):])
			}
		}
	}
}

// Answers of unknown outcome between refusals do not change what is reported.
func TestAlerts_refusalsAndUnknownAnswers_areOneIncident(t *testing.T) {
	onBothClouds(t, testAlerts_refusalsAndUnknownAnswers_areOneIncident)
}

func testAlerts_refusalsAndUnknownAnswers_areOneIncident(t *testing.T) {
	other := member("p", refusedFor(2*time.Hour, time.Hour))
	w := newWorld(refusedTwice, with(other, member("q", waiting))).transition()
	for range 3 {
		unansweredSince(other)
		w.transition()
		other.Work[0].State, other.Work[0].Lost = ledger.Due, 1
		w.transition()
		other.Work[0].Attempts, other.Work[0].State = 0, ledger.Blocked // by something else
		w.transition()
		other.Work[0].Attempts, other.Work[0].State = 3, ledger.Due
		w.transition()
	}
	if sent := alerts(w.item); len(sent) != 1 {
		t.Errorf("a key that is refused, with unknown answers between, is reported by %+v, want one alert", sent)
	}
}

func TestAlerts_twoKeysRefusedInOnePUT_namesTheFleetsOfBoth(t *testing.T) {
	onBothClouds(t, testAlerts_twoKeysRefusedInOnePUT_namesTheFleetsOfBoth)
}

func testAlerts_twoKeysRefusedInOnePUT_namesTheFleetsOfBoth(t *testing.T) {
	w := newWorld(refusedTwice, alsoWest(westKey), with(member("p", waiting)))
	west1 := w.item.Work[0]
	west1.Region, west1.Key = west, westKey
	w.item.Work = append(w.item.Work, west1)
	user := member("q")
	user.CMEK.RegionInfos = []cmek.RegionInfo{regionInfo(west, westKey)}
	user.Work = []ledger.Work{workFor(west, westKey)}
	w.facts.Fleet[westKey.Canonical()] = []*ledger.Cluster{w.item, user}
	sent := alerts(w.transition().item)
	if len(sent) != 1 || !slices.Equal(namesIn(sent[0]), []string{"orders", "p", "q"}) || !slices.Equal(sent[0].Clusters[0].Regions, []string{east, west}) {
		t.Fatalf("two refused keys are reported as %+v, want one alert that names the clusters of both", sent)
	}
	if steps := strings.Join(sent[0].RecoverySteps, "\n"); !strings.Contains(steps, string(eastKey)) || !strings.Contains(steps, string(westKey)) {
		t.Errorf("the recovery steps are %q, want both keys", steps)
	}
}

func TestAlerts_announcement_isMadeOnceWithAllRegions(t *testing.T) {
	onBothClouds(t, testAlerts_announcement_isMadeOnceWithAllRegions)
}

func testAlerts_announcement_isMadeOnceWithAllRegions(t *testing.T) {
	w := newWorld(due, observing, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	told := alerts(w.transition().transition().item)
	if len(told) != 1 || told[0].Change != changeAnnounced || !slices.Equal(told[0].Clusters[0].Regions, []string{east, west}) {
		t.Errorf("observe mode reported %+v, want one announcement of both regions", told)
	}
}

func TestAlerts_failure_saysHowToSkipTheCluster(t *testing.T) {
	onBothClouds(t, testAlerts_failure_saysHowToSkipTheCluster)
}

func testAlerts_failure_saysHowToSkipTheCluster(t *testing.T) {
	told := alerts(newWorld(accepted, failedBefore, regionStatus(cmek.RotateFailed)).transition().item)
	if len(told) != 1 || !slices.ContainsFunc(told[0].RecoverySteps, func(s string) bool { return strings.HasPrefix(s, "keyturn retry --skip c-1") }) {
		t.Errorf("a failure reported %+v, want the command that skips the cluster", told)
	}
}

func TestAlerts_hiddenCluster_isReportedAfterASweep(t *testing.T) {
	onBothClouds(t, testAlerts_hiddenCluster_isReportedAfterASweep)
}

func testAlerts_hiddenCluster_isReportedAfterASweep(t *testing.T) {
	since := func(d time.Duration, why string) given {
		return func(w *world) { w.facts.Unread, w.item.Unread = why, ledger.Unread{Since: ago(d), Why: why} }
	}
	for _, r := range []struct {
		sentence string
		given    given
		want     int
	}{
		{"a cluster hidden for less than a sweep", since(15*time.Minute-time.Second, whyHidden), 0},
		{"a cluster hidden for a sweep", since(15*time.Minute, whyHidden), 1},
		{"a cluster that shows no CMEK", since(0, whyNoCMEK), 1},
	} {
		if sent := alerts(newWorld(due, r.given).transition().item); len(sent) != r.want {
			t.Errorf("%s is reported %d times, want %d", r.sentence, len(sent), r.want)
		}
	}
}

func TestAlerts_unshown_saysHowToForgetTheCluster(t *testing.T) {
	onBothClouds(t, testAlerts_unshown_saysHowToForgetTheCluster)
}

func testAlerts_unshown_saysHowToForgetTheCluster(t *testing.T) {
	told := alerts(newWorld(due, unshown).transition().item)
	if len(told) != 1 || !slices.ContainsFunc(told[0].RecoverySteps, func(s string) bool { return strings.HasPrefix(s, "keyturn forget c-1 --reason") }) {
		t.Errorf("an unshown cluster reported %+v, want the command that forgets it", told)
	}
}
