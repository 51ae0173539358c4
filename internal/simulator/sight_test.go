package simulator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// done fails the test if a change of the world was refused.
func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAHiddenClusterIsThereForAdminsOnly(t *testing.T) {
	world := newWorld(t)
	set(t, world, simulator.RateLimit, "1000")
	admin := []string{"Authorization", "Bearer " + adminAPIKey}
	done(t, world.Hide("payments"))
	for _, query := range []string{"", "?show_inactive=true", "?pagination.limit=2"} {
		if body := call(t, world, "GET", "/clusters"+query, "").want(t, 200, "").body; strings.Contains(body, payments) {
			t.Errorf("the list%s shows the hidden cluster", query)
		}
	}
	for _, request := range [][2]string{{"GET", ""}, {"GET", "/cmek"}, {"GET", "/nodes"}, {"GET", "/backups-config"}, {"PUT", "/cmek"}, {"PATCH", ""}} {
		call(t, world, request[0], "/clusters/"+payments+request[1], specBody(paymentsSpec)).want(t, 404, `{"code":5,"message":"`)
	}
	if n := len(world.PUTs()); n != 0 {
		t.Errorf("%d PUTs reached the hidden cluster", n)
	}
	call(t, world, "GET", "/clusters", "", admin...).want(t, 200, payments)
	call(t, world, "GET", "/clusters/"+payments+"/cmek", "", admin...).want(t, 200, "ENABLED")

	done(t, world.Show(payments))
	call(t, world, "GET", "/clusters", "").want(t, 200, payments)
	call(t, world, "PUT", "/clusters/"+payments+"/cmek", specBody(paymentsSpec)).want(t, 200, "ROTATING")
	if world.Hide("nobody") == nil {
		t.Error("a cluster that does not exist was hidden")
	}
}

func TestAHiddenCMEKLooksLikeNone(t *testing.T) {
	for form, want := range map[string]struct {
		status int
		inBody string
	}{
		"disabled": {200, `{"status":"DISABLED","region_infos":[{"region":"us-east-1","status":"DISABLED"}]}`},
		"404":      {404, `"code":5`},
		"empty":    {200, `{"region_infos":[]}`},
	} {
		world := newWorld(t)
		before := getCMEK(t, world, payments)
		done(t, world.HideCMEK("payments", form))
		call(t, world, "GET", "/clusters/"+payments+"/cmek", "").want(t, want.status, want.inBody)
		if keys := world.StoreKeys(); !slices.ContainsFunc(keys, func(k simulator.StoreKey) bool { return k.ClusterID == payments }) {
			t.Errorf("%s: the store key is gone too", form)
		}
		call(t, world, "GET", "/clusters/"+orders+"/cmek", "").want(t, 200, "ENABLED")
		done(t, world.ShowCMEK("payments"))
		if after := getCMEK(t, world, payments); after.Status != before.Status || len(after.RegionInfos) != 1 || len(after.RegionInfos[0].KeyInfos) != 1 {
			t.Errorf("%s: shown again, the CMEK is %+v", form, after)
		}
		done(t, world.HideCMEK("payments", form))
		put(t, world, payments, paymentsSpec).want(t, 200, "us-east-1")
	}
	if err := newWorld(t).HideCMEK("payments", "soon"); err == nil || !strings.Contains(err.Error(), "disabled, 404, empty") {
		t.Errorf("an unknown form: %v, want the three forms", err)
	}
}

