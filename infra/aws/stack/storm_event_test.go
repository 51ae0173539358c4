package stack_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/cloudwatchtest"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// What an instance of a function needs for a call: the time until the answer, and work, in which it does nothing else. Of a processor it
// has as much as it has of 1,769 MB (docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
const (
	answerOfAWS   = 20 * time.Millisecond
	answerOfCloud = 200 * time.Millisecond
	workOfCall    = 2 * time.Millisecond
	wholeCPU      = 1769
)

// computer is what one instance of a function runs on.
type computer struct {
	share float64       // of a processor
	busy  chan struct{} // no mutex: time stands still in a bubble while one is waited for
}

func newComputer(memoryMB int) *computer {
	return &computer{float64(memoryMB) / wholeCPU, make(chan struct{}, 1)}
}

func (c *computer) call(answer time.Duration) {
	c.busy <- struct{}{}
	time.Sleep(time.Duration(float64(workOfCall) / c.share))
	<-c.busy
	time.Sleep(answer)
}

// wires carry the calls of an instance to the simulated clouds.
type wires struct {
	*computer
	kms, cloud http.RoundTripper
}

func (w wires) RoundTrip(r *http.Request) (*http.Response, error) {
	switch host := r.URL.Hostname(); {
	case strings.HasPrefix(host, "kms."):
		w.call(answerOfAWS)
		return w.kms.RoundTrip(r)
	case host == "127.0.0.1":
		w.call(answerOfCloud)
		return w.cloud.RoundTrip(r)
	}
	w.call(answerOfAWS)
	const denied = `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not simulated</Message></Error></ErrorResponse>`
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(denied)), Request: r}, nil
}

// distant is the ledger's table as an instance reaches it.
type distant struct {
	ledger.Store
	*computer
}

func (d distant) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	d.call(answerOfAWS)
	return d.Store.Get(ctx, kind, id)
}

func (d distant) Put(ctx context.Context, r ledger.Record) error {
	d.call(answerOfAWS)
	return d.Store.Put(ctx, r)
}

func (d distant) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	d.call(answerOfAWS) // the edges
	d.call(answerOfAWS) // the items
	return d.Store.ByKey(ctx, kind, key)
}

// risky is a world in which keys of clusters are put at risk: the KMS → bus → queue → alerting → topic → queues → channels.
type risky struct {
	*world
	clouds *simulator.World
	kms    *kms.Client
	feed   *cloudwatchtest.Mapping
	keys   []cmek.KeyURI

	mu     sync.Mutex
	alerts []alert.Alert
	last   time.Time // when the last of them went out
	// refused counts what the Cloud API refused rotation for its rate.
	refused int
}

const riskyRole = "arn:aws:iam::111122223333:role/payments-cmek"

// atRisk makes a world with so many keys, each of so many clusters. It must be called in the bubble.
func atRisk(t *testing.T, w *world, keys, clusters int) *risky {
	seed := simulator.DefaultSeed()
	seed.Keys, seed.Clusters, seed.AWSCallers = nil, nil, nil
	r := &risky{world: w}
	for i := range keys {
		uri := cmek.KeyURI(fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-%012d", i))
		r.keys = append(r.keys, uri)
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: uri, AgeDays: 100})
		for j := range clusters {
			seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{
				ID: fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-%06d%06d", i, j), Name: fmt.Sprintf("c%d-%d", i, j), AccountID: "999988887777", AgeDays: 200,
				Regions: []simulator.RegionSeed{{Name: "us-east-1", Key: uri, AuthPrincipal: riskyRole}},
			})
		}
	}
	clouds, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	r.clouds = clouds
	r.kms = kms.NewFromConfig(r.config(t, simulator.Transport(clouds.AWSKMS())))
	store := cmektest.NewStore()
	r.inventory(t, ledger.New(store, rand.New(rand.NewPCG(4, 4))), seed)

	r.feed = feedOf(t, alertingFunction)
	r.feed.Queue.Random = rand.New(rand.NewPCG(3, 3))
	memory := memoryOf(t, alertingFunction)
	n := uint64(0)
	r.feed.Start = func() cloudwatchtest.Handler {
		n++
		on := newComputer(memory)
		wire := wires{on, simulator.Transport(clouds.AWSKMS()), simulator.Transport(clouds.CloudAPI())}
		config := r.config(t, wire)
		f := &alerting.Function{
			Ledger:   ledger.New(distant{store, on}, rand.New(rand.NewPCG(5, n))),
			Notifier: publisher{r, on}, KMS: amazon.NewKMS(config, nil), Policies: amazon.NewPolicies(config, nil),
			Cloud: r.cloud(t, wire, alerting.RequestRate), Settings: alerting.DefaultSettings(), Log: quiet,
		}
		return lambda.Handler{Event: f.Event, Parallel: alerting.Parallel, Subscribes: alerting.Subscribes, Log: quiet}
	}
	return r
}

