package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// A key that the cluster leaves is needed until it has left it.
func TestAMoveToANewKey_needsTheFormerKeyUntilItEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const otherKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
		for _, tt := range []struct {
			setting  string
			to       string
			disabled bool // the key before, while the operation runs
			want     cmek.Status
			inForce  string
		}{
			{"fail", otherKey, false, cmek.Enabled, otherKey},
			{"fail", otherKey, true, cmek.RotateFailed, paymentsKey},
			{"ignore", otherKey, true, cmek.Enabled, otherKey},
			{"fail", paymentsKey, true, cmek.Enabled, paymentsKey}, // the same key: there is no former one
		} {
			world := newWorld(t, simulator.OldKeyDisabled, tt.setting)
			callKMS(t, world, "us-east-1", "CreateGrant", `{"KeyId":"`+otherKey+`","GranteePrincipal":"`+paymentsRole+`","Operations":["Encrypt","Decrypt"]}`).want(t, 200, "")
			put(t, world, payments, regionSpec("us-east-1", tt.to, paymentsRole)).want(t, 200, "ROTATING")
			if tt.disabled {
				callKMS(t, world, "us-east-1", "DisableKey", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "")
			}
			time.Sleep(10 * time.Second)
			region := getCMEK(t, world, payments).RegionInfos[0]
			if region.Status != tt.want || string(storeKeyOf(t, world, payments, "us-east-1").URI) != tt.inForce {
				t.Errorf("%+v: the region is %+v", tt, region)
			}
			if failed := region.Newest(cmek.KeyURI(tt.to)); (failed.UserMessage != "") != (tt.want == cmek.RotateFailed) {
				t.Errorf("%+v: the key says %q", tt, failed.UserMessage)
			}
		}
	})
}

func TestNodesOfARevokedRegion_cannotRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for setting, want := range map[string]string{"not-ready": "NOT_READY", "live": "LIVE"} {
			world := newWorld(t, simulator.NodesAfterRevoke, setting)
			call(t, world, "PATCH", "/clusters/"+payments+"/cmek", `{"action":"REVOKE"}`).want(t, 200, "REVOKING")
			call(t, world, "GET", "/clusters/"+payments+"/nodes", "").want(t, 200, `"status":"LIVE"`)
			time.Sleep(10 * time.Second)
			body := call(t, world, "GET", "/clusters/"+payments+"/nodes", "").want(t, 200, "").body
			if strings.Count(body, `"status":"`+want+`"`) != 3 {
				t.Errorf("%s: the nodes are %s", setting, body)
			}
			call(t, world, "GET", "/clusters/"+orders+"/nodes", "").want(t, 200, `"status":"LIVE"`)
		}
	})
}

func TestAKeyThatIsNewToACluster_isRefusedWhilePoliciesSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.IAMPropagation, "4m")
		post := func() reply {
			return call(t, world, "POST", "/clusters/"+analytics+"/cmek", specBody(regionSpec("us-east-1", paymentsKey, paymentsRole)))
		}
		post().want(t, 400, "Insufficient permissions to access the KMS key")
		time.Sleep(4*time.Minute - time.Second)
		post().want(t, 400, "Insufficient permissions to access the KMS key")
		put(t, world, payments, paymentsSpec).want(t, 200, "ROTATING") // a key in force is admitted already
		time.Sleep(time.Second)
		post().want(t, 200, "ENABLING")

		add := func() reply {
			return call(t, world, "PATCH", "/clusters/"+payments, `{"dedicated":{"region_nodes":{"us-east-1":3,"us-west-2":3},"cmek_region_specs":`+
				strings.TrimPrefix(specBody(regionSpec("us-west-2", paymentsKey, paymentsRole)), `{"region_specs":`)+`}`)
		}
		time.Sleep(time.Minute)
		add().want(t, 400, "Insufficient permissions")
		time.Sleep(4 * time.Minute)
		add().want(t, 200, "LOCKED")
	})
}

