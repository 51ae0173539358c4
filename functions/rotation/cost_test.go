package rotation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// slow lets every answer take as long as one from another continent.
type slow struct {
	next    http.RoundTripper
	latency time.Duration
}

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(s.latency)
	return s.next.RoundTrip(req)
}

// counted counts the calls of a store.
type counted struct {
	ledger.Store
	mu    sync.Mutex
	calls map[string]int
}

func (c *counted) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[name]++
}

func (c *counted) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	c.count("Get")
	return c.Store.Get(ctx, kind, id)
}

func (c *counted) Put(ctx context.Context, r ledger.Record) error {
	c.count("Put")
	return c.Store.Put(ctx, r)
}

func (c *counted) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	c.count("Due")
	return c.Store.Due(ctx, kind, before, limit)
}

func (c *counted) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	c.count("ByKey")
	return c.Store.ByKey(ctx, kind, key)
}

// follower is a function over the world, in following mode.
func follower(t *testing.T, world *simulator.World, store ledger.Store, latency time.Duration) *rotation.Function {
	t.Helper()
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server: "http://127.0.0.1", APIKey: cockroachcloud.StaticAPIKey(simulator.SampleAPIKey), Rate: 8,
		HTTPClient: &http.Client{Transport: slow{simulator.Transport(world.CloudAPI()), latency}},
	})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample"}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return env[name] },
		&http.Client{Transport: slow{simulator.Transport(world.AWSKMS()), latency}})
	if err != nil {
		t.Fatal(err)
	}
	settings := rotation.DefaultSettings()
	settings.Mode = rotation.Follow
	if onGoogleCloud {
		config := google.Config{HTTP: &http.Client{Transport: slow{simulator.Transport(world.Google()), latency}}, Endpoint: "http://google.test"}
		keys, err := google.NewKMS(config)
		must(t, err)
		return &rotation.Function{
			Cloud: cloud, KMS: keys, KeyTypes: []cmek.KeyType{cmek.GCPCloudKMS}, Projects: google.NewPolicies(config), Ledger: ledger.New(store, rand.New(rand.NewPCG(1, 2))),
			Archive: &cmektest.Archive{}, Notifier: &cmektest.Notifier{}, Settings: settings, Log: slog.New(slog.DiscardHandler), Holder: "worker",
		}
	}
	return &rotation.Function{
		Cloud: cloud, KMS: amazon.NewKMS(aws, nil), Ledger: ledger.New(store, rand.New(rand.NewPCG(1, 2))),
		Archive: &cmektest.Archive{}, Notifier: &cmektest.Notifier{}, Settings: settings, Log: slog.New(slog.DiscardHandler), Holder: "worker",
	}
}

// tick runs one minute's tick and waits for the next minute.
func tick(t *testing.T, f *rotation.Function) {
	t.Helper()
	next := time.Now().Add(time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), 55*time.Second)
	defer cancel()
	if err := f.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(next))
}

// sharedKey is a seed of k clusters in one region that share one key.
func sharedKey(k int) simulator.Seed {
	seed := simulator.DefaultSeed()
	template := seed.Clusters[0]
	seed.Clusters = nil
	if onGoogleCloud {
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: googleKey, AgeDays: 500, RotationPeriodDays: 90, Rotations: []simulator.RotationSeed{{AgeDays: 30}}})
		template = simulator.ClusterSeed{CloudProvider: "GCP", AccountID: "crl-prod-abc", AgeDays: 300,
			Regions: []simulator.RegionSeed{{Name: "us-east1", Key: googleKey, AuthPrincipal: googleUser}}}
	}
	for n := range k {
		c := template
		c.ID, c.Name = fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-%012d", 100+n), fmt.Sprintf("cluster-%02d", n)
		seed.Clusters = append(seed.Clusters, c)
	}
	return seed
}

func TestARotationCostsOnePUTAndAtMostFiveGETsForEachCluster(t *testing.T) {
	onEachCloud(t, testARotationCostsOnePUTAndAtMostFiveGETsForEachCluster)
}

