package rotation

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Every status of CockroachDB Cloud API 2024-09-16, CMEKStatus, and one that it does not know, in each situation that
// follow-through can be in. The status is that of the cluster, its region and its key alike.
func TestDecide_everyStatus(t *testing.T) { onBothClouds(t, testDecide_everyStatus) }

func testDecide_everyStatus(t *testing.T) {
	for _, s := range []struct {
		status                          cmek.Status
		nothing, due, accepted, unknown Act
	}{
		{cmek.Enabled, Open, Send, Wait, Wait},
		{cmek.Enabling, Wait, Wait, Wait, Wait},
		{cmek.Rotating, Wait, Wait, Wait, Wait},
		{cmek.EnableFailed, Open, Block, Fail, Fail}, // opened, so that it is blocked and reported
		{cmek.RotateFailed, Open, Block, Fail, Fail},
		{cmek.Disabled, Wait, Block, Block, Block},
		{cmek.Disabling, Wait, Block, Block, Block},
		{cmek.DisableFailed, Wait, Block, Block, Block},
		{cmek.Revoked, Wait, Block, Block, Block},
		{cmek.Revoking, Wait, Block, Block, Block},
		{cmek.RevokeFailed, Wait, Block, Block, Block},
		{strange, Wait, Wait, Wait, Wait},
	} {
		finally := func(d given) given { return func(w *world) { d(w); rested(s.status, time.Minute)(w) } }
		if s.status == cmek.Enabled {
			finally = func(d given) given { return d }
		}
		for _, situation := range []struct {
			name  string
			given given
			want  Act
		}{
			{"a rotation that nobody noticed", func(*world) {}, s.nothing},
			{"due work", due, s.due},
			{"an accepted PUT", finally(accepted), s.accepted},
			{"a PUT of unknown outcome", finally(timedOut), s.unknown},
		} {
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

func TestDecide_withoutOpenWork(t *testing.T) { onBothClouds(t, testDecide_withoutOpenWork) }

func testDecide_withoutOpenWork(t *testing.T) {
	primary := func(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: strconv.Itoa(n)} }
	// The key rotated five hours ago, so that an operation of the longest kind can lie between the rotation and now.
	seenFirst := func(w *world) { neverDone(w); rotated(5 * time.Hour)(w) }
	enough := ago(5*time.Hour - 5*time.Minute - 2*time.Hour) // rotation, settle time, longest operation
	decides(t, []row{
		{sentence: "a version that no event announced opens work at once", want: Open, until: noon},

		{sentence: "the latest done version is up to date", given: []given{doneWith(eastKey, v2)}, want: UpToDate},
		{sentence: "a primary set back to an older version is a change too",
			given: []given{doneWith(eastKey, primary(5)), version(primary(4))}, want: Open},
		{sentence: "a version done under another replica of the key is done",
			given: []given{usingKey(mrkEast), doneWith(mrkWest, v2)}, want: UpToDate},
		{sentence: "a version done under another key is not",
			given: []given{usingKey(newKey), doneWith(eastKey, v2)}, want: Open},

		{sentence: "on first discovery a key that never rotated is adopted",
			given: []given{neverDone, kms(func(k *cmek.Key) { k.NeverRotated = true })}, want: Adopt},
		{sentence: "on first discovery a later updated_at adopts",
			given: []given{seenFirst, updated(enough.Add(time.Second))}, want: Adopt},
		{sentence: "on first discovery an updated_at within 2 h is due",
			given: []given{seenFirst, updated(enough)}, want: Open},
		{sentence: "a longer settle time of the KMS counts for adoption",
			given: []given{seenFirst, updated(enough.Add(time.Second)), kms(func(k *cmek.Key) { k.Settle = time.Hour })}, want: Open},
		{sentence: "on first discovery an earlier updated_at is due", given: []given{neverDone}, want: Open},
		{sentence: "on first discovery an unknown rotation time is due",
			given: []given{seenFirst, updated(after), kms(func(k *cmek.Key) { k.RotatedAt = time.Time{} })}, want: Open},
		{sentence: "on first discovery a missing updated_at is due", given: []given{seenFirst, updated(time.Time{})}, want: Open},
		{sentence: "on first discovery a rotating region is due",
			given: []given{seenFirst, regionStatus(cmek.Rotating), updated(after)}, want: Open},
		{sentence: "a region with another key is discovered again",
			given: []given{usingKey(newKey), doneWith(eastKey, v2), rotated(5 * time.Hour), updated(after)}, want: Adopt},

		{sentence: "a cluster with the label keyturn=off is left alone", given: []given{optedOut}, want: UpToDate, because: "keyturn=off"},
		{sentence: "a cluster that shows no CMEK opens nothing", given: []given{unshown}, want: Wait, because: "does not show"},
		{sentence: "a region that is not shown opens nothing", given: []given{regionUnshown}, want: Wait, because: "does not show"},
		{sentence: "an older read opens nothing", given: []given{olderRead}, want: Wait, because: "older"},
		{sentence: "an unusable key opens no work", given: []given{keyState(cmek.KeyDisabled)}, want: Wait},
		{sentence: "a key that we may not read opens no work", given: []given{keyUnread(cmek.ErrDenied)}, want: Wait},
		{sentence: "a KMS that does not answer opens no work", given: []given{keyUnread(errOutage)}, want: Wait},
		{sentence: "a key that was not read opens no work", given: []given{keysUnread}, want: Wait},
		{sentence: "a key without a version opens no work", given: []given{neverDone, version(cmek.KeyVersion{})}, want: Wait},
		{sentence: "an Azure key opens no work: a new version is a new URI",
			given: []given{usingKey("https://vault.vault.azure.net/keys/cmek/0123")}, want: Wait, because: "AZURE_KEY_VAULT"},
		{sentence: "several ENABLED specs open no work", given: []given{twoSpecs}, want: Wait, because: "2 different key specs"},
		{sentence: "a failed region whose done key is a past one opens no work", want: Wait, because: "no key spec",
			given: []given{regionStatus(cmek.RotateFailed), keys(keyInfo(eastKey, cmek.Disabled, longAgo))}},
	})
}

// twoSpecs: two keys of us-east-1 read ENABLED.
func twoSpecs(w *world) {
	keys(keyInfo(eastKey, cmek.Enabled, ago(time.Hour)), keyInfo(newKey, cmek.Enabled, ago(2*time.Hour)))(w)
}

func TestDecide_changeOfVersionScheme(t *testing.T) {
	byDate := doneWith(eastKey, cmek.RotatedOnVersion(ago(time.Hour)))
	followed := func(sent time.Time) given {
		return func(w *world) { w.item.Done[0].Followed, w.item.Done[0].Sent = true, sent }
	}
	// The new scheme proves a rotation an hour ago; with the settle time and the clocks' offset that is 45 minutes ago.
	decides(t, []row{
		{sentence: "a PUT well after the proven rotation adopts", given: []given{byDate, followed(ago(44 * time.Minute))}, want: Adopt},
		{sentence: "a PUT within the clocks' offset does not", given: []given{byDate, followed(ago(46 * time.Minute))}, want: Open},
		{sentence: "a PUT before the proven rotation does not", given: []given{byDate, followed(ago(2 * time.Hour))}, want: Open},
		{sentence: "a PUT of an unknown time does not", given: []given{byDate, followed(time.Time{})}, want: Open},
		{sentence: "a rotation that is not proven does not",
			given: []given{byDate, followed(after), kms(func(k *cmek.Key) { k.RotatedAt = time.Time{} })}, want: Open},
		{sentence: "a version that was only adopted does not", want: Open,
			given: []given{byDate, func(w *world) { w.item.Done[0].Followed, w.item.Done[0].Sent = false, after }}},
		{sentence: "an updated_at that proves it adopts", given: []given{byDate, rotated(5 * time.Hour), updated(ago(time.Hour))}, want: Adopt},
		{sentence: "a key that never rotated is adopted",
			given: []given{byDate, kms(func(k *cmek.Key) { k.NeverRotated, k.RotatedAt = true, time.Time{} })}, want: Adopt},

		{sentence: "a date where a material was known is not read", want: Wait, because: "left out",
			given: []given{version(cmek.RotatedOnVersion(ago(time.Hour)))}},
		{sentence: "no version where a material was known is not read", want: Wait, because: "left out",
			given: []given{version(cmek.KeyVersion{})}},
		{sentence: "a date where a sweep read a material is not read", want: Wait, because: "left out",
			given: []given{due, bySweep, neverDone, version(cmek.RotatedOnVersion(ago(time.Hour)))}},
		{sentence: "no version where a sweep read a material is not read", want: Wait, because: "left out",
			given: []given{due, bySweep, neverDone, version(cmek.KeyVersion{})}},
		{sentence: "a date where only an event names a material is a version", want: Wait, because: "settles",
			given: []given{due, neverDone, version(cmek.RotatedOnVersion(ago(time.Hour)))}},
		{sentence: "a date of a key known by dates is compared", want: Open,
			given: []given{doneWith(eastKey, cmek.RotatedOnVersion(ago(48*time.Hour))), version(cmek.RotatedOnVersion(ago(time.Hour)))}},
		{sentence: "a date where another key had a material is a version", want: Open,
			given: []given{usingKey(newKey), version(cmek.RotatedOnVersion(ago(time.Hour)))}},
		{sentence: "work opened under another scheme is not compared", want: Wait, because: "settles",
			given: []given{due, work(func(w *ledger.Work) { w.Version = cmek.RotatedOnVersion(ago(2 * time.Hour)) })}},
	})
}

func TestDecide_dueWork_whetherItMaySend(t *testing.T) {
	onBothClouds(t, testDecide_dueWork_whetherItMaySend)
}

func testDecide_dueWork_whetherItMaySend(t *testing.T) {
	decides(t, []row{
		{sentence: "due work is sent", given: []given{due}, want: Send},

		{sentence: "a cluster that is being created waits", given: []given{due, state("CREATING")}, want: Wait, because: "CREATING"},
		{sentence: "a locked cluster waits", given: []given{due, state(cmek.StateLocked)}, want: Wait, because: "LOCKED"},
		{sentence: "any running operation makes the cluster wait", given: []given{due, operation("CRDB_SCALE_RUNNING")}, want: Wait, because: "CRDB_SCALE_RUNNING"},
		{sentence: "a failed operation of another kind is no reason to wait", given: []given{due, operation("CRDB_SCALE_FAILED")}, want: Send},
		{sentence: "a rotating region waits even if its key reads ENABLED", given: []given{due, regionStatus(cmek.Rotating)}, want: Wait},
		{sentence: "a region of unknown status waits", given: []given{due, regionStatus(strange)}, want: Wait, because: string(strange)},
		{sentence: "a region and key of unknown status wait", given: []given{due, statusEverywhere(strange)}, want: Wait},
		{sentence: "a cluster of unknown status waits", given: []given{due, func(w *world) { w.facts.CMEK.Status = strange }}, want: Wait, because: string(strange)},
		{sentence: "a move to another key in progress waits", want: Wait,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, longAgo), keyInfo(newKey, cmek.Enabling, after))}},
		{sentence: "another region that is rotating waits", want: Wait,
			given: []given{due, alsoWest(westKey), func(w *world) { w.facts.CMEK.RegionInfos[1].Status = cmek.Rotating }}},
		{sentence: "a cluster being revoked is left alone", want: Block, because: "hands off",
			given: []given{due, func(w *world) { w.facts.CMEK.Status = cmek.Revoking }}},
		{sentence: "a cluster revoked in another region is left alone", want: Block, because: "region us-west-2 is REVOKED",
			given: []given{due, alsoWest(westKey), func(w *world) { w.facts.CMEK.RegionInfos[1].Status = cmek.Revoked }}},
		{sentence: "another region that is disabled does not matter", want: Send,
			given: []given{due, alsoWest(westKey), func(w *world) { w.facts.CMEK.RegionInfos[1].Status = cmek.Disabled }}},

		{sentence: "several distinct ENABLED specs are blocked", given: []given{due, twoSpecs}, want: Block, because: "2 different key specs"},
		{sentence: "no ENABLED spec is blocked", given: []given{due, keys(keyInfo(eastKey, cmek.Disabled, longAgo))}, want: Block, because: "no key spec"},
		{sentence: "one spec in several infos is one", want: Send,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, longAgo), keyInfo(eastKey, cmek.Enabled, longAgo.Add(time.Hour)))}},
		{sentence: "one key with two principals is two specs", want: Block, because: "2 different key specs",
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, longAgo), otherPrincipal(keyInfo(eastKey, cmek.Enabled, longAgo)))}},
		{sentence: "a past key before the current one does not matter", want: Send,
			given: []given{due, keys(keyInfo(newKey, cmek.Disabled, longAgo), keyInfo(eastKey, cmek.Enabled, longAgo))}},
		{sentence: "a past key after the current one does not matter", want: Send,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, longAgo), keyInfo(newKey, cmek.Disabled, longAgo))}},
		{sentence: "a past info of the same spec does not matter", want: Send,
			given: []given{due, keys(keyInfo(eastKey, cmek.Enabled, longAgo), keyInfo(eastKey, cmek.Disabled, longAgo))}},

		{sentence: "a disabled key is blocked", given: []given{due, keyState(cmek.KeyDisabled)}, want: Block, because: "disabled"},
		{sentence: "a key with a scheduled deletion is blocked", given: []given{due, keyState(cmek.KeyDeletionScheduled)}, want: Block, because: "deletion scheduled"},
		{sentence: "a key without its imported material is blocked", given: []given{due, keyState(cmek.KeyPendingImport)}, want: Block, because: "pending import"},
		{sentence: "a key in a transient state waits", given: []given{due, keyState(cmek.KeyTransient)}, want: Wait},
		{sentence: "a key in an unknown state waits", given: []given{due, keyState(cmek.KeyUnknown)}, want: Wait},
		{sentence: "a key that we may not read waits", given: []given{due, keyUnread(cmek.ErrDenied)}, want: Wait, because: "may not read"},
		{sentence: "a KMS that does not answer waits", given: []given{due, keyUnread(errOutage)}, want: Wait},
		{sentence: "a key that recovered is unblocked", given: []given{due, blocked}, want: Send},
		{sentence: "a key that never had a version is blocked", want: Block, because: "no version",
			given: []given{due, neverDone, work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} }), version(cmek.KeyVersion{})}},

		{sentence: "work that is done already is dropped", given: []given{due, doneWith(eastKey, v2)}, want: Drop, because: "already done"},
		{sentence: "first discovery adopts due work, too", given: []given{due, neverDone, rotated(5 * time.Hour), updated(after)}, want: Adopt},
		{sentence: "nothing is adopted once a PUT was sent for it", want: Send,
			given: []given{refusedOnce, neverDone, rotated(5 * time.Hour), updated(after),
				baseline(func(b *ledger.Baseline) { b.UpdatedAt = after })}},
		{sentence: "nothing is adopted while a request is open", want: Wait, because: "an earlier request",
			given: []given{due, neverDone, alsoWest(westKey), rotated(5 * time.Hour), updated(after), inFlightInWest}},
		{sentence: "nothing is adopted after an operator's retry", want: Send,
			given: []given{due, neverDone, rotated(5 * time.Hour), updated(after), work(func(w *ledger.Work) { w.Retried = true })}},
		{sentence: "a primary set back to an older version is sent", given: []given{due, doneWith(eastKey, v3)}, want: Send},

		{sentence: "our request for another region makes it wait", want: Wait, because: "an earlier request",
			given: []given{due, alsoWest(westKey), inFlightInWest}},
		{sentence: "an operator's operation makes it wait", want: Wait, because: "an operation is running: enable, by ana", until: in(busyWait),
			given: []given{due, operating(119 * time.Minute)}},
		{sentence: "an operation that was begun longer ago than any takes does not", given: []given{due, operating(2 * time.Hour)}, want: Send},
		{sentence: "an operation that has ended does not", want: Send,
			given: []given{due, operating(time.Minute), func(w *world) { w.item.Operation.Ended = ago(time.Second) }}},
		{sentence: "a claim of another worker makes it wait", given: []given{due, claimedBefore(39 * time.Second)}, want: Wait, because: "an earlier request"},
		{sentence: "a claim whose worker is gone does not", given: []given{due, claimedBefore(40 * time.Second)}, want: Send},
		{sentence: "our own claim does not", want: Send,
			given: []given{due, claimedBefore(time.Second), func(w *world) { w.facts.Claimed = ago(time.Second) }}},
		{sentence: "our claim of another intent does", want: Wait,
			given: []given{due, claimedBefore(time.Second), func(w *world) { w.facts.Claimed = ago(2 * time.Second) }}},
		{sentence: "a claim does not leave upon an older read", want: Wait, because: "older",
			given: []given{due, olderRead, claimedBefore(time.Second), func(w *world) { w.facts.Claimed = ago(time.Second) }}},
		{sentence: "a claim does not leave without a read of the CMEK", want: Wait,
			given: []given{due, cmekUnread, claimedBefore(time.Second), func(w *world) { w.facts.Claimed = ago(time.Second) }}},
		{sentence: "an older read decides nothing about due work", given: []given{due, olderRead}, want: Wait, because: "older"},

		{sentence: "work of a deleted cluster is dropped", given: []given{due, deleted}, want: Drop, because: "deleted"},
		{sentence: "work of a cluster that is not shown waits", given: []given{due, unshown}, want: Wait, because: "shows no CMEK"},
		{sentence: "work of a region that is gone is dropped", given: []given{due, regionGone}, want: Drop, because: "region is gone"},
		{sentence: "work of a region that is not shown waits", given: []given{due, regionUnshown}, want: Wait, because: "does not show"},
		{sentence: "work for a key that the region no longer uses is dropped",
			given: []given{due, usingKey(newKey)}, want: Drop, because: "key changed"},
		{sentence: "a replica of the same key is not another key", given: []given{due, usingKey(mrkEast), doneWith(mrkEast, v1),
			work(func(w *ledger.Work) { w.Key = mrkWest })}, want: Send},
		{sentence: "the label keyturn=off drops due work", given: []given{due, optedOut}, want: Drop, because: "keyturn=off"},
	})
}

