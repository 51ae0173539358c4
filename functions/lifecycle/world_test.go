package lifecycle_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	organization = "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613"

	payments  = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	orders    = "7c1d9e20-3a4b-4c5d-8e6f-000000000003"
	archive   = "7c1d9e20-3a4b-4c5d-8e6f-000000000005"
	analytics = "7c1d9e20-3a4b-4c5d-8e6f-000000000006" // without CMEK

	eastKey      = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001")
	nextKey      = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a") // no cluster's yet
	ordersKey    = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002")
	westKey      = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003")
	paymentsRole = cmek.Principal("arn:aws:iam::111122223333:role/payments-cmek")
	ordersRole   = cmek.Principal("arn:aws:iam::111122223333:role/orders-cmek")

	// The Google cluster without CMEK, and one that has it; by the same last characters of their ids, Cockroach Labs acts for both as one.
	onGoogle      = "7c1d9e20-3a4b-4c5d-8e6f-000000000902"
	onGoogleToo   = "7c1d9e20-3a4b-4c5d-8e60-000000000902"
	googleKey     = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay")
	googleNext    = cmek.KeyURI("projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/next") // no cluster's yet
	googleWest    = cmek.KeyURI("projects/acme/locations/us-west1/keyRings/crdb/cryptoKeys/pay")
	googleAccount = cmek.Principal("cmek@acme.iam.gserviceaccount.com")
)

// seed is the sample company with a cluster on Google Cloud that has CMEK in two regions, and one that has none.
func seed() simulator.Seed {
	s := simulator.DefaultSeed()
	s.Keys = append(s.Keys, simulator.KeySeed{URI: googleKey, AgeDays: 300}, simulator.KeySeed{URI: googleWest, AgeDays: 300},
		simulator.KeySeed{URI: nextKey, AgeDays: 100, Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["111122223333","` + string(paymentsRole) + `"]},"Action":"kms:*","Resource":"*"}]}`},
		simulator.KeySeed{URI: googleNext, AgeDays: 100, Policy: `{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:` + string(googleAccount) + `"]}]}`})
	s.Google.Projects = []simulator.GoogleProjectSeed{{ID: "acme", Number: "123456789012"}}
	with := func(c simulator.ClusterSeed, keys bool) simulator.ClusterSeed {
		c.CloudProvider, c.AccountID, c.AgeDays = "GCP", "crl-prod-abc", 300
		for i, key := range []cmek.KeyURI{googleKey, googleWest} {
			r := simulator.RegionSeed{Name: []string{"us-east1", "us-west1"}[i]}
			if keys {
				r.Key, r.AuthPrincipal = key, googleAccount
			}
			if keys || i == 0 {
				c.Regions = append(c.Regions, r)
			}
		}
		return c
	}
	s.Clusters = append(s.Clusters, with(simulator.ClusterSeed{ID: onGoogle, Name: "on-google"}, false), with(simulator.ClusterSeed{ID: onGoogleToo, Name: "on-google-too"}, true))
	return s
}

// world is a simulated company with the function on it, which several processes may run.
type world struct {
	t *testing.T
	*simulator.World
	store   ledger.Store
	archive *cmektest.Archive
	// network carries the requests of the next function; nil is one without faults.
	network http.RoundTripper
	roles   map[string]string
	awsKMS  *amazon.KMS

	mu    sync.Mutex
	steps []string
	// sent are the writes that reached the Cloud API, by method and path, accepted those among them that it took.
	sent, accepted []string
}

func newWorld(t *testing.T, switches ...string) *world {
	t.Helper()
	simulated, err := simulator.New(seed(), simulator.WithRand(rand.New(rand.NewPCG(1, 2))))
	must(t, err)
	for i := 0; i < len(switches); i += 2 {
		must(t, simulated.Set(switches[i], switches[i+1]))
	}
	w := &world{t: t, World: simulated, store: cmektest.NewStore(), archive: &cmektest.Archive{}, roles: map[string]string{}}
	for _, role := range []cmek.Principal{paymentsRole, ordersRole} {
		w.roles[string(role)] = trustOf("900000000001", "900000000003", "900000000006")
		w.roles[ledger.RolePolicies(role)] = `{"inline":{},"attached":{}}`
	}
	return w
}

