package alerting

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// permutations are all orders of the numbers below n.
func permutations(n int) [][]int {
	orders := [][]int{nil}
	for i := range n {
		var longer [][]int
		for _, order := range orders {
			for at := range i + 1 {
				longer = append(longer, slices.Insert(slices.Clone(order), at, i))
			}
		}
		orders = longer
	}
	return orders
}

func TestEventsInAnyOrderAndOfOneSecondComeToTheSameEnd(t *testing.T) {
	type happening func(w *world, s side, id string) cmek.Event
	plain := func(change cmek.Change) happening {
		return func(w *world, s side, id string) cmek.Event { return s.event(w, id, change) }
	}
	cut := func(w *world, s side, id string) cmek.Event {
		e := s.cut(w, id)
		s.grant(w, "")
		return e
	}
	for _, row := range []struct {
		what   string
		events []happening
		// well: the key can be used after all of them.
		well bool
	}{
		{"a deletion that was undone", []happening{plain(cmek.ChangeDeletionScheduled), plain(cmek.ChangeDeletionCanceled), plain(cmek.ChangeKeyEnabled)}, true},
		{"a key that was disabled and enabled", []happening{plain(cmek.ChangeKeyDisabled), plain(cmek.ChangeKeyEnabled)}, true},
		{"a key that was disabled in the end", []happening{plain(cmek.ChangeKeyEnabled), plain(cmek.ChangeKeyDisabled)}, false},
		{"a key that was disabled twice", []happening{plain(cmek.ChangeDeletionScheduled), plain(cmek.ChangeKeyEnabled), plain(cmek.ChangeKeyDisabled)}, false},
		{"a policy that was undone", []happening{cut, func(w *world, s side, id string) cmek.Event { return s.grant(w, id) }}, true},
	} {
		for _, apart := range []time.Duration{0, time.Second} {
			for _, order := range permutations(len(row.events)) {
				onBothSides(t, func(t *testing.T, w *world, s side) {
					begin := time.Now()
					if !row.well {
						s.reads(w, cmek.KeyDisabled)
					}
					time.Sleep(10 * time.Second)
					for _, i := range order {
						e := row.events[i](w, s, fmt.Sprint("e-", i))
						e.Time = begin.Add(time.Duration(i) * apart)
						w.happens(e)
						w.happens(e)
					}
					w.ticks(20 * time.Minute)
					if open := len(w.open()); row.well != (open == 0) || row.well != w.last().Resolved {
						t.Errorf("%s, %s apart, told in the order %v: 20 minutes later %d incidents are open, and the last thing told is %s",
							row.what, apart, order, open, w.last().Headline())
					}
				})
			}
		}
	}
}

func TestACancellationInTheSecondOfTheEnablingIsNotToldAfterIt(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.schedule(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-3"))
		w.happens(s.event(w, "e-2", cmek.ChangeDeletionCanceled))
		w.want("after the key was enabled", s.scheduledAlert())
	})
}

func TestABreakInTheSecondOfARecoveryIsTold(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-2"))
		w.happens(s.disable(w, "e-3"))
		w.want("after a key was enabled and disabled in one second", s.disabledAlert(), s.disabledAlert())
		w.ticks(3 * time.Hour)
		if got := w.open(); !slices.Equal(got, []string{s.incident}) {
			t.Errorf("open incidents are %v, want the second disable's", got)
		}
	})
}

func TestARecoveryThatComesLateIsNoneOfWhatBrokeAfterIt(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		start := time.Now()
		time.Sleep(time.Minute)
		w.happens(s.disable(w, "e-3"))
		// From before, and told because it is another way to break the key: it must not move the incident back in time.
		w.happens(s.event(w, "e-1", cmek.ChangeDeletionScheduled, at(start)))
		w.happens(s.event(w, "e-2", cmek.ChangeKeyEnabled, at(start.Add(time.Second))))
		w.want("after a disable, and what happened before it", s.disabledAlert(), s.scheduledAlert())
		i, err := w.Ledger.Incident(t.Context(), s.incident)
		if err != nil || !i.Open() || !i.Recovered.IsZero() {
			t.Errorf("the incident is open: %t, recovered at %s (error %v); want it open, and no recovery", i.Open(), i.Recovered, err)
		}
	})
}

// The repair's own records.

const repairRole = "arn:aws:iam::{account}:role/keyturn-repair"

func byRepairRole(e *cmek.Event) {
	e.Issuer = "arn:aws:iam::111122223333:role/keyturn-repair"
	e.Principal = "arn:aws:sts::111122223333:assumed-role/keyturn-repair/keyturn"
}

func TestTheRecordsOfARepairRaiseNoAlarmAndEndTheIncident(t *testing.T) {
	for _, order := range [][]cmek.Change{{cmek.ChangeDeletionCanceled, cmek.ChangeKeyEnabled}, {cmek.ChangeKeyEnabled, cmek.ChangeDeletionCanceled}} {
		inRepair(t, func(t *testing.T, w *world) {
			w.RepairRole = repairRole
			w.happens(w.isScheduled("e-1"))
			w.ticks(6 * time.Minute)
			const repaired = "[HIGH] keyturn canceled the deletion of key 1234abcd-12ab-34cd-56ef-1234567890ab and enabled it again"
			for i, change := range order {
				w.happens(event(fmt.Sprint("own-", i), change, byRepairRole))
			}
			w.want("after the repair's own records", scheduledAlert, repaired)
			w.ticks(20 * time.Minute)
			w.want("20 minutes later", scheduledAlert, repaired, "[RESOLVED]")
		})
	}
}

