package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

const smallSeed = `
organization: {id: 3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613, label: l, name: n}
aws_account: "111122223333"
api_keys:
  - {secret: ` + simulator.SampleAPIKey + `, service_account: keyturn, roles: [CLUSTER_ADMIN]}
switches: {busy-reply: 409, rotation-duration: 20m, google-propagation: 0s}
keys:
  - {uri: projects/p/locations/us-east4/keyRings/r/cryptoKeys/k}
  - uri: arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001
    age_days: 20
    rotations: [{age_days: 10}, {age_days: 5}]
clusters:
  - id: 7c1d9e20-3a4b-4c5d-8e6f-000000000011
    name: on-google
    cloud_provider: GCP
    regions: [{name: us-east4, key: projects/p/locations/us-east4/keyRings/r/cryptoKeys/k, auth_principal: sa@p.iam.gserviceaccount.com}]
  - id: 7c1d9e20-3a4b-4c5d-8e6f-000000000012
    name: on-azure
    cloud_provider: AZURE
    regions: [{name: centralindia, key: https://v.vault.azure.net/keys/k/1a2b, auth_principal: 1d2c3b4a-0000-4000-8000-000000000001}]
  - id: 7c1d9e20-3a4b-4c5d-8e6f-000000000013
    name: behind
    age_days: 15
    regions: [{name: us-east-1, key: "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", auth_principal: "arn:aws:iam::111122223333:role/r", behind: 1}]
`

func TestASeedMayHoldClustersOfEveryCloud(t *testing.T) {
	seed, err := simulator.LoadSeed([]byte(smallSeed))
	if err != nil {
		t.Fatal(err)
	}
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	materials := map[string]simulator.StoreKey{}
	for _, key := range world.StoreKeys() {
		materials[key.Cluster] = key
	}
	if materials["on-google"].Material != "1" || materials["on-azure"].Material != "1a2b" || !materials["behind"].Behind {
		t.Errorf("store keys are %+v", materials)
	}
	if err := world.Rotate("projects/p/locations/us-east4/keyRings/r/cryptoKeys/k"); err != nil {
		t.Fatal(err)
	}
	if keys := world.StoreKeys(); !keys[2].Behind {
		t.Errorf("a new primary version on Google leaves %+v; want it behind", keys[2])
	}
	call(t, world, "GET", "/clusters/7c1d9e20-3a4b-4c5d-8e6f-000000000012", "").want(t, 200, "azure_cluster_identity_client_id")
}

func TestASeedMayBeJSON(t *testing.T) {
	data := `{"organization":{"id":"3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613","label":"l","name":"n"},"clusters":[]}`
	if !json.Valid([]byte(data)) {
		t.Fatal("the sample is not JSON")
	}
	if _, err := simulator.LoadSeed([]byte(data)); err != nil {
		t.Error(err)
	}
}

func TestAWrongSeedSaysWhereAndHowToMendIt(t *testing.T) {
	tests := []struct{ name, old, new, place, fix string }{
		{"unknown field", "name: on-google", "nam: on-google", "nam", "unknown field"},
		{"cluster id", "7c1d9e20-3a4b-4c5d-8e6f-000000000012", "twelve", "clusters[1].id", "UUID"},
		{"duplicate name", "name: on-azure", "name: on-google", "clusters[1].name", "no other cluster"},
		{"key of another cloud", "cloud_provider: GCP", "cloud_provider: AWS", "clusters[0].regions[0].key", "own cloud provider"},
		{"provider", "cloud_provider: GCP", "cloud_provider: IBM", "clusters[0].cloud_provider", "AWS, GCP or AZURE"},
		{"key that is not listed", "keyRings/r/cryptoKeys/k}", "keyRings/r/cryptoKeys/other}", "clusters[0].regions[0].key", "add the key"},
		{"key URI", "uri: projects/p/", "uri: project/p/", "keys[0].uri", "want a KMS key ARN"},
		{"rotation order", "{age_days: 10}", "{age_days: 1}", "keys[1].rotations[1].age_days", "oldest first"},
		{"behind", "behind: 1", "behind: 3", "clusters[2].regions[0].behind", "number of the key's rotations"},
		{"switch", "busy-reply: 409", "busy-reply: 418", "busy-reply", "503, 409, 400"},
		{"role", "CLUSTER_ADMIN", "CLUSTER_KING", "api_keys[0].roles", "CLUSTER_OPERATOR_WRITER"},
		{"secret", "SAMPLEsampleSAMPLEsamp_", "short_", "api_keys[0].secret", "22 letters"},
		{"account", `aws_account: "111122223333"`, `aws_account: "1"`, "aws_account", "12 digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(smallSeed, tt.old, tt.new, 1)
			if changed == smallSeed {
				t.Fatalf("%q is not in the seed", tt.old)
			}
			_, err := simulator.LoadSeed([]byte(changed))
			if err == nil || !strings.Contains(err.Error(), tt.place) || !strings.Contains(err.Error(), tt.fix) {
				t.Errorf("got %v\nwant %q and %q in it", err, tt.place, tt.fix)
			}
			if err != nil && strings.Contains(err.Error(), "CCDB1_short") {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}

func TestTheDefaultSeedIsUpToDateInAnyYear(t *testing.T) {
	check := func(t *testing.T) {
		world := newWorld(t)
		for _, key := range world.StoreKeys() {
			if key.Behind || key.WrappedAt.After(time.Now()) {
				t.Errorf("store key of %s in %s: %+v", key.Cluster, key.Region, key)
			}
		}
		statuses := map[string]cmek.Status{payments: cmek.Enabled, orders: cmek.Enabled, ledgerEU: cmek.Enabled, archive: cmek.Revoked, analytics: cmek.Disabled}
		for id, want := range statuses {
			if got := getCMEK(t, world, id).Status; got != want {
				t.Errorf("CMEK of %s is %s, want %s", id, got, want)
			}
		}
		if len(world.Events()) != 0 {
			t.Error("a world begins with events")
		}
	}
	t.Run("today", check)
	t.Run("in a bubble of the year 2000", func(t *testing.T) { synctest.Test(t, check) })
}

func TestALargeFleetIsCheap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seed := simulator.FleetSeed(2000, 3)
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(listNames(t, world, "", 500)); n != 2000 {
			t.Errorf("listed %d clusters, want 2000", n)
		}
		for _, cluster := range seed.Clusters {
			getCMEK(t, world, cluster.ID)
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(world.StoreKeys()); n != 6000 {
			t.Errorf("%d store keys, want 6000", n)
		}
	})
}

func BenchmarkReadOfOneClusterInALargeFleet(b *testing.B) {
	seed := simulator.FleetSeed(2000, 3)
	seed.Switches = map[string]string{}
	world, err := simulator.New(seed)
	if err != nil {
		b.Fatal(err)
	}
	handler := world.CloudAPI()
	request := requestFor(b, seed.Clusters[1000].ID)
	for b.Loop() {
		if _, err := simulator.Transport(handler).RoundTrip(request); err != nil {
			b.Fatal(err)
		}
	}
}
