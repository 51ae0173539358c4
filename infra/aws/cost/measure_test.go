package cost

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
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
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// meter counts what the function asks for, by name, and keeps the largest size of a ledger record of each kind.
type meter struct {
	mu      sync.Mutex
	calls   map[string]int
	largest map[string]int
}

func (m *meter) count(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[name]++
}

// store counts reads and writes of records by the first word of their id: cluster, policy, worker.
type store struct {
	ledger.Store
	*meter
}

func (s store) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	what, _, _ := strings.Cut(id, "#")
	s.count("read " + what)
	return s.Store.Get(ctx, kind, id)
}

func (s store) Put(ctx context.Context, r ledger.Record) error {
	what, _, _ := strings.Cut(r.ID, "#")
	s.count("write " + what)
	// An item's size counts the names of its attributes, too.
	size := len(r.Kind) + 2*len(r.ID) + len(r.Token) + len(r.Data) + len("pk sk kind version token next_look keys data") + 40
	for _, key := range r.Keys {
		size += len(key) + 1
	}
	s.mu.Lock()
	s.largest[what] = max(s.largest[what], size)
	s.mu.Unlock()
	return s.Store.Put(ctx, r)
}

func (s store) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	records, err := s.Store.Due(ctx, kind, before, limit)
	s.count("query")
	if len(records) > 0 {
		s.count("query that finds")
	}
	return records, err
}

// wire counts requests: those to the Cloud API by method and last word of the path.
type wire struct {
	http.RoundTripper
	*meter
}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if r.Header.Get("X-Amz-Target") != "" {
		name = "KMS"
	}
	w.count(name)
	return w.RoundTripper.RoundTrip(r)
}

// policies are readable and never change.
type policies struct{ *meter }

func (p policies) KeyPolicy(context.Context, cmek.KeyURI) (string, error) {
	p.count("KMS key policy")
	return "{}", nil
}
func (p policies) RoleTrust(context.Context, cmek.Principal) (string, error)    { return "{}", nil }
func (p policies) RolePolicies(context.Context, cmek.Principal) (string, error) { return "{}", nil }

// fleet has clusters of three regions, each with a key and a role of its own.
func fleet(clusters int) simulator.Seed {
	seed := simulator.FleetSeed(clusters, 3)
	seed.Keys = nil
	for i := range seed.Clusters {
		for r := range seed.Clusters[i].Regions {
			region := &seed.Clusters[i].Regions[r]
			region.Key = cmek.KeyURI(fmt.Sprintf("arn:aws:kms:%s:444455556666:key/0a5d1c2e-7f43-4b1a-9c68-%012d", region.Name, 10*i+r))
			region.AuthPrincipal = cmek.Principal(fmt.Sprintf("arn:aws:iam::444455556666:role/cmek-%d", i))
			seed.Keys = append(seed.Keys, simulator.KeySeed{URI: region.Key, AgeDays: 600})
		}
	}
	return seed
}

// metered is follow-through over a simulated fleet, with a meter on all that it asks for.
type metered struct {
	*meter
	*rotation.Function
	world    *simulator.World
	archive  *cmektest.Archive
	notifier *cmektest.Notifier
	busy     time.Duration
}

func follow(t *testing.T, seed simulator.Seed) *metered {
	t.Helper()
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{calls: map[string]int{}, largest: map[string]int{}}
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server: "http://127.0.0.1", APIKey: cockroachcloud.StaticAPIKey(simulator.SampleAPIKey), Rate: cloudRequestsPerSecond,
		HTTPClient: &http.Client{Transport: wire{simulator.Transport(world.CloudAPI()), m}},
	})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample"}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return env[name] },
		&http.Client{Transport: wire{simulator.Transport(world.AWSKMS()), m}})
	if err != nil {
		t.Fatal(err)
	}
	settings := rotation.DefaultSettings()
	settings.Mode, settings.Concurrency = rotation.Follow, 1 // with one at a time a run can be repeated exactly
	archive, notifier := &cmektest.Archive{}, &cmektest.Notifier{}
	return &metered{m, &rotation.Function{
		Cloud: cloud, KMS: amazon.NewKMS(aws, nil), Ledger: ledger.New(store{cmektest.NewStore(), m}, rand.New(rand.NewPCG(1, 2))),
		Policies: policies{m}, Archive: archive, Notifier: notifier, Settings: settings,
		Log: slog.New(slog.DiscardHandler), Holder: "worker",
	}, world, archive, notifier, 0}
}

