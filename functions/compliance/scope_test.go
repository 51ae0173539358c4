package compliance_test

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/report"
)

// owned are the clusters of the mixed fleet that are on the provider, AWS unless they say otherwise.
func owned(w *world, provider string) (ids []string) {
	for _, c := range w.seed.Clusters {
		if cmp.Or(c.CloudProvider, "AWS") == provider {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// A check on demand is about the clusters that the installation owns, as its scheduled runs are, and accounts for every other.
func TestCheck_is_about_the_installations_own_clusters(t *testing.T) {
	for own, provider := range map[cmek.KeyType]string{cmek.AWSKMS: "AWS", cmek.GCPCloudKMS: "GCP"} {
		withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
			w.KeyTypes = []cmek.KeyType{own}
			run := w.check()
			p := run.Population
			if p.Listed != p.Checked+len(p.OutOfScope)+p.Missing() || p.Checked < len(owned(w, provider)) || len(p.OutOfScope) == 0 {
				t.Errorf("%s: %+v", own, p)
			}
			for _, c := range p.OutOfScope {
				if slices.Contains(owned(w, provider), c.ID) || !strings.HasPrefix(c.Why, "another installation's key type: ") {
					t.Errorf("%s: %+v is out of scope", own, c)
				}
			}
			for _, f := range run.Findings {
				if f.Subject.Key != "" && f.Subject.Key.Type() != own {
					t.Errorf("%s: it finds %s about %s", own, f.Check, f.Subject.ID)
				}
			}
		})
	}
}

// A run that would check nothing of what was asked for is none: nobody takes it for a good one.
func TestCheck_of_named_clusters_that_are_out_of_scope(t *testing.T) {
	withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
		w.KeyTypes = []cmek.KeyType{cmek.AWSKMS}
		onGoogle, onAWS := owned(w, "GCP")[0], payments
		if _, err := w.Check(t.Context(), onGoogle); !errors.Is(err, compliance.ErrOutOfScope) || !strings.Contains(err.Error(), string(cmek.GCPCloudKMS)) {
			t.Errorf("only one that is out of scope: %v", err)
		}
		p := w.check(onGoogle, onAWS).Population
		if p.Listed != 2 || p.Checked != 1 || !slices.ContainsFunc(p.OutOfScope, func(c report.Cluster) bool { return c.ID == onGoogle }) {
			t.Errorf("one of each: %+v", p)
		}
		w.Declared.OutOfScope = []checks.Exclusion{{Cluster: onAWS, Reason: "a trial"}}
		if _, err := w.Check(t.Context(), onAWS); !errors.Is(err, compliance.ErrOutOfScope) || !strings.Contains(err.Error(), "a trial") {
			t.Errorf("one that is declared out of scope: %v", err)
		}
	})
}

// A key is needed by whom it is needed, whichever installation owns their clusters.
func TestRetire_and_Survey_ask_the_clusters_of_every_installation(t *testing.T) {
	withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
		for uri, other := range map[cmek.KeyURI]cmek.KeyType{googleKey: cmek.AWSKMS, paymentsKey: cmek.GCPCloudKMS} {
			w.KeyTypes = []cmek.KeyType{other}
			r, err := w.Retire(t.Context(), uri, cmek.KeyVersion{})
			if err != nil || r.Permission != checks.Never {
				t.Errorf("%s: %+v (%v)", uri, r, err)
			}
			s, err := w.Survey(t.Context())
			if err != nil || !slices.ContainsFunc(s.Uses, func(u compliance.SurveyedUse) bool { return u.Spec.URI.SameKey(uri) }) {
				t.Errorf("%s: the survey lacks it (%v)", uri, err)
			}
		}
	})
}
