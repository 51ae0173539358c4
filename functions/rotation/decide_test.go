package rotation

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Every status of CockroachDB Cloud API 2024-09-16, CMEKStatus, and one that it does not know, in each situation that
// follow-through can be in. The status is that of the cluster, its region and its key alike.
func TestDecideForEveryStatus(t *testing.T) {
	const open = Act("") // covered by rows of their own
	for _, s := range []struct {
		status                          cmek.Status
		nothing, due, accepted, unknown Act
	}{
		{cmek.Enabled, Open, Send, Wait, Wait},
		{cmek.Enabling, Wait, Wait, Wait, Wait},
		{cmek.Rotating, Wait, Wait, Wait, Wait},
		{cmek.EnableFailed, Wait, Hold, Fail, open},
		{cmek.RotateFailed, Wait, Hold, Fail, open},
		{cmek.Disabled, Wait, Hold, Hold, Hold},
		{cmek.Disabling, Wait, Hold, Hold, Hold},
		{cmek.DisableFailed, Wait, Hold, Hold, Hold},
		{cmek.Revoked, Wait, Hold, Hold, Hold},
		{cmek.Revoking, Wait, Hold, Hold, Hold},
		{cmek.RevokeFailed, Wait, Hold, Hold, Hold},
		{strange, Wait, open, Wait, Wait},
	} {
		for _, situation := range []struct {
			name  string
			given given
			want  Act
		}{
			{"a rotation that nobody noticed", func(*world) {}, s.nothing},
			{"due work", due, s.due},
			{"an accepted PUT", accepted, s.accepted},
			{"a PUT of unknown outcome", timedOut, s.unknown},
		} {
			if situation.want == open {
				continue
			}
			t.Run(string(s.status)+" with "+situation.name, func(t *testing.T) {
				w := newWorld(situation.given, statusEverywhere(s.status))
				if v := w.verdict(t, east); v.Act != situation.want {
					t.Errorf("status %s with %s: decided %q (%s), want %q", s.status, situation.name, v.Act, v.Why, situation.want)
				}
				if put := w.decide().Put; len(put) > 0 && s.status != cmek.Enabled {
					t.Errorf("status %s with %s: a PUT would leave: %+v", s.status, situation.name, put)
				}
			})
		}
	}
}

func TestDecideWithoutOpenWork(t *testing.T) {
	primary := func(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: strconv.Itoa(n)} }
	decides(t, []row{
		{sentence: "a version that no event told of opens work at once", want: Open, until: noon},
		{sentence: "the latest done version is up to date", given: []given{doneWith(eastKey, v2)}, want: UpToDate},
		{sentence: "a primary set back to an older version is a change too",
			given: []given{doneWith(eastKey, primary(5)), version(primary(4))}, want: Open},
		{sentence: "a version of another scheme is not compared but adopted",
			given: []given{doneWith(eastKey, cmek.RotatedOnVersion(ago(time.Hour)))}, want: Adopt},
		{sentence: "a version done under another replica of the key is done",
			given: []given{usingKey(mrkEast), doneWith(mrkWest, v2)}, want: UpToDate},

		{sentence: "a region seen first is adopted if updated_at is later than rotation and settle time",
			given: []given{neverDone, rotated(time.Hour), updated(ago(54 * time.Minute))}, want: Adopt},
		{sentence: "a region seen first is not adopted if it was updated within the settle time",
			given: []given{neverDone, rotated(time.Hour), updated(ago(56 * time.Minute))}, want: Open},
		{sentence: "a region seen first is not adopted if it was updated before the rotation",
			given: []given{neverDone}, want: Open},
		{sentence: "a region seen first is adopted if the key was never rotated",
			given: []given{neverDone, kms(func(k *cmek.Key) { k.NeverRotated = true })}, want: Adopt},
		{sentence: "a region seen first is not adopted if the KMS does not tell when the key rotated",
			given: []given{neverDone, updated(ago(time.Minute)), kms(func(k *cmek.Key) { k.RotatedAt = time.Time{} })}, want: Open},
		{sentence: "a region seen first is not adopted if updated_at is left out",
			given: []given{neverDone, updated(time.Time{})}, want: Open},
		{sentence: "a region seen first is not adopted while it is rotating",
			given: []given{neverDone, regionStatus(cmek.Rotating), updated(ago(time.Minute))}, want: Open},
		{sentence: "a region that changed its key is seen for the first time again",
			given: []given{usingKey(newKey), doneWith(eastKey, v2), updated(ago(time.Minute))}, want: Adopt},

		{sentence: "a cluster with the label keyturn=off is left alone", given: []given{optedOut}, want: UpToDate, because: "keyturn=off"},
		{sentence: "an unusable key opens no work", given: []given{keyState(cmek.KeyDisabled)}, want: Wait},
		{sentence: "a key that we may not read opens no work", given: []given{keyUnread(cmek.ErrDenied)}, want: Wait},
		{sentence: "a KMS that does not answer opens no work", given: []given{keyUnread(errOutage)}, want: Wait},
		{sentence: "a key that was not read opens no work", given: []given{keysUnread}, want: Wait},
		{sentence: "a key without a version opens no work", given: []given{version(cmek.KeyVersion{})}, want: Wait},
		{sentence: "an Azure key opens no work: its new version is a new URI",
			given: []given{usingKey("https://vault.vault.azure.net/keys/cmek/0123")}, want: Wait, because: "AZURE_KEY_VAULT"},
		{sentence: "several ENABLED specs open no work", given: []given{twoSpecs}, want: Wait, because: "2 different key specs"},
	})
}

