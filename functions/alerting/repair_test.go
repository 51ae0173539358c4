package alerting

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// inRepair is a world whose owner wants repairs.
func inRepair(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		w.Repairer = w.repair
		test(t, w)
	})
}

const scheduledAlert = "[CRITICAL] Key 1234abcd-12ab-34cd-56ef-1234567890ab was scheduled for deletion"

func TestRepairCancelsTheDeletionAndEnablesTheKey(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		e := w.isScheduled("e-1")
		w.happens(e)
		w.happens(e)
		w.ticks(4 * time.Minute)
		w.want("before an event that speaks against it can have come", scheduledAlert)
		w.ticks(2 * time.Minute)
		if !slices.Equal(w.repair.calls, []string{"cancel", "enable"}) {
			t.Errorf("the KMS was called for %v, want cancel, then enable", w.repair.calls)
		}
		w.want("after the repair", scheduledAlert, "[HIGH] keyturn canceled the deletion of key 1234abcd-12ab-34cd-56ef-1234567890ab and enabled it again")
		if alerts := w.told.Alerts(); alerts[0].DedupKey != alerts[1].DedupKey || alerts[0].ID == alerts[1].ID {
			t.Errorf("the repair is reported as %s of %s, want another message of %s", alerts[1].ID, alerts[1].DedupKey, alerts[0].DedupKey)
		}
		time.Sleep(time.Minute)
		w.happens(event("e-2", cmek.ChangeDeletionCanceled))
		w.happens(w.isEnabled("e-3"))
		w.ticks(20 * time.Minute)
		if !w.last().Resolved {
			t.Errorf("after the repair's own events the last thing told is %s, want the end", w.last().Headline())
		}
	})
}

func TestWithoutTheOwnersWishNothingIsRepaired(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.happens(w.isScheduled("e-1"))
		w.ticks(time.Hour)
		w.want("after a deletion was scheduled", scheduledAlert)
	})
}

func TestOnlyAScheduledDeletionOfAKeyInUseIsRepaired(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.happens(event("e-1", cmek.ChangeDeletionScheduled, of(unused)))
		w.happens(event("e-2", cmek.ChangeDeletionScheduled, failed("AccessDenied")))
		w.happens(w.isDisabled("e-3"))
		w.happens(event("e-4", cmek.ChangeKeyPolicy, document(denyKeyPolicy)))
		w.ticks(time.Hour)
		if len(w.repair.calls) > 0 {
			t.Errorf("the KMS was called for %v, want nothing", w.repair.calls)
		}
	})
}

func TestRepairKeepsItsHandsOff(t *testing.T) {
	for _, row := range []struct {
		why     string
		arrange func(*testing.T, *world)
	}{
		{"the CMEK of cluster orders is being revoked", func(_ *testing.T, w *world) { w.cluster("c-1", "orders", cmek.Revoking) }},
		{"the CMEK of cluster orders is being revoked", func(_ *testing.T, w *world) { w.cluster("c-1", "orders", cmek.Revoked) }},
		{"the CMEK of cluster orders is being revoked", func(_ *testing.T, w *world) { w.cluster("c-1", "orders", cmek.RevokeFailed) }},
		{"the CMEK of cluster orders is being revoked", func(t *testing.T, w *world) {
			edit(t, w, func(c *ledger.Cluster) { c.CMEK.RegionInfos[0].KeyInfos[0].Status = cmek.Revoked })
		}},
		{"the CMEK of cluster orders is being revoked", func(t *testing.T, w *world) {
			edit(t, w, func(c *ledger.Cluster) { c.CMEK.Status = cmek.Revoked })
		}},
		{"key " + string(key) + " is on hold until 2000-01-02T00:00:00Z: suspected leak", func(t *testing.T, w *world) { hold(t, w, cmek.Hold{Key: key}) }},
		{"cluster orders is on hold until 2000-01-02T00:00:00Z: suspected leak", func(t *testing.T, w *world) { hold(t, w, cmek.Hold{ClusterID: "c-1", Cluster: "orders"}) }},
		{"it canceled a deletion of the key or tried to at 2000-01-01T00:05:00Z", func(t *testing.T, w *world) {
			w.happens(w.isScheduled("e-0"))
			w.ticks(6 * time.Minute)
			w.happens(w.isEnabled("e-00"))
			w.ticks(20 * time.Hour)
			w.repair.calls = nil
		}},
	} {
		inRepair(t, func(t *testing.T, w *world) {
			row.arrange(t, w)
			w.happens(w.isScheduled("e-1"))
			w.ticks(6 * time.Minute)
			if len(w.repair.calls) > 0 {
				t.Errorf("although %s, the KMS was called for %v", row.why, w.repair.calls)
			}
			got := w.last()
			if !strings.HasPrefix(got.Summary, "keyturn does not change key "+key.ID()+": "+row.why) || len(got.RecoverySteps) != 3 {
				t.Errorf("the last thing told is\n%s\nwant the reason %q and the recovery steps", got.Text(), row.why)
			}
		})
	}
}

