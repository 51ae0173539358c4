package rotation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

var (
	oneSeed   = flag.Int64("seed", -1, "run only the schedule of this seed, with a log")
	schedules = flag.Int("schedules", 2000, "number of schedules to run")
)

// A schedule is a working day in the life of a fleet: keys rotate, events come late, twice, out of order or never,
// processes die between any two steps, answers are lost, two workers run at once. At the end every store key must be wrapped
// under its key's current version, by one accepted PUT.
func TestEveryRotationIsFollowedExactlyOnceWhateverHappens(t *testing.T) {
	if *oneSeed >= 0 {
		synctest.Test(t, func(t *testing.T) { newSchedule(t, uint64(*oneSeed), true).run() })
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much garbage, little to keep
	const shards = 2
	t.Run("schedules", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for seed := shard; seed < *schedules && !t.Failed(); seed += shards {
					synctest.Test(t, func(t *testing.T) { newSchedule(t, uint64(seed), false).run() })
				}
			})
		}
	})
}

type schedule struct {
	t     *testing.T
	seed  uint64
	rand  *rand.Rand
	world *simulator.World
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
	inbox     []delivery
	before    map[string]string // material of each store key at the start
	settings  map[string]string // switches
}

type delivery struct {
	at      time.Time
	payload []byte
}

// choices are the settings of the switches that a schedule draws from.
var choices = map[string][]string{
	simulator.BusyReply:         {"503", "409", "400"},
	simulator.RateLimitStatus:   {"429", "503", "403"},
	simulator.CMEKAbsent:        {"disabled", "404", "empty"},
	simulator.StatusFlip:        {"before", "after"},
	simulator.SameURIKeyInfo:    {"update", "append"},
	simulator.KeyInfoOrder:      {"oldest-first", "newest-first", "random"},
	simulator.DuplicatePUT:      {"busy", "rotate", "no-op"},
	simulator.ErrorBody:         {"json", "html", "text"},
	simulator.RotationDuration:  {"0s", "8s", "90s", "20m"},
	simulator.UpdatedAt:         {"moves", "stays"},
	simulator.PageLimit:         {"2", "100"},
	simulator.SinglePage:        {"object", "null"},
	simulator.KMSPropagation:    {"0s", "5s", "1m", "4m"},
	simulator.KMSRotationTime:   {"0s", "3s", "1m"},
	simulator.KMSRotationEvent:  {"full", "key-id-only", "none"},
	simulator.KMSReplicaEvents:  {"primary-only", "every-region"},
	simulator.KMSMaterialID:     {"present", "present", "absent"},
	simulator.KMSRotationsOrder: {"oldest-first", "newest-first"},
	simulator.CloudTrail:        {"on", "off"},
}

func newSchedule(t *testing.T, seed uint64, verbose bool) *schedule {
	s := &schedule{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), store: cmektest.NewStore(), settings: map[string]string{}}
	level := slog.LevelInfo
	out := slog.NewTextHandler(&s.trace, &slog.HandlerOptions{Level: level})
	s.log = slog.New(slog.DiscardHandler)
	if verbose {
		s.log = slog.New(out)
	}
	world, err := simulator.New(simulator.DefaultSeed(), simulator.WithRand(rand.New(rand.NewPCG(seed, 2))))
	if err != nil {
		t.Fatal(err)
	}
	s.world = world
	names := make([]string, 0, len(choices))
	for name := range choices {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := choices[name][s.rand.IntN(len(choices[name]))]
		s.settings[name] = value
		if err := world.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	chance := []float64{0, 0.01, 0.05}
	s.trouble = &trouble{
		lost:    map[string]int{},
		crashes: chance[s.rand.IntN(len(chance))], losses: 2 * chance[s.rand.IntN(len(chance))],
	}
	s.workers = 1 + s.rand.IntN(2)
	s.shared = s.workers == 2 && s.rand.IntN(2) == 0
	s.processes = make([]*rotation.Function, s.workers)
	s.before = map[string]string{}
	for _, key := range world.StoreKeys() {
		s.before[key.ClusterID+key.Region] = key.Material
	}
	return s
}