func otherPrincipal(k cmek.KeyInfo) cmek.KeyInfo {
	k.Spec.AuthPrincipal = "arn:aws:iam::111122223333:role/other"
	return k
}

// operating: an operator's command was to send its request so long ago.
func operating(d time.Duration) given {
	return func(w *world) {
		w.item.Operation = &ledger.Operation{Kind: ledger.OperationEnable, By: "ana", Since: ago(d), Sent: ago(d)}
	}
}

// inFlightInWest: our request for us-west-2 is open.
func inFlightInWest(w *world) {
	other := workFor(west, westKey)
	other.State, other.Request = ledger.Requested, requestOf(2*time.Minute)
	other.Request.Answer = &cmek.Answer{Outcome: cmek.Accepted}
	w.item.Work = append(w.item.Work, other)
}

func TestDecide_settleTime(t *testing.T) { onBothClouds(t, testDecide_settleTime) }

func testDecide_settleTime(t *testing.T) {
	seen := func(d time.Duration) given { return work(func(w *ledger.Work) { w.VersionSeen = ago(d) }) }
	setting := func(d time.Duration) given { return func(w *world) { w.settings.Settle = d } }
	loopback := func(w *world) { w.settings.Loopback = true }
	decides(t, []row{
		{sentence: "a version known for less than 5 min waits", given: []given{due, seen(2 * time.Minute)}, want: Wait, because: "settles", until: in(3 * time.Minute)},
		{sentence: "a version known for 5 min is sent", given: []given{due, seen(5 * time.Minute)}, want: Send},
		{sentence: "a version counts from first sight, however old", want: Wait, until: in(4 * time.Minute),
			given: []given{due, rotated(48 * time.Hour), work(func(w *ledger.Work) { w.Since = ago(time.Minute) })}},
		{sentence: "an event without a version settles from the first read", want: Wait, because: "settles", until: in(5 * time.Minute),
			given: []given{due, work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })}},
		{sentence: "an on-demand rotation in progress waits, however old",
			given: []given{due, kms(func(k *cmek.Key) { k.RotationRunning = true })}, want: Wait, because: "still rotating"},
		{sentence: "KEYTURN_SETTLE lengthens it", given: []given{due, seen(9 * time.Minute), setting(10 * time.Minute)}, want: Wait, until: in(time.Minute)},
		{sentence: "KEYTURN_SETTLE does not shorten it", given: []given{due, seen(2 * time.Minute), setting(time.Second)}, want: Wait, until: in(3 * time.Minute)},
		{sentence: "the KMS's own settle time counts", want: Wait, until: in(10 * time.Minute),
			given: []given{due, seen(2 * time.Hour), kms(func(k *cmek.Key) { k.Settle = 3 * time.Hour })}},
		{sentence: "the KMS's own settle time ends", want: Send,
			given: []given{due, seen(3 * time.Hour), kms(func(k *cmek.Key) { k.Settle = 3 * time.Hour })}},
		{sentence: "against loopback KEYTURN_SETTLE may be shorter", given: []given{due, seen(2 * time.Second), setting(time.Second), loopback}, want: Send},
	})
}

