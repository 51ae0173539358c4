package alerting

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What is found worse by a second judgement is one incident, reported once.
func TestReview_oneIncidentIsReportedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kms.rolePolicies = ""
		for i := range 10 {
			w.happens(call2(fmt.Sprint("e", i), "AttachRolePolicy"))
		}
		w.kms.rolePolicies = `{"inline":{"x":` + denyKMS + `},"attached":{}}`
		w.ticks(20 * time.Minute)
		critical := 0
		for _, a := range w.told.Alerts() {
			if a.Severity == alert.Critical {
				critical++
			}
		}
		if critical != 1 {
			t.Errorf("a role that lost its access is reported as critical %d times, want once", critical)
		}
	})
}

// call2 is a change of the role's permissions whose document the event does not carry.
func call2(id, name string) cmek.Event {
	return event(id, cmek.ChangePrincipalPolicy, ofRole(role), func(e *cmek.Event) { e.Source = "aws.iam/AWS API Call via CloudTrail/" + name })
}

// An incident ends when its clusters surely have access, and not because somebody set a policy that cannot be evaluated.
func TestResolve_whatCannotBeToldIsNoGoodRead(t *testing.T) {
	conditional := strings.Replace(goodKeyPolicy, `"Resource":"*"}]}`, `"Resource":"*","Condition":{"StringEquals":{"aws:SourceVpce":"vpce-0a"}}}]}`, 1)
	conditional = strings.Replace(conditional, rootStatement, admin, 1)
	inWorld(t, func(t *testing.T, w *world) {
		w.kms.keyPolicy = denyKeyPolicy
		w.happens(event("cut", cmek.ChangeKeyPolicy, document(denyKeyPolicy)))
		time.Sleep(time.Minute)
		w.kms.keyPolicy = conditional
		w.happens(event("unclear", cmek.ChangeKeyPolicy, document(conditional)))
		w.ticks(3 * time.Hour)
		for _, a := range w.told.Alerts() {
			if a.Resolved {
				t.Errorf("with a policy that cannot be evaluated, people are sent %s | %s", a.Headline(), a.Impact)
			}
		}
	})
}

// hangsFor hangs at the documents of one principal until its caller gives up.
type hangsFor struct {
	cmek.Policies
	principal cmek.Principal
}

func (h hangsFor) Document(ctx context.Context, name string) (string, error) {
	if name == string(h.principal) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return h.Policies.Document(ctx, name)
}

// An incident whose documents cannot be read keeps no other waiting, tick after tick.
func TestTick_hangingReadKeepsNoOtherWaiting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kms.keyPolicy = denyKeyPolicy
		w.happens(event("cut", cmek.ChangeKeyPolicy, document(denyKeyPolicy)))
		w.Policies = hangsFor{w.kms, role}
		time.Sleep(time.Minute)
		w.happens(event("off", cmek.ChangeKeyDisabled, of(unused), func(*cmek.Event) { w.cluster2("c-2", unused); w.kms.set(unused, cmek.KeyDisabled) }))
		w.kms.set(unused, cmek.KeyEnabled)
		for range 180 {
			time.Sleep(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			_ = w.Tick(ctx)
			cancel()
		}
		resolved := false
		for _, a := range w.told.Alerts() {
			resolved = resolved || a.Resolved && a.Key == unused
		}
		if !resolved {
			t.Error("3 hours after the other key was enabled its incident is not resolved: the first one hangs")
		}
	})
}

// cluster2 puts a cluster that uses another key into the inventory.
func (w *world) cluster2(id string, uri cmek.KeyURI) {
	w.cluster(id, id, cmek.Enabled)
	w.t.Helper()
	if err := w.setKeys(id, as(uri, cmek.Enabled)); err != nil {
		w.t.Fatal(err)
	}
}

// An incident that was stored under the change's former name is polled as the same kind of incident.
func TestResolve_incidentOfAFormerName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kms.rolePolicies = "" // unreadable: it may be what is broken
		name := alert.IncidentKey(alert.AccessLost, account+"/crdb-cmek")
		if _, err := w.Ledger.UpdateIncident(t.Context(), name, func(i *ledger.Incident) error {
			i.Kind, i.Opened, i.NextLook = alert.AccessLost, time.Now(), time.Now()
			i.Alert = alert.Alert{ID: "a", DedupKey: name, Severity: alert.Critical, Change: "role permissions changed", Summary: "Role crdb-cmek had its permissions changed",
				Clusters: []alert.AffectedCluster{{ID: "c-1", Name: "orders"}}}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.ticks(3 * time.Hour)
		if len(w.told.Alerts()) > 0 {
			t.Errorf("the role's policies cannot be read, and people are sent %s", w.last().Headline())
		}
	})
}

// An alert about a change that was undone meanwhile is not sent by a second judgement.
func TestReview_ofAChangeThatWasUndone(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		s.unreadable(w, true)
		w.happens(s.cut(w, "unclear"))
		time.Sleep(time.Minute)
		w.happens(s.grant(w, "undone"))
		s.unreadable(w, false)
		w.ticks(30 * time.Minute)
		for _, a := range w.told.Alerts() {
			if a.Severity == alert.Critical {
				t.Errorf("the key policy allows the clusters' role since 4 minutes, and people are sent %s", a.Headline())
			}
		}
	})
}

// A second judgement that fails to publish is made again, and one whose record fails is not sent for ever.
func TestReview_failures(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.happens(call2("e1", "AttachRolePolicy"))
		w.kms.rolePolicies = `{"inline":{"x":` + denyKMS + `},"attached":{}}`
		time.Sleep(6 * time.Minute)
		w.told.outage = down
		for range 3 {
			_ = w.Tick(t.Context())
			time.Sleep(time.Minute)
		}
		w.told.outage, w.store.readOnly = up, true
		for range 3 {
			_ = w.Tick(t.Context())
			time.Sleep(time.Minute)
		}
		w.store.readOnly = false
		w.ticks(30 * time.Minute)
		ids := map[string]int{}
		for _, a := range w.told.Alerts() {
			ids[a.ID]++
		}
		if len(ids) != 2 || w.last().Severity != alert.Critical || len(w.open()) != 1 {
			t.Errorf("after failures of the second judgement: %v; last %s; open %v", ids, w.last().Headline(), w.open())
		}
	})
}

// A policy that is saved twice between two sweeps grants nothing new.
func TestNoted_savedTwiceIsNoGain(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.noted(string(s.key), s.open(w, "").Policy)
		for _, id := range []string{"e1", "e2"} {
			time.Sleep(15 * time.Minute)
			w.happens(s.open(w, id))
		}
		w.ticks(20 * time.Minute)
		for _, a := range w.told.Alerts() {
			if a.Severity.Above(alert.Medium) {
				t.Errorf("the same policy again: %s", a.Headline())
			}
		}
	})
}
