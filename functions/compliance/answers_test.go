package compliance_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// staged is the simulated Cloud API with other answers about some clusters.
type staged struct {
	compliance.Cloud
	more []cmek.Cluster
	cmek map[string]func() (cmek.ClusterInfo, error)
}

func (s staged) ClusterPage(ctx context.Context, page string) ([]cmek.Cluster, string, error) {
	clusters, next, err := s.Cloud.ClusterPage(ctx, page)
	return append(clusters, s.more...), next, err
}

func (s staged) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	if answer := s.cmek[id]; answer != nil {
		return answer()
	}
	return s.Cloud.CMEK(ctx, id)
}

func answers(info cmek.ClusterInfo, err error) func() (cmek.ClusterInfo, error) {
	return func() (cmek.ClusterInfo, error) { return info, err }
}

func TestAnswers_about_a_CMEK(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		want   checks.Result
		grants bool
	}{
		{"not found is one way to show none", cmek.ErrNotFound, checks.Fail, false},
		{"denied", cmek.ErrDenied, checks.Error, true},
		{"a timeout is for want of no permission", errors.New("timeout"), checks.Error, false},
		{"incomplete", cmek.ErrIncomplete, checks.Error, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				w.Cloud = staged{Cloud: w.Cloud, cmek: map[string]func() (cmek.ClusterInfo, error){noCMEK: answers(cmek.ClusterInfo{}, tt.err)}}
				if f := results(w.check(noCMEK))["CMEK-01 "+noCMEK]; f.Result != tt.want || (len(f.Grants) > 0) != tt.grants {
					t.Errorf("%s, %s, %v", f.Result, f.Why, f.Grants)
				}
			})
		})
	}
}

// What is found about a key is not over because the cluster that names it was not read: the ledger remembers that it does.
func TestUnreadCluster_keeps_its_keys(t *testing.T) {
	for name, answer := range map[string]func() (cmek.ClusterInfo, error){
		"denied": answers(cmek.ClusterInfo{}, cmek.ErrDenied), "not found": answers(cmek.ClusterInfo{}, cmek.ErrNotFound), "no keys": answers(cmek.ClusterInfo{Status: cmek.Disabled}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				before := results(w.check(payments))
				w.note(payments, time.Hour)
				w.Cloud = staged{Cloud: w.Cloud, cmek: map[string]func() (cmek.ClusterInfo, error){payments: answer}}
				run := w.check(payments)
				after := results(run)
				for key := range before {
					if _, ok := after[key]; !ok {
						t.Errorf("nothing is said of %s any more", key)
					}
				}
				if run.Population.Missing() != 1 || after["CMEK-02 "+payments+"/us-east-1"].Result != checks.Error {
					t.Errorf("%+v, %+v", run.Population, after["CMEK-02 "+payments+"/us-east-1"])
				}
			})
		})
	}
}

func TestClusters_that_cannot_have_a_CMEK_are_counted_and_not_read(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.Cloud = staged{Cloud: w.Cloud, more: []cmek.Cluster{{ID: "d", Name: "former", State: cmek.StateDeleted}, {ID: "b", Name: "small", State: cmek.StateCreated, Plan: "BASIC"}}}
		run := w.check()
		if p := run.Population; p.Listed != len(w.seed.Clusters)+2 || p.Checked != len(w.seed.Clusters) || len(p.OutOfScope) != 2 ||
			p.OutOfScope[1].Why != "deleted" || !strings.Contains(p.OutOfScope[0].Why, "BASIC") {
			t.Errorf("%+v", p)
		}
		if n := w.sent("GET /api/v1/clusters/d", "") + w.sent("GET /api/v1/clusters/b", ""); n > 0 {
			t.Errorf("%d requests about them", n)
		}
	})
}

const (
	former = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7ffff")
	gcpKey = cmek.KeyURI("projects/p/locations/us-east1/keyRings/r/cryptoKeys/k")
)

