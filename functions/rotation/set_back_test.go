package rotation

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A version of Cloud KMS that becomes primary again settles once more: encryption may use the one between.
func TestDecide_primarySetBack_settlesAgain(t *testing.T) {
	primary := func(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: fmt.Sprint(n)} }
	for _, r := range []struct {
		sentence string
		current  int
		newest   time.Time // when the newest version, 3, was made
		want     Act
		until    time.Time
	}{
		{"no version is newer", 3, ago(10 * time.Minute), Send, time.Time{}},
		{"a newer version was made since the version was first seen", 2, ago(25 * time.Minute), Wait, in(10 * time.Minute)},
		{"a newer version was made as long before as it settles, and clocks may differ", 2, ago(39 * time.Minute), Wait, in(time.Minute)},
		{"a newer version was made long before", 2, ago(41 * time.Minute), Send, time.Time{}},
	} {
		w := newWorld(due, work(func(w *ledger.Work) { w.Version, w.VersionSeen = primary(r.current), ago(40*time.Minute) }),
			doneWith(eastKey, primary(1)), kms(func(k *cmek.Key) {
				k.Version, k.Settle, k.RotatedAt = primary(r.current), 30*time.Minute, time.Time{}
				k.Versions = []cmek.KeyVersionInfo{{Version: primary(1), CreatedAt: longAgo}, {Version: primary(2), CreatedAt: longAgo}, {Version: primary(3), CreatedAt: r.newest}}
			}))
		if v := w.verdict(t, east); v.Act != r.want || !r.until.IsZero() && !v.Until.Equal(r.until) {
			t.Errorf("%s: decided %q until %s, want %q until %s", r.sentence, v.Act, v.Until, r.want, r.until)
		}
	}
}

// Somebody who re-encrypts a cluster while a newer version is primary leaves its store key under that version when the primary is set back.
func TestDecide_reEncryptedBySomebodyBeforeTheSetBack_isDueAgain(t *testing.T) {
	primary := func(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: fmt.Sprint(n)} }
	for _, r := range []struct {
		sentence         string
		done, made, then time.Time
		current          int
		want             Act
	}{
		{"after the newer version was made", ago(10 * time.Hour), ago(5 * time.Hour), ago(4 * time.Hour), 2, Open},
		{"before it was made", ago(10 * time.Hour), ago(3 * time.Hour), ago(4 * time.Hour), 2, UpToDate},
		{"under the primary, and the newer version is older than what keyturn did", ago(5 * time.Hour), ago(6 * time.Hour), ago(4 * time.Hour), 2, UpToDate},
		{"before keyturn did", ago(2 * time.Hour), ago(5 * time.Hour), ago(4 * time.Hour), 2, UpToDate},
		{"as long before as clocks may differ", ago(4*time.Hour + 5*time.Minute), ago(5 * time.Hour), ago(4 * time.Hour), 2, UpToDate},
		{"under the newest version", ago(10 * time.Hour), ago(5 * time.Hour), ago(4 * time.Hour), 3, UpToDate},
	} {
		w := newWorld(doneWith(eastKey, primary(r.current)), updated(r.then), kms(func(k *cmek.Key) {
			k.Version, k.RotatedAt = primary(r.current), time.Time{}
			k.Versions = []cmek.KeyVersionInfo{{Version: primary(1), CreatedAt: longAgo}, {Version: primary(2), CreatedAt: longAgo}, {Version: primary(3), CreatedAt: r.made}}
		}))
		w.item.Done[0].At = r.done
		if v := w.verdict(t, east); v.Act != r.want {
			t.Errorf("re-encrypted %s: decided %q (%s), want %q", r.sentence, v.Act, v.Why, r.want)
		}
		due(w)
		w.item.Work[0].Version = primary(r.current)
		if v := w.verdict(t, east); (v.Act == Drop) != (r.want == UpToDate) {
			t.Errorf("re-encrypted %s, with work open: decided %q (%s)", r.sentence, v.Act, v.Why)
		}
	}
}

// So does unsent work when an event says that the primary changed since. Nothing else moves it.
func TestOpen_laterChangeOfPrimary_settlesAgain(t *testing.T) {
	const key = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
	seen := ago(20 * time.Minute)
	for _, r := range []struct {
		sentence string
		key      cmek.KeyURI
		state    ledger.State
		at       time.Time
		want     time.Time
	}{
		{"a later event", key, ledger.Due, ago(5 * time.Minute), ago(5 * time.Minute)},
		{"a later event, of blocked work", key, ledger.Blocked, ago(5 * time.Minute), ago(5 * time.Minute)},
		{"an event from the future", key, ledger.Due, in(time.Hour), noon},
		{"an event from before", key, ledger.Due, ago(30 * time.Minute), seen},
		{"an event without a time", key, ledger.Due, time.Time{}, seen},
		{"a later event, of work whose request may yet fail", key, ledger.Requested, ago(5 * time.Minute), ago(5 * time.Minute)},
		{"a key on AWS", eastKey, ledger.Due, ago(5 * time.Minute), seen},
	} {
		w := newWorld(usingKey(r.key), due, work(func(w *ledger.Work) { w.Key, w.VersionSeen, w.State, w.Version = r.key, seen, r.state, v1 }))
		_, changed := open(w.item, cmek.Event{ID: "e-2", Change: cmek.ChangeRotated, Key: r.key, Version: v2, Time: r.at}, noon, time.Minute)
		if got := w.item.Work[0].VersionSeen; !got.Equal(r.want) || changed != (!r.want.Equal(seen) || r.state == ledger.Requested) {
			t.Errorf("%s: the work settles from %s, changed %t; want %s", r.sentence, got, changed, r.want)
		}
	}
	w := newWorld(usingKey(key), due, work(func(w *ledger.Work) { w.Key, w.VersionSeen = key, seen }))
	if _, changed := open(w.item, cmek.Event{Change: cmek.ChangeRotated, Key: key + "2", Time: ago(time.Minute)}, noon, time.Minute); changed {
		t.Error("the change of another key moved the work")
	}
}

// A request that may have been carried out makes the version that was done before uncertain: if it becomes primary again, it is due.
func TestTransition_lostRequestThenSetBack_isDueAgain(t *testing.T) {
	primary := func(n int) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: fmt.Sprint(n)} }
	for _, r := range []struct {
		sentence   string
		done, sent cmek.KeyVersion
		end        given
		want       Act
	}{
		{"its outcome is not known", primary(1), primary(2), givenUp, Supersede},
		{"it was refused", primary(1), primary(2), refusedOnce, Drop},
		{"it was for the same version", primary(1), primary(1), givenUp, Drop},
	} {
		w := newWorld(doneWith(eastKey, r.done), r.end, work(func(w *ledger.Work) { w.Version = r.sent }))
		if unsettled(w.item.Work[0]) {
			doubt(w.item, w.item.Work[0])
		}
		kms(func(k *cmek.Key) {
			k.Version, k.RotatedAt, k.Versions = primary(1), time.Time{}, []cmek.KeyVersionInfo{{Version: primary(1)}, {Version: primary(2)}}
		})(w)
		if v := w.verdict(t, east); v.Act != r.want {
			t.Errorf("a request that was sent, and %s: decided %q (%s), want %q", r.sentence, v.Act, v.Why, r.want)
		}
	}
}