func testARotationCostsOnePUTAndAtMostFiveGETsForEachCluster(t *testing.T) {
	for _, k := range []int{1, 2, 10} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := sharedKey(k)
				world, err := simulator.New(seed)
				if err != nil {
					t.Fatal(err)
				}
				f := follower(t, world, cmektest.NewStore(), 20*time.Millisecond)
				f.Settings.SweepEvery = 24 * time.Hour
				tick(t, f) // a first sweep, to know the fleet
				tick(t, f)

				before := len(world.Requests())
				if err := world.Rotate(string(seed.Clusters[0].Regions[0].Key)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				for _, e := range world.Events() {
					if err := cmektest.Deliver(context.Background(), e.Payload, f.Event); err != nil {
						t.Fatal(err)
					}
				}
				if n := len(world.Requests()) - before; n != 0 {
					t.Errorf("the events cost %d requests, want none", n)
				}
				for minutes := 0; open(t, f) > 0; minutes++ {
					if minutes > 60 {
						t.Fatalf("%d of %d clusters are still open after an hour", open(t, f), k)
					}
					tick(t, f)
				}
				requests := map[string]int{}
				for _, r := range world.Requests()[before:] {
					if r.API == "cloud" {
						requests[r.Method]++
					}
				}
				t.Logf("%d clusters: %d PUTs, %d GETs", k, requests["PUT"], requests["GET"])
				if requests["PUT"] != k || requests["GET"] > 5*k {
					t.Errorf("%d clusters cost %d PUTs and %d GETs, want %d and at most %d", k, requests["PUT"], requests["GET"], k, 5*k)
				}
				for _, key := range world.StoreKeys() {
					if key.Behind {
						t.Errorf("the store key of %s is behind", key.Cluster)
					}
				}
			})
		})
	}
}

// open counts the clusters with open work.
func open(t *testing.T, f *rotation.Function) (n int) {
	t.Helper()
	clusters, err := f.Ledger.Clusters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clusters {
		if len(c.Work) > 0 {
			n++
		}
	}
	return n
}

func TestAnIdleTickIsOneLedgerQueryAndNothingElse(t *testing.T) {
	onEachCloud(t, testAnIdleTickIsOneLedgerQueryAndNothingElse)
}

func testAnIdleTickIsOneLedgerQueryAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, err := simulator.New(simulator.DefaultSeed())
		if err != nil {
			t.Fatal(err)
		}
		store := &counted{Store: cmektest.NewStore(), calls: map[string]int{}}
		f := follower(t, world, store, time.Millisecond)
		tick(t, f)
		tick(t, f)
		requests := len(world.Requests())
		store.calls = map[string]int{}
		for range 5 {
			tick(t, f)
		}
		if n := len(world.Requests()) - requests; n != 0 {
			t.Errorf("five idle ticks sent %d requests, want none", n)
		}
		if len(store.calls) != 1 || store.calls["Due"] != 5 {
			t.Errorf("five idle ticks called the ledger's store %v, want Due five times", store.calls)
		}
	})
}

func TestSweepKeepsItsShareOfTheRequestRateBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clusters, share = 2000, 8.0
		world, err := simulator.New(simulator.FleetSeed(clusters, 3))
		if err != nil {
			t.Fatal(err)
		}
		f := follower(t, world, cmektest.NewStore(), 150*time.Millisecond)
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := f.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		known, err := f.Ledger.Clusters(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		requests := 0
		var last time.Time
		for _, r := range world.Requests() {
			if r.API != "cloud" {
				continue
			}
			if requests, last = requests+1, r.Time; r.Status != http.StatusOK {
				t.Errorf("%s %s: %d %s", r.Method, r.Path, r.Status, r.Outcome)
			}
		}
		busy := float64(requests) / last.Sub(began).Seconds() / share
		t.Logf("%d clusters × 3 regions: %d requests in %s, %.1f %% of %v requests/s", len(known), requests, last.Sub(began).Round(time.Second), 100*busy, share)
		if len(known) != clusters {
			t.Errorf("the sweep found %d clusters, want %d", len(known), clusters)
		}
		if busy < 0.95 {
			t.Errorf("the sweep used %.1f %% of its share, want at least 95 %%", 100*busy)
		}
	})
}

