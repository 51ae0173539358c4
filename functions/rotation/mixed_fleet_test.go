package rotation_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	googleKey     = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
	googleCluster = "7c1d9e20-3a4b-4c5d-8e6f-000000000902"
)

// mixedFleet is a fleet of two clusters on AWS that share a key, which one of them is behind, and one on Google Cloud.
func mixedFleet() simulator.Seed {
	seed := sharedKey(2)
	seed.Clusters[0].Regions = []simulator.RegionSeed{seed.Clusters[0].Regions[0]}
	seed.Clusters[0].Regions[0].Behind = 1
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: googleKey, AgeDays: 300, Rotations: []simulator.RotationSeed{{AgeDays: 30}}})
	seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{ID: googleCluster, Name: "on-google", CloudProvider: "GCP", AccountID: "crl-prod-abc", AgeDays: 300,
		Regions: []simulator.RegionSeed{{Name: "us-east1", Key: googleKey, AuthPrincipal: "cmek@acme.iam.gserviceaccount.com"}}})
	return seed
}

// withoutProvider leaves out where clusters run, so that only their keys tell.
type withoutProvider struct{ cmek.Cloud }

func (w withoutProvider) ClusterPage(ctx context.Context, page string) ([]cmek.Cluster, string, error) {
	clusters, next, err := w.Cloud.ClusterPage(ctx, page)
	for i := range clusters {
		clusters[i].CloudProvider = ""
	}
	return clusters, next, err
}

func (w withoutProvider) Cluster(ctx context.Context, id string) (cmek.Cluster, error) {
	c, err := w.Cloud.Cluster(ctx, id)
	c.CloudProvider = ""
	return c, err
}

func TestMixedFleet_clustersOfAnotherInstallationAreCountedOnly(t *testing.T) {
	for _, shown := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			world := newSimulator(t, mixedFleet())
			f := follower(t, world, cmektest.NewStore(), time.Millisecond)
			if !shown {
				f.Cloud = withoutProvider{f.Cloud}
			}
			minutes(f, 60)
			s := sweepOf(t, f)
			if s.Others != 1 || s.Clusters != 2 || s.Failed != 0 || s.Complete.IsZero() {
				t.Errorf("provider shown: %t: the sweep is %+v, want it complete with two clusters and one of another installation", shown, s)
			}
			if c := item(t, f, googleCluster); !c.SeenAt.IsZero() || len(c.Work) > 0 {
				t.Errorf("provider shown: %t: the ledger has an item of the other installation's cluster: %+v", shown, c)
			}
			for _, put := range world.PUTs() {
				if put.ClusterID == googleCluster {
					t.Errorf("provider shown: %t: a PUT was sent to the other installation's cluster", shown)
				}
			}
			if n := openIncidents(f); n > 0 || behind(world) > 0 {
				t.Errorf("provider shown: %t: %d incidents are open and %d store keys behind, want none", shown, n, behind(world))
			}
			preview, err := f.Plan(t.Context(), rotation.Planning{Fresh: true})
			must(t, err)
			for _, c := range preview.Clusters {
				if c.Others != (c.Item.ID == googleCluster) || c.Err != nil {
					t.Errorf("provider shown: %t: the plan says of %s: another installation's %t, error %v", shown, c.Item.ID, c.Others, c.Err)
				}
			}
		})
	}
}

func TestMixedFleet_anInstallationWithBothKeyTypesOwnsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newSimulator(t, mixedFleet())
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		f.KeyTypes = []cmek.KeyType{cmek.AWSKMS, cmek.GCPCloudKMS}
		minutes(f, 5)
		if s := sweepOf(t, f); s.Others != 0 || s.Clusters != 3 {
			t.Errorf("the sweep is %+v, want three clusters of its own", s)
		}
		if c := item(t, f, googleCluster); c.SeenAt.IsZero() {
			t.Error("the cluster on Google Cloud has no item")
		}
	})
}

// An earlier release took every cluster for its own.
func TestMixedFleet_anItemOfAnEarlierReleaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newSimulator(t, mixedFleet())
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		f.KeyTypes = []cmek.KeyType{cmek.AWSKMS, cmek.GCPCloudKMS}
		minutes(f, 1) // as the earlier release
		began := time.Now()
		_, err := f.Ledger.UpdateCluster(t.Context(), googleCluster, func(c *ledger.Cluster) error {
			c.Work = []ledger.Work{{Region: "us-east1", Key: googleKey, State: ledger.Due, Since: began, Reason: "keyturn may not read the key"}}
			a := alert.Alert{ID: "cluster-unreadable/x@1", DedupKey: "cluster-unreadable/" + googleCluster, Audience: alert.Operations, Change: "cluster unreadable", Summary: "cannot read"}
			c.Alarms = []ledger.Alarm{{Key: a.DedupKey, Since: began, Alert: a}}
			c.NextLook = began.Add(time.Hour)
			return nil
		})
		must(t, err)
		f.KeyTypes = nil
		minutes(f, 30)
		c := item(t, f, googleCluster)
		if len(c.Work) > 0 || len(c.Alarms) > 0 || len(c.Keys()) > 0 || len(c.Dropped) != 1 {
			t.Errorf("the item has work %+v, alarms %+v, keys %q, dropped %+v; want none but one dropped", c.Work, c.Alarms, c.Keys(), c.Dropped)
		}
		begun, ended := reported(f, "cluster unreadable")
		if len(begun) != 0 || len(ended) != 1 {
			t.Errorf("%q are reported and %q ended, want the end of the earlier release's incident", named(begun), named(ended))
		}
		for _, key := range []cmek.KeyURI{googleKey} {
			if clusters, err := f.Ledger.ByKey(t.Context(), key); err != nil || len(clusters) > 0 {
				t.Errorf("%d clusters are listed by the other installation's key (%v)", len(clusters), err)
			}
		}
		if s := sweepOf(t, f); s.Others != 1 || s.Complete.IsZero() {
			t.Errorf("the sweep is %+v", s)
		}
	})
}