// process is a freshly started function: nothing in memory, the ledger as it is.
func (s *schedule) process(n int) *rotation.Function {
	seed := s.rand.Uint64()
	luck := &fate{rand: rand.New(rand.NewPCG(seed, 3)), trouble: s.trouble}
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server:     "http://127.0.0.1",
		APIKey:     cockroachcloud.StaticAPIKey(simulator.SampleAPIKey),
		HTTPClient: &http.Client{Transport: newCloudTransport(luck, s.world.CloudAPI(), rand.New(rand.NewPCG(seed, 6)))},
		Rate:       8, MaxReadAttempts: 2, Rand: rand.New(rand.NewPCG(seed, 4)),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "sample"}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return env[name] },
		&http.Client{Transport: kmsTransport{luck, simulator.Transport(s.world.AWSKMS())}})
	if err != nil {
		s.t.Fatal(err)
	}
	settings := rotation.DefaultSettings()
	settings.Mode, settings.Concurrency, settings.SweepEvery = rotation.Follow, 1, 2*time.Hour
	holder := "shared"
	if !s.shared {
		holder = fmt.Sprint(n, seed)
	}
	return &rotation.Function{
		Cloud: cloud, KMS: amazon.NewKMS(aws, nil),
		Ledger:   ledger.New(store{luck, s.store}, rand.New(rand.NewPCG(seed, 5))),
		Archive:  archive{luck, &s.archive},
		Notifier: notifier{luck, &s.notifier},
		Settings: settings, Log: s.log, Holder: holder,
	}
}

const (
	troubled = 4 * time.Hour
	quiet    = 4 * time.Hour
)

func (s *schedule) run() {
	start := time.Now()
	rotations := s.plan(start)
	for now := start; now.Before(start.Add(troubled + quiet)); now = now.Add(time.Minute) {
		time.Sleep(time.Until(now))
		if now.Sub(start) >= troubled {
			s.trouble.calm()
		}
		for len(rotations) > 0 && !rotations[0].at.After(now) {
			if err := s.world.Rotate(rotations[0].key); err != nil {
				s.t.Fatalf("seed %d: rotate: %v", s.seed, err)
			}
			rotations = rotations[1:]
		}
		if now.Equal(start.Add(troubled + time.Hour)) {
			s.operate()
		}
		s.receive(now)
		s.minute(now)
	}
	s.check()
	if s.t.Failed() || *oneSeed >= 0 {
		s.t.Logf("replay: go test ./functions/rotation -run TestEveryRotation -seed %d -v\nswitches: %v\ncrashes %v losses %v workers %d shared %v",
			s.seed, s.settings, s.trouble.crashes, s.trouble.losses, s.workers, s.shared)
	}
	if *oneSeed >= 0 {
		s.t.Log(s.trace.String())
		for _, put := range s.world.PUTs() {
			s.t.Log(put.Time, put.Cluster, put.Status, put.Outcome, put.Regions)
		}
		clusters, _ := ledger.New(s.store, s.rand).Clusters(context.Background())
		for _, c := range clusters {
			c.CMEK.RegionInfos, c.Messages = nil, nil
			data, _ := json.MarshalIndent(c, "", " ")
			s.t.Logf("%s\n", data)
		}
	}
}

type plannedRotation struct {
	at  time.Time
	key string
}

// plan draws which keys rotate when, in the troubled hours.
func (s *schedule) plan(start time.Time) []plannedRotation {
	var plan []plannedRotation
	for _, key := range []string{
		"arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001",
		"arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002",
		"arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003",
		"arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906",
		"arn:aws:kms:eu-central-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f005",
	} {
		for range s.rand.IntN(3) {
			at := start.Add(10*time.Minute + time.Duration(s.rand.Int64N(int64(troubled-time.Hour))))
			plan = append(plan, plannedRotation{at, key})
		}
	}
	slices.SortFunc(plan, func(a, b plannedRotation) int { return a.at.Compare(b.at) })
	return plan
}

// receive puts what AWS emitted into the inbox: some of it never, some twice or three times, most of it late.
func (s *schedule) receive(now time.Time) {
	for _, e := range s.world.Events() {
		for range []int{0, 1, 1, 1, 2, 3}[s.rand.IntN(6)] {
			late := time.Duration(s.rand.Int64N(int64(3 * time.Minute)))
			if s.rand.IntN(5) == 0 {
				late *= 60
			}
			s.inbox = append(s.inbox, delivery{now.Add(late), e.Payload})
		}
	}
}

// minute delivers what is due and runs the workers' ticks, side by side.
func (s *schedule) minute(now time.Time) {
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
		if s.processes[n] == nil || !s.survives(n, func(f *rotation.Function) error { return deliver(f, d.payload) }) {
			s.inbox = append(s.inbox, delivery{now.Add(30 * time.Second), d.payload}) // the queue delivers it again
		}
	}
	// An idle tick is one query that finds nothing; most minutes are spared even that.
	if due, _ := s.store.Due(context.Background(), "rotation", now.Add(2*time.Second), 1); len(due) == 0 && s.begun() {
		return
	}
	var group sync.WaitGroup
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
		s.log.Info("invocation failed", "process", n, "err", err)
	}
	return err == nil
}

