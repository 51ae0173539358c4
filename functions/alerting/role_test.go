package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestAPolicyAttachedToARoleIsJudgedByReadingAllOfItsPolicies(t *testing.T) {
	const none = `{"inline":{},"attached":{}}`
	const deny = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
	cut := `{"inline":{},"attached":{"arn:aws:iam::111122223333:policy/cut":` + deny + `}}`
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.Ledger.SetLastPolicy(t.Context(), ledger.RolePolicies(role), none); err != nil {
			t.Fatal(err)
		}
		w.kms.rolePolicies = cut
		w.happens(event("e-1", cmek.RolePolicyChanged, ofRole("crdb-cmek")))
		told := w.last()
		if told.Severity != cmek.Critical || !strings.Contains(told.Consequence, "lost kms:Encrypt, kms:Decrypt") {
			t.Errorf("an attached Deny was told as %s: %s; want critical, with what was lost", told.Severity, told.Consequence)
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