func TestARegionMayBeHiddenFromOneView(t *testing.T) {
	world := newWorld(t)
	views := func() (inCluster, inCMEK bool) {
		inCluster = slices.ContainsFunc(getCluster(t, world, orders).Regions, func(r cmek.Region) bool { return r.Name == "us-west-2" })
		_, inCMEK = getCMEK(t, world, orders).Region("us-west-2")
		return inCluster, inCMEK
	}
	for _, step := range []struct {
		change            func(cluster, region, view string) error
		view              string
		inCluster, inCMEK bool
	}{
		{world.HideRegion, simulator.CMEKView, true, false},
		{world.HideRegion, simulator.ClusterView, false, false},
		{world.ShowRegion, simulator.CMEKView, false, true},
		{world.ShowRegion, simulator.ClusterView, true, true},
	} {
		done(t, step.change("orders", "us-west-2", step.view))
		if inCluster, inCMEK := views(); inCluster != step.inCluster || inCMEK != step.inCMEK {
			t.Errorf("after a change of %s the region is in the cluster: %v, in the CMEK: %v", step.view, inCluster, inCMEK)
		}
	}
	if world.HideRegion("orders", "mars-1", simulator.CMEKView) == nil || world.HideRegion("orders", "us-west-2", "nodes") == nil {
		t.Error("an unknown region or view was hidden")
	}
}

func TestARegionIsAddedAndRemoved(t *testing.T) {
	world := newWorld(t)
	spec := regionSpec("us-west-2", "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003", ordersRole)
	done(t, world.AddRegion("payments", 3, spec))
	if got := getCluster(t, world, payments).Regions; len(got) != 2 || got[1].Name != "us-west-2" {
		t.Errorf("regions are %+v, want the new one too", got)
	}
	region, ok := getCMEK(t, world, payments).Region("us-west-2")
	if current, n := region.Current(); !ok || n != 1 || current.Spec != spec.KeySpec || region.Status != cmek.Enabled {
		t.Errorf("the new region's CMEK is %+v, want its key in force", region)
	}
	put(t, world, payments, spec).want(t, 200, "us-west-2")

	done(t, world.RemoveRegion("payments", "us-east-1"))
	if got := getCluster(t, world, payments).Regions; len(got) != 1 || got[0].Name != "us-west-2" {
		t.Errorf("regions are %+v, want the other one only", got)
	}
	if _, ok := getCMEK(t, world, payments).Region("us-east-1"); ok {
		t.Error("the CMEK still shows the region that was removed")
	}
	put(t, world, payments, paymentsSpec).want(t, 400, "no region")

	done(t, world.AddRegion("analytics", 3, cmek.RegionSpec{Region: "us-west-2"}))
	for name, err := range map[string]error{
		"the last region was removed":         world.RemoveRegion("payments", "us-west-2"),
		"an unknown region was removed":       world.RemoveRegion("orders", "mars-1"),
		"a region was added twice":            world.AddRegion("payments", 3, spec),
		"a region was added without its key":  world.AddRegion("payments", 3, cmek.RegionSpec{Region: "eu-west-1"}),
		"a region was added without its role": world.AddRegion("payments", 3, regionSpec("eu-west-1", paymentsKey, "arn:aws:iam::111122223333:role/nobody")),
	} {
		if err == nil {
			t.Error(name)
		}
	}
}

func TestAPersonSendsAPUTBesideKeyturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		done(t, world.PUTCMEK("org-admin", "payments"))
		if err := world.PUTCMEK("org-admin", "payments", paymentsSpec); err != nil && !strings.Contains(err.Error(), "lock") {
			t.Errorf("a PUT while another runs: %v, want the lock", err)
		}
		time.Sleep(time.Minute)
		other := paymentsSpec
		other.KeySpec.URI = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
		other.KeySpec.AuthPrincipal = ordersRole
		done(t, world.PUTCMEK("org-admin", "payments", other))
		time.Sleep(time.Minute)
		if current, _ := getCMEK(t, world, payments).RegionInfos[0].Current(); current.Spec != other.KeySpec {
			t.Errorf("the key in force is %+v, want the other one", current)
		}
		for _, p := range world.PUTs() {
			if p.Caller != "org-admin" || len(p.Regions) != 1 || p.Cluster != "payments" {
				t.Errorf("recorded %+v, want the caller", p)
			}
		}
		if err := world.PUTCMEK("developer", "payments"); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("a PUT without the role: %v, want 403", err)
		}
		if world.PUTCMEK("nobody", "payments") == nil || world.PUTCMEK("org-admin", "nothing") == nil {
			t.Error("an unknown account or cluster sent a PUT")
		}
	})
}