func TestDecide_anotherVersionThanTheEvents(t *testing.T) {
	onBothClouds(t, testDecide_anotherVersionThanTheEvents)
}

func testDecide_anotherVersionThanTheEvents(t *testing.T) {
	early := work(func(w *ledger.Work) { w.Since, w.Trigger.Time = ago(time.Minute), ago(time.Minute) })
	unversioned := work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} })
	justNow := work(func(w *ledger.Work) { w.Since = noon })
	old := func(w *world) { version(v1)(w); rotated(300 * 24 * time.Hour)(w) }
	decides(t, []row{
		{sentence: "a version in the key's history is superseded at once",
			given: []given{due, early, version(v3), rotated(300 * 24 * time.Hour), history(v1, v2, v3)}, want: Supersede, because: v3.Short(), until: noon},
		{sentence: "an event older than the key's version is superseded", given: []given{due, version(v3), rotated(10 * time.Minute)}, want: Supersede},
		{sentence: "an event newer than the key's version waits", given: []given{due, early, old, history(v1)},
			want: Wait, because: "does not show", until: in(time.Minute)},
		{sentence: "an event of unknown time waits", given: []given{due, early, old, work(func(w *ledger.Work) { w.Trigger.Time = time.Time{} })}, want: Wait, because: "does not show"},
		{sentence: "the wait ends after 10 min", want: Wait, because: "does not show", until: in(time.Second),
			given: []given{due, old, work(func(w *ledger.Work) {
				w.Since, w.Trigger.Time = ago(10*time.Minute-time.Second), ago(10*time.Minute-time.Second)
			})}},
		{sentence: "after 10 min the KMS is believed: already done", want: Drop, because: "already done",
			given: []given{due, old, work(func(w *ledger.Work) { w.Since, w.Trigger.Time = ago(10*time.Minute), ago(10*time.Minute) })}},
		{sentence: "after 10 min the KMS is believed: another version", want: Supersede,
			given: []given{due, version(v3), rotated(300 * 24 * time.Hour), work(func(w *ledger.Work) { w.Since = ago(10 * time.Minute) })}},
		{sentence: "an event without a version, and the KMS shows the one done, is read again", want: Wait, because: "newer version", until: in(50 * time.Second),
			given: []given{due, unversioned, justNow, doneWith(eastKey, v2)}},
		{sentence: "an event without a version is read again once", want: Drop, because: "already done",
			given: []given{due, unversioned, doneWith(eastKey, v2), work(func(w *ledger.Work) { w.Since = ago(50 * time.Second) })}},
		{sentence: "an event with the version that is done is dropped", want: Drop, because: "already done",
			given: []given{due, justNow, doneWith(eastKey, v2)}},
		{sentence: "work of a sweep is dropped once it is done", want: Drop, because: "already done",
			given: []given{due, unversioned, justNow, bySweep, doneWith(eastKey, v2)}},
		{sentence: "an older version in the history, and the current one done, is dropped", want: Drop, because: "already done",
			given: []given{due, version(v3), doneWith(eastKey, v3), history(v1, v2, v3)}},
	})
}