func deliver(f *rotation.Function, payload []byte) error {
	decoded, err := events.Decode(payload)
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range decoded {
		problems = append(problems, f.Event(context.Background(), e))
	}
	return errors.Join(problems...)
}

func (s *schedule) check() {
	names := map[string]string{}
	for _, key := range s.world.StoreKeys() {
		id := key.ClusterID + key.Region
		names[key.ClusterID] = key.Cluster
		if key.Cluster == "archive" { // revoked
			if n := len(key.AcceptedPUTs); n > 0 {
				s.t.Errorf("seed %d: the revoked cluster %s got a PUT: %v", s.seed, key.Cluster, key.AcceptedPUTs)
			}
			continue
		}
		if key.Behind {
			s.t.Errorf("seed %d: the store key of %s/%s is behind its key", s.seed, key.Cluster, key.Region)
		}
		for material, n := range key.AcceptedPUTs {
			most := 1
			if material == s.before[id] {
				most = 0 // nothing was to be done, or it was done too early
			}
			most += s.undecidable(key.ClusterID)
			if n > most {
				s.t.Errorf("seed %d: %d accepted PUTs for %s/%s under %.12s…, want at most %d", s.seed, n, key.Cluster, key.Region, material, most)
			}
		}
	}
	s.checkLedger()
}

// undecidable is the one case in which a second PUT cannot be avoided: the outcome of a PUT to the cluster was not learned,
// and nothing that can be read tells. It returns how often that was so.
func (s *schedule) undecidable(clusterID string) int {
	if s.settings[simulator.UpdatedAt] == "stays" && s.settings[simulator.SameURIKeyInfo] == "update" {
		return s.trouble.lost[clusterID]
	}
	return 0
}

// operate is the person on call, once the trouble is over: held work was reported, and is released.
func (s *schedule) operate() {
	reported := map[string]bool{}
	for _, alert := range s.notifier.Alerts() {
		reported[alert.DedupKey] = true
	}
	f := s.process(0)
	clusters, err := f.Ledger.Clusters(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range clusters {
		held := slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.State == ledger.Held })
		if !held || c.Cluster.Name == "archive" {
			continue
		}
		if !reported["held/"+c.ID] {
			s.t.Errorf("seed %d: the work of %s is held and nobody was told", s.seed, c.Cluster.Name)
		}
		if _, err := f.Release(context.Background(), c.ID); err != nil {
			s.t.Fatal(err)
		}
	}
}

// checkLedger checks that nothing is left open and that the evidence is whole.
func (s *schedule) checkLedger() {
	clusters, err := ledger.New(s.store, s.rand).Clusters(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range clusters {
		for _, w := range c.Work {
			if c.Cluster.Name != "archive" {
				s.t.Errorf("seed %d: work of %s/%s is still open: %s %s", s.seed, c.Cluster.Name, w.Region, w.State, w.Reason)
			}
		}
		if len(c.Messages) > 0 {
			s.t.Errorf("seed %d: %d messages of %s were not delivered", s.seed, len(c.Messages), c.Cluster.Name)
		}
		previous := ""
		for n := 1; n <= c.Chain.Count; n++ {
			data, record := s.evidence(c.ID, n)
			if record.PreviousSHA256 != previous {
				s.t.Errorf("seed %d: evidence %d of %s is not linked to the one before", s.seed, n, c.Cluster.Name)
			}
			sum := sha256.Sum256(data)
			previous = hex.EncodeToString(sum[:])
		}
		if previous != c.Chain.Last {
			s.t.Errorf("seed %d: the chain of %s does not end at its last record", s.seed, c.Cluster.Name)
		}
		if n := len(s.records("evidence/" + c.ID + "/")); n != c.Chain.Count {
			s.t.Errorf("seed %d: %d evidence records of %s, want %d", s.seed, n, c.Cluster.Name, c.Chain.Count)
		}
	}
}

func (s *schedule) evidence(clusterID string, n int) (data []byte, record rotation.Evidence) {
	number := fmt.Sprintf("-%06d-", n)
	names := slices.DeleteFunc(s.records("evidence/"+clusterID+"/"), func(name string) bool { return !strings.Contains(name, number) })
	if len(names) != 1 {
		s.t.Errorf("seed %d: %d records are number %d of cluster %s, want one", s.seed, len(names), n, clusterID)
		return nil, record
	}
	data, _ = s.archive.Data(names[0])
	if err := json.Unmarshal(data, &record); err != nil {
		s.t.Errorf("seed %d: evidence %s: %v", s.seed, names[0], err)
	}
	return data, record
}

func (s *schedule) records(prefix string) (names []string) {
	for _, name := range s.archive.Names() {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}
