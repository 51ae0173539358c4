package simulation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

var (
	oneSeed   = flag.Int64("seed", -1, "run only the schedule of this seed, with a log")
	firstSeed = flag.Int64("from", 0, "seed of the first schedule")
	schedules = flag.Int("schedules", 3000, "number of schedules to run")
)

// A schedule is a working day in the life of a fleet: keys rotate, events come late, twice, out of order or never, processes
// die between any two steps, answers are lost, cut, delayed, replaced or out of date, two workers run at once, and people
// re-encrypt by hand, move clusters to other keys, order them to be moved, add and remove regions, hide and delete clusters, disable keys, pause,
// hold and release, observe, retry and forget. What must hold at any time and at the end is in invariants_test.go.
//
// The fleet has clusters on AWS and on Google Cloud in one organization of the Cloud API. Each cloud has an installation of its own, with
// its own ledger, archive, alerts and service account; both work at the same time.
func TestSimulation_everyRotationIsFollowedExactlyOnce(t *testing.T) {
	if *oneSeed >= 0 {
		synctest.Test(t, func(t *testing.T) { newDay(t, uint64(*oneSeed), true).run() })
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much garbage, little to keep
	const shards = 2
	totals := tally{puts: map[string]int{}}
	t.Run("schedules", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for n := shard; n < *schedules; n += shards {
					seed := uint64(*firstSeed) + uint64(n)
					// A failed schedule does not end the run: all failing seeds are listed at its end.
					passed := t.Run(fmt.Sprint(seed), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							d := newDay(t, seed, false)
							d.run()
							totals.schedule()
							for _, s := range d.sides {
								totals.add(s)
							}
						})
					})
					if !passed && totals.fail(seed) >= mostFailures {
						return
					}
				}
			})
		}
	})
	t.Log(totals.String())
}

// mostFailures is how many schedules may fail before the run ends.
const mostFailures = 50

// tally sums up what the schedules went through.
type tally struct {
	mu                                        sync.Mutex
	schedules, faults, undecidable, redundant int
	puts                                      map[string]int
	// orders were carried out, of those that were given; pinned are the moves that followed an alias.
	given, orders, pinned int
	// flaps is how often one incident began at most, flapped which one in which schedule.
	flaps   int
	flapped string
	// failed are the seeds of the schedules that failed.
	failed []uint64
}

// fail notes a schedule that failed, and returns how many did.
func (t *tally) fail(seed uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = append(t.failed, seed)
	return len(t.failed)
}

func (t *tally) schedule() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.schedules++
}

func (t *tally) add(s *schedule) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.puts[s.name] += s.puts
	t.redundant += s.redundant
	t.given += len(s.memory.ordered)
	t.pinned += s.memory.followedMoves
	for _, c := range s.items() {
		for _, end := range c.Orders {
			if _, follows := s.memory.pinned[c.ID]; end.Done && !follows {
				t.orders++
			}
		}
	}
	t.undecidable += s.undecided
	if s.memory.flaps > t.flaps {
		t.flaps, t.flapped = s.memory.flaps, fmt.Sprintf("%s of seed %d", s.memory.flapped, s.seed)
	}
	for _, n := range s.networks {
		t.faults += len(n.Log())
	}
}

func (t *tally) String() string {
	slices.Sort(t.failed)
	return fmt.Sprintf("%d schedules: PUTs %v, %d faults of the network; second PUTs in the one undecidable case: %d; %d of %d orders carried out; %d PUTs followed an alias; most beginnings of one incident: %d (%s); failed: %d %d",
		t.schedules, t.puts, t.faults, t.redundant, t.orders, t.given, t.pinned, t.flaps, t.flapped, len(t.failed), t.failed)
}

