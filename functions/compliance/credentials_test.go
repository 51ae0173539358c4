package compliance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// kept is a secret whose current value is so old; below 0 nobody may read that.
type kept struct {
	name string
	age  time.Duration
}

func (k kept) Name() string { return k.name }

func (k kept) Created(context.Context) (time.Time, error) {
	if k.age < 0 {
		return time.Time{}, &cmek.PermissionError{Permission: "secretsmanager:ListSecretVersionIds on " + k.name, Err: fmt.Errorf("read %s: %w", k.name, cmek.ErrDenied)}
	}
	return time.Now().Add(-k.age), nil
}

func TestCredentials_are_as_old_as_their_secrets(t *testing.T) {
	const day = 24 * time.Hour
	within(t, func(t *testing.T, w *world) {
		w.AWS.Secrets = []compliance.Secret{kept{"young", 10 * day}, kept{"almost", 90*day - time.Minute}, kept{"old", 91 * day}, kept{"hidden", -1}}
		got := results(w.check())
		for name, want := range map[string]checks.Result{"young": checks.Pass, "almost": checks.Pass, "old": checks.Fail, "hidden": checks.Error} {
			if f := got["CMEK-30 "+name]; f.Result != want {
				t.Errorf("%s: %s, %s", name, f.Result, f.Why)
			}
		}
		if f := got["CMEK-30 hidden"]; !slices.Equal(f.Grants, []string{"secretsmanager:ListSecretVersionIds on hidden"}) {
			t.Errorf("%q", f.Grants)
		}
		if f := got["CMEK-30 old"]; len(f.Fix) == 0 || !strings.Contains(f.Fix[1], "--secret-id old") {
			t.Errorf("%q", f.Fix)
		}
		w.AWS.Secrets = nil // nobody says where the credential is: it is not left out
		if f := results(w.check())["CMEK-30 the API key in use"]; f.Result != checks.Error {
			t.Errorf("%+v", f)
		}
	})
}