// twoSpecs: two keys of us-east-1 read ENABLED.
func twoSpecs(w *world) {
	keys(keyInfo(eastKey, cmek.Enabled, ago(time.Hour)), keyInfo(newKey, cmek.Enabled, ago(2*time.Hour)))(w)
}

func TestDecideWhetherDueWorkMaySend(t *testing.T) {
	old := ago(300 * 24 * time.Hour)
	decides(t, []row{
		{sentence: "due work is sent", given: []given{due}, want: Send},

		{sentence: "a cluster that is being created waits", given: []given{due, state("CREATING")}, want: Wait, because: "CREATING"},
		{sentence: "a locked cluster waits", given: []given{due, state(cmek.StateLocked)}, want: Wait, because: "LOCKED"},
		{sentence: "any running operation makes the cluster wait", given: []given{due, operation("CRDB_SCALE_RUNNING")}, want: Wait, because: "CRDB_SCALE_RUNNING"},
		{sentence: "a failed operation of another kind is no reason to wait", given: []given{due, operation("CRDB_SCALE_FAILED")}, want: Send},
		{sentence: "a region under way waits even while its key reads ENABLED", given: []given{due, regionStatus(cmek.Rotating)}, want: Wait},
		{sentence: "a region of unknown status waits", given: []given{due, regionStatus(strange)}, want: Wait, because: string(strange)},
		{sentence: "a revoked cluster is left alone even while its region reads ENABLED",
			given: []given{due, func(w *world) { w.facts.CMEK.Status = cmek.Revoking }}, want: Hold, because: "hands off"},

		{sentence: "several distinct ENABLED specs are held", given: []given{due, twoSpecs}, want: Hold, because: "2 different key specs"},
		{sentence: "no ENABLED spec is held", given: []given{due, keys(keyInfo(eastKey, cmek.Disabled, old))}, want: Hold, because: "no key spec"},
		{sentence: "one spec in several infos is one", want: Send,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, old), keyInfo(eastKey, cmek.Enabled, old.Add(time.Hour)))}},
		{sentence: "a past key before the current one does not matter", want: Send,
			given: []given{due, keys(keyInfo(newKey, cmek.Disabled, old), keyInfo(eastKey, cmek.Enabled, old))}},
		{sentence: "a past key after the current one does not matter", want: Send,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, old), keyInfo(newKey, cmek.Disabled, old))}},

		{sentence: "a disabled key is held", given: []given{due, keyState(cmek.KeyDisabled)}, want: Hold, because: "disabled"},
		{sentence: "a key about to be deleted is held", given: []given{due, keyState(cmek.KeyDeletionScheduled)}, want: Hold, because: "deletion scheduled"},
		{sentence: "a key that misses its material is held", given: []given{due, keyState(cmek.KeyPendingImport)}, want: Hold, because: "pending import"},
		{sentence: "a key in a transient state waits", given: []given{due, keyState(cmek.KeyTransient)}, want: Wait},
		{sentence: "a key in a state unknown to us waits", given: []given{due, keyState(cmek.KeyUnknown)}, want: Wait},
		{sentence: "a key that we may not read waits", given: []given{due, keyUnread(cmek.ErrDenied)}, want: Wait, because: "may not read"},
		{sentence: "a KMS that does not answer waits", given: []given{due, keyUnread(errOutage)}, want: Wait},
		{sentence: "work held for an unusable key is sent once the key is well again",
			given: []given{due, work(func(w *ledger.Work) { w.State, w.Reason = ledger.Held, "the key is disabled" })}, want: Send},

		{sentence: "a version younger than the settle time waits for the rest of it",
			given: []given{due, rotated(2 * time.Minute)}, want: Wait, until: in(3 * time.Minute)},
		{sentence: "a version seen first within the settle time waits, however long ago it was rotated",
			given: []given{due, work(func(w *ledger.Work) { w.Since = ago(time.Minute) })}, want: Wait, until: in(4 * time.Minute)},
		{sentence: "a version is sent at the end of the settle time", given: []given{due, rotated(5 * time.Minute)}, want: Send},
		{sentence: "an on-demand rotation in progress waits, however old",
			given: []given{due, kms(func(k *cmek.Key) { k.RotationRunning = true })}, want: Wait},

		{sentence: "work that is done already is dropped", given: []given{due, doneWith(eastKey, v2)}, want: Drop, because: "already done"},
		{sentence: "a first sight wrapped after rotation and settle time is adopted",
			given: []given{due, neverDone, updated(ago(54 * time.Minute))}, want: Adopt},
		{sentence: "a first sight is not adopted once a PUT was sent for it", want: Send,
			given: []given{timedOut, neverDone, updated(ago(54 * time.Minute)), work(func(w *ledger.Work) { w.State, w.Lost = ledger.Due, 1 })}},
		{sentence: "work for a primary set back to an older version is sent",
			given: []given{due, doneWith(eastKey, v3)}, want: Send},
		{sentence: "work opened under another scheme is not compared with the key's version",
			given: []given{due, work(func(w *ledger.Work) { w.Version = cmek.RotatedOnVersion(ago(2 * time.Hour)) })}, want: Send},
		{sentence: "an event without a version takes the version of the key",
			given: []given{due, work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })}, want: Send},

		{sentence: "a KMS that still shows the version before the event waits",
			given: []given{due, version(v1), rotated(300 * 24 * time.Hour), work(func(w *ledger.Work) { w.Since = ago(time.Minute) })},
			want:  Wait, because: "does not show"},
		{sentence: "a KMS that shows the older version for an hour is believed",
			given: []given{due, version(v1), rotated(300 * 24 * time.Hour)}, want: Drop},
		{sentence: "an event older than the version of the key is late, and its work is dropped for the newer one",
			given: []given{due, version(v3), rotated(10 * time.Minute), work(func(w *ledger.Work) { w.Since = ago(time.Minute) })},
			want:  Drop, because: v3.Short()},

		{sentence: "work of a cluster that is gone is dropped", given: []given{due, gone}, want: Drop, because: "cluster is gone"},
		{sentence: "work of a region that is gone is dropped",
			given: []given{due, func(w *world) { w.facts.CMEK.RegionInfos = nil }}, want: Drop, because: "region is gone"},
		{sentence: "work for a key that the region no longer uses is dropped",
			given: []given{due, usingKey(newKey)}, want: Drop, because: "key changed"},
		{sentence: "a replica of the same key is not another key", given: []given{due, usingKey(mrkEast), doneWith(mrkEast, v1),
			work(func(w *ledger.Work) { w.Key = mrkWest })}, want: Send},
		{sentence: "work of a cluster with the label keyturn=off is dropped", given: []given{due, optedOut}, want: Drop, because: "keyturn=off"},
	})
}