func TestSupportRestoresARevokedCluster_onceItsKeyIsUsable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		if err := world.Restore("payments"); err == nil {
			t.Error("a cluster that is not revoked was restored")
		}
		call(t, world, "PATCH", "/clusters/"+payments+"/cmek", `{"action":"REVOKE"}`).want(t, 200, "REVOKING")
		time.Sleep(10 * time.Second)
		callKMS(t, world, "us-east-1", "DisableKey", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "")
		if err := world.Restore("payments"); err == nil || !strings.Contains(err.Error(), "us-east-1") {
			t.Errorf("restoring a cluster with a disabled key: %v; want the region named", err)
		}
		callKMS(t, world, "us-east-1", "EnableKey", `{"KeyId":"`+paymentsKey+`"}`).want(t, 200, "")
		done(t, world.Restore(payments))
		call(t, world, "GET", "/clusters/"+payments+"/cmek", "").want(t, 200, "ENABLING")
		time.Sleep(10 * time.Second)
		if info := getCMEK(t, world, payments); info.Status != cmek.Enabled || info.RegionInfos[0].KeyInfos[0].Status != cmek.Enabled {
			t.Errorf("after the restore the CMEK is %+v", info)
		}
		call(t, world, "GET", "/clusters/"+payments+"/nodes", "").want(t, 200, `"status":"LIVE"`)
		put(t, world, payments, paymentsSpec).want(t, 200, "ROTATING")
	})
}

func TestARegionOrMachineOfNoCloud_isRefused(t *testing.T) {
	add := func(region string) string {
		spec := strings.TrimPrefix(specBody(regionSpec(region, paymentsKey, paymentsRole)), `{"region_specs":`)
		return `{"dedicated":{"region_nodes":{"us-east-1":3,"` + region + `":3},"cmek_region_specs":` + spec + `}`
	}
	machine := func(name string) string {
		return `{"dedicated":{"hardware":{"machine_spec":{"machine_type":"` + name + `"}}}}`
	}
	for _, tt := range []struct {
		name, setting, body string
		status              int
		inBody              string
	}{
		{simulator.UnknownRegion, "400", add("us-west-2"), 200, "LOCKED"},
		{simulator.UnknownRegion, "400", add("us-west1"), 400, "not available on AWS"}, // Google Cloud's
		{simulator.UnknownRegion, "400", add("us-central-1"), 400, "not available on AWS"},
		{simulator.UnknownRegion, "accept", add("us-central-1"), 200, "LOCKED"},
		{simulator.MachineType, "400", machine("m6i.2xlarge"), 200, "LOCKED"},
		{simulator.MachineType, "400", machine("n2-standard-8"), 400, "not available on AWS"},
		{simulator.MachineType, "400", machine("m6i.2xlarge.metal"), 400, "not available on AWS"},
		{simulator.MachineType, "accept", machine("n2-standard-8"), 200, "LOCKED"},
	} {
		call(t, newWorld(t, tt.name, tt.setting), "PATCH", "/clusters/"+payments, tt.body).want(t, tt.status, tt.inBody)
	}
	const create = `{"name":"on-google","provider":"GCP","spec":{"dedicated":{"region_nodes":{"REGION":3},"hardware":{"storage_gib":15,"machine_spec":{"machine_type":"MACHINE"}}}}}`
	for _, tt := range []struct {
		region, machine string
		status          int
	}{{"us-east4", "n2-standard-8", 200}, {"us-east-1", "n2-standard-8", 400}, {"us-east4", "m6i.large", 400}} {
		body := strings.NewReplacer("REGION", tt.region, "MACHINE", tt.machine).Replace(create)
		asAdmin(t, newWorld(t), "POST", "/clusters", body).want(t, tt.status, "")
	}
}

// Which of these the API does is not documented; the Terraform provider removes regions by leaving them out.
func TestARegionThatRegionNodesLeavesOut_isRemovedKeptOrRefused(t *testing.T) {
	const without = `{"dedicated":{"region_nodes":{"us-east-1":3,"us-west-2":3}}}`
	bubble(t, func(t *testing.T) {
		for setting, regions := range map[string]int{"remove": 2, "keep": 3} {
			world := newWorld(t, simulator.OmittedRegion, setting)
			call(t, world, "PATCH", "/clusters/"+orders, without).want(t, 200, "LOCKED")
			time.Sleep(time.Minute)
			if got := getCluster(t, world, orders).Regions; len(got) != regions {
				t.Errorf("%s: the regions are %+v, want %d", setting, got, regions)
			}
		}
		call(t, newWorld(t, simulator.OmittedRegion, "400"), "PATCH", "/clusters/"+orders, without).want(t, 400, "eu-west-1")
	})
}