// reset begins to count anew.
func (m *metered) reset() { m.calls, m.busy = map[string]int{}, 0 }

// run ticks once a minute.
func (m *metered) run(t *testing.T, duration time.Duration) {
	t.Helper()
	for end := time.Now().Add(duration); time.Now().Before(end); {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := m.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		m.busy += time.Since(began)
		time.Sleep(time.Until(began.Add(time.Minute)))
	}
}

func TestASweepAsksForWhatIsAssumed(t *testing.T) {
	for _, size := range []struct{ clusters, sweeps, pages, ticks int }{{10, 20, 1, 1}, {1000, 2, 12, 3}} {
		t.Run(fmt.Sprint(size.clusters), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const regions = 3
				m := follow(t, fleet(size.clusters))
				m.run(t, sweepSeconds*time.Second)
				m.reset()
				m.run(t, time.Duration(size.sweeps)*sweepSeconds*time.Second)
				for name, want := range map[string]int{
					"GET clusters":     size.sweeps * size.pages,
					"GET cmek":         size.sweeps * size.clusters,
					"KMS":              size.sweeps * size.clusters * regions * kmsReadsPerKey,
					"read cluster":     size.sweeps * size.clusters * itemReads,
					"read worker":      size.sweeps * size.ticks,
					"write worker":     size.sweeps * (2*size.ticks + size.pages),
					"query that finds": size.sweeps * (size.ticks + size.pages),
					"query":            size.sweeps * (sweepSeconds/60 + size.pages + 1),
				} {
					if m.calls[name] != want {
						t.Errorf("%s: %d times, want %d", name, m.calls[name], want)
					}
				}
				took, want := m.busy.Seconds()/float64(size.sweeps), float64(size.pages+size.clusters)/cloudRequestsPerSecond
				if took < want-1 || took > want+1 {
					t.Errorf("a sweep took %.1f s, want about %.1f s", took, want)
				}
			})
		})
	}
}

// What is due once in a while waits for the next sweep, so a little less is done than assumed.
func TestInTwoDaysNoMorePoliciesAndItemsAreWrittenThanAssumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clusters, regions, days = 10, 3, 2
		m := follow(t, fleet(clusters))
		m.run(t, time.Hour)
		m.reset()
		m.run(t, days*24*time.Hour)
		const policies, sweeps = clusters * (regions + policiesPerRole), days * 96
		for name, most := range map[string]int{
			"KMS key policy": days * 24 * clusters * regions,
			"write policy":   days * 24 * policies,
			"read policy":    (days*24 + sweeps) * policies,
			"write cluster":  days * itemWritesPerDay * clusters,
		} {
			if n := m.calls[name]; n > most || n < most*7/10 {
				t.Errorf("%s: %d times, want at most %d and not much less", name, n, most)
			}
		}
		for what, units := range map[string]int{"cluster": itemWriteUnits, "worker": workerWriteUnits} {
			if size := m.largest[what]; size > units*1024 || size == 0 {
				t.Errorf("the largest record of a %s has %d bytes, want at most %d KB", what, size, units)
			}
		}
	})
}

func TestAFollowedRotationAsksForWhatIsAssumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clusters = 10
		m := follow(t, fleet(clusters))
		m.run(t, time.Hour)
		m.reset()
		m.run(t, time.Hour)
		idleReads := m.calls["read cluster"]
		m.reset()
		kept := len(m.archive.Names())
		for _, key := range fleet(clusters).Keys {
			if !strings.Contains(string(key.URI), "us-east-1") {
				continue
			}
			if err := m.world.Rotate(string(key.URI)); err != nil {
				t.Fatal(err)
			}
		}
		m.run(t, time.Hour)
		for _, c := range []struct {
			name      string
			got, want int
		}{
			{"PUTs", m.calls["PUT cmek"], clusters},
			{"reads", m.calls["read cluster"] - idleReads + m.calls["read pause"], clusters * rotationReads},
			{"writes", m.calls["write cluster"], clusters * rotationWrites},
			{"records in the archive", len(m.archive.Names()) - kept, clusters},
			{"alerts", len(m.notifier.Alerts()), clusters},
		} {
			if c.got != c.want {
				t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
			}
		}
		if size := m.largest["cluster"]; size > openWriteUnits*1024 {
			t.Errorf("the largest item of a cluster has %d bytes, want at most %d KB", size, openWriteUnits)
		}
	})
}
