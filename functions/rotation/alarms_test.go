package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// alerts returns what the outbox tells people.
func alerts(item *ledger.Cluster) []cmek.Alert {
	var found []cmek.Alert
	for _, m := range item.Messages {
		if m.Alert != nil {
			found = append(found, *m.Alert)
		}
	}
	return found
}

func TestAlarmsTellWhatIsWrong(t *testing.T) {
	released := work(func(w *ledger.Work) { w.Released = true })
	for _, r := range []struct {
		sentence string
		given    []given
		want     []cmek.Change
		says     string
		audience cmek.Audience
	}{
		{"nothing to tell of a healthy cluster", []given{doneWith(eastKey, v2)}, nil, "", ""},
		{"nothing to tell of work that waits", []given{due, rotated(time.Minute)}, nil, "", ""},
		{"an unusable key, whether work is open or not", []given{keyState(cmek.KeyDisabled)}, []cmek.Change{changeKeyUnusable}, "disabled", cmek.Owners},
		{"an unusable key once, though it also holds work", []given{due, keyState(cmek.KeyPendingImport)}, []cmek.Change{changeKeyUnusable}, "pending import", cmek.Owners},
		{"a key that we may not read, to those who run keyturn", []given{due, keyUnread(cmek.ErrDenied)}, []cmek.Change{changeKeyUnreadable}, "may not read", cmek.Operations},
		{"nothing of a KMS that does not answer", []given{due, keyUnread(errOutage)}, nil, "", ""},
		{"nothing of a key in a transient state", []given{due, keyState(cmek.KeyTransient)}, nil, "", ""},
		{"a failed PUT with the message of Cockroach Labs", []given{accepted, regionStatus(cmek.RotateFailed), userMessage("no permission")},
			[]cmek.Change{changeRotateFailed}, "no permission", cmek.Owners},
		{"a PUT that failed twice, still as one failure",
			[]given{accepted, regionStatus(cmek.RotateFailed), updated(after), work(func(w *ledger.Work) { w.Failed = 1 })}, []cmek.Change{changeRotateFailed}, "ROTATE_FAILED", cmek.Owners},
		{"a failure that is not ours, without open work", []given{doneWith(eastKey, v2), regionStatus(cmek.RotateFailed), userMessage("no permission")},
			[]cmek.Change{changeRotateFailed}, "no permission", cmek.Owners},
		{"a failure that is not ours and holds work", []given{due, regionStatus(cmek.RotateFailed)}, []cmek.Change{changeRotateFailed, changeHeld}, "ROTATE_FAILED", cmek.Owners},
		{"a failed CMEK operation while everything reads ENABLED", []given{doneWith(eastKey, v2), operation(cmek.CMEKOperationFailed)},
			[]cmek.Change{changeRotateFailed}, cmek.CMEKOperationFailed, cmek.Owners},
		{"work held for several ENABLED specs", []given{due, twoSpecs}, []cmek.Change{changeHeld}, "2 different key specs", cmek.Owners},
		{"a PUT that left no trace for the second time", []given{timedOut, sent(time.Hour), work(func(w *ledger.Work) { w.Lost = 1 })},
			[]cmek.Change{changeHeld}, "no trace", cmek.Owners},
		{"nothing of a PUT that left no trace once", []given{timedOut, sent(time.Hour)}, nil, "", ""},
		{"work held for a revoked cluster", []given{due, statusEverywhere(cmek.Revoked)}, []cmek.Change{changeHeld}, "REVOKED", cmek.Owners},
		{"an operation of more than two hours", []given{accepted, sent(2 * time.Hour), regionStatus(cmek.Rotating)}, []cmek.Change{changeStuck}, "2h0m0s", cmek.Owners},
		{"nothing of an operation of less than two hours", []given{accepted, sent(2*time.Hour - time.Minute), regionStatus(cmek.Rotating)}, nil, "", ""},
		{"a PUT refused five times", []given{due, released, work(func(w *ledger.Work) { w.Attempts, w.NotBefore, w.Reason = 5, in(time.Minute), "refused: busy" })},
			[]cmek.Change{changeRefused}, "busy", cmek.Owners},
		{"nothing of a PUT refused four times", []given{due, work(func(w *ledger.Work) { w.Attempts, w.NotBefore = 4, in(time.Minute) })}, nil, "", ""},
		{"work open for a day, whatever it waits for", []given{due, state(cmek.StateLocked), work(func(w *ledger.Work) { w.Since = ago(24 * time.Hour) })},
			[]cmek.Change{changeOverdue}, "LOCKED", cmek.Owners},
		{"work of a region in an unknown status for a day", []given{due, regionStatus(strange), work(func(w *ledger.Work) { w.Since = ago(24 * time.Hour) })},
			[]cmek.Change{changeOverdue}, string(strange), cmek.Owners},
		{"work paused for a day", []given{due, paused, work(func(w *ledger.Work) { w.Since = ago(24 * time.Hour) })}, []cmek.Change{changeOverdue}, "paused", cmek.Owners},
		{"what observe mode would send", []given{due, observing}, []cmek.Change{changeAnnounced}, v2.Short(), cmek.Owners},
		{"a store key that was re-encrypted", []given{accepted, updated(after)}, []cmek.Change{changeFollowed}, v2.Short(), cmek.Owners},
		{"nothing of an adopted region", []given{neverDone, updated(after)}, nil, "", ""},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			told := alerts(newWorld(r.given...).apply().item)
			var got []cmek.Change
			for _, a := range told {
				got = append(got, a.Change)
			}
			if !slices.Equal(got, r.want) {
				t.Fatalf("%s: told of %q, want %q: %+v", r.sentence, got, r.want, told)
			}
			for _, a := range told {
				checkAlert(t, a)
			}
			if len(told) > 0 && (!strings.Contains(told[0].Summary, r.says) || told[0].Audience != r.audience) {
				t.Errorf("%s: told %s %q, want %s to hear %q", r.sentence, told[0].Audience, told[0].Summary, r.audience, r.says)
			}
		})
	}
}

