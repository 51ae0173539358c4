package compliance_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
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

// A key that no cluster names is of none only if nothing else ties it to one, and all of that was read.
func TestRetire_of_a_key_that_no_cluster_names(t *testing.T) {
	const unknown = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7ffff")
	retire := func(w *world) checks.Retirement {
		r, err := w.Retire(w.t.Context(), unknown, cmek.KeyVersion{})
		if err != nil {
			w.t.Fatal(err)
		}
		survey, err := w.Survey(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if again := checks.Retire(survey.Key(w.t.Context(), unknown), cmek.KeyVersion{}, time.Now()); again.Unrelated != r.Unrelated || again.Permission != r.Permission {
			w.t.Errorf("retire says %+v, and the judge of plans %+v", r, again)
		}
		return r
	}
	for name, tt := range map[string]struct {
		arrange   func(w *world)
		unrelated bool
		why       string
	}{
		"nothing ties it to a cluster": {func(*world) {}, true, "none names the key"},
		"no ledger is named":           {func(w *world) { w.Ledger = nil }, true, "none names the key"},
		"a cluster that was deleted had it": {func(w *world) {
			_, err := w.Ledger.UpdateCluster(w.t.Context(), "7c1d9e20-3a4b-4c5d-8e6f-0000000000c1", func(c *ledger.Cluster) error {
				c.Cluster, c.NextLook = cmek.Cluster{ID: c.ID, Name: "old", State: cmek.StateCreated, Plan: cmek.PlanAdvanced}, time.Now()
				c.SetDone(ledger.Done{Region: "us-east-1", Key: unknown, At: time.Now()})
				return nil
			})
			if err != nil {
				w.t.Fatal(err)
			}
			w.Cloud = moreClusters{Cloud: w.Cloud, clusters: []cmek.Cluster{{ID: "7c1d9e20-3a4b-4c5d-8e6f-0000000000c1", Name: "old", State: cmek.StateDeleted, Plan: cmek.PlanAdvanced}}}
		}, false, "the ledger knows it of cluster old"},
		"a cluster is to be moved to it": {func(w *world) {
			_, err := w.Ledger.UpdateCluster(w.t.Context(), payments, func(c *ledger.Cluster) error {
				c.Cluster.Name, c.NextLook = "payments", time.Now()
				c.Work = []ledger.Work{{Region: "us-east-1", Key: unknown, Order: "o1"}}
				return nil
			})
			if err != nil {
				w.t.Fatal(err)
			}
		}, false, "the ledger knows it of cluster payments"},
		"it is declared":              {func(w *world) { w.Declared.Keys = []checks.KeyDeclaration{{Key: unknown}} }, false, "declared under compliance"},
		"it is a key of the accounts": {func(w *world) { w.Declared.ClusterKeys = []cmek.KeyURI{unknown} }, false, "a key of clusters"},
		"the ledger cannot be read":   {func(w *world) { w.Ledger = w.ledgerOver(noStore{}) }, false, "no answer"},
		"a cluster cannot be read":    {func(w *world) { w.refused["GET /api/v1/clusters/"+payments+"/cmek"] = true }, false, payments},
	} {
		within(t, func(t *testing.T, w *world) {
			tt.arrange(w)
			if r := retire(w); r.Permission != checks.NotKnown || r.Unrelated != tt.unrelated || !strings.Contains(strings.Join(r.Reasons, "; "), tt.why) {
				t.Errorf("%s: %+v", name, r)
			}
		})
	}
}

// noStore is a store that does not answer.
type noStore struct{ ledger.Store }

func (noStore) Get(context.Context, string, string) (ledger.Record, error) {
	return ledger.Record{}, errors.New("no answer")
}

func (noStore) Due(context.Context, string, time.Time, int) ([]ledger.Record, error) {
	return nil, errors.New("no answer")
}

func (noStore) ByKey(context.Context, string, string) ([]ledger.Record, error) {
	return nil, errors.New("no answer")
}