func TestDecide_afterAFailureOrRefusal(t *testing.T) {
	onBothClouds(t, testDecide_afterAFailureOrRefusal)
}

func testDecide_afterAFailureOrRefusal(t *testing.T) {
	retried := work(func(w *ledger.Work) { w.Retried = true })
	decides(t, []row{
		{sentence: "a failure that is not ours is blocked with the message",
			given: []given{due, regionStatus(cmek.RotateFailed), userMessage("no permission")}, want: Block, because: "no permission"},
		{sentence: "a failure that is not ours is sent after a retry", given: []given{due, regionStatus(cmek.RotateFailed), retried}, want: Send},
		{sentence: "our own failure is sent a second time", given: []given{due, regionStatus(cmek.RotateFailed), failed(1)}, want: Send},
		{sentence: "our own failure is sent even if no key reads ENABLED", given: []given{due, statusEverywhere(cmek.RotateFailed), failed(1)}, want: Send},
		{sentence: "our own failure is sent even if the region was never done", want: Send,
			given: []given{due, neverDone, statusEverywhere(cmek.RotateFailed), failed(1)}},
		{sentence: "a failed region that has moved on to another key drops the work", want: Drop, because: "key changed",
			given: []given{due, usingKey(newKey), doneWith(newKey, v1), statusEverywhere(cmek.RotateFailed)}},
		{sentence: "our own failure is not sent with an unusable key", want: Block, because: "disabled",
			given: []given{due, regionStatus(cmek.RotateFailed), failed(1), keyState(cmek.KeyDisabled)}},
		{sentence: "a second failure is blocked", given: []given{due, statusEverywhere(cmek.RotateFailed), failed(2)}, want: Block, because: "failed twice"},
		{sentence: "a second failure stays blocked though it reads ENABLED", given: []given{due, failed(2)}, want: Block, because: "failed twice"},
		{sentence: "a second failure goes on with the next version", want: Supersede,
			given: []given{due, failed(2), version(v3), rotated(10 * time.Minute)}},

		{sentence: "a request lost once is sent once more", given: []given{givenUp}, want: Send},
		{sentence: "a request lost twice is blocked", given: []given{givenUp, lost(2)}, want: Block, because: "no trace"},
		{sentence: "a request lost twice is sent again if updated_at moves", given: []given{givenUp, lost(2), updatedAtMoves}, want: Send},
		{sentence: "a request lost often is sent again if updated_at moves", given: []given{givenUp, lost(12), updatedAtMoves}, want: Send},

		{sentence: "a refused PUT waits for the end of its backoff",
			given: []given{refusedOnce, work(func(w *ledger.Work) { w.NotBefore, w.Reason = in(time.Minute), "refused: busy" })},
			want:  Wait, because: "refused: busy", until: in(time.Minute)},
		{sentence: "a refused PUT is sent at the end of its backoff", given: []given{refusedOnce, work(func(w *ledger.Work) { w.NotBefore = noon })}, want: Send},
	})
}