func (r *risky) config(t *testing.T, transport http.RoundTripper) amazon.Config {
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "sample"}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func (r *risky) cloud(t *testing.T, transport http.RoundTripper, rate float64) *cockroachcloud.Client {
	c, err := cockroachcloud.New(cockroachcloud.Options{
		Server: "http://127.0.0.1", APIKey: cockroachcloud.StaticAPIKey(simulator.SampleAPIKey), HTTPClient: &http.Client{Transport: transport},
		Rate: rate, MaxReadAttempts: 1, Rand: rand.New(rand.NewPCG(6, 6)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// inventory is what a sweep that ended just now has put into the ledger.
func (r *risky) inventory(t *testing.T, l *ledger.Ledger, seed simulator.Seed) {
	for _, s := range seed.Clusters {
		if _, err := l.UpdateCluster(t.Context(), s.ID, func(c *ledger.Cluster) error {
			c.Cluster = cmek.Cluster{ID: s.ID, Name: s.Name, AccountID: s.AccountID, State: cmek.StateCreated}
			c.CMEK = cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "us-east-1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{
				Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: s.Regions[0].Key, AuthPrincipal: riskyRole}, Status: cmek.Enabled,
			}}}}}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	worker, err := l.Worker(t.Context())
	if err == nil {
		worker.Sweep.Complete = time.Now()
		err = l.SaveWorker(t.Context(), worker, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// publisher is alerting's way to the topic.
type publisher struct {
	r  *risky
	on *computer
}

func (p publisher) Notify(_ context.Context, a alert.Alert) error {
	p.on.call(answerOfAWS)
	p.r.send(a)
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.r.alerts, p.r.last = append(p.r.alerts, a), time.Now()
	return nil
}

// rotate spends rotation's share of the Cloud API's rate, as a sweep does.
func (r *risky) rotate(ctx context.Context, t *testing.T) {
	c := r.cloud(t, simulator.Transport(r.clouds.CloudAPI()), rotation.RequestRate)
	for ctx.Err() == nil {
		if _, err := c.CMEK(ctx, "7c1d9e20-3a4b-4c5d-8e6f-000000000000"); err != nil && ctx.Err() == nil {
			r.mu.Lock()
			r.refused++
			r.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// change does something to every key, evenly over the time, and delivers what CloudTrail reports of it.
func (r *risky) change(t *testing.T, over time.Duration, do func(ctx context.Context, at *kms.Client, key *string) error) {
	for _, key := range r.keys {
		if err := do(t.Context(), r.kms, aws.String(string(key))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(over / time.Duration(len(r.keys)))
		for _, e := range r.clouds.Events() {
			r.feed.Queue.Send(time.Now(), string(e.Payload))
		}
	}
}

const alertingFunction = "keyturn-alerting-event"

// memoryOf is how many MB a function of the hub has.
func memoryOf(t *testing.T, function string) int {
	t.Helper()
	for _, id := range hub(t).of("AWS::Lambda::Function") {
		if f := hub(t).Resources[id]; f.property("FunctionName") == function {
			return whole(f.property("MemorySize"))
		}
	}
	t.Fatalf("the hub has no function %s", function)
	return 0
}

func TestTheReadmeOfAlertingHasTheDeployedNumbers(t *testing.T) {
	readme, err := os.ReadFile("../../../functions/alerting/README.md")
	if err != nil {
		t.Fatal(err)
	}
	d := feedOf(t, alertingFunction)
	row := fmt.Sprintf("\n| %s | %d | %.0f s | %d | %.0f s | %.0f s | %d | %d MB |\n", strings.TrimPrefix(alertingFunction, "keyturn-"), d.Batch, d.Window.Seconds(), d.Concurrency,
		d.Timeout.Seconds(), d.Queue.Visibility.Seconds(), d.Queue.MostReceives, memoryOf(t, alertingFunction))
	if !strings.Contains(string(readme), row) {
		t.Errorf("the README of alerting lacks the deployed numbers:%s", row)
	}
	if d.Queue.Visibility < 6*d.Timeout+d.Window || d.Batch != alerting.Parallel || d.Batch > 10 && d.Window < time.Second {
		t.Errorf("hidden for %s, batch %d, window %s; want a visibility timeout of six times the time limit and the window, a batch of %d, and a window for more than 10",
			d.Queue.Visibility, d.Batch, d.Window, alerting.Parallel)
	}
	if all := rotation.RequestRate + float64(d.Concurrency)*alerting.RequestRate; all > cockroachcloud.UserRate {
		t.Errorf("rotation and %d instances of alerting send %v requests/s to the Cloud API, which takes %v of an API user", d.Concurrency, all, cockroachcloud.UserRate)
	}
}

// From the first change to the last message: alerting's queue and reads, and then the channels.
func TestAStormReachesEveryChannelInTimeFromTheChangesOn(t *testing.T) {
	disable := func(ctx context.Context, at *kms.Client, key *string) error {
		_, err := at.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key})
		return err
	}
	cutOff := func(ctx context.Context, at *kms.Client, key *string) error {
		_, err := at.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key, Policy: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:PutKeyPolicy","Resource":"*"}]}`)})
		return err
	}
	for _, tc := range []struct {
		name           string
		keys, clusters int
		over           time.Duration
		do             func(ctx context.Context, at *kms.Client, key *string) error
		slack          limit
	}{
		{"1000 keys are disabled within a minute", 1000, 1, time.Minute, disable, usual},
		{"1000 keys are disabled within a minute, Slack takes one message in 10 s", 1000, 1, time.Minute, disable, tight},
		{"1000 keys are disabled within a minute, Slack asks for 30 s", 1000, 1, time.Minute, disable, slow},
		{"1000 keys are disabled at once", 1000, 1, time.Second, disable, usual},
		{"200 keys of 5 clusters each are disabled within a minute", 200, 5, time.Minute, disable, usual},
		{"1000 keys get a policy that cuts the clusters off", 1000, 1, time.Minute, cutOff, usual},
		{"one key of 500 clusters is disabled", 1, 500, time.Second, disable, usual},
	} {
		t.Run(tc.name, func(t *testing.T) {
			simulate(t, tc.slack, 0, func(t *testing.T, w *world) {
				r := atRisk(t, w, tc.keys, tc.clusters)
				ctx, cancel := context.WithCancel(t.Context())
				var g sync.WaitGroup
				g.Go(func() { r.feed.Run(ctx) })
				g.Go(func() { r.rotate(ctx, t) })
				begun := time.Now()
				r.change(t, tc.over, tc.do)
				for r.feed.Queue.Len() > 0 && time.Since(begun) < within {
					time.Sleep(time.Second)
				}
				w.settle(within - time.Since(begun))
				cancel()
				g.Wait()

				invoked, failed := r.feed.Invocations()
				if dead, receives := r.feed.Queue.Dead.Len(), r.feed.Queue.Receives(); r.feed.Queue.Len() > 0 || dead > 0 || failed > 0 || receives > 1 {
					t.Errorf("of alerting's queue %d messages are left, %d dead letters; %d failed invocations, up to %d receives; want 0, 0, 0, 1", r.feed.Queue.Len(), dead, failed, receives)
				}
				if len(r.alerts) != tc.keys {
					t.Errorf("%d keys made %d alerts", tc.keys, len(r.alerts))
				}
				known := 0
				for _, a := range r.alerts {
					for _, c := range a.Clusters {
						if c.Impact != "" && !strings.Contains(c.Impact, "not known") {
							known++
						}
					}
				}
				for kind := range w.queues {
					if took := w.sides[kind].last.Sub(begun); took > within {
						t.Errorf("%s has all after %s, want %s at most", kind, took.Round(time.Second), within)
					}
				}
				if r.refused > 0 {
					t.Errorf("the Cloud API refused %d of rotation's requests for their rate, want none: alerting has a share of its own", r.refused)
				}
				t.Logf("alerting: %d invocations, the last alert after %s, the next days of %d clusters known; Slack has all after %s in %d messages; rotation was refused %d times", invoked,
					r.last.Sub(begun).Round(time.Second), known, w.sides[notify.Slack].last.Sub(begun).Round(time.Second), len(w.posted), r.refused)
				w.check(r.alerts, 0)
			})
		})
	}
}
