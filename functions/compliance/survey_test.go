package compliance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cmek"
)

func TestSurvey_who_uses_which_key(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		s, err := w.Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(s.Uses, func(u compliance.SurveyedUse) bool { return u.ClusterID == payments })
		if i < 0 || s.Uses[i].Spec.URI != paymentsKey || s.Uses[i].Spec.AuthPrincipal != paymentsRole || s.Uses[i].CloudAccount == "" || s.Incomplete != "" || s.OrganizationID == "" {
			t.Errorf("%+v", s)
		}
		if k := s.Key(t.Context(), paymentsKey); k.Description.Value.State != cmek.KeyEnabled || len(k.Uses.Value) == 0 || k.Retention.Unread != "" {
			t.Errorf("%+v", k)
		}
		w.roles.trust = `{"Version":"2012-10-17","Statement":[]}`
		for name, want := range map[string]string{paymentsKey: `"Statement"`, paymentsRole: `"Statement"`, paymentsRole + "#policies": `"inline"`} {
			if text, ok := s.Document(t.Context(), name); !ok || !strings.Contains(text, want) {
				t.Errorf("%s: %q, %t", name, text, ok)
			}
		}
		w.roles.trust, w.roles.policies = "denied", ""
		for _, name := range []string{paymentsRole, paymentsRole + "#policies", "projects/p", "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"} {
			if text, ok := s.Document(t.Context(), name); ok {
				t.Errorf("%s was read: %q", name, text)
			}
		}
	})
}

func TestSurvey_says_what_it_lacks(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.refused["GET /api/v1/clusters/"+payments+"/cmek"] = true
		s, err := w.Survey(t.Context())
		if err != nil || !strings.Contains(s.Incomplete, payments) {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