func hold(t *testing.T, w *world, h cmek.Hold) {
	t.Helper()
	h.Since, h.Until, h.Reason = time.Now(), time.Now().Add(24*time.Hour), "suspected leak"
	if _, err := w.Ledger.Hold(t.Context(), h); err != nil {
		t.Fatal(err)
	}
}

// An alert about what is on hold says so, and is sent all the same.
func TestAlert_onHold_isLinkedToIt(t *testing.T) {
	for of, h := range map[string]cmek.Hold{
		"its key": {Key: key}, "its cluster": {ClusterID: "c-1"}, "another key": {Key: "arn:aws:kms:us-east-1:111122223333:key/other"}, "another cluster": {ClusterID: "c-9"},
	} {
		inRepair(t, func(t *testing.T, w *world) {
			hold(t, w, h)
			w.happens(w.isScheduled("e-1"))
			got, linked := w.last(), strings.HasPrefix(of, "its ")
			if got.Severity != alert.Critical || (got.Hold != nil) != linked || strings.Contains(got.Text(), "On hold:   keyturn sends no PUT and repairs nothing until 2000-01-02T00:00:00Z: suspected leak") != linked {
				t.Errorf("with %s on hold the alert reads\n%s", of, got.Text())
			}
		})
	}
}

// edit changes cluster orders in the ledger.
func edit(t *testing.T, w *world, change func(*ledger.Cluster)) {
	t.Helper()
	if _, err := w.Ledger.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error { change(c); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestADayLaterAKeyIsRepairedAgain(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.happens(w.isScheduled("e-1"))
		w.ticks(6 * time.Minute)
		w.happens(w.isEnabled("e-2"))
		w.ticks(25 * time.Hour)
		w.seenEnabled()
		w.happens(w.isScheduled("e-3"))
		w.ticks(6 * time.Minute)
		if want := []string{"cancel", "enable", "cancel", "enable"}; !slices.Equal(w.repair.calls, want) {
			t.Errorf("the KMS was called for %v, want %v", w.repair.calls, want)
		}
	})
}

func TestARepairThatFailsIsToldWithWhatIsLeftToDo(t *testing.T) {
	for _, row := range []struct {
		fails          func(*fakeRepairer)
		summary, first string
	}{
		{func(r *fakeRepairer) { r.noCancel = errors.New("access denied") }, "keyturn tried to cancel the deletion of key " + key.ID() + ": access denied", "aws kms cancel-key-deletion"},
		{func(r *fakeRepairer) { r.noEnable = errors.New("access denied") }, "keyturn canceled the deletion of key " + key.ID() + " and could not enable it: access denied", "aws kms enable-key"},
	} {
		inRepair(t, func(t *testing.T, w *world) {
			row.fails(w.repair)
			w.happens(w.isScheduled("e-1"))
			w.ticks(6 * time.Minute)
			if got := w.last(); got.Summary != row.summary || !strings.HasPrefix(got.RecoverySteps[0], row.first) {
				t.Errorf("told:\n%s\nwant %q, and to begin with %q", got.Text(), row.summary, row.first)
			}
		})
	}
}

