package compliance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// What the outside allows: requests per second to the Cloud API, and the time of an answer of KMS and of the ledger.
const (
	cloudRate    = 8
	kmsAnswer    = 15 * time.Millisecond
	ledgerAnswer = 4 * time.Millisecond
)

// largeFleet are clusters of three regions, each with a key of its own. It answers as slowly as the outside does, and measures what the
// function holds in memory.
type largeFleet struct {
	size     int
	requests int
	next     time.Time // when the Cloud API may be asked again
	held     uint64
}

// measure notes how much is in use at most.
func (f *largeFleet) measure() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.held = max(f.held, m.HeapAlloc)
}

func (f *largeFleet) ask(ctx context.Context) error {
	now := time.Now()
	if f.next.Before(now) {
		f.next = now
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(f.next) {
		return fmt.Errorf("wait for rate limit: %w", context.DeadlineExceeded)
	}
	wait := time.Until(f.next)
	f.next = f.next.Add(time.Second / cloudRate)
	time.Sleep(wait)
	if f.requests++; f.requests%5000 == 0 {
		f.measure()
	}
	return ctx.Err()
}

var largeRegions = []string{"us-east-1", "us-west-2", "eu-west-1"}

func largeID(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) }

func largeNumber(id string) (i int) {
	_, _ = fmt.Sscanf(id, "%x-", &i)
	return i
}

func largeCluster(i int) cmek.Cluster {
	c := cmek.Cluster{ID: largeID(i), Name: fmt.Sprintf("cluster-%d", i), State: cmek.StateCreated, CloudProvider: "AWS", Plan: cmek.PlanAdvanced, AccountID: "900000000001"}
	for _, region := range largeRegions {
		c.Regions = append(c.Regions, cmek.Region{Name: region})
	}
	return c
}

func largeCMEK(i int) cmek.ClusterInfo {
	info := cmek.ClusterInfo{Status: cmek.Enabled}
	for n, region := range largeRegions {
		spec := cmek.KeySpec{Type: cmek.AWSKMS, URI: cmek.KeyURI(fmt.Sprintf("arn:aws:kms:%s:111122223333:key/%08x-0000-4000-8000-%012x", region, i, n)),
			AuthPrincipal: cmek.Principal(fmt.Sprintf("arn:aws:iam::111122223333:role/cluster-%d", i))}
		info.RegionInfos = append(info.RegionInfos, cmek.RegionInfo{Region: region, Status: cmek.Enabled,
			KeyInfos: []cmek.KeyInfo{{Spec: spec, Status: cmek.Enabled, UpdatedAt: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}}})
	}
	return info
}

func (f *largeFleet) ClusterPage(ctx context.Context, page string) (all []cmek.Cluster, next string, err error) {
	const size = 500
	first := 0
	if page != "" {
		_, _ = fmt.Sscan(page, &first)
	}
	for i := first; i < min(first+size, f.size); i++ {
		all = append(all, largeCluster(i))
	}
	if first+size < f.size {
		next = fmt.Sprint(first + size)
	}
	return all, next, f.ask(ctx)
}

func (f *largeFleet) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	return largeCMEK(largeNumber(id)), f.ask(ctx)
}

func (f *largeFleet) OrganizationID(ctx context.Context) (string, error) {
	return "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613", f.ask(ctx)
}

// Backups takes two requests: the configuration and the list.
func (f *largeFleet) Backups(ctx context.Context, _ string, _ int) (cmek.Backups, error) {
	if err := f.ask(ctx); err != nil {
		return cmek.Backups{}, err
	}
	return cmek.Backups{Newest: time.Now(), Frequency: time.Hour, Retention: 30 * 24 * time.Hour}, f.ask(ctx)
}

func (f *largeFleet) Details(_ context.Context, uri cmek.KeyURI) (d cmek.KeyDetails) {
	time.Sleep(3 * kmsAnswer)
	d.Description.Key = cmek.Key{URI: uri, State: cmek.KeyEnabled, NeverRotated: true}
	d.Rotation.Enabled, d.Rotation.Period = true, 365*24*time.Hour
	return d
}