// schedule is what happens to the clusters of one cloud, and to the installation that follows their keys.
type schedule struct {
	*share
	t     *testing.T
	seed  uint64
	rand  *rand.Rand
	world *simulator.World
	keys  *kms.Client // the key owners' on AWS, without faults
	log   *slog.Logger
	// trace is shown when the schedule fails.
	trace bytes.Buffer

	mu       sync.Mutex
	store    *cmektest.Store
	archive  cmektest.Archive
	notifier cmektest.Notifier
	trouble  *trouble
	// shared: two workers take the lease under one name, so that only the swap of the item keeps them apart.
	shared    bool
	workers   int
	processes []*rotation.Function
	networks  []*cmektest.Network
	profile   cmektest.Profile
	inbox     []delivery
	actions   []action
	commands  []func() // of an operator, for the next minute
	did       []string
	settings  map[string]string // switches, of the world
	mode      rotation.Mode
	memory    memory
	// cached are the items as last decoded, of the versions in decoded.
	cached  map[string]*ledger.Cluster
	decoded map[string]int64
	// undecided counts lost PUTs in worlds where no trace can tell; redundant the second PUTs that came of it.
	undecided, redundant int
	// puts counts the PUTs to the clusters.
	puts int
}

type delivery struct {
	at      time.Time
	payload []byte
}

// choices are the settings of the switches that a schedule draws from.
var choices = map[string][]string{
	simulator.BusyReply:         {"503", "503-not-ready", "409", "400"},
	simulator.RateLimitStatus:   {"429", "503", "403"},
	simulator.CMEKAbsent:        {"disabled", "404", "empty"},
	simulator.StatusFlip:        {"before", "after"},
	simulator.SameURIKeyInfo:    {"update", "append"},
	simulator.KeyInfoOrder:      {"oldest-first", "newest-first", "random"},
	simulator.DuplicatePUT:      {"busy", "rotate", "no-op"},
	simulator.RotationDuration:  {"0s", "8s", "90s", "20m"},
	simulator.UpdatedAt:         {"moves", "moves", "stays"},
	simulator.PageLimit:         {"2", "100"},
	simulator.SinglePage:        {"object", "null"},
	simulator.KMSPropagation:    {"0s", "5s", "1m", "4m"},
	simulator.KMSRotationTime:   {"0s", "3s", "1m"},
	simulator.KMSRotationEvent:  {"full", "key-id-only", "none"},
	simulator.KMSReplicaEvents:  {"primary-only", "every-region"},
	simulator.KMSMaterialID:     {"present", "present", "absent"},
	simulator.KMSRotationsOrder: {"oldest-first", "newest-first"},
	simulator.CloudTrail:        {"on", "off"},
	simulator.ClockOffset:       {"0s", "0s", "-10m", "-90s", "90s", "10m"},
}

// googleChoices are those about Google Cloud. A key settles there for half an hour.
var googleChoices = map[string][]string{
	simulator.GooglePropagation:   {"0s", "1m", "20m"},
	simulator.GoogleRotationEvent: {"automatic", "every", "none"},
	simulator.GoogleEnums:         {"as-asked", "names", "integers"},
	simulator.GooglePageLimit:     {"100", "2"},
}

// day is a schedule of each cloud over one world.
type day struct {
	t     *testing.T
	sides []*schedule
}