// endless is a Cloud API with any number of clusters and no memory of its own; its KMS answers for any key.
type endless struct{ clusters, page int }

func (e endless) ClusterPage(_ context.Context, page string) ([]cmek.Cluster, string, error) {
	var from int
	if page != "" {
		if err := json.Unmarshal([]byte(page), &from); err != nil {
			return nil, "", err
		}
	}
	var list []cmek.Cluster
	for n := from; n < min(from+e.page, e.clusters); n++ {
		list = append(list, cmek.Cluster{ID: fmt.Sprintf("cluster-%06d", n), Name: fmt.Sprint(n), Plan: cmek.PlanAdvanced, State: cmek.StateCreated})
	}
	if from+e.page >= e.clusters {
		return list, "", nil
	}
	return list, fmt.Sprint(from + e.page), nil
}

func (e endless) Cluster(_ context.Context, id string) (cmek.Cluster, error) {
	return cmek.Cluster{ID: id, State: cmek.StateCreated}, nil
}

func (e endless) CMEK(_ context.Context, id string) (cmek.ClusterInfo, error) {
	info := cmek.ClusterInfo{Status: cmek.Enabled}
	for _, region := range []string{"eu-west-1", "us-east-1", "us-west-2"} {
		uri := cmek.KeyURI("arn:aws:kms:" + region + ":111122223333:key/" + strings.TrimPrefix(id, "cluster-") + region)
		info.RegionInfos = append(info.RegionInfos, cmek.RegionInfo{Region: region, Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{
			{Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: uri, AuthPrincipal: "role"}, Status: cmek.Enabled, UpdatedAt: time.Unix(1e9, 0)},
		}})
	}
	return info, nil
}

func (e endless) RotateCMEK(context.Context, string, []cmek.RegionSpec) cmek.Answer {
	panic("a sweep sends nothing")
}

func (e endless) Key(_ context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	return cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: cmek.MaterialVersion("m"), NeverRotated: true}, nil
}

func (e endless) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	return e.Key(ctx, uri)
}

// forgetful is a ledger on another machine: it costs this one nothing.
type forgetful struct{ ledger.Store }

func (f forgetful) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	if id == "worker" {
		return f.Store.Get(ctx, kind, id)
	}
	return ledger.Record{Kind: kind, ID: id}, nil
}

func (f forgetful) Put(ctx context.Context, r ledger.Record) error {
	if r.ID == "worker" {
		return f.Store.Put(ctx, r)
	}
	return nil
}

func TestTheMemoryOfASweepDoesNotGrowWithTheFleet(t *testing.T) {
	live := func(clusters int) float64 {
		api := endless{clusters, 100}
		f := &rotation.Function{
			Cloud: api, KMS: api, Ledger: ledger.New(forgetful{cmektest.NewStore()}, rand.New(rand.NewPCG(1, 2))),
			Archive: &cmektest.Archive{}, Notifier: &cmektest.Notifier{}, Settings: rotation.DefaultSettings(),
			Log: slog.New(slog.DiscardHandler), Holder: "worker",
		}
		var most uint64
		f.Cloud = observed{api, func() {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}}
		if err := f.Tick(context.Background()); err != nil {
			t.Fatal(err)
		}
		w, err := f.Ledger.Worker(context.Background())
		if err != nil || w.Sweep.Clusters != clusters {
			t.Fatalf("the sweep visited %d clusters, want %d (%v)", w.Sweep.Clusters, clusters, err)
		}
		return float64(most) / 1e6
	}
	live(500) // what is allocated once
	small, large := live(2000), live(8000)
	t.Logf("live heap while sweeping 2,000 clusters × 3 keys: %.1f MB; 8,000 clusters: %.1f MB", small, large)
	if large > small+1 {
		t.Errorf("the live heap grows from %.1f MB to %.1f MB with four times the clusters", small, large)
	}
}

// observed looks at each page of the list.
type observed struct {
	endless
	look func()
}

func (o observed) ClusterPage(ctx context.Context, page string) ([]cmek.Cluster, string, error) {
	o.look()
	return o.endless.ClusterPage(ctx, page)
}
