package compliance_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

// world is compliance over a simulated fleet. Requests are counted by "GET /path" and by operation of KMS; those in refused are refused, and
// those in broken get no answer of the API.
type world struct {
	*compliance.Function
	t         *testing.T
	simulator *simulator.World
	seed      simulator.Seed
	mu        sync.Mutex // of requests
	requests  map[string]int
	refused   map[string]bool
	broken    map[string]bool
	roles     roles
	latency   time.Duration // of each answer
	// What [world.watched] gives.
	detected compliance.Detection
	bridge   *bridge
	logging  *logging
}

// RoundTrip counts and refuses.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.Method + " " + r.URL.Path
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		name = target[strings.LastIndex(target, ".")+1:]
	}
	time.Sleep(w.latency)
	w.mu.Lock()
	w.requests[name]++
	w.mu.Unlock()
	if w.broken[name] {
		return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>")), Request: r}, nil
	}
	if w.refused[name] {
		status, body := http.StatusForbidden, `{"code":7,"message":"no","details":[]}`
		switch {
		case r.URL.Host == "google.test":
			body = `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}`
		case r.Method == http.MethodPost:
			status, body = http.StatusBadRequest, `{"__type":"AccessDeniedException","message":"no"}`
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	return simulator.Transport(w.simulator.Handler()).RoundTrip(r)
}

// sent counts the requests whose names begin and end so.
func (w *world) sent(prefix, suffix string) (n int) {
	for name, count := range w.requests {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			n += count
		}
	}
	return n
}

func (w *world) check(clusters ...string) report.Run {
	w.t.Helper()
	run, err := w.Check(w.t.Context(), clusters...)
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// note writes what a sweep would of the cluster, read so long ago.
func (w *world) note(id string, ago time.Duration) *ledger.Cluster {
	w.t.Helper()
	cloud := w.Cloud
	info, err := cloud.CMEK(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	page, _, err := cloud.ClusterPage(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	item, err := w.Ledger.UpdateCluster(w.t.Context(), id, func(c *ledger.Cluster) error {
		for _, one := range page {
			if one.ID == id {
				c.Cluster = one
			}
		}
		c.CMEK, c.SeenAt, c.NextLook = info, time.Now().Add(-ago), time.Now()
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, region := range info.RegionInfos {
		for _, k := range region.KeyInfos {
			text, err := w.AWS.Policies.KeyPolicy(w.t.Context(), k.Spec.URI)
			if err == nil {
				err = w.Ledger.NotePolicy(w.t.Context(), string(k.Spec.URI), text, ledger.NotedPolicy{})
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return item
}

// roles are IAM's. One without a document does not exist; "denied" is refused.
type roles struct {
	trust, policies string
	calls           *int
}

func (r roles) RoleTrust(_ context.Context, p cmek.Principal) (string, error) {
	return r.answer(p, r.trust)
}

func (r roles) RolePolicies(_ context.Context, p cmek.Principal) (string, error) {
	return r.answer(p, r.policies)
}

func (r roles) answer(p cmek.Principal, document string) (string, error) {
	*r.calls++
	switch document {
	case "":
		return "", fmt.Errorf("read %s: %w", p, cmek.ErrNotFound)
	case "denied":
		return "", fmt.Errorf("read %s: %w", p, cmek.ErrDenied)
	}
	return document, nil
}

const noPolicy = `{"inline":{},"attached":{},"boundary":{}}`

// within runs a test over the small company of the simulator, with an empty ledger, under a clock of its own.
func within(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	withinSeed(t, simulator.DefaultSeed(), test)
}

// withinSeed is within over another company.
func withinSeed(t *testing.T, seed simulator.Seed, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		simulated, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, simulator: simulated, seed: seed, requests: map[string]int{}, refused: map[string]bool{}, broken: map[string]bool{}}
		w.roles = roles{policies: noPolicy, calls: new(int), trust: `{"Version":"2012-10-17","Statement":[]}`}
		client := &http.Client{Transport: w}
		cloud, err := cockroachcloud.NewReader(cockroachcloud.Options{
			Server: "http://localhost", APIKey: cockroachcloud.StaticAPIKey(seed.APIKeys[0].Secret), HTTPClient: client, Rate: 8, MaxReadAttempts: 1,
			Rand: rand.New(rand.NewPCG(1, 2)),
		})
		if err != nil {
			t.Fatal(err)
		}
		environment := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL_KMS": "http://localhost", "AWS_ENDPOINT_URL_CLOUDTRAIL": "http://localhost"}
		config, err := amazon.ConfigFromEnv(func(name string) string { return environment[name] }, client)
		if err != nil {
			t.Fatal(err)
		}
		keys, onGoogle := amazon.NewKMS(config, nil), google.Config{HTTP: client, Endpoint: "http://google.test"}
		googleKeys, err := google.NewKMS(onGoogle)
		if err != nil {
			t.Fatal(err)
		}
		w.Function = &compliance.Function{
			Cloud: cloud, Ledger: ledger.New(cmektest.NewStore(), rand.New(rand.NewPCG(3, 4))),
			AWS:      compliance.AWS{Keys: keys, Use: keys, Aliases: keys, Policies: amazon.NewPolicies(config, nil), Roles: &w.roles, Log: amazon.NewUseLog(config, nil)},
			Google:   compliance.Google{Keys: googleKeys, Policies: google.NewPolicies(onGoogle), Log: google.NewUseLog(onGoogle)},
			Declared: checks.Declarations{},
		}
		test(t, w)
	})
}

// ledgerOver is a ledger over a store.
func (w *world) ledgerOver(store ledger.Store) *ledger.Ledger {
	return ledger.New(store, rand.New(rand.NewPCG(3, 4)))
}

func results(run report.Run) map[string]checks.Finding {
	all := map[string]checks.Finding{}
	for _, f := range run.Findings {
		all[f.Key()] = f
	}
	return all
}