func TestDecide_operatorsOrders(t *testing.T) { onBothClouds(t, testDecide_operatorsOrders) }

func testDecide_operatorsOrders(t *testing.T) {
	announced := work(func(w *ledger.Work) { w.Announced = true })
	settled := func(w *world) { accepted(w); movedAt(w); rested(cmek.Enabled, time.Minute)(w) }
	decides(t, []row{
		{sentence: "observe mode announces what it would send", given: []given{due, observing}, want: Announce},
		{sentence: "observe mode announces once", given: []given{due, observing, announced}, want: Wait, because: "observe mode"},
		{sentence: "observe mode announces no version that settles", want: Wait, because: "settles",
			given: []given{due, observing, work(func(w *ledger.Work) { w.VersionSeen = after })}},
		{sentence: "what was announced is sent once following is on", given: []given{due, announced}, want: Send},
		{sentence: "a pause waits", given: []given{due, paused}, want: Wait, because: "paused"},
		{sentence: "a pause does not stop watching a PUT", given: []given{settled, paused}, want: Complete},
		{sentence: "observe mode does not stop watching a PUT", given: []given{settled, observing}, want: Complete},
		{sentence: "the label keyturn=off does not stop watching a PUT", given: []given{settled, optedOut}, want: Complete},
	})
}