func TestTheRecordsOfARepairThatFailedRaiseNoAlarmAndEndNothing(t *testing.T) {
	inRepair(t, func(t *testing.T, w *world) {
		w.RepairRole, w.repair.noEnable = repairRole, errDown
		w.happens(w.isScheduled("e-1"))
		w.ticks(6 * time.Minute)
		w.happens(event("own-1", cmek.ChangeDeletionCanceled, byRepairRole))
		w.happens(event("own-2", cmek.ChangeKeyEnabled, byRepairRole, failed("AccessDenied")))
		w.ticks(3 * time.Hour)
		w.want("after a repair that could not enable the key", scheduledAlert, "[HIGH] keyturn canceled the deletion of key 1234abcd-12ab-34cd-56ef-1234567890ab and could not enable it")
		i, err := w.Ledger.Incident(t.Context(), theKeys)
		if err != nil || !i.Open() || !i.Recovered.IsZero() {
			t.Errorf("the incident is open: %t, recovered at %s (error %v); want it open, and no recovery", i.Open(), i.Recovered, err)
		}
	})
}

func TestOnlyTheRepairsOwnCallsAreLeftOut(t *testing.T) {
	const canceled = "[HIGH] Key 1234abcd-12ab-34cd-56ef-1234567890ab is no longer scheduled for deletion"
	for _, row := range []struct {
		who  string
		by   func(*cmek.Event)
		role string
		want string
	}{
		{"another person", func(*cmek.Event) {}, repairRole, canceled},
		{"a role of that name in another account", by("arn:aws:iam::999900001111:role/keyturn-repair"), repairRole, canceled},
		{"a user of that name", by("arn:aws:iam::111122223333:user/keyturn-repair"), repairRole, canceled},
		{"a user with a path that looks like a session", func(e *cmek.Event) {
			e.Principal = "arn:aws:iam::111122223333:user/:assumed-role/keyturn-repair/x"
		}, repairRole, canceled},
		{"somebody, if no role is known", func(e *cmek.Event) { e.Principal = "" }, "", canceled},
	} {
		inRepair(t, func(t *testing.T, w *world) {
			w.RepairRole = row.role
			w.happens(event("e-1", cmek.ChangeDeletionCanceled, row.by))
			if len(w.told.Alerts()) != 1 {
				t.Errorf("a deletion canceled by %s is reported %d times, want once", row.who, len(w.told.Alerts()))
				return
			}
			w.want("after a deletion was canceled by "+row.who, row.want)
		})
	}
	inRepair(t, func(t *testing.T, w *world) {
		w.RepairRole = repairRole
		w.kms.set(key, cmek.KeyDisabled)
		w.happens(event("e-1", cmek.ChangeKeyDisabled, byRepairRole))
		w.want("after the repair's role disabled a key", disabledAlert)
	})
}

// Our own reads.

func TestARefusedReadThatNoClusterMadeCausesNoReadOfTheKey(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.OwnRoles = ""
		describe := func(e *cmek.Event) { e.Source = "aws.kms/AWS API Call via CloudTrail/DescribeKey" }
		ours := by("arn:aws:iam::111122223333:role/keyturn-reader")
		w.happens(event("e-1", cmek.ChangeUseRefused, ours, describe, failed("AccessDenied")))
		w.happens(event("e-2", cmek.ChangeUse, ours, describe))
		w.happens(event("e-3", cmek.ChangeUse, by(role), describe))
		w.want("after our own reads, denied and not")
		if w.kms.reads > 0 || len(w.open()) > 0 {
			t.Errorf("our own reads caused %d reads of the key, which would be the next such events, and the incidents %v; want none", w.kms.reads, w.open())
		}
		w.happens(event("e-4", cmek.ChangeUseRefused, by(role), describe, failed("AccessDenied")))
		w.want("after a cluster was denied a read", "[CRITICAL] Key 1234abcd-12ab-34cd-56ef-1234567890ab refused a call of a cluster (AccessDenied)")
		if w.kms.reads == 0 {
			t.Error("a cluster was refused, and nobody looked at the key")
		}
	})
}

// Events that come in the wrong order are judged again with each other.
func TestNoted_eventsOutOfOrder(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.noted(string(s.key), s.open(w, "").Policy)
		time.Sleep(30 * time.Minute)
		revoked := time.Now()
		time.Sleep(time.Minute)
		revoke := s.grant(w, "revoke")
		revoke.Time = revoked
		w.happens(s.open(w, "again"))
		w.happens(revoke)
		w.ticks(20 * time.Minute)
		critical := false
		for _, a := range w.told.Alerts() {
			critical = critical || a.Severity == alert.Critical
		}
		if !critical {
			t.Errorf("a grant whose revocation was delivered later is never reported as critical: last %s", w.last().Headline())
		}
	})
}