func TestKey_that_is_declared_is_checked_though_no_cluster_names_it(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.Declared.Keys = []checks.KeyDeclaration{{Key: former, Retired: true}}
		got := results(w.check())
		if f := got["CMEK-06 "+string(former)]; f.Result != checks.NotApplicable || !strings.Contains(f.Why, "no cluster names the key") {
			t.Errorf("%s, %s", f.Result, f.Why)
		}
		if f := got["CMEK-13 "+string(former)]; f.Result != checks.Error || !strings.Contains(f.Why, "does not exist") { // its policy
			t.Errorf("%s, %s", f.Result, f.Why)
		}
	})
}

// longUnused is a key that nobody used since it was recorded.
type longUnused struct{ since time.Time }

func (longUnused) Grants(context.Context, cmek.KeyURI) ([]cmek.KeyGrant, error) { return nil, nil }
func (u longUnused) LastUse(context.Context, cmek.KeyURI) (cmek.KeyUsage, error) {
	return cmek.KeyUsage{Tracked: u.since}, nil
}

func TestRetire_waits_for_the_backups_that_were_written_before_the_last_region_left(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		info, err := w.Cloud.CMEK(t.Context(), payments)
		if err != nil {
			t.Fatal(err)
		}
		left := time.Now().Add(-40 * 24 * time.Hour)
		past := info.RegionInfos[0].KeyInfos[0]
		past.Spec.URI, past.Status, past.UpdatedAt = former, cmek.Disabled, left
		info.RegionInfos[0].KeyInfos = append(slices.Clone(info.RegionInfos[0].KeyInfos), past)
		w.Cloud = staged{Cloud: w.Cloud, cmek: map[string]func() (cmek.ClusterInfo, error){payments: answers(info, nil)}}
		w.AWS.Use = longUnused{time.Now().Add(-300 * 24 * time.Hour)}
		r, err := w.Retire(t.Context(), former, cmek.KeyVersion{})
		if err != nil || r.Permission != checks.NotBefore || !r.NotBefore.Equal(left.Add(30*24*time.Hour)) || !r.Allowed(time.Now()) { // the seed keeps backups 30 days
			t.Errorf("%+v, %v", r, err)
		}
		w.refused["GET /api/v1/clusters/"+payments+"/backups-config"] = true
		if r, err = w.Retire(t.Context(), former, cmek.KeyVersion{}); err != nil || r.Permission != checks.NotKnown || len(r.Grants) == 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// versions is a Cloud KMS whose key has two versions.
type versions struct{}

func (versions) Details(_ context.Context, uri cmek.KeyURI) (d cmek.KeyDetails) {
	second := cmek.KeyVersion{Scheme: cmek.Primary, ID: "2"}
	d.Description.Key = cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: second, Versions: []cmek.KeyVersionInfo{
		{Version: cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"}, State: cmek.KeyEnabled}, {Version: second, State: cmek.KeyEnabled},
	}}
	return d
}

// What was done with another key says nothing about the version that a region needs of this one.
func TestRetire_of_a_version_looks_at_what_was_done_with_its_key(t *testing.T) {
	for _, key := range []cmek.KeyURI{gcpKey, gcpKey + "-other"} {
		within(t, func(t *testing.T, w *world) {
			info := cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "us-east1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{
				{Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: gcpKey, AuthPrincipal: "a@p.iam.gserviceaccount.com"}, Status: cmek.Enabled},
			}}}}
			if _, err := w.Ledger.UpdateCluster(t.Context(), "g", func(c *ledger.Cluster) error {
				c.Cluster, c.CMEK, c.SeenAt, c.NextLook = cmek.Cluster{ID: "g", Name: "g", State: cmek.StateCreated}, info, time.Now(), time.Now()
				c.SetDone(ledger.Done{Region: "us-east1", Key: key, Version: cmek.KeyVersion{Scheme: cmek.Primary, ID: "2"}, At: time.Now().Add(-time.Hour)})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			w.Cloud = staged{Cloud: w.Cloud, more: []cmek.Cluster{{ID: "g", Name: "g", State: cmek.StateCreated}}}
			w.Google.Keys = versions{}
			r, err := w.Retire(t.Context(), gcpKey, cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"})
			known := !strings.Contains(strings.Join(r.Reasons, "; "), "not known which version")
			if err != nil || r.Permission != checks.NotKnown || known != (key == gcpKey) {
				t.Errorf("done with %s: %+v, %v", key, r, err)
			}
		})
	}
}