func TestDecideAfterAFailureOrRefusal(t *testing.T) {
	failedOnce := work(func(w *ledger.Work) { w.Failed = 1 })
	released := work(func(w *ledger.Work) { w.Released = true })
	decides(t, []row{
		{sentence: "a failed region that is not ours is held with the message of Cockroach Labs",
			given: []given{due, regionStatus(cmek.RotateFailed), userMessage("no permission")}, want: Hold, because: "no permission"},
		{sentence: "a failed region that is not ours is sent once an operator released it",
			given: []given{due, regionStatus(cmek.RotateFailed), released}, want: Send},
		{sentence: "our own failed rotation is sent a second time",
			given: []given{due, regionStatus(cmek.RotateFailed), failedOnce}, want: Send},
		{sentence: "our own failed rotation is sent a second time even if no key reads ENABLED",
			given: []given{due, statusEverywhere(cmek.RotateFailed), failedOnce}, want: Send},
		{sentence: "our own failed rotation is not sent while its key is unusable",
			given: []given{due, regionStatus(cmek.RotateFailed), failedOnce, keyState(cmek.KeyDisabled)}, want: Hold, because: "disabled"},
		{sentence: "a rotation that failed twice is held",
			given: []given{due, work(func(w *ledger.Work) { w.Failed = 2 })}, want: Hold, because: "failed twice"},
		{sentence: "a PUT lost twice is held",
			given: []given{due, work(func(w *ledger.Work) { w.Lost = 2 })}, want: Hold, because: "no trace"},
		{sentence: "a PUT lost once is sent once more", given: []given{due, work(func(w *ledger.Work) { w.Lost = 1 })}, want: Send},
		{sentence: "a refused PUT waits for the end of its backoff and says why",
			given: []given{due, work(func(w *ledger.Work) { w.NotBefore, w.Reason = in(time.Minute), "refused: busy" })},
			want:  Wait, because: "refused: busy", until: in(time.Minute)},
		{sentence: "a refused PUT is sent at the end of its backoff",
			given: []given{due, work(func(w *ledger.Work) { w.NotBefore, w.Attempts = noon, 3 })}, want: Send},
	})
}

