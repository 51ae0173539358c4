package compliance_test

import (
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
)

const (
	payments = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	orders   = "7c1d9e20-3a4b-4c5d-8e6f-000000000003"
	booked   = "7c1d9e20-3a4b-4c5d-8e6f-000000000004" // with a multi-Region key
	noCMEK   = "7c1d9e20-3a4b-4c5d-8e6f-000000000006"

	paymentsKey  = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	paymentsRole = "arn:aws:iam::111122223333:role/payments-cmek"
)

func TestCheck_says_what_is_so_and_what_nobody_knows(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		run := w.check()
		if p := run.Population; p.Listed != len(w.seed.Clusters) || p.Checked != p.Listed || len(p.OutOfScope)+len(p.Unread) > 0 {
			t.Errorf("%+v", p)
		}
		if run.Ended.Before(run.Began) || run.Began.IsZero() {
			t.Error(run.Began, run.Ended)
		}
		got := results(run)
		for key, want := range map[string]checks.Result{
			"CMEK-01 " + payments: checks.Pass, "CMEK-01 " + noCMEK: checks.Fail,
			"CMEK-05 " + paymentsKey: checks.Pass, "CMEK-12 " + paymentsKey + " " + paymentsRole: checks.Pass,
			"CMEK-16 " + paymentsRole: checks.Fail, "CMEK-21 arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906": checks.Pass,
			"CMEK-25 AWS/111122223333/us-east-1": checks.Error, "CMEK-27 " + payments: checks.Pass,
			"CMEK-30 the API key in use": checks.Error,
		} {
			if f := got[key]; f.Result != want {
				t.Errorf("%s: %s, %s", key, f.Result, f.Why)
			}
		}
		for key, f := range got { // all else was read
			if needs := f.Check == "CMEK-25" || f.Check == "CMEK-26" || f.Check == "CMEK-30"; f.Result == checks.Error && !needs {
				t.Errorf("%s: %s", key, f.Why)
			}
		}
	})
}

// What is refused is an ERROR with the permission that is missing, and every other fact is read.
func TestRefusal_is_an_ERROR_that_names_the_permission(t *testing.T) {
	for _, tt := range []struct{ request, check, subject, grant string }{
		{"DescribeKey", "CMEK-05", paymentsKey, "kms:DescribeKey in the key policy of " + paymentsKey},
		{"ListKeyRotations", "CMEK-10", paymentsKey, "kms:ListKeyRotations in the key policy of " + paymentsKey},
		{"GetKeyRotationStatus", "CMEK-08", paymentsKey, "kms:GetKeyRotationStatus in the key policy of " + paymentsKey},
		{"GetKeyPolicy", "CMEK-13", paymentsKey, "kms:GetKeyPolicy in the key policy of " + paymentsKey},
		{"ListGrants", "CMEK-20", paymentsKey, "kms:ListGrants in the key policy of " + paymentsKey},
		{"GetKeyLastUsage", "CMEK-31", paymentsKey, "kms:GetKeyLastUsage in the key policy of " + paymentsKey},
		{"GET /api/v1/organization", "CMEK-16", paymentsRole, "Cluster Operator"},
		{"GET /api/v1/clusters/" + payments + "/backups-config", "CMEK-27", payments, "Cluster Operator"},
		{"GET /api/v1/clusters/" + payments + "/backups-config", "CMEK-06", paymentsKey, "Cluster Operator"},
		{"GET /api/v1/clusters/" + payments + "/cmek", "CMEK-01", payments, "Cluster Operator"},
	} {
		t.Run(tt.request, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				w.Declared.Keys = []checks.KeyDeclaration{{Key: paymentsKey, Retired: true}}
				w.refused[tt.request] = true
				f := results(w.check())[tt.check+" "+tt.subject]
				if f.Result != checks.Error || !slices.ContainsFunc(f.Grants, func(g string) bool { return strings.Contains(g, tt.grant) }) {
					t.Errorf("%s, %s, grants %v", f.Result, f.Why, f.Grants)
				}
			})
		})
	}
}

func TestRole_that_is_refused_or_gone(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.roles.trust, w.roles.policies = "denied", ""
		got := results(w.check(payments))
		if f := got["CMEK-16 "+paymentsRole]; f.Result != checks.Error || !slices.Equal(f.Grants, []string{"iam:GetRole on " + paymentsRole}) {
			t.Errorf("%+v", f)
		}
		if f := got["CMEK-12 "+paymentsKey+" "+paymentsRole]; f.Result != checks.Fail || !strings.Contains(f.Why, "does not exist") {
			t.Errorf("%+v", f)
		}
	})
}

