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
			t.Errorf("an attached Deny was told as %s: %s; want critical, with what was lost", told.Severity, told.Impact)
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
