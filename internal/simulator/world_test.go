package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Clusters and keys of the default seed.
const (
	payments  = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	orders    = "7c1d9e20-3a4b-4c5d-8e6f-000000000003"
	ledgerEU  = "7c1d9e20-3a4b-4c5d-8e6f-000000000004"
	archive   = "7c1d9e20-3a4b-4c5d-8e6f-000000000005"
	analytics = "7c1d9e20-3a4b-4c5d-8e6f-000000000006"

	paymentsKey   = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	ledgerKey     = "arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"
	ledgerReplica = "arn:aws:kms:eu-west-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"

	paymentsRole = "arn:aws:iam::111122223333:role/payments-cmek"
	ordersRole   = "arn:aws:iam::111122223333:role/orders-cmek"

	adminAPIKey     = "CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa"
	developerAPIKey = "CCDB1_SAMPLEdevelSAMPLEdevel_SAMPLEdevelSAMPLEdevelSAMPLEdevelSAMPLEd"
)

func newWorld(t *testing.T, switches ...string) *simulator.World {
	t.Helper()
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatal(err)
	}
	set(t, world, switches...)
	return world
}

// set turns switches given as name, value, name, value…
func set(t *testing.T, world *simulator.World, switches ...string) {
	t.Helper()
	for i := 0; i < len(switches); i += 2 {
		if err := world.Set(switches[i], switches[i+1]); err != nil {
			t.Fatal(err)
		}
	}
}

// reply is an answer of the Cloud API, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// call sends one request with keyturn's API key; headers are name, value…
func call(t *testing.T, world *simulator.World, method, path, body string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequest(method, "http://cloud.test/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	request.Header.Set("Cc-Version", "2024-09-16")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := simulator.Transport(world.CloudAPI()).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(data)}
}

func (r reply) want(t *testing.T, status int, inBody string) reply {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, inBody) {
		t.Fatalf("got %d %s\nwant %d with %q", r.status, r.body, status, inBody)
	}
	return r
}

func decode[T any](t *testing.T, data string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	return v
}

func getCMEK(t *testing.T, world *simulator.World, cluster string) cmek.ClusterInfo {
	t.Helper()
	return decode[cmek.ClusterInfo](t, call(t, world, "GET", "/clusters/"+cluster+"/cmek", "").want(t, 200, "").body)
}

func getCluster(t *testing.T, world *simulator.World, cluster string) cmek.Cluster {
	t.Helper()
	return decode[cmek.Cluster](t, call(t, world, "GET", "/clusters/"+cluster, "").want(t, 200, "").body)
}

func put(t *testing.T, world *simulator.World, cluster string, specs ...cmek.RegionSpec) reply {
	t.Helper()
	return call(t, world, "PUT", "/clusters/"+cluster+"/cmek", specBody(specs...))
}

func specBody(specs ...cmek.RegionSpec) string {
	body, _ := json.Marshal(map[string]any{"region_specs": specs})
	return string(body)
}

func regionSpec(region, key, role string) cmek.RegionSpec {
	return cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: cmek.KeyURI(key), AuthPrincipal: cmek.Principal(role)}}
}

var paymentsSpec = regionSpec("us-east-1", paymentsKey, paymentsRole)

func ordersSpecs() []cmek.RegionSpec {
	const key = ":111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00"
	return []cmek.RegionSpec{
		regionSpec("us-east-1", "arn:aws:kms:us-east-1"+key+"2", ordersRole),
		regionSpec("us-west-2", "arn:aws:kms:us-west-2"+key+"3", ordersRole),
		regionSpec("eu-west-1", "arn:aws:kms:eu-west-1"+key+"4", ordersRole),
	}
}

func storeKeyOf(t *testing.T, world *simulator.World, cluster, region string) simulator.StoreKey {
	t.Helper()
	for _, key := range world.StoreKeys() {
		if key.ClusterID == cluster && key.Region == region {
			return key
		}
	}
	t.Fatalf("no store key of %s in %s", cluster, region)
	return simulator.StoreKey{}
}

// bubble runs the test with a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) { t.Helper(); synctest.Test(t, test) }

func TestARotatedKeyLeavesStoreKeysBehindUntilAPUT(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		before := storeKeyOf(t, world, payments, "us-east-1")
		if before.Behind {
			t.Fatal("the store key is behind before any rotation")
		}
		if err := world.Rotate(paymentsKey); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if key := storeKeyOf(t, world, payments, "us-east-1"); !key.Behind || key.Material != before.Material {
			t.Fatalf("after the rotation the store key is %+v; want it behind, under %s", key, before.Material)
		}

		put(t, world, payments, paymentsSpec).want(t, 200, "ROTATING")
		if c := getCluster(t, world, payments); c.State != "LOCKED" || c.OperationStatus != cmek.CMEKOperationRunning {
			t.Fatalf("during the rotation the cluster is %s, %s", c.State, c.OperationStatus)
		}
		time.Sleep(8 * time.Second)
		if c := getCluster(t, world, payments); c.State != "CREATED" || c.OperationStatus != "UNSPECIFIED" {
			t.Fatalf("after the rotation the cluster is %s, %s", c.State, c.OperationStatus)
		}
		after := storeKeyOf(t, world, payments, "us-east-1")
		if after.Behind || after.Material == before.Material || after.AcceptedPUTs[after.Material] != 1 {
			t.Fatalf("after the PUT the store key is %+v", after)
		}
		if info := getCMEK(t, world, payments); info.Status != cmek.Enabled {
			t.Fatalf("after the PUT the CMEK is %s", info.Status)
		}
	})
}

