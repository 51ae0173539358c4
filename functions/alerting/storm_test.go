package alerting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Whoever does now this and now that to a broken key makes a bounded number of alerts.
func TestFlood_ofAlternatingChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 50 {
			w.happens(w.isDisabled(fmt.Sprint("d", i)))
			time.Sleep(time.Second)
			w.happens(w.isScheduled(fmt.Sprint("s", i)))
			time.Sleep(time.Second)
		}
		if n := len(w.told.Alerts()); n > 10 {
			t.Errorf("100 calls of one principal about one broken key made %d alerts", n)
		}
	})
}

// The name of a role elsewhere is not keyturn's own role: what cuts a cluster off stays critical.
func TestOwn_clustersRoleOfTheSameName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.OwnResources = "keyturn-kms-calls,crdb-cmek" // the hub's account has a role of that name
		w.Settings.OwnRoles = "arn:aws:iam::777788889999:role/crdb-cmek"
		w.happens(event("e1", cmek.ChangePrincipalDeleted, ofRole(role)))
		w.wantCut()
	})
}

// The recovery steps of a deleted role make the role that the clusters assume, with its path and its own policies.
func TestRecovery_ofADeletedRole(t *testing.T) {
	const withPath = "arn:aws:iam::111122223333:role/teams/db/crdb-cmek"
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.setKeys("c-1", cmek.KeyInfo{Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: withPath}, Status: cmek.Enabled}); err != nil {
			t.Fatal(err)
		}
		w.noted(ledger.RolePolicies(withPath), `{"inline":{"use":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}},"attached":{}}`)
		w.happens(event("e1", cmek.ChangePrincipalDeleted, ofRole(role)))
		steps := strings.Join(w.last().RecoverySteps, "\n")
		for _, want := range []string{"--path /teams/db/", "put-role-policy"} {
			if !strings.Contains(steps, want) {
				t.Errorf("the steps lack %q:\n%s", want, steps)
			}
		}
	})
}

// An alert about a change that was undone meanwhile is not sent by a second judgement.
func TestReview_ofAChangeThatWasUndone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kms.rolePolicies = ""
		w.kms.keyPolicy = rootOnly
		w.happens(event("unclear", cmek.ChangeKeyPolicy, document(rootOnly)))
		time.Sleep(time.Minute)
		w.kms.keyPolicy = goodKeyPolicy
		w.happens(event("undone", cmek.ChangeKeyPolicy, document(goodKeyPolicy)))
		w.kms.rolePolicies = noPolicies
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