// checkAlert checks what every alert must have.
func checkAlert(t *testing.T, a cmek.Alert) {
	t.Helper()
	if a.ID == "" || a.DedupKey == "" || a.Severity == "" || a.Audience == "" || a.Summary == "" || a.Time.IsZero() {
		t.Errorf("an alert misses its ID, dedup key, severity, audience, summary or time: %+v", a)
	}
	if want := "functions/rotation/README.md#" + strings.ReplaceAll(strings.ToLower(string(a.Change)), " ", "-"); a.Runbook != want {
		t.Errorf("the alert %q has the runbook %q, want %q", a.Change, a.Runbook, want)
	}
	if len(a.Clusters) != 1 || a.Clusters[0].ID != "c-1" || len(a.Clusters[0].Regions) == 0 {
		t.Errorf("the alert %q names %+v, want the cluster and its regions", a.Change, a.Clusters)
	}
}

func TestAlarmsAreToldOnceAndSoIsTheirEnd(t *testing.T) {
	w := newWorld(due, keyState(cmek.KeyDeletionScheduled), kms(func(k *cmek.Key) { k.DeletionDate = in(7 * 24 * time.Hour) }))
	w.apply().apply()
	begun := alerts(w.item)
	if len(begun) != 1 || begun[0].Resolved || begun[0].Severity != cmek.Critical || !begun[0].Deadline.Equal(in(7*24*time.Hour)) {
		t.Fatalf("two looks at a key about to be deleted told %+v, want one critical alert with the deletion's date as its deadline", begun)
	}

	keyUnread(errOutage)(w)
	w.apply()
	if n := len(alerts(w.item)); n != 1 {
		t.Fatalf("a look that could not read the key told something: %+v", alerts(w.item)[1:])
	}
	keyUnread(cmek.ErrDenied)(w)
	w.apply()
	if told := alerts(w.item)[1:]; len(told) != 1 || told[0].Change != changeKeyUnreadable || told[0].Resolved {
		t.Fatalf("a denied read of an unusable key told %+v, want only that it cannot be read", told)
	}

	w.facts.Keys[eastKey] = KeyFact{Key: healthyKey(eastKey)}
	w.apply().apply()
	ended := alerts(w.item)[2:]
	if len(ended) != 2 {
		t.Fatalf("two looks at the healthy key told %+v, want the end of the two alarms, once each", ended)
	}
	for _, a := range ended {
		if !a.Resolved || a.Severity != cmek.Info || !a.Time.Equal(noon) || len(a.WayBack) > 0 || !a.Deadline.IsZero() {
			t.Errorf("the end of %q is told as %+v", a.Change, a)
		}
	}
	if a := ended[0]; a.DedupKey != begun[0].DedupKey || a.ID == begun[0].ID {
		t.Errorf("the end has dedup key %q and ID %q; want the dedup key of the beginning, %q, and an ID of its own", a.DedupKey, a.ID, begun[0].DedupKey)
	}
	if len(w.item.Alarms) > 0 {
		t.Errorf("alarms stay open: %+v", w.item.Alarms)
	}
}