func (f *largeFleet) Grants(context.Context, cmek.KeyURI) ([]cmek.KeyGrant, error) {
	time.Sleep(kmsAnswer)
	return nil, nil
}

func (f *largeFleet) LastUse(context.Context, cmek.KeyURI) (cmek.KeyUsage, error) {
	time.Sleep(kmsAnswer)
	return cmek.KeyUsage{}, nil
}

func (f *largeFleet) KeyPolicy(context.Context, cmek.KeyURI) (string, error) {
	return `{"Version":"2012-10-17","Statement":[]}`, nil // a sweep noted it
}

func (f *largeFleet) RoleTrust(ctx context.Context, _ cmek.Principal) (string, error) {
	return f.KeyPolicy(ctx, "")
}

func (f *largeFleet) RolePolicies(context.Context, cmek.Principal) (string, error) {
	return noPolicy, nil
}

// Get, Put, Due and ByKey are the ledger's store: what a sweep keeps of the clusters is made when it is read, since the store's own memory
// is not the function's. Of what is written only the state of the run is kept.
type largeStore struct {
	*largeFleet
	runs ledger.Store
}

func (s largeStore) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	time.Sleep(ledgerAnswer)
	if cluster, ok := strings.CutPrefix(id, "cluster#"); ok {
		return s.record(largeNumber(cluster))
	}
	return s.runs.Get(ctx, kind, id)
}

func (s largeStore) record(i int) (ledger.Record, error) {
	data, err := json.Marshal(ledger.Cluster{ID: largeID(i), Cluster: largeCluster(i), CMEK: largeCMEK(i), SeenAt: time.Now().Add(-5 * time.Minute), NextLook: time.Now()})
	return ledger.Record{Kind: "rotation", ID: "cluster#" + largeID(i), Version: 1, NextLook: time.Now(), Data: data}, err
}

func (s largeStore) Put(ctx context.Context, r ledger.Record) error {
	time.Sleep(ledgerAnswer)
	if r.ID != "runs" {
		return nil
	}
	return s.runs.Put(ctx, r)
}

func (s largeStore) Due(ctx context.Context, kind string, before time.Time, limit int) (all []ledger.Record, err error) {
	if kind != "rotation" {
		return s.runs.Due(ctx, kind, before, limit)
	}
	for i := range min(s.size, limit) {
		if i%100 == 0 {
			time.Sleep(2 * ledgerAnswer) // a query and a batch
		}
		r, err := s.record(i)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	s.measure()
	return all, nil
}

func (s largeStore) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	return s.runs.ByKey(ctx, kind, key)
}

// largeArchive keeps what is read again.
type largeArchive struct {
	cmektest.Archive
	files, bytes int
}

func (a *largeArchive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if a.files, a.bytes = a.files+1, a.bytes+len(data); strings.Contains(name, "/part-") {
		return ctx.Err()
	}
	return a.Archive.PutIfAbsent(ctx, name, data)
}

// largeRun is what a run over a large fleet took.
type largeRun struct {
	manifest    report.Manifest
	invocations int
	took        time.Duration
	invoked     time.Duration // of took, inside invocations
	*largeFleet
	*largeArchive
}