func TestUses_are_as_old_as_the_oldest_inventory(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.note(orders, 12*time.Minute)
		f := results(w.check(payments))["CMEK-05 "+paymentsKey]
		for _, e := range f.Evidence {
			if age := time.Since(e.ReadAt); e.Need == "uses of the key" && age < 12*time.Minute {
				t.Errorf("the uses are %s old, and the inventory of another cluster 12 minutes", age)
			}
		}
		if len(f.Evidence) != 2 {
			t.Errorf("%+v", f)
		}
	})
}

func TestLedgerItem_that_cannot_be_decoded_is_no_proof_that_nothing_was_done(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		store := cmektest.NewStore()
		if err := store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "cluster#" + payments, Data: []byte("{"), NextLook: time.Now(), Token: "x"}); err != nil {
			t.Fatal(err)
		}
		w.Ledger = ledger.New(store, rand.New(rand.NewPCG(1, 2)))
		got := results(w.check())
		if f := got["CMEK-04 "+payments+"/us-east-1"]; f.Result != checks.Error || !strings.Contains(f.Why, "decode") {
			t.Errorf("%s, %s", f.Result, f.Why)
		}
	})
}

// The Cloud API shows no keys of a deleted cluster, and the ledger remembers them: its backups may need them for as long as any are kept.
func TestRetire_of_a_key_that_a_deleted_cluster_used(t *testing.T) {
	for days, want := range map[int]checks.Permission{10: checks.NotKnown, 366: checks.NotBefore} {
		within(t, func(t *testing.T, w *world) {
			left := time.Now().AddDate(-2, 0, 0)
			past := func(id string) cmek.ClusterInfo {
				info, err := w.Cloud.CMEK(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				k := info.RegionInfos[0].KeyInfos[0]
				k.Spec.URI, k.Status, k.UpdatedAt = former, cmek.Disabled, left
				info.RegionInfos[0].KeyInfos = append(info.RegionInfos[0].KeyInfos, k)
				return info
			}
			info := past(payments)
			deleted := cmek.Cluster{ID: "gone", Name: "gone", State: cmek.StateDeleted, DeletedAt: time.Now().AddDate(0, 0, -days)}
			if _, err := w.Ledger.UpdateCluster(t.Context(), "gone", func(c *ledger.Cluster) error {
				c.Cluster, c.CMEK, c.SeenAt, c.NextLook, c.Gone = deleted, past(payments), time.Now(), time.Now(), true
				c.CMEK.RegionInfos[0].KeyInfos[1].Status = cmek.Enabled // when it was last seen
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			w.Cloud = staged{Cloud: w.Cloud, more: []cmek.Cluster{deleted}, cmek: map[string]func() (cmek.ClusterInfo, error){payments: answers(info, nil)}}
			w.AWS.Use = longUnused{left.AddDate(-1, 0, 0)}
			r, err := w.Retire(t.Context(), former, cmek.KeyVersion{})
			if err != nil || r.Permission != want || (want == checks.NotKnown) != strings.Contains(strings.Join(r.Reasons, "; "), "cluster gone used it") {
				t.Errorf("deleted %d days ago: %s, %q, %v", days, r.Permission, r.Reasons, err)
			}
			if w.sent("GET", "/clusters/gone/backups-config") > 0 {
				t.Error("the backups of a cluster that is gone are asked for")
			}
		})
	}
}
