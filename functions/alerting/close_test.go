package alerting

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// closes: ana closes the incident by hand.
func (w *world) closes(t *testing.T, dedupKey string) {
	t.Helper()
	_, closed, err := w.Ledger.CloseIncident(t.Context(), dedupKey, ledger.Closing{At: time.Now(), By: "ana@laptop", Reason: "restored under a new key, INC-7"})
	if err != nil || !closed {
		t.Fatalf("close %s: closed %t, error %v", dedupKey, closed, err)
	}
}

const theKeys = "key-unusable/" + string(key)

func TestADeletedKeysIncidentEndsOnlyByHand(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		deleted := "[CRITICAL] " + s.thing + " " + s.deleted
		s.reads(w, cmek.KeyDestroyed)
		w.happens(s.event(w, "e-1", cmek.ChangeKeyDeleted))
		w.ticks(24 * time.Hour)
		w.want("a day after the key was deleted", deleted)
		w.closes(t, s.incident)
		w.ticks(time.Minute)
		w.want("a minute after it was closed by hand", deleted, s.closedAlert()+strings.TrimPrefix(s.deleted, "was "))
		first, end := w.told.Alerts()[0], w.last()
		if !end.Resolved || end.DedupKey != first.DedupKey || !strings.Contains(end.Impact, "restored under a new key, INC-7") {
			t.Errorf("the end is (resolved: %t, of %s)\n%s\nwant that of %s, with the reason", end.Resolved, end.DedupKey, end.Text(), first.DedupKey)
		}
		w.ticks(24 * time.Hour)
		if w.want("a day later", deleted, s.closedAlert()); len(w.open()) > 0 {
			t.Errorf("open incidents are %v, want none", w.open())
		}
	})
}

func TestWhatHappensAfterAnIncidentWasClosedByHandAlertsAgain(t *testing.T) {
	for _, row := range []struct {
		when string
		wait func(*world)
		ends bool
	}{
		{"in the same second, as far as its event tells", func(*world) { time.Sleep(time.Millisecond) }, false},
		{"before alerting has told the end", func(*world) { time.Sleep(time.Second) }, false},
		{"after alerting has told the end", func(w *world) { w.ticks(2 * time.Minute) }, true},
	} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			var end []string
			if row.ends {
				end = []string{s.closedAlert()}
			}
			w.happens(s.disable(w, "e-1"))
			time.Sleep(time.Minute)
			late := s.event(w, "late", cmek.ChangeKeyDisabled)
			time.Sleep(time.Second + 700*time.Millisecond)
			w.closes(t, s.incident)
			row.wait(w)
			again := s.disable(w, "e-2")
			again.Time = again.Time.Truncate(time.Second)
			w.happens(again)
			w.happens(s.refused(w, "refused", cmek.FailureUnfit))
			w.want(row.when, slices.Concat([]string{s.disabledAlert()}, end, []string{s.disabledAlert()})...)
			w.happens(late)
			w.ticks(3 * time.Hour)
			w.want("three hours later, "+row.when, slices.Concat([]string{s.disabledAlert()}, end, []string{s.disabledAlert()})...)
			if got := w.open(); !slices.Equal(got, []string{s.incident}) {
				t.Errorf("%s: open incidents are %v, want the second disable's", row.when, got)
			}
		})
	}
}

func TestARepeatFromBeforeTheClosingDoesNotUndoIt(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		late := s.event(w, "late", cmek.ChangeKeyDisabled)
		time.Sleep(time.Minute)
		w.closes(t, s.incident)
		w.happens(late)
		w.ticks(time.Minute)
		w.want("after a repeat that came late", s.disabledAlert(), s.closedAlert())
	})
}

func TestTheEndByHandIsToldAgainInTheSameBytesUntilItIsRecorded(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		w.closes(t, s.incident)
		w.told.outage = down
		if err := w.Tick(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("a tick that cannot tell the end returns %v", err)
		}
		w.told.outage, w.store.readOnly = up, true
		if err := w.Tick(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("a tick that cannot record the end returns %v", err)
		}
		w.store.readOnly = false
		w.ticks(3 * time.Minute)
		w.want("after a crash between the end and its record", s.disabledAlert(), s.closedAlert(), s.closedAlert())
		if a := w.told.Alerts(); a[1].ID != a[2].ID || a[1].Text() != a[2].Text() {
			t.Errorf("the repeat differs:\n%s\n%s", a[1].Text(), a[2].Text())
		}
	})
}