// A cluster whose keys are not known may use any key.
func TestUnreadCluster_leaves_the_uses_of_every_key_unknown(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.refused["GET /api/v1/clusters/"+payments+"/cmek"] = true
		run := w.check()
		if p := run.Population; p.Checked != p.Listed-1 || len(p.Unread) != 1 || p.Unread[0].ID != payments || p.Unread[0].Why == "" {
			t.Errorf("%+v", p)
		}
		for _, f := range run.Findings {
			if f.Check == "CMEK-05" && f.Result != checks.Error {
				t.Errorf("%s about %s: %s", f.Check, f.Subject.ID, f.Result)
			}
		}
		// The same for a run about another cluster.
		if f := results(w.check(orders))["CMEK-23 arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"]; f.Result != checks.Error {
			t.Errorf("%+v", f)
		}
	})
}

func TestInventory_of_the_ledger_counts_while_it_is_fresh(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ago    time.Duration
		change func(*ledger.Cluster)
		reads  int
	}{
		{"fresh", 10 * time.Minute, nil, 0},
		{"old", 16 * time.Minute, nil, 1},
		{"not shown any more", time.Minute, func(c *ledger.Cluster) { c.Unread = ledger.Unread{Since: time.Now(), Why: "x"} }, 1},
		{"older than a read before", time.Minute, func(c *ledger.Cluster) { c.Older = ledger.OlderRead{Since: time.Now(), Count: 1} }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				w.note(payments, tt.ago)
				if tt.change != nil {
					if _, err := w.Ledger.UpdateCluster(t.Context(), payments, func(c *ledger.Cluster) error { tt.change(c); return nil }); err != nil {
						t.Fatal(err)
					}
				}
				clear(w.requests)
				f := results(w.check(payments))["CMEK-01 "+payments]
				if got := w.requests["GET /api/v1/clusters/"+payments+"/cmek"]; got != tt.reads {
					t.Errorf("%d reads of /cmek, want %d", got, tt.reads)
				}
				source := f.Evidence[1].Source
				if f.Result != checks.Pass || (source == "ledger") != (tt.reads == 0) {
					t.Errorf("%s from %s", f.Result, source)
				}
			})
		})
	}
}

func TestCluster_that_is_in_the_ledger_and_not_listed_is_unread(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		const gone = "7c1d9e20-3a4b-4c5d-8e6f-00000000dead"
		info := w.note(payments, time.Minute).CMEK
		if _, err := w.Ledger.UpdateCluster(t.Context(), gone, func(c *ledger.Cluster) error {
			c.Cluster, c.CMEK, c.SeenAt, c.NextLook = cmek.Cluster{ID: gone, Name: "gone"}, info, time.Now(), time.Now()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		run := w.check()
		if p := run.Population; p.Listed != len(w.seed.Clusters)+1 || len(p.Unread) != 1 || p.Unread[0].Name != "gone" {
			t.Errorf("%+v", p)
		}
		if f := results(run)["CMEK-01 "+gone]; f.Result != checks.Error {
			t.Errorf("%+v", f)
		}
		if f := results(run)["CMEK-05 "+paymentsKey]; f.Result != checks.Error {
			t.Errorf("%+v", f)
		}
	})
}

// A CMEK cannot be switched off: an answer without keys of a cluster that had some is no news of that.
func TestAnswer_without_the_keys_that_there_were_is_unread(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		info := w.note(payments, time.Hour).CMEK
		if _, err := w.Ledger.UpdateCluster(t.Context(), noCMEK, func(c *ledger.Cluster) error {
			c.Cluster, c.CMEK, c.SeenAt, c.NextLook = cmek.Cluster{ID: noCMEK}, info, time.Now().Add(-time.Hour), time.Now()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if f := results(w.check())["CMEK-01 "+noCMEK]; f.Result != checks.Error || !strings.Contains(f.Why, "cannot be switched off") {
			t.Errorf("%s, %s", f.Result, f.Why)
		}
	})
}

func TestPolicies_that_a_sweep_noted_are_not_read_again_while_they_are_fresh(t *testing.T) {
	for ago, reads := range map[time.Duration]int{time.Hour: 0, 91 * time.Minute: 1} {
		within(t, func(t *testing.T, w *world) {
			text, err := w.AWS.Policies.KeyPolicy(t.Context(), paymentsKey)
			if err != nil {
				t.Fatal(err)
			}
			for name, document := range map[string]string{paymentsKey: text, paymentsRole: w.roles.trust, ledger.RolePolicies(paymentsRole): noPolicy} {
				if err := w.Ledger.NotePolicy(t.Context(), name, document, ledger.NotedPolicy{}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(ago)
			clear(w.requests)
			*w.roles.calls = 0
			f := results(w.check(payments))["CMEK-12 "+paymentsKey+" "+paymentsRole]
			if got := w.requests["GetKeyPolicy"]; got != reads || *w.roles.calls != 2*reads || f.Result != checks.Pass {
				t.Errorf("after %s: %d reads of the key policy, %d of the role, %s", ago, got, *w.roles.calls, f.Result)
			}
		})
	}
}

// The bounds of a run: what it sends for each cluster, with a sweep that keeps the ledger fresh and without.
func TestRun_sends_few_requests(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.check()
		if got, most := w.sent("GET ", ""), 2+3*len(w.seed.Clusters); got > most {
			t.Errorf("%d requests to the Cloud API, want at most %d", got, most)
		}
		for _, c := range w.seed.Clusters {
			w.note(c.ID, 5*time.Minute)
		}
		clear(w.requests)
		w.check()
		// A page of the list, the organization, and two about the backups of each cluster.
		if got, most := w.sent("GET ", ""), 2+2*len(w.seed.Clusters); got > most || w.sent("GET ", "/cmek") > 0 {
			t.Errorf("%d requests to the Cloud API, want at most %d: %v", got, most, w.requests)
		}
		for _, id := range []string{payments, orders, booked} {
			clear(w.requests)
			w.check(id)
			calls := 0
			for name, n := range w.requests {
				if !strings.HasPrefix(name, "GET ") {
					calls += n
				}
				if !strings.HasPrefix(name, "GET ") && n > 3 {
					t.Errorf("%d calls of %s for one cluster", n, name)
				}
			}
			if keys := map[string]int{payments: 1, orders: 3, booked: 2}[id]; calls > 15 || calls < 5*keys {
				t.Errorf("%d calls to KMS for a cluster with %d keys", calls, keys)
			}
		}
	})
}