func TestAPUTBeforePropagationWrapsUnderTheOldMaterial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t, simulator.KMSPropagation, "4m")
		old := storeKeyOf(t, world, payments, "us-east-1").Material
		if err := world.Rotate(paymentsKey); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		put(t, world, payments, paymentsSpec).want(t, 200, "")
		time.Sleep(2 * time.Minute)
		key := storeKeyOf(t, world, payments, "us-east-1")
		if key.Material != old || !key.Behind || key.AcceptedPUTs[old] != 1 {
			t.Fatalf("the early PUT left %+v; want the old material %s, counted once, and behind", key, old)
		}
	})
}

func TestAFailureInOneRegionLeavesTheOthersAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		if err := world.FailNextRotation("orders", "us-west-2", "key policy denies kms:Encrypt"); err != nil {
			t.Fatal(err)
		}
		old := storeKeyOf(t, world, orders, "us-west-2")
		put(t, world, orders, ordersSpecs()...).want(t, 200, "")
		time.Sleep(time.Minute)

		info := getCMEK(t, world, orders)
		west, _ := info.Region("us-west-2")
		east, _ := info.Region("us-east-1")
		if west.Status != cmek.RotateFailed || west.KeyInfos[0].UserMessage != "key policy denies kms:Encrypt" {
			t.Errorf("us-west-2 is %+v; want ROTATE_FAILED with the message", west)
		}
		if east.Status != cmek.Enabled || info.Status != cmek.RotateFailed {
			t.Errorf("us-east-1 is %s and the cluster %s; want ENABLED and ROTATE_FAILED", east.Status, info.Status)
		}
		if c := getCluster(t, world, orders); c.OperationStatus != cmek.CMEKOperationFailed || c.State != "CREATED" {
			t.Errorf("the cluster is %s, %s", c.State, c.OperationStatus)
		}
		if key := storeKeyOf(t, world, orders, "us-west-2"); key.WrappedAt != old.WrappedAt {
			t.Errorf("the failed region's store key changed: %+v", key)
		}

		put(t, world, orders, ordersSpecs()[1]).want(t, 200, "")
		time.Sleep(time.Minute)
		if info := getCMEK(t, world, orders); info.Status != cmek.Enabled {
			t.Errorf("after a second try the CMEK is %s", info.Status)
		}
	})
}

func TestTwoWorldsOfOneSeedAreAlike(t *testing.T) {
	story := func() string {
		var told strings.Builder
		bubble(t, func(t *testing.T) {
			world := newWorld(t, simulator.KeyInfoOrder, "random", simulator.SameURIKeyInfo, "append")
			for range 3 {
				if err := world.Rotate(ledgerKey); err != nil {
					t.Fatal(err)
				}
				told.WriteString(put(t, world, payments, paymentsSpec).want(t, 200, "").body)
				time.Sleep(time.Hour)
			}
			for _, event := range world.Events() {
				told.Write(event.Payload)
			}
			data, _ := json.Marshal(world.StoreKeys())
			told.Write(data)
		})
		return told.String()
	}
	if a, b := story(), story(); a != b {
		t.Errorf("the same calls had different answers:\n%s\n%s", a, b)
	}
}

func TestRecordsHoldNoSecrets(t *testing.T) {
	world := newWorld(t)
	put(t, world, payments, paymentsSpec).want(t, 200, "")
	call(t, world, "GET", "/clusters", "", "Authorization", "Bearer nonsense").want(t, 401, "")
	data, err := json.Marshal(map[string]any{"requests": world.Requests(), "puts": world.PUTs()})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "CCDB1_") || strings.Contains(string(data), "nonsense") {
		t.Errorf("the records repeat a bearer token: %s", data)
	}
	if n := len(world.Requests()); n != 2 {
		t.Errorf("%d requests recorded, want 2", n)
	}
}

func TestManyClientsAtOnceLeaveAConsistentWorld(t *testing.T) {
	world := newWorld(t, simulator.RotationDuration, "0s")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 10 {
				_, _ = simulator.Transport(world.CloudAPI()).RoundTrip(requestFor(t, payments))
				_ = world.Rotate(paymentsKey)
				world.StoreKeys()
				world.Events()
			}
		})
	}
	clients.Wait()
	if n := len(world.EventsAfter(0)); n != 160 {
		t.Errorf("80 rotations left %d events, want two each", n)
	}
}