func TestAlarmsOfAKeyStayWhileTheKeyIsNotRead(t *testing.T) {
	w := newWorld(keyState(cmek.KeyDisabled)).apply()
	keysUnread(w)
	w.apply()
	if len(alerts(w.item)) != 1 || len(w.item.Alarms) != 1 {
		t.Errorf("a look that did not read the key changed its alarm: told %+v, open %+v", alerts(w.item), w.item.Alarms)
	}
}

func TestAlarmsEndWhenTheClusterIsGone(t *testing.T) {
	w := newWorld(keyState(cmek.KeyDisabled)).apply()
	gone(w)
	w.apply()
	told := alerts(w.item)
	if len(told) != 2 || !told[1].Resolved || len(w.item.Alarms) > 0 {
		t.Errorf("a cluster that is gone told %+v and keeps the alarms %+v, want the end of its one alarm", told, w.item.Alarms)
	}
}

func TestAlarmsEndWhenAFailureIsRetriedWell(t *testing.T) {
	w := newWorld(accepted, regionStatus(cmek.RotateFailed)).apply()
	regionStatus(cmek.Enabled)(w)
	updated(after)(w)
	unansweredAgain := &w.item.Work[0]
	unansweredAgain.State = ledger.Requested
	w.apply()
	var ends []cmek.Change
	for _, a := range alerts(w.item) {
		if a.Resolved {
			ends = append(ends, a.Change)
		}
	}
	if !slices.Equal(ends, []cmek.Change{changeRotateFailed}) {
		t.Errorf("after a retry that did it the ends of %q are told, want that of %q", ends, changeRotateFailed)
	}
}

func TestAlarmsOfAMultiRegionKeyNameEachReplicaWithItsRegion(t *testing.T) {
	w := newWorld(usingKey(mrkEast), alsoWest(mrkWest), keyState(cmek.KeyDisabled)).apply()
	told := alerts(w.item)
	if len(told) != 2 || !slices.Equal(told[0].Clusters[0].Regions, []string{east}) || !slices.Equal(told[1].Clusters[0].Regions, []string{west}) {
		t.Errorf("two disabled replicas told %+v, want one alert for each with its region", told)
	}
}

func TestAlarmsSayTheWayBackWithTheRealKey(t *testing.T) {
	for state, commands := range map[cmek.KeyState][]string{
		cmek.KeyDisabled:          {"aws kms enable-key"},
		cmek.KeyDeletionScheduled: {"aws kms cancel-key-deletion", "aws kms enable-key"},
		cmek.KeyPendingImport:     {"aws kms import-key-material"},
		cmek.KeyNotFound:          {"aws kms describe-key"},
		cmek.KeyUnavailable:       {"aws kms describe-key"},
	} {
		steps := alerts(newWorld(keyState(state)).apply().item)[0].WayBack
		for i, command := range commands {
			if i >= len(steps) || !strings.Contains(steps[i], command) || !strings.Contains(steps[i], string(eastKey)) || !strings.Contains(steps[i], east) {
				t.Errorf("step %d back from %q is not %q with the key and its Region: %q", i+1, state, command, steps)
			}
		}
	}
}

func TestAnnouncementIsMadeOnceAndListsTheRegions(t *testing.T) {
	w := newWorld(due, observing, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	w.apply().apply()
	told := alerts(w.item)
	if len(told) != 1 || told[0].Change != changeAnnounced || !slices.Equal(told[0].Clusters[0].Regions, []string{east, west}) {
		t.Errorf("observe mode told %+v, want one announcement of both regions", told)
	}
}