func TestDecideUnderTheOperatorsOrders(t *testing.T) {
	decides(t, []row{
		{sentence: "observe mode announces what it would send", given: []given{due, observing}, want: Announce},
		{sentence: "observe mode announces once",
			given: []given{due, observing, work(func(w *ledger.Work) { w.Announced = true })}, want: Wait, because: "observe mode"},
		{sentence: "observe mode says nothing of a version that is still settling",
			given: []given{due, observing, rotated(time.Minute)}, want: Wait, because: "settles"},
		{sentence: "what was announced is sent once following is switched on",
			given: []given{due, work(func(w *ledger.Work) { w.Announced = true })}, want: Send},
		{sentence: "a pause waits", given: []given{due, paused}, want: Wait, because: "paused"},
		{sentence: "a pause does not stop the watch over a PUT", given: []given{accepted, updated(ago(time.Minute)), paused}, want: Settle},
		{sentence: "observe mode does not stop the watch over a PUT", given: []given{accepted, updated(ago(time.Minute)), observing}, want: Settle},
	})
}

func TestDecideCopiesThePutFromTheClustersOwnKeySpecs(t *testing.T) {
	otherReplica := work(func(w *ledger.Work) { w.Key = mrkWest })
	w := newWorld(due, usingKey(mrkEast), doneWith(mrkEast, v1), otherReplica, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	want := []cmek.RegionSpec{{Region: east, KeySpec: spec(mrkEast)}, {Region: west, KeySpec: spec(westKey)}}
	if got := w.decide().Put; !reflect.DeepEqual(got, want) {
		t.Errorf("the PUT carries %+v, want every due region with its own unchanged spec: %+v", got, want)
	}
}

func TestDecideHoldsOnlyTheRegionThatMustWait(t *testing.T) {
	w := newWorld(due, keyState(cmek.KeyDisabled), alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	want := []cmek.RegionSpec{{Region: west, KeySpec: spec(westKey)}}
	if got := w.decide().Put; !reflect.DeepEqual(got, want) {
		t.Errorf("the PUT carries %+v, want only the region whose key is well: %+v", got, want)
	}
}

func TestDecideOpensTheNewerVersionInPlaceOfTheDroppedOne(t *testing.T) {
	w := newWorld(due, version(v3), rotated(10*time.Minute))
	var acts []Act
	for _, v := range w.decide().Verdicts {
		acts = append(acts, v.Act)
	}
	if want := []Act{Drop, Open}; !reflect.DeepEqual(acts, want) {
		t.Errorf("for an event overtaken by a newer version the verdicts are %q, want %q", acts, want)
	}
}

func TestDecideWaitsForTheRequestOfAnEarlierVersion(t *testing.T) {
	w := newWorld(accepted, version(v3), rotated(10*time.Minute))
	w.item.Work = append(w.item.Work, workFor(east, eastKey))
	w.item.Work[1].Version = v3
	plan := w.decide()
	if v := plan.Verdicts[1]; v.Act != Wait || len(plan.Put) > 0 {
		t.Errorf("work for the next version is decided %q (%s) with PUT %+v while a request is open, want %q", v.Act, v.Why, plan.Put, Wait)
	}
}

func TestDecideWaitsForTheRequestOfAnotherRegion(t *testing.T) {
	w := newWorld(accepted, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	if v := w.verdict(t, west); v.Act != Wait || len(w.decide().Put) > 0 {
		t.Errorf("due work is decided %q (%s) while a request for another region of the cluster is open, want %q", v.Act, v.Why, Wait)
	}
}

func TestDecideSendsOneSpecForARegionWithTwoPiecesOfWork(t *testing.T) {
	w := newWorld(due, due)
	plan := w.decide()
	if len(plan.Put) != 1 || plan.Verdicts[1].Act != Drop {
		t.Errorf("two notices of one rotation make the PUT %+v with verdicts %+v, want one spec and the second piece dropped", plan.Put, plan.Verdicts)
	}
}

func TestDecideSaysNothingAboutAClusterThatIsGone(t *testing.T) {
	if plan := newWorld(gone).decide(); len(plan.Verdicts) > 0 || !plan.Next.IsZero() {
		t.Errorf("a cluster that is gone and has no work gets the plan %+v, want none", plan)
	}
}

func TestDecideLooksAgainAtTheEarliestTime(t *testing.T) {
	w := newWorld(due, rotated(2*time.Minute), alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	w.item.Work[1].NotBefore = in(90 * time.Second)
	if got, want := w.decide().Next, in(90*time.Second); !got.Equal(want) {
		t.Errorf("looks again at %s, want %s, when the first of two waits ends", got, want)
	}
}
