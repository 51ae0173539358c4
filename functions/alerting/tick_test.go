package alerting

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestACanceledDeletionAloneResolvesNothing(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		scheduled, canceled := s.scheduledAlert(), "[HIGH] "+s.thing+" is no longer "+strings.TrimPrefix(s.scheduled, "was ")+", but is still disabled"
		w.happens(s.schedule(w, "e-1"))
		time.Sleep(time.Minute)
		s.reads(w, cmek.KeyDisabled)
		w.happens(s.event(w, "e-2", cmek.ChangeDeletionCanceled))
		w.ticks(24 * time.Hour)
		w.want("a day after the cancellation", scheduled, canceled)
		if got := w.open(); !slices.Equal(got, []string{s.incident}) {
			t.Errorf("open incidents are %v, want the key's", got)
		}
		w.happens(s.enable(w, "e-3"))
		w.ticks(20 * time.Minute)
		w.want("20 minutes after the key was enabled", scheduled, canceled, "[RESOLVED]")
	})
}

func TestTheEndIsToldAgainInTheSameBytesUntilItIsRecorded(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-2"))
		w.ticks(10 * time.Minute)
		w.told.outage = down
		time.Sleep(time.Minute)
		if err := w.Tick(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("a tick that cannot tell the end returns %v", err)
		}
		w.told.outage, w.store.readOnly = up, true
		time.Sleep(time.Minute)
		if err := w.Tick(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("a tick that cannot record the end returns %v", err)
		}
		w.store.readOnly = false
		w.ticks(20 * time.Minute)
		w.want("after a crash between the end and its record", s.disabledAlert(), "[RESOLVED]", "[RESOLVED]")
		if a := w.told.Alerts(); a[1].ID != a[2].ID || a[1].Text() != a[2].Text() {
			t.Errorf("the repeat differs:\n%s\n%s", a[1].Text(), a[2].Text())
		}
	})
}

func TestAnIncidentThatBeginsAnewWhileItsStateIsReadDoesNotEnd(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-2"))
		w.ticks(10 * time.Minute)
		// The KMS lags: it shows the key as it was before the event.
		w.kms.during = func() { w.happens(s.event(w, "e-3", cmek.ChangeKeyDisabled)) }
		w.ticks(time.Minute)
		w.want("after a second disable in the middle of the last read", s.disabledAlert(), s.disabledAlert())
		if got := w.open(); len(got) != 1 {
			t.Errorf("open incidents are %v, want the second disable's", got)
		}
	})
}

func TestOneBadIncidentDoesNotHoldUpTheOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kms.trust = "not a policy"
		w.happens(event("e-1", cmek.ChangePrincipalDeleted, ofRole("crdb-cmek")))
		w.happens(w.isDisabled("e-2"))
		time.Sleep(time.Minute)
		w.happens(w.isEnabled("e-3"))
		for range 15 {
			time.Sleep(time.Minute)
			if err := w.Tick(t.Context()); err != nil && !strings.Contains(err.Error(), "trust policy") {
				t.Fatalf("tick: %v", err)
			}
		}
		w.want("with a trust policy that cannot be read", "[CRITICAL] Role crdb-cmek was deleted", disabledAlert, "[RESOLVED] Key 1234abcd-12ab-34cd-56ef-1234567890ab can be used again")
	})
}