// trustOf is the trust policy that CockroachDB asks for, for clusters in the accounts.
func trustOf(accounts ...string) string {
	var principals []string
	for _, a := range accounts {
		principals = append(principals, "arn:aws:iam::"+a+":root")
	}
	text, _ := json.Marshal(principals)
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":%s},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":%q}}}]}`, text, organization)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writes counts what reaches the Cloud API to change something.
type writes struct {
	w    *world
	next http.RoundTripper
}

func (r writes) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(q)
	if q.Method != http.MethodGet {
		name := q.Method + " " + strings.TrimPrefix(q.URL.Path, "/api/v1/clusters/")
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.w.sent = append(r.w.sent, name)
		if err == nil && resp.StatusCode == http.StatusOK {
			r.w.accepted = append(r.w.accepted, name)
		}
	}
	return resp, err
}

// rolePolicies reads key policies at the simulator, and the policies of roles from a map: the simulator has no AWS IAM.
type rolePolicies struct {
	*amazon.Policies
	w *world
}

func (p rolePolicies) Document(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "arn:aws:iam:") {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		if text, ok := p.w.roles[name]; ok {
			return text, nil
		}
		return "", fmt.Errorf("read %s: %w", name, cmek.ErrNotFound)
	}
	return p.Policies.Document(ctx, name)
}

// function is a new process on the world.
func (w *world) function() *lifecycle.Function {
	w.t.Helper()
	var network http.RoundTripper = writes{w, simulator.Transport(w.CloudAPI())}
	if w.network != nil {
		network = w.network
	}
	o := cockroachcloud.Options{
		Server: "http://127.0.0.1:1", APIKey: cockroachcloud.StaticAPIKey(simulator.SampleAPIKey), Rate: 9, HTTPClient: &http.Client{Transport: network},
		Rand: rand.New(rand.NewPCG(3, 4)), MaxReadAttempts: 2,
	}
	cloud, err := cockroachcloud.New(o)
	must(w.t, err)
	details, err := cockroachcloud.NewReader(o)
	must(w.t, err)
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "sample"}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: simulator.Transport(w.AWSKMS())})
	must(w.t, err)
	gcp := google.Config{HTTP: &http.Client{Transport: simulator.Transport(w.Handler())}, Endpoint: "http://google.test"}
	gcpKMS, err := google.NewKMS(gcp)
	must(w.t, err)
	w.awsKMS = amazon.NewKMS(aws, nil)
	return &lifecycle.Function{
		Cloud: cloud, Details: details,
		Keys: map[cmek.KeyType]lifecycle.KeyCloud{
			cmek.AWSKMS:      {KMS: w.awsKMS, Policies: rolePolicies{amazon.NewPolicies(aws, nil), w}},
			cmek.GCPCloudKMS: {KMS: gcpKMS, Policies: google.NewPolicies(gcp)},
		},
		Ledger: ledger.New(w.store, rand.New(rand.NewPCG(rand.Uint64(), 5))), Archive: w.archive, Settings: lifecycle.DefaultSettings(),
		Report: func(s lifecycle.Step) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.steps = append(w.steps, s.Stage+": "+s.Detail)
		},
	}
}

// http calls a part of the world as somebody else would, and returns status and body.
func (w *world) http(handler http.Handler, method, url, body string, headers ...string) (int, string) {
	w.t.Helper()
	q, err := http.NewRequest(method, url, strings.NewReader(body))
	must(w.t, err)
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := simulator.Transport(handler).RoundTrip(q)
	must(w.t, err)
	data, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return resp.StatusCode, string(data)
}

// kms calls AWS KMS as the keys' owner.
func (w *world) kms(operation string, key cmek.KeyURI, more string) {
	w.t.Helper()
	status, body := w.http(w.AWSKMS(), http.MethodPost, "http://kms.test/", fmt.Sprintf(`{"KeyId":%q%s}`, key, more),
		"X-Amz-Target", "TrentService."+operation, "Content-Type", "application/x-amz-json-1.1",
		"Authorization", "AWS4-HMAC-SHA256 Credential=111122223333/20261120/"+key.Location()+"/kms/aws4_request, SignedHeaders=host, Signature=00")
	if status != http.StatusOK {
		w.t.Fatalf("%s of %s answered %d %s", operation, key, status, body)
	}
}

func (w *world) info(id string) cmek.ClusterInfo {
	w.t.Helper()
	_, body := w.http(w.CloudAPI(), http.MethodGet, "http://cloud.test/api/v1/clusters/"+id+"/cmek", "", "Authorization", "Bearer "+simulator.SampleAPIKey, "Cc-Version", "2024-09-16")
	var info cmek.ClusterInfo
	must(w.t, json.Unmarshal([]byte(body), &info))
	return info
}

func (w *world) item(id string) *ledger.Cluster {
	w.t.Helper()
	c, err := ledger.New(w.store, rand.New(rand.NewPCG(1, 1))).Cluster(w.t.Context(), id)
	must(w.t, err)
	return c
}

// records are the names of the evidence in the archive.
func (w *world) records() []string {
	return slices.DeleteFunc(w.archive.Names(), func(name string) bool { return !strings.HasPrefix(name, "evidence/") })
}

func awsSpec(region string, key cmek.KeyURI, role cmek.Principal) cmek.RegionSpec {
	return cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: role}}
}

func enableAnalytics() lifecycle.Request {
	return lifecycle.Request{Kind: ledger.OperationEnable, ClusterID: analytics, By: "ana", Specs: []cmek.RegionSpec{awsSpec("us-east-1", eastKey, paymentsRole)}}
}

func addToPayments() lifecycle.Request {
	return lifecycle.Request{Kind: ledger.OperationAddRegion, ClusterID: payments, By: "ana",
		Additions: []cmek.AddedRegion{{Region: "us-west-2", Nodes: 3, KeySpec: awsSpec("", westKey, ordersRole).KeySpec}}}
}

// revoke makes and applies a plan for payments, whose trust was taken away.
func (w *world) revoke(f *lifecycle.Function) (lifecycle.Result, error) {
	w.t.Helper()
	w.distrust()
	p, refused, err := f.PlanRevocation(w.t.Context(), revokePayments(), "http://127.0.0.1:1", false)
	must(w.t, err)
	if len(refused) > 0 {
		w.t.Fatalf("no plan: %+v", refused)
	}
	return f.Apply(w.t.Context(), p, confirmed)
}

func revokePayments() lifecycle.Request {
	return lifecycle.Request{ClusterID: payments, By: "ana", Reason: "key compromised", Waived: map[lifecycle.Hazard]string{lifecycle.SharedKey: "checkout moves too"}}
}

var confirmed = lifecycle.Confirmation{Typed: "payments", By: "ana", Server: "http://127.0.0.1:1"}

func (w *world) distrust() { w.trust(paymentsRole, trustOf("900000000002")) }

func (w *world) trust(role cmek.Principal, document string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.roles[string(role)] = document
}

func rows(refused []lifecycle.Refusal) (names []string) {
	for _, r := range refused {
		names = append(names, r.Row)
	}
	return names
}

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), 6)) }