func TestClusters_out_of_scope_are_counted_and_their_keys_are_in_use(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.Declared.OutOfScope = []checks.Exclusion{{Cluster: payments, Reason: "a trial"}}
		w.Declared.Keys = []checks.KeyDeclaration{{Key: paymentsKey, Retired: true}}
		run := w.check()
		if p := run.Population; len(p.OutOfScope) != 1 || !strings.Contains(p.OutOfScope[0].Why, "a trial") || p.Listed != p.Checked+1 {
			t.Errorf("%+v", p)
		}
		got := results(run)
		if _, ok := got["CMEK-01 "+payments]; ok {
			t.Error("the cluster is checked")
		}
		if f := got["CMEK-31 "+paymentsKey]; f.Result != checks.Fail || !strings.Contains(f.Why, "a cluster uses it") {
			t.Errorf("%s, %s", f.Result, f.Why)
		}
	})
}

func TestRun_that_cannot_list_the_clusters_or_find_one_is_none(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		if _, err := w.Check(t.Context(), payments, "no such cluster"); !errors.Is(err, cmek.ErrNotFound) || !strings.Contains(err.Error(), "no such cluster") {
			t.Error(err)
		}
		if run := w.check("payments"); run.Population.Listed != 1 { // by name
			t.Errorf("%+v", run.Population)
		}
		w.refused["GET /api/v1/clusters"] = true
		if _, err := w.Check(t.Context()); !errors.Is(err, cmek.ErrDenied) {
			t.Error(err)
		}
	})
}

func TestWithoutLedgerAndAccess_everything_else_is_an_ERROR(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.Ledger, w.AWS = nil, compliance.AWS{}
		for _, f := range w.check().Findings {
			if f.Subject.Kind == checks.KeySubject && f.Check < "CMEK-25" && f.Result != checks.Error && f.Check != "CMEK-23" {
				t.Errorf("%s about %s: %s, %s", f.Check, f.Subject.ID, f.Result, f.Why)
			}
			if f.Check == "CMEK-04" && f.Result == checks.Pass {
				t.Errorf("%s about %s: %s, %s", f.Check, f.Subject.ID, f.Result, f.Why)
			}
		}
	})
}

func TestRetire_keeps_what_is_in_use_or_not_known(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		got, err := w.Retire(t.Context(), paymentsKey, cmek.KeyVersion{})
		if err != nil || got.Permission != checks.Never || got.Allowed(time.Now()) {
			t.Errorf("%+v, %v", got, err)
		}
		const unused = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7ffff"
		if got, err = w.Retire(t.Context(), unused, cmek.KeyVersion{}); err != nil || got.Permission != checks.NotKnown {
			t.Errorf("%+v, %v", got, err)
		}
		w.refused["GET /api/v1/clusters"] = true
		if _, err = w.Retire(t.Context(), paymentsKey, cmek.KeyVersion{}); err == nil {
			t.Error("a key is judged without the list of clusters")
		}
	})
}

// trails are those of one account; the others' cannot be read.
type trails struct{}

func (trails) Trails(_ context.Context, account, region string) ([]checks.Trail, error) {
	if region == "us-west-2" {
		return nil, cmek.ErrDenied
	}
	return []checks.Trail{{Name: account, Writes: checks.Yes, Reads: checks.Yes}}, nil
}

func TestTrails_are_read_where_the_keys_are(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.AWS.Trails = trails{}
		got := results(w.check(orders))
		if f := got["CMEK-26 AWS/111122223333/us-east-1"]; f.Result != checks.Pass {
			t.Errorf("%s, %s", f.Result, f.Why)
		}
		f := got["CMEK-26 AWS/111122223333/us-west-2"]
		if f.Result != checks.Error || len(f.Grants) != 1 || !strings.Contains(f.Grants[0], "cloudtrail:DescribeTrails") {
			t.Errorf("%s, %s, %v", f.Result, f.Why, f.Grants)
		}
	})
}