func TestDecide_put_copiesTheClustersOwnSpecs(t *testing.T) {
	onBothClouds(t, testDecide_put_copiesTheClustersOwnSpecs)
}

func testDecide_put_copiesTheClustersOwnSpecs(t *testing.T) {
	otherReplica := work(func(w *ledger.Work) { w.Key = mrkWest })
	w := newWorld(due, usingKey(mrkEast), doneWith(mrkEast, v1), otherReplica, alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	want := []cmek.RegionSpec{{Region: east, KeySpec: spec(mrkEast)}, {Region: west, KeySpec: spec(westKey)}}
	if got := w.decide().Put; !reflect.DeepEqual(got, want) {
		t.Errorf("the PUT carries %+v, want every due region with its own unchanged spec: %+v", got, want)
	}
}

func TestDecide_put_carriesTheSpecInForce(t *testing.T) {
	onBothClouds(t, testDecide_put_carriesTheSpecInForce)
}

func testDecide_put_carriesTheSpecInForce(t *testing.T) {
	inForce := keyInfo(eastKey, cmek.Enabled, ago(400*24*time.Hour))
	inForce.UpdatedAt = ago(10 * 24 * time.Hour)
	retired := otherPrincipal(keyInfo(eastKey, cmek.Disabled, ago(20*24*time.Hour)))
	put := newWorld(due, keys(inForce, retired)).decide().Put
	if len(put) != 1 || put[0].KeySpec != inForce.Spec {
		t.Errorf("the PUT carries %+v, want the ENABLED spec %+v", put, inForce.Spec)
	}
	w := newWorld(accepted, keys(inForce, retired), movedAt, rested(cmek.Enabled, time.Minute))
	if v := w.verdict(t, east); v.Act != Complete {
		t.Errorf("after the PUT with the ENABLED spec: %s (%s), want done", v.Act, v.Why)
	}
}

func TestDecide_put_leavesOutTheRegionThatWaits(t *testing.T) {
	onBothClouds(t, testDecide_put_leavesOutTheRegionThatWaits)
}

func testDecide_put_leavesOutTheRegionThatWaits(t *testing.T) {
	w := newWorld(due, keyState(cmek.KeyDisabled), alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	want := []cmek.RegionSpec{{Region: west, KeySpec: spec(westKey)}}
	if got := w.decide().Put; !reflect.DeepEqual(got, want) {
		t.Errorf("the PUT carries %+v, want only the region whose key is healthy: %+v", got, want)
	}
}

func TestDecide_put_namesARegionOnce(t *testing.T) { onBothClouds(t, testDecide_put_namesARegionOnce) }

func testDecide_put_namesARegionOnce(t *testing.T) {
	for name, first := range map[string]given{"due": due, "refused": refusedOnce} {
		plan := newWorld(first, due).decide()
		if len(plan.Put) != 1 || plan.Verdicts[1].Act != Drop {
			t.Errorf("two pieces of work for one region, the first %s, make the PUT %+v with verdicts %+v, want one spec and the second dropped", name, plan.Put, plan.Verdicts)
		}
	}
}

func TestDecide_theNextVersionWaitsForTheOpenRequest(t *testing.T) {
	onBothClouds(t, testDecide_theNextVersionWaitsForTheOpenRequest)
}

func testDecide_theNextVersionWaitsForTheOpenRequest(t *testing.T) {
	w := newWorld(accepted, version(v3), rotated(10*time.Minute))
	w.item.Work = append(w.item.Work, workFor(east, eastKey))
	w.item.Work[1].Version = v3
	for range 2 { // in either order
		plan := w.decide()
		for i, v := range plan.Verdicts {
			if v.Act != Wait || len(plan.Put) > 0 {
				t.Errorf("work %d of the open request and that for the next version is decided %q (%s) with PUT %+v, want %q", i, v.Act, v.Why, plan.Put, Wait)
			}
		}
		slices.Reverse(w.item.Work)
	}
}

func TestDecide_deletedClusterWithoutWork(t *testing.T) {
	onBothClouds(t, testDecide_deletedClusterWithoutWork)
}

func testDecide_deletedClusterWithoutWork(t *testing.T) {
	if plan := newWorld(deleted).decide(); len(plan.Verdicts) > 0 || !plan.Next.IsZero() {
		t.Errorf("a deleted cluster without work gets the plan %+v, want none", plan)
	}
}

func TestDecide_next_isTheEarliestTime(t *testing.T) {
	onBothClouds(t, testDecide_next_isTheEarliestTime)
}

func testDecide_next_isTheEarliestTime(t *testing.T) {
	w := newWorld(due, work(func(w *ledger.Work) { w.VersionSeen = ago(2 * time.Minute) }), alsoWest(westKey))
	w.item.Work = append(w.item.Work, workFor(west, westKey))
	w.item.Work[1].NotBefore = in(90 * time.Second)
	if got, want := w.decide().Next, in(90*time.Second); !got.Equal(want) {
		t.Errorf("polls again at %s, want %s, when the first of two waits ends", got, want)
	}
	w = newWorld(due, work(func(w *ledger.Work) { w.VersionSeen = ago(2 * time.Minute) }), alsoWest(westKey), func(w *world) { w.item.Done[1].Version = v2 })
	if got, want := w.decide().Next, in(3*time.Minute); !got.Equal(want) {
		t.Errorf("beside a region that is up to date it polls again at %s, want %s, when the wait of the other one ends", got, want)
	}
}

// Only an accepted PUT that is done and moved updated_at proves that one moves it.
func TestPlan_provesUpdatedAt(t *testing.T) { onBothClouds(t, testPlan_provesUpdatedAt) }

func testPlan_provesUpdatedAt(t *testing.T) {
	ended := rested(cmek.Enabled, time.Minute)
	for _, r := range []struct {
		sentence string
		given    []given
		want     bool
	}{
		{"an accepted PUT that moved it and is done", []given{accepted, movedAt, ended}, true},
		{"an accepted PUT that moved it and is not done", []given{accepted, movedAt}, false},
		{"an accepted PUT that was seen otherwise", []given{accepted, traced, ended}, false},
		{"a PUT of unknown outcome", []given{timedOut, movedAt, ended}, false},
		{"a PUT without an answer", []given{unanswered, movedAt, ended}, false},
		{"work without a PUT", []given{due, movedAt}, false},
	} {
		if got := newWorld(r.given...).decide().provesUpdatedAt(); got != r.want {
			t.Errorf("%s proves that updated_at moves: %t, want %t", r.sentence, got, r.want)
		}
	}
}

// Random worlds: whatever the ledger holds and the reads show, a PUT names only regions that it may name.
func TestDecide_random_putsOnlyWhatItMay(t *testing.T) {
	onBothClouds(t, testDecide_random_putsOnlyWhatItMay)
}

func testDecide_random_putsOnlyWhatItMay(t *testing.T) {
	begins := []given{due, due, due, doneWith(eastKey, v2), refusedOnce, givenUp, accepted, timedOut, unanswered, func(*world) {}}
	var changes []given
	add := func(list ...given) { changes = append(changes, list...) }
	for _, s := range append([]cmek.Status{strange, ""}, cmek.Statuses...) {
		add(regionStatus(s), statusEverywhere(s), func(w *world) { w.facts.CMEK.Status = s })
		add(func(w *world) { w.facts.CMEK.RegionInfos[len(w.facts.CMEK.RegionInfos)-1].Status = s })
		add(func(w *world) { w.facts.CMEK.RegionInfos[0].KeyInfos[0].Status = s })
	}
	for _, s := range []cmek.KeyState{cmek.KeyDisabled, cmek.KeyDeletionScheduled, cmek.KeyPendingImport, cmek.KeyUnavailable, cmek.KeyDestroyed, cmek.KeyNotFound, cmek.KeyTransient, cmek.KeyUnknown} {
		add(keyState(s))
	}
	add(state("CREATING"), state(cmek.StateLocked), operation(cmek.CMEKOperationRunning), operation(cmek.CMEKOperationFailed), operation("CRDB_SCALE_RUNNING"),
		optedOut, deleted, unshown, regionUnshown, olderRead, cmekUnread, clusterUnread, twoSpecs, movedAt, observing, paused, keysUnread, heldCluster, held(cmek.Hold{Key: eastKey}),
		keyUnread(cmek.ErrDenied), keyUnread(errOutage), neverDone, version(v3), version(cmek.KeyVersion{}), rotated(time.Minute),
		history(v1, v2), kms(func(k *cmek.Key) { k.RotationRunning = true }), updatedAtMoves, with(member("a", waiting)), with(member("z", flying)), with(member("a", followed(v2))))
	ofWork := []func(*ledger.Work){
		func(w *ledger.Work) { w.Claim = &ledger.Claim{Intent: ago(time.Second)} }, func(w *ledger.Work) { w.State = ledger.Blocked },
		func(w *ledger.Work) { w.Failed = 1 }, func(w *ledger.Work) { w.Failed = 2 }, func(w *ledger.Work) { w.Lost = 1 }, func(w *ledger.Work) { w.Lost = 2 },
		func(w *ledger.Work) { w.Retried = true }, func(w *ledger.Work) { w.NotBefore = in(time.Minute) }, func(w *ledger.Work) { w.VersionSeen = after },
		func(w *ledger.Work) { w.Version = v1 }, func(w *ledger.Work) { w.Version = cmek.KeyVersion{} },
	}
	puts := 0
	for seed := range uint64(20000) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		givens := []given{begins[rnd.IntN(len(begins))]}
		if rnd.IntN(2) == 0 {
			givens = append(givens, alsoWest(westKey), func(w *world) { w.item.Work = append(w.item.Work, workFor(west, westKey)) })
		}
		for range rnd.IntN(3) {
			n, k := rnd.IntN(8), rnd.IntN(len(ofWork))
			givens = append(givens, func(w *world) {
				if len(w.item.Work) > 0 {
					ofWork[k](&w.item.Work[n%len(w.item.Work)])
				}
			})
		}
		for range rnd.IntN(4) {
			givens = append(givens, changes[rnd.IntN(len(changes))])
		}
		w := newWorld(givens...)
		plan := w.decide()
		if seed%10 == 0 {
			checkPure(t, w, givens)
		}
		named := map[string]bool{}
		for _, put := range plan.Put {
			puts++
			if why := mayNot(w, put); why != "" || named[put.Region] {
				t.Fatalf("seed %d: the PUT %+v names %s, although %s (twice: %t)", seed, plan.Put, put.Region, why, named[put.Region])
			}
			named[put.Region] = true
		}
	}
	if puts < 100 {
		t.Errorf("the random worlds made %d PUTs: the test proves little", puts)
	}
}

// mayNot says why no PUT may name the region now; "" if one may.
func mayNot(w *world, put cmek.RegionSpec) string {
	f := w.facts
	info, ok := f.CMEK.Region(put.Region)
	fact, read := f.Keys[put.KeySpec.URI]
	switch {
	case !ok, f.Gone, f.Unread != "", f.Older, slices.Contains(f.Unshown, put.Region):
		return "it is gone, unread or unshown"
	case w.settings.Mode != Follow, f.Paused.Active(), f.Cluster.Labels["keyturn"] == "off":
		return "an operator forbids it"
	case slices.ContainsFunc(f.Holds, func(h cmek.Hold) bool { return h.ClusterID == w.item.ID || h.Key == put.KeySpec.URI }):
		return "it is on hold"
	case f.CMEK.Status.HandsOff(), info.Status.HandsOff():
		return "its status is hands-off"
	case f.ClusterRead && f.Cluster.Busy() != "":
		return f.Cluster.Busy()
	case !read, fact.Err != nil, !fact.Key.State.Usable(), fact.Key.Version.IsZero(), fact.Key.RotationRunning:
		return "its key is unread, unusable or rotating"
	case !slices.ContainsFunc(info.KeyInfos, func(k cmek.KeyInfo) bool { return k.Spec == put.KeySpec }):
		return "the region has no such key spec"
	}
	for _, other := range f.CMEK.RegionInfos {
		if s := other.Status; s.InProgress() || s != "" && !s.Known() || s == cmek.Revoked || s == cmek.RevokeFailed {
			return "region " + other.Region + " is " + string(s)
		}
	}
	for _, work := range w.item.Work {
		switch {
		case work.State == ledger.Requested:
			return "a request is open"
		case work.Claim != nil:
			return "a claim is open"
		case work.Region == put.Region && (work.Failed > 1 || work.Lost > 1 && !f.UpdatedAtMoves):
			return "its attempts are used up"
		case work.Region == put.Region && noon.Before(work.NotBefore):
			return "it backs off"
		}
	}
	if d, ok := w.item.DoneIn(put.Region); ok && d.Key.SameKey(put.KeySpec.URI) && d.Version == fact.Key.Version {
		return "its version is done"
	}
	return ""
}