func TestARepairThatCouldNotBeWeighedIsTriedAgainWithTheEvent(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.store.readOnly = true
		e := w.isScheduled("e-1")
		if err := w.Event(t.Context(), e); !errors.Is(err, errDown) || len(w.repair.calls) > 0 {
			t.Errorf("without a ledger the KMS was called for %v (error %v), want nothing before it is on record", w.repair.calls, err)
		}
		w.store.readOnly = false
		w.happens(e)
		w.ticks(6 * time.Minute)
		if !slices.Equal(w.repair.calls, []string{"cancel", "enable"}) {
			t.Errorf("with the ledger back the KMS was called for %v, want cancel, then enable", w.repair.calls)
		}
	})
}

func TestAKeyThatWasDisabledBeforeIsNotRepairedInWhateverOrderThatIsHeard(t *testing.T) {
	for _, order := range []string{"disabled first", "scheduled first", "at once, scheduled first"} {
		inRepair(t, func(t *testing.T, w *world) {
			disabled := w.isDisabled("e-1")
			if order != "at once, scheduled first" {
				time.Sleep(time.Minute)
			}
			scheduled := w.isScheduled("e-2")
			for _, e := range map[bool][]cmek.Event{true: {disabled, scheduled}, false: {scheduled, disabled}}[order == "disabled first"] {
				w.happens(e)
			}
			w.ticks(time.Hour)
			if slices.Contains(w.repair.calls, "enable") {
				t.Errorf("%s: the KMS was called for %v, although the key was not enabled before", order, w.repair.calls)
			}
			if !slices.ContainsFunc(w.told.Alerts(), func(a alert.Alert) bool { return strings.Contains(a.Summary, wasDown) }) {
				t.Errorf("%s: nobody is notified why the key is left as it is", order)
			}
		})
	}
}

func TestAnIncidentThatCouldNotBeReadIsNoReasonToRepair(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.happens(w.isDisabled("e-1"))
		time.Sleep(time.Minute)
		e := w.isScheduled("e-2")
		w.store.outage = down
		if err := w.Event(t.Context(), e); err == nil {
			t.Error("without a ledger the event is done with, want it again")
		}
		w.store.outage = up
		w.happens(e)
		w.ticks(time.Hour)
		if slices.Contains(w.repair.calls, "enable") {
			t.Errorf("the KMS was called for %v, although the key was not enabled before", w.repair.calls)
		}
	})
}

func TestADeletionThatSomebodyCanceledInTimeIsNotRepaired(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.happens(w.isScheduled("e-1"))
		time.Sleep(time.Minute)
		w.happens(w.isEnabled("e-2"))
		w.ticks(time.Hour)
		if len(w.repair.calls) > 0 {
			t.Errorf("the KMS was called for %v, although the key was enabled again", w.repair.calls)
		}
		w.want("after somebody was quicker", scheduledAlert, "[RESOLVED]")
	})
}

func TestARepairThatCouldNotBeToldIsToldWhenTheTopicIsBackAndNotMadeAgain(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.happens(w.isScheduled("e-1"))
		w.told.outage = down
		for range 8 {
			time.Sleep(time.Minute)
			_ = w.Tick(t.Context()) // It fails: the topic is down.
		}
		w.told.outage = up
		w.ticks(3 * time.Minute)
		if !slices.Equal(w.repair.calls, []string{"cancel", "enable"}) {
			t.Errorf("the KMS was called for %v, want cancel, then enable, once", w.repair.calls)
		}
		w.want("when the topic is back", scheduledAlert, "[HIGH] keyturn began to undo the scheduled deletion of key 1234abcd-12ab-34cd-56ef-1234567890ab")
		if text := w.last().Text(); !strings.Contains(text, `state is "enabled"`) || strings.Contains(text, "cancel-key-deletion") {
			t.Errorf("the message does not say that the key is well, and what is left to do:\n%s", text)
		}
		w.ticks(time.Hour)
		told := 0
		for _, a := range w.told.Alerts() {
			if strings.Contains(a.Summary, "began to undo") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the repair is reported %d times, want once", told)
		}
	})
}