func TestLostAccessIsWellAgainOnlyWhenThePoliciesSaySo(t *testing.T) {
	for _, row := range []struct {
		lost     string
		breaks   func(*world) cmek.Event
		fixes    func(*world) cmek.Event
		readable bool // whether reads show that it is still lost
	}{
		{
			"by the key policy",
			func(w *world) cmek.Event {
				w.kms.keyPolicy = denyKeyPolicy
				return event("e-1", cmek.ChangeKeyPolicy, document(denyKeyPolicy))
			},
			func(w *world) cmek.Event {
				w.kms.keyPolicy = goodKeyPolicy
				return event("e-2", cmek.ChangeKeyPolicy, document(goodKeyPolicy))
			}, true,
		},
		{
			"by the trust policy",
			func(w *world) cmek.Event {
				w.kms.trust = brokenTrust
				return event("e-1", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(brokenTrust))
			},
			func(w *world) cmek.Event {
				w.kms.trust = goodTrust
				return event("e-2", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(goodTrust))
			}, true,
		},
		{
			"by the role's end",
			func(w *world) cmek.Event {
				w.kms.trust = ""
				return event("e-1", cmek.ChangePrincipalDeleted, ofRole("crdb-cmek"))
			},
			func(w *world) cmek.Event {
				w.kms.trust = goodTrust
				return event("e-2", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(goodTrust))
			}, true,
		},
		{
			"by a policy of the role, which is not read",
			func(w *world) cmek.Event {
				w.kms.rolePolicies = ""
				deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
				return event("e-1", cmek.ChangePrincipalPolicy, ofRole("crdb-cmek"), document(deny))
			},
			func(w *world) cmek.Event {
				w.kms.rolePolicies = noPolicies
				return event("e-2", cmek.ChangePrincipalPolicy, ofRole("crdb-cmek"))
			}, true,
		},
		{
			"for a reason that is not known",
			func(*world) cmek.Event { return event("e-1", cmek.ChangeUseRefused, by(role), failed("AccessDenied")) },
			func(*world) cmek.Event {
				return event("e-2", cmek.ChangeKeyPolicy, document(goodKeyPolicy))
			}, false,
		},
	} {
		t.Run(row.lost, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.happens(row.breaks(w))
				if row.readable {
					w.ticks(3 * time.Hour)
				} else {
					w.ticks(30 * time.Minute)
				}
				if got := w.open(); len(got) != 1 {
					t.Fatalf("access was lost %s, and the open incidents are %v", row.lost, got)
				}
				w.happens(row.fixes(w))
				w.ticks(20 * time.Minute)
				if got := w.open(); len(got) != 0 || !w.last().Resolved {
					t.Errorf("access was lost %s and is fixed; open incidents are %v, and the last thing told is %s", row.lost, got, w.last().Headline())
				}
			})
		})
	}
}

func TestRefusalsKeepAnIncidentOpenThatReadsWell(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		// An organization's policy refuses the cluster: nothing that is read shows it.
		for i := range 18 {
			w.happens(s.refused(w, fmt.Sprint("refused-", i), cmek.FailureDenied))
			w.ticks(10 * time.Minute)
		}
		refused := "[CRITICAL] Key " + s.key.ID() + " refused a call of a cluster"
		w.want("three hours of refusals", refused)
		w.ticks(2 * time.Hour)
		w.want("two hours after the last", refused, "[RESOLVED]")
	})
}

func TestAKeyStoreIsWellAgainWhenItIsConnected(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		store := with("custom_key_store_id", "cks-1")
		w.happens(event("e-1", cmek.ChangeKeyStoreDisconnected, of(""), store))
		w.ticks(3 * time.Hour)
		w.happens(event("e-2", cmek.ChangeKeyStoreConnected, of(""), with("custom_key_store_id", "cks-2")))
		w.ticks(time.Hour)
		w.want("after another store was connected", "[CRITICAL] Custom key store cks-1 was disconnected")
		w.happens(event("e-3", cmek.ChangeKeyStoreConnected, of(""), store))
		w.ticks(20 * time.Minute)
		w.want("after the store was connected", "[CRITICAL]", "[RESOLVED]")
	})
}

func TestAnIdleTickIsOneQuery(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.kms.outage, w.cloud.outage, w.store.readOnly = down, down, true
		if err := w.Tick(t.Context()); err != nil {
			t.Errorf("a tick without open incidents returns %v", err)
		}
		w.store.outage = down
		if err := w.Tick(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("a tick without a ledger returns %v, want its error", err)
		}
	})
}

func TestIncidentWithAShortenedListIsNotReadAsRecovered(t *testing.T) {
	i := &ledger.Incident{Kind: alert.AccessLost, Alert: alert.Alert{Clusters: []alert.AffectedCluster{{ID: "c-1"}}, ClusterCount: 5000}}
	// The listed cluster is never read: that all of them recovered could not be known from it.
	if recovered, err := (&Function{}).accessible(t.Context(), i); recovered || err != nil {
		t.Errorf("without an event an incident of 5000 clusters, 1 of them listed, reads as recovered: %t, error %v", recovered, err)
	}
}
