package alerting

import (
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// An incident whose events were reported in time: the key was disabled at noon, enabled five minutes later, and it has ended since.
func TestWhatIsToldAfterTheEndOfAnIncidentIsNewsOnlyIfItHappenedAfterTheRecovery(t *testing.T) {
	const enabled = 5 * time.Minute // after the key was disabled
	for _, row := range []struct {
		what   string
		change cmek.Change
		after  time.Duration // the time of the event, after that of the disabling
		news   bool
	}{
		{"the same disabling in other words", cmek.ChangeKeyDisabled, 0, false},
		{"a repeat in the second before the recovery", cmek.ChangeKeyDisabled, enabled - time.Second, false},
		{"a worse change before the recovery", cmek.ChangeDeletionScheduled, enabled - time.Minute, false},
		{"a break in the second of the recovery", cmek.ChangeKeyDisabled, enabled, true},
		{"a break in the second after the recovery", cmek.ChangeKeyDisabled, enabled + time.Second, true},
		{"a worse change after the recovery", cmek.ChangeDeletionScheduled, enabled + time.Minute, true},
		{"a break of today", cmek.ChangeKeyDisabled, 3 * time.Hour, true},
	} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			noon := time.Now()
			w.happens(s.disable(w, "e-1"))
			time.Sleep(enabled)
			w.happens(s.enable(w, "e-2"))
			w.ticks(3 * time.Hour)
			ended := []string{s.disabledAlert(), "[RESOLVED]"}
			w.want("before it is reported: "+row.what, ended...)
			w.happens(s.event(w, "late", row.change, at(noon.Add(row.after))))
			told := ended
			if row.news {
				told = append(slices.Clone(ended), map[cmek.Change]string{cmek.ChangeKeyDisabled: s.disabledAlert(), cmek.ChangeDeletionScheduled: s.scheduledAlert()}[row.change])
			}
			w.want("late: "+row.what, told...)
			if i, err := w.Ledger.Incident(t.Context(), s.incident); err != nil || i.Open() != row.news || !i.Notified("late") {
				t.Errorf("after %s the incident is open: %t, its events are %v (error %v); want open: %t, and the late event noted", row.what, i.Open(), i.Events, err, row.news)
			}
		})
	}
}

func TestWhatIsToldAfterAnEndThatOnlyReadsShowedIsNewsFromTheFirstGoodReadOn(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		s.reads(w, cmek.KeyEnabled)
		w.ticks(3 * time.Hour)
		i, err := w.Ledger.Incident(t.Context(), s.incident)
		if err != nil || i.Open() {
			t.Fatalf("the incident is open: %t (error %v); want it closed", i.Open(), err)
		}
		w.happens(s.event(w, "before", cmek.ChangeDeletionScheduled, at(i.GoodSince.Add(-time.Second))))
		w.want("late, of before the first good read", s.disabledAlert(), "[RESOLVED]")
		w.happens(s.event(w, "since", cmek.ChangeKeyDisabled, at(i.GoodSince.Add(time.Second))))
		w.want("late, of after the first good read", s.disabledAlert(), "[RESOLVED]", s.disabledAlert())
	})
}

// A second time that the key was disabled is reported, also if its recovery is reported first.
func TestARecoveryThatIsToldAfterTheEndHidesNoSecondBreak(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-2"))
		w.ticks(3 * time.Hour)
		second := s.event(w, "e-3", cmek.ChangeKeyDisabled)
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-4"))
		w.happens(second)
		w.want("after a second break whose recovery came first", s.disabledAlert(), "[RESOLVED]", s.disabledAlert())
	})
}

// An end by hand says nothing of the state: another way in which the key broke before it is still told.
func TestWhatIsToldAfterAnEndByHandIsNewsUnlessItRepeatsWhatWasTold(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		repeat := s.event(w, "repeat", cmek.ChangeKeyDisabled)
		other := s.event(w, "other", cmek.ChangeDeletionScheduled)
		time.Sleep(time.Minute)
		w.closes(t, s.incident)
		w.ticks(2 * time.Minute)
		w.happens(repeat)
		w.want("late, the same change of before the end by hand", s.disabledAlert(), s.closedAlert())
		w.happens(other)
		w.want("late, another change of before the end by hand", s.disabledAlert(), s.closedAlert(), s.scheduledAlert())
	})
}