func newDay(t *testing.T, seed uint64, verbose bool) *day {
	kinds := rand.New(rand.NewPCG(seed, 14))
	awsFleet, googleFleet := fleets[cmek.AWSKMS][kinds.IntN(2)], fleets[cmek.GCPCloudKMS][kinds.IntN(2)]
	world, err := simulator.New(simulatedFleet(awsFleet, googleFleet), simulator.WithRand(rand.New(rand.NewPCG(seed, 2))))
	if err != nil {
		t.Fatal(err)
	}
	source, settings := rand.New(rand.NewPCG(seed, 1)), map[string]string{}
	draw := func(source *rand.Rand, choices map[string][]string) {
		for _, name := range slices.Sorted(maps.Keys(choices)) {
			settings[name] = choices[name][source.IntN(len(choices[name]))]
			if err := world.Set(name, settings[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	draw(source, choices)
	aws := newSchedule(t, onAWS(awsFleet), seed, source, world, verbose)
	draw(rand.New(rand.NewPCG(seed, 10)), googleChoices)
	google := newSchedule(t, onGoogle(googleFleet), seed, rand.New(rand.NewPCG(seed, 11)), world, verbose)
	aws.settings, google.settings = settings, settings
	aws.keys = kms.NewFromConfig(aws.aws(simulator.Transport(world.AWSKMS())))
	return &day{t, []*schedule{aws, google}}
}

func newSchedule(t *testing.T, of *share, seed uint64, source *rand.Rand, world *simulator.World, verbose bool) *schedule {
	s := &schedule{share: of, t: t, seed: seed, rand: source, world: world, store: cmektest.NewStore(),
		mode: rotation.Follow, cached: map[string]*ledger.Cluster{}, decoded: map[string]int64{}}
	s.log = slog.New(slog.DiscardHandler)
	t.Cleanup(func() { s.notifier.CheckRecovery(t) })
	if verbose {
		s.log = slog.New(slog.NewTextHandler(&s.trace, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	chance := []float64{0, 0.01, 0.05}
	losses := chance[s.rand.IntN(len(chance))]
	s.trouble = &trouble{lost: map[string]int{}, crashes: chance[s.rand.IntN(len(chance))], losses: 2 * losses}
	s.profile = s.weather(losses)
	s.workers = 1 + s.rand.IntN(2)
	s.shared = s.workers == 2 && s.rand.IntN(2) == 0
	s.processes = make([]*rotation.Function, s.workers)
	return s
}

// weather draws how bad the network is.
func (s *schedule) weather(losses float64) cmektest.Profile {
	c := cmektest.Chances{
		DelayRequest: losses, DelayAnswer: losses, RefuseConnection: losses / 3, LoseRequest: losses / 3, LoseAnswer: losses,
		CutBody: losses / 2, TruncateBody: losses / 2, Acted: 0.7,
	}.Replaced(losses)
	p := cmektest.Profile{Reads: c, Writes: c.Replaced(4 * losses), LeastDelay: 100 * time.Millisecond, MostDelay: 20 * time.Second, Probe: adminAPIKey}
	p.Reads.ServeStale = []float64{0, 0.1, 0.4}[s.rand.IntN(3)]
	if s.rand.IntN(4) == 0 {
		p.Outages = []cmektest.Outage{{After: time.Duration(s.rand.Int64N(int64(troubled - time.Hour))), For: time.Hour, Acts: s.rand.Float64()}}
	}
	return p
}

func (s *schedule) aws(transport http.RoundTripper) amazon.Config {
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "sample"}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: transport})
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

// process is a freshly started function: nothing in memory, the ledger as it is.
func (s *schedule) process(n int) *rotation.Function {
	seed := s.rand.Uint64()
	luck := &fate{rand: rand.New(rand.NewPCG(seed, 3)), trouble: s.trouble}
	network := cmektest.NewNetwork(simulator.Transport(s.world.CloudAPI()), rand.New(rand.NewPCG(seed, 6)), s.profile)
	if s.trouble.isCalm() {
		network.SetProfile(cmektest.Profile{})
	} else {
		network.SetProfile(s.remaining())
	}
	s.networks = append(s.networks, network)
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server: "http://127.0.0.1", APIKey: cockroachcloud.StaticAPIKey(s.apiKey),
		HTTPClient: &http.Client{Transport: cloudTransport{luck, network}},
		Rate:       8, MaxReadAttempts: 2, Rand: rand.New(rand.NewPCG(seed, 4)),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	keys, documents, projects := s.reader(luck, seed)
	aliases, _ := keys.(cmek.Aliases)
	settings := rotation.DefaultSettings()
	settings.Mode, settings.Concurrency, settings.SweepEvery = s.mode, 1, time.Hour
	holder := "shared"
	if !s.shared {
		holder = fmt.Sprint(n, seed)
	}
	return &rotation.Function{
		Cloud: cloud, KMS: keys, KeyTypes: []cmek.KeyType{s.keyType}, Projects: projects, Policies: documents, Aliases: aliases,
		Ledger:   ledger.New(store{luck, s.store}, rand.New(rand.NewPCG(seed, 5))),
		Archive:  archive{luck, &s.archive},
		Notifier: notifier{luck, &s.notifier},
		Settings: settings, Log: s.log, Holder: holder,
	}
}

// reader reads the keys and their policies, through a network of its own, and on Google Cloud their projects.
func (s *schedule) reader(luck *fate, seed uint64) (cmek.KMS, cmek.Policies, cmek.Projects) {
	if s.keyType == cmek.GCPCloudKMS {
		config := google.Config{HTTP: &http.Client{Transport: kmsTransport{luck, simulator.Transport(s.world.Google())}}, Endpoint: "http://google.test"}
		keys, err := google.NewKMS(config)
		if err != nil {
			s.t.Fatal(err)
		}
		documents := google.NewPolicies(config)
		return keys, documents, documents
	}
	config := s.aws(kmsTransport{luck, simulator.Transport(s.world.AWSKMS())})
	retryer, pauses := config.Retryer, rand.New(rand.NewPCG(seed, 8))
	config.Retryer = func() aws.Retryer { return pausing{retryer().(aws.RetryerV2), pauses} }
	return amazon.NewKMS(config, nil), policies{amazon.NewPolicies(config, nil)}, nil
}

// policies are the key policies of the simulator, with roles of their own: it has no IAM.
type policies struct{ *amazon.Policies }

func (p policies) Document(ctx context.Context, name string) (string, error) {
	switch {
	case strings.HasPrefix(name, "arn:aws:kms:"):
		return p.Policies.Document(ctx, name)
	case strings.HasSuffix(name, ledger.RolePolicies("")):
		return `{"inline":{},"attached":{}}`, nil
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"organization"}}}]}`, nil
}

// remaining is the profile with what is left of its outages.
func (s *schedule) remaining() cmektest.Profile {
	p := s.profile
	p.Outages = nil
	for _, o := range s.profile.Outages {
		passed := time.Since(s.memory.start)
		o.After -= passed
		if o.After < 0 {
			o.For, o.After = o.For+o.After, 0
		}
		if o.For > 0 {
			p.Outages = append(p.Outages, o)
		}
	}
	return p
}

const (
	troubled = 4 * time.Hour
	quiet    = 6 * time.Hour
)

func (d *day) run() {
	start := time.Now()
	for _, s := range d.sides {
		s.memory.begin(s, start)
		s.plan(start)
	}
	for now := start; now.Before(start.Add(troubled+quiet)) && !d.t.Failed(); now = now.Add(time.Minute) {
		time.Sleep(time.Until(now))
		for _, s := range d.sides {
			if now.Sub(start) >= troubled {
				s.calm()
			}
			s.act(now)
			s.receive(now)
		}
		busy := make([]bool, len(d.sides))
		var group sync.WaitGroup
		for i, s := range d.sides {
			group.Go(func() { busy[i] = s.minute(now) })
		}
		group.Wait()
		for i, s := range d.sides {
			if busy[i] {
				s.checkNow()
			}
		}
	}
	for _, s := range d.sides {
		if !d.t.Failed() {
			s.checkEnd()
		}
		s.explain()
	}
}

// act does what people do by now.
func (s *schedule) act(now time.Time) {
	for len(s.actions) > 0 && !s.actions[0].at.After(now) {
		a := s.actions[0]
		s.actions = s.actions[1:]
		err := a.do()
		s.did = append(s.did, fmt.Sprintf("%s %s: %v", now.Format("15:04"), a.name, err))
		s.log.Info("ACTION", "name", a.name, "error", err)
	}
	s.noteKeys()
}

// calm ends the trouble: the network is well, people leave the fleet alone.
func (s *schedule) calm() {
	if s.trouble.isCalm() {
		return
	}
	s.trouble.calm()
	for _, n := range s.networks {
		n.SetProfile(cmektest.Profile{})
	}
}

// explain says how a failed schedule can be replayed, and what happened in it.
func (s *schedule) explain() {
	if !s.t.Failed() && *oneSeed < 0 {
		return
	}
	s.t.Logf("%s: replay: go test ./functions/rotation/simulation -run TestSimulation -seed %d -v\nswitches: %v\ncrashes %v losses %v stale %v workers %d shared %v\n%s",
		s.name, s.seed, s.settings, s.trouble.crashes, s.trouble.losses, s.profile.Reads.ServeStale, s.workers, s.shared, lines(s.did))
	if *oneSeed < 0 {
		return
	}
	s.t.Log(s.trace.String())
	for _, n := range s.networks {
		for _, a := range n.Log() {
			s.t.Log(a)
		}
	}
	for _, put := range s.world.PUTs() {
		s.t.Log(put.Time, put.Caller, put.Cluster, put.Status, put.Outcome, put.Regions)
	}
	clusters, _ := ledger.New(s.store, s.rand).Clusters(context.Background())
	for _, c := range clusters {
		c.Messages = nil
		data, _ := json.MarshalIndent(c, "", " ")
		s.t.Logf("%s\n", data)
	}
}

func lines(list []string) string {
	var b bytes.Buffer
	for _, line := range list {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// receive puts what the cloud emitted into the inbox: some of it never, some twice or three times, most of it late.
func (s *schedule) receive(now time.Time) {
	for _, e := range s.world.EventsAfter(s.memory.eventsSeen) {
		s.memory.eventsSeen = e.Seq
		payload, ours := s.delivers(e.Payload, s.rand)
		if !ours {
			continue
		}
		for range []int{0, 1, 1, 1, 2, 3}[s.rand.IntN(6)] {
			late := time.Duration(s.rand.Int64N(int64(3 * time.Minute)))
			if s.rand.IntN(5) == 0 {
				late *= 60
			}
			s.inbox = append(s.inbox, delivery{now.Add(late), payload})
		}
	}
}

// minute delivers what is due and runs the workers' ticks, side by side. It reports whether there was anything to do.
func (s *schedule) minute(now time.Time) bool {
	for n := range s.processes {
		if s.processes[n] == nil {
			s.processes[n] = s.process(n)
		}
	}
	slices.SortStableFunc(s.inbox, func(a, b delivery) int { return a.at.Compare(b.at) })
	for len(s.inbox) > 0 && !s.inbox[0].at.After(now) {
		d := s.inbox[0]
		s.inbox = s.inbox[1:]
		n := s.rand.IntN(s.workers)
		if s.processes[n] == nil || !s.survives(n, func(f *rotation.Function) error { return cmektest.Deliver(context.Background(), d.payload, f.Event) }) {
			s.inbox = append(s.inbox, delivery{now.Add(30 * time.Second), d.payload}) // the queue delivers it again
		}
	}
	commands := s.commands
	s.commands = nil
	// An idle tick is one query that finds nothing; most minutes are spared even that.
	if due, _ := s.store.Due(context.Background(), "rotation", now.Add(2*time.Second), 1); len(due) == 0 && len(commands) == 0 && s.begun() {
		return false
	}
	var group sync.WaitGroup
	for _, run := range commands {
		group.Go(run)
	}
	for n := range s.processes {
		if s.processes[n] == nil {
			continue
		}
		offset := time.Duration(n) * time.Duration(s.rand.Int64N(int64(2*time.Second)))
		group.Go(func() {
			time.Sleep(offset)
			s.survives(n, func(f *rotation.Function) error {
				ctx, cancel := context.WithTimeout(context.Background(), 55*time.Second)
				defer cancel()
				return f.Tick(ctx)
			})
		})
	}
	group.Wait()
	return true
}

func (s *schedule) begun() bool {
	worker, _ := s.store.Get(context.Background(), "rotation", "worker")
	return worker.Version > 0
}

// survives runs one invocation of process n. A crash ends the process.
func (s *schedule) survives(n int, invoke func(*rotation.Function) error) (ok bool) {
	defer func() {
		switch p := recover(); p.(type) {
		case nil:
		case crash:
			s.log.Info("CRASH", "process", n, "at", time.Now())
			s.mu.Lock()
			s.processes[n] = nil
			s.mu.Unlock()
		default:
			panic(p)
		}
	}()
	err := invoke(s.processes[n])
	if err != nil {
		s.log.Info("invocation failed", "process", n, "error", err)
	}
	return err == nil
}