func TestAnIncidentThatIsClosedByHandWhileItsStateIsReadEndsWithTheNextTick(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		w.ticks(4 * time.Minute)
		w.kms.during = func() { w.closes(t, s.incident) }
		w.ticks(time.Minute)
		w.want("in the tick in which it was closed", s.disabledAlert())
		w.ticks(time.Minute)
		w.want("a minute later", s.disabledAlert(), s.closedAlert())
	})
}

func TestAKeyWhoseIncidentWasClosedByHandIsNotRepairedBeforeItWasEnabled(t *testing.T) {
	for _, row := range []struct {
		enabled bool
		want    []string
	}{{false, []string{"cancel"}}, {true, []string{"cancel", "enable"}}} {
		inRepair(t, func(t *testing.T, w *world) {
			w.happens(w.isDisabled("e-1"))
			w.closes(t, theKeys)
			w.ticks(time.Hour)
			if row.enabled {
				w.happens(w.isEnabled("e-2"))
				time.Sleep(time.Minute)
			}
			if row.enabled {
				w.seenEnabled()
			}
			w.happens(w.isScheduled("e-3"))
			w.ticks(6 * time.Minute)
			if !slices.Equal(w.repair.calls, row.want) {
				t.Errorf("enabled in between: %t; the KMS was called for %v, want %v", row.enabled, w.repair.calls, row.want)
			}
		})
	}
}

func TestAnIncidentThatCannotBeDecodedHoldsUpNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.happens(event("e-0", cmek.ChangeKeyDisabled, of(unused), func(e *cmek.Event) { e.Time = time.Now() }))
		time.Sleep(2 * time.Hour) // nobody is known not to use it
		w.happens(event("e-1", cmek.ChangeKeyDisabled, of(unused)))
		bad, err := w.store.Get(t.Context(), "alerting", "incident#key-unusable/"+string(unused))
		if err != nil || bad.Version == 0 {
			t.Fatalf("read the record of an incident: version %d, error %v", bad.Version, err)
		}
		bad.Data = []byte("{")
		if err := w.store.Put(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		w.happens(w.isDisabled("e-2"))
		time.Sleep(time.Minute)
		w.happens(w.isEnabled("e-3"))
		for range 15 {
			time.Sleep(time.Minute)
			if err := w.Tick(t.Context()); err != nil && (!errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), string(unused))) {
				t.Fatalf("the tick does not name the record that cannot be decoded: %v", err)
			}
		}
		if err := w.Tick(t.Context()); !errors.Is(err, ledger.ErrUndecodable) {
			t.Errorf("a tick with a record that cannot be decoded returns %v, want an error that is seen", err)
		}
		if !w.last().Resolved || w.last().Key != key {
			t.Errorf("the last thing told is %s, want the end of the other incident", w.last().Headline())
		}
	})
}

func TestARoleThatRefusesItsClusterIsOneIncidentWithItsTrustPolicy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		caller := by("arn:aws:iam::" + crlAccount + ":role/cockroach")
		w.happens(event("stranger", cmek.ChangeUseRefused, ofRole(role), failed("AccessDenied"), by("arn:aws:iam::999900001111:role/cockroach")))
		w.want("after a stranger could not assume the role")
		w.kms.trust = brokenTrust
		w.happens(event("e-1", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(brokenTrust)))
		w.happens(event("e-2", cmek.ChangeUseRefused, ofRole(role), failed("AccessDenied"), caller))
		w.want("after the trust policy was broken", "[CRITICAL] Role crdb-cmek had its trust policy replaced")
		w.kms.trust = goodTrust
		w.ticks(2 * time.Hour)
		w.happens(event("e-3", cmek.ChangeUseRefused, ofRole(role), failed("AccessDenied"), caller))
		w.want("after another refusal", "[CRITICAL] Role crdb-cmek had", "[RESOLVED]", "[CRITICAL] Role crdb-cmek could not be assumed by a cluster (AccessDenied); needed by orders")
		if got := strings.Join(w.last().RecoverySteps, "\n"); !strings.Contains(got, "--role-name crdb-cmek") || strings.Contains(got, "role-name cockroach") {
			t.Errorf("the recovery steps are not about the role that was to be assumed:\n%s", got)
		}
	})
}