// A key whose state nobody could read is not enabled: the absence of a read is no sign.
func TestRepair_unreadKeyIsNotEnabled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Repairer = w.repair
		time.Sleep(72 * time.Hour) // the key was disabled meanwhile; neither the event nor a read came
		w.swept()                  // a sweep is complete without keys that it may not read
		w.kms.set(key, cmek.KeyDisabled)
		w.kms.outage = down
		w.happens(event("s", cmek.ChangeDeletionScheduled, with("pending_window_days", "7")))
		for range 20 {
			time.Sleep(time.Minute)
			_ = w.Tick(t.Context())
		}
		if w.kms.state[key] == cmek.KeyEnabled {
			t.Errorf("a key that nobody read for 3 days was enabled: %v; %s", w.repair.calls, w.last().Headline())
		}
	})
}

// A call by the repair's role is the repair's only while one of that key is on record: somebody may have taken the role over.
func TestRepair_onlyACallOnRecordIsItsOwn(t *testing.T) {
	const reported = "Key 1234abcd-12ab-34cd-56ef-1234567890ab is no longer scheduled for deletion"
	after := func(d time.Duration) func(*cmek.Event, time.Time) {
		return func(e *cmek.Event, begun time.Time) { e.Time = begun.Add(d) }
	}
	for _, tc := range []struct {
		name   string
		edit   func(*cmek.Event, time.Time)
		silent bool
	}{
		{"at once", after(0), true},
		{"5 minutes later", after(5 * time.Minute), true},
		{"more than 5 minutes later", after(5*time.Minute + time.Second), false},
		{"by a clock that is behind", after(-5 * time.Minute), true},
		{"before the repair", after(-5*time.Minute - time.Second), false},
		{"at no known time", func(e *cmek.Event, _ time.Time) { e.Time = time.Time{} }, false},
		{"on another key", func(e *cmek.Event, _ time.Time) { e.Key = unused }, false},
		{"by another role", func(e *cmek.Event, _ time.Time) { by(role)(e) }, false},
		{"by that role of another account", func(e *cmek.Event, _ time.Time) { by("arn:aws:iam::999900001111:role/keyturn-repair")(e) }, false},
	} {
		inRepair(t, func(t *testing.T, w *world) {
			w.RepairRole = repairRole
			w.kms.set(unused, cmek.KeyDisabled)
			w.happens(w.isScheduled("e-1"))
			for len(w.repair.calls) == 0 {
				w.ticks(time.Minute)
			}
			w.kms.set(key, cmek.KeyDisabled)
			e := event("own", cmek.ChangeDeletionCanceled, byRepairRole)
			tc.edit(&e, time.Now())
			log := w.logged()
			before := len(w.told.Alerts())
			w.happens(e)
			silent := len(w.told.Alerts()) == before && len(log("recovery noted")) == 0
			if silent != tc.silent {
				t.Errorf("a deletion canceled by the repair's role, %s: silent is %t, want %t", tc.name, silent, tc.silent)
			}
		})
	}
	for name, given := range map[string]func(*world){
		"no repair was ever begun": func(*world) {},
		"the ledger is down":       func(w *world) { w.store.outage = down },
		"a hold kept it from being begun": func(w *world) {
			w.happens(w.isScheduled("e-1"))
			hold(w.t, w, cmek.Hold{Key: key})
			w.ticks(6 * time.Minute)
		},
	} {
		inRepair(t, func(t *testing.T, w *world) {
			w.RepairRole = repairRole
			given(w)
			w.kms.set(key, cmek.KeyDisabled)
			_ = w.Event(t.Context(), event("own", cmek.ChangeDeletionCanceled, byRepairRole))
			if len(w.told.Alerts()) == 0 || !strings.Contains(w.last().Headline(), reported) {
				t.Errorf("a deletion canceled by the repair's role is not reported although %s", name)
			}
		})
	}
}