// runLarge runs the checks over a fleet in invocations of the length.
func runLarge(t *testing.T, size int, length time.Duration) (run largeRun) {
	synctest.Test(t, func(t *testing.T) {
		run.largeFleet, run.largeArchive = &largeFleet{size: size}, &largeArchive{}
		f := &compliance.Function{
			Cloud: run.largeFleet, Ledger: ledger.New(largeStore{run.largeFleet, cmektest.NewStore()}, rand.New(rand.NewPCG(1, 2))),
			AWS:     compliance.AWS{Keys: run.largeFleet, Use: run.largeFleet, Policies: run.largeFleet, Roles: run.largeFleet},
			Archive: run.largeArchive, Notifier: &cmektest.Notifier{}, Log: slog.New(slog.DiscardHandler), Holder: "test", Settings: compliance.DefaultSettings(),
		}
		began := time.Now()
		for ended := false; !ended && run.invocations < 100; {
			run.invocations++
			ctx, cancel := context.WithTimeout(t.Context(), length)
			invocation := time.Now()
			if err := f.Tick(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			run.invoked += time.Since(invocation)
			runs, err := f.Ledger.Runs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ended = runs.Last.Number == 1
			run.took = time.Since(began)
			if !ended {
				time.Sleep(15*time.Minute - time.Since(began)%(15*time.Minute)) // the next tick
			}
		}
		loaded, err := report.Load(t.Context(), run.largeArchive, 1)
		if err != nil {
			t.Fatal(err)
		}
		run.manifest = loaded.Manifest
		run.measure()
	})
	return run
}

func TestLargeFleet_is_read_at_the_permitted_rate_and_ends_the_same_when_interrupted(t *testing.T) {
	const size = 400
	whole, parts := runLarge(t, size, time.Hour), runLarge(t, size, 25*time.Second)
	if whole.invocations != 1 || parts.invocations < 5 {
		t.Fatalf("%d and %d invocations", whole.invocations, parts.invocations)
	}
	for _, run := range []largeRun{whole, parts} {
		m := &run.manifest
		if m.Population.Checked != size || !m.Complete || len(m.Files) != 1+2*(size/50+1) {
			t.Errorf("%+v", m.Population)
		}
	}
	comparable := func(m report.Manifest) string {
		m.Period, m.Configuration = report.Period{}, ""
		for i := range m.Files {
			m.Files[i].SHA256, m.Files[i].Bytes = "", 0
		}
		for i := range m.Changes.First {
			m.Changes.First[i].Why = moment.ReplaceAllString(m.Changes.First[i].Why, "T")
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if got, want := comparable(parts.manifest), comparable(whole.manifest); got != want {
		t.Errorf("in %d invocations it ends as\n%s, in one as\n%s", parts.invocations, got, want)
	}
	if perCluster := float64(whole.requests) / size; perCluster > 2.1 {
		t.Errorf("%.2f requests to the Cloud API for a cluster, want 2.1 at most", perCluster)
	}
	if rate := float64(whole.requests) / whole.took.Seconds(); rate < 0.6*cloudRate {
		t.Errorf("%.1f requests/s, and %d are permitted", rate, cloudRate)
	}
}

// What a run over 10,000 clusters of three regions promises.
const (
	mostInvocations = 5   // of 14 minutes
	leastOfRate     = 0.9 // of the permitted requests, while an invocation lasts
	mostOfMemory    = 0.5 // of 128 MB that are alive at a time: the collector lets the heap grow to twice of that
)

// BenchmarkLargeFleet measures the promises of a run over a large fleet, and fails if one is broken. The clock is simulated.
func BenchmarkLargeFleet(b *testing.B) {
	for range b.N {
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var run largeRun
		ok := testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "10,000 clusters", F: func(t *testing.T) {
			run = runLarge(t, 10_000, 14*time.Minute)
		}}})
		if !ok {
			b.Fatal("the run failed")
		}
		b.ReportMetric(float64(run.invocations), "invocations")
		ofRate := float64(run.requests) / run.invoked.Seconds() / cloudRate
		ofMemory := float64(run.held-min(run.held, before.HeapAlloc)) / (128 << 20)
		b.ReportMetric(ofRate, "of-rate")
		b.ReportMetric(ofMemory, "of-128MB-alive")
		b.ReportMetric(float64(run.bytes)/1e6, "MB-archived")
		if run.invocations > mostInvocations || ofRate < leastOfRate || ofMemory > mostOfMemory {
			b.Errorf("%d invocations, want at most %d; %.2f of the permitted rate, want at least %.2f; %.2f of 128 MB alive, want at most %.2f",
				run.invocations, mostInvocations, ofRate, leastOfRate, ofMemory, mostOfMemory)
		}
	}
}
