package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestAPolicyAttachedToARoleIsJudgedByReadingAllOfItsPolicies(t *testing.T) {
	const none = `{"inline":{},"attached":{}}`
	const deny = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
	cut := `{"inline":{},"attached":{"arn:aws:iam::111122223333:policy/cut":` + deny + `}}`
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.Ledger.NotePolicy(t.Context(), ledger.RolePolicies(role), none, ledger.NotedPolicy{}); err != nil {
			t.Fatal(err)
		}
		w.kms.rolePolicies = cut
		w.happens(event("e-1", cmek.ChangePrincipalPolicy, ofRole("crdb-cmek")))
		told := w.last()
		if told.Severity != alert.Critical || !strings.Contains(told.Impact, "lost kms:Encrypt, kms:Decrypt") {
			t.Errorf("an attached Deny was reported as %s: %s; want critical, with what was lost", told.Severity, told.Impact)
		}
		w.ticks(3 * time.Hour)
		if len(w.open()) != 1 {
			t.Error("the incident ended while the Deny was attached")
		}
		w.kms.rolePolicies = none
		w.ticks(3 * time.Hour)
		if len(w.open()) != 0 || !w.last().Resolved {
			t.Errorf("after the Deny was detached the incidents are %v", w.open())
		}
	})
}

// Records may leave the path of a role out.
func TestACallByARoleWithoutItsPathIsTheClusters(t *testing.T) {
	const withPath = cmek.Principal("arn:aws:iam::111122223333:role/teams/db/crdb-cmek")
	clusters := []*ledger.Cluster{{CMEK: cmek.ClusterInfo{RegionInfos: []cmek.RegionInfo{{KeyInfos: []cmek.KeyInfo{
		{Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: withPath}},
	}}}}}}
	for issuer, want := range map[string]bool{
		string(withPath): true,
		"arn:aws:iam::111122223333:role/crdb-cmek":               true,
		"arn:aws:iam::111122223333:role/db":                      false,
		"arn:aws:iam::444455556666:role/crdb-cmek":               false,
		"arn:aws:iam::111122223333:user/crdb-cmek":               false,
		"arn:aws:sts::111122223333:assumed-role/crdb-cmek/alice": false,
		"": false,
	} {
		if got := byCluster(clusters, cmek.Event{Change: cmek.ChangeUseRefused, Issuer: cmek.Principal(issuer)}); got != want {
			t.Errorf("a call by %q is the cluster's: %t, want %t", issuer, got, want)
		}
	}
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

// A cluster's principal that a key refuses is reported, also if the inventory does not know that key yet.
func TestRefused_onAKeyThatIsNotListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e := event("e1", cmek.ChangeUseRefused, of(unused), by(role), failed("AccessDeniedException"))
		e.Source = "aws.kms/AWS API Call via CloudTrail/Decrypt"
		w.happens(e)
		if len(w.told.Alerts()) == 0 {
			t.Error("the principal of cluster orders was refused a key that the inventory does not list, and nobody was notified")
		}
	})
}
