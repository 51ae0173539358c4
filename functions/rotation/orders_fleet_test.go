package rotation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	movedFrom = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001")
	movedTo   = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a")
	forAll    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:role/payments-cmek"]},"Action":"kms:*","Resource":"*"}]}`
)

// simulatedPolicies are the key policies of the simulator, with roles of their own: it has no IAM.
type simulatedPolicies struct{ *amazon.Policies }

func (p simulatedPolicies) Document(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "arn:aws:kms:") {
		return p.Policies.Document(ctx, name)
	}
	if strings.HasSuffix(name, ledger.RolePolicies("")) {
		return `{"inline":{},"attached":{}}`, nil
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"900000000001"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"org"}}}]}`, nil
}

func policiesOf(t *testing.T, world *simulator.World) simulatedPolicies {
	t.Helper()
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "sample"}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: simulator.Transport(world.AWSKMS())})
	if err != nil {
		t.Fatal(err)
	}
	return simulatedPolicies{amazon.NewPolicies(aws, nil)}
}

// movable is a seed of k clusters on one key, and a second key that admits their role.
func movable(k int) simulator.Seed {
	seed := sharedKey(k)
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: movedTo, AgeDays: 100, Policy: forAll})
	return seed
}

// writes counts everything that leaves the process, and ends the process after one of them.
type writes struct {
	count, crashAfter int
}

type processEnded struct{}

func (w *writes) done() {
	if w.count++; w.count == w.crashAfter {
		panic(processEnded{})
	}
}

type writingStore struct {
	ledger.Store
	*writes
}

func (s writingStore) Put(ctx context.Context, r ledger.Record) error {
	err := s.Store.Put(ctx, r)
	s.done()
	return err
}

type writingCloud struct {
	cmek.Cloud
	*writes
}

func (c writingCloud) RotateCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer {
	a := c.Cloud.RotateCMEK(ctx, id, specs)
	c.done()
	return a
}

type writingArchive struct {
	cmek.Archive
	*writes
}

func (a writingArchive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	err := a.Archive.PutIfAbsent(ctx, name, data)
	a.done()
	return err
}

type writingNotifier struct {
	alert.Notifier
	*writes
}

func (n writingNotifier) Notify(ctx context.Context, a alert.Alert) error {
	err := n.Notifier.Notify(ctx, a)
	n.done()
	return err
}

// moving is a fleet of which every cluster is moved to another key, by processes that may end after any write.
type moving struct {
	t        *testing.T
	world    *simulator.World
	store    *cmektest.Store
	archive  *cmektest.Archive
	notifier *cmektest.Notifier
	started  int
}

func newMoving(t *testing.T, clusters int) *moving {
	t.Helper()
	world, err := simulator.New(movable(clusters))
	if err != nil {
		t.Fatal(err)
	}
	return &moving{t: t, world: world, store: cmektest.NewStore(), archive: &cmektest.Archive{}, notifier: &cmektest.Notifier{}}
}

// process is a process that has just been started.
func (m *moving) process(w *writes) *rotation.Function {
	f := follower(m.t, m.world, writingStore{m.store, w}, time.Millisecond)
	m.started++
	f.Ledger = ledger.New(writingStore{m.store, w}, rand.New(rand.NewPCG(uint64(m.started), 2)))
	f.Cloud, f.Policies, f.Holder = writingCloud{f.Cloud, w}, policiesOf(m.t, m.world), fmt.Sprint("process ", m.started)
	f.Archive, f.Notifier = writingArchive{m.archive, w}, writingNotifier{m.notifier, w}
	f.Settings.Mode, f.Settings.Concurrency = rotation.Observe, 1
	return f
}

// move is what an operator's command does: it checks and gives the orders of the whole fleet, then ticks until none is open.
func (m *moving) move(f *rotation.Function) (ended bool) {
	defer func() {
		switch p := recover(); p.(type) {
		case nil:
		case processEnded:
		default:
			panic(p)
		}
	}()
	ctx := context.Background()
	by := rotation.Asking{By: "ana", Reason: "CHG-1", Terraform: "none"}
	for n := range 6 {
		id := fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-%012d", 100+n)
		c, err := f.CheckOrders(ctx, id, []rotation.Wanted{{From: movedFrom, To: cmek.KeySpec{URI: movedTo}}}, by)
		if err != nil {
			m.t.Fatal(err)
		}
		var orders []ledger.Order
		for _, o := range c.Orders {
			if len(o.Problems) > 0 {
				m.t.Fatalf("cluster %s: %v", id, o.Problems)
			}
			if !o.Reached {
				orders = append(orders, o.Order)
			}
		}
		if len(c.Orders) != 1 {
			m.t.Fatalf("cluster %s: %d orders, want 1", id, len(c.Orders))
		}
		if len(orders) > 0 {
			if _, err := f.Ledger.PlaceOrders(ctx, id, orders, time.Now()); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	for range 60 {
		tick(m.t, f)
	}
	return true
}

// accepted counts the accepted PUTs of each cluster, all of which must carry the new key.
func (m *moving) accepted() map[string]int {
	m.t.Helper()
	counts := map[string]int{}
	for _, put := range m.world.PUTs() {
		if len(put.Regions) != 1 || put.Regions[0].URI != movedTo {
			m.t.Errorf("a PUT to %s carries %+v", put.Cluster, put.Regions)
		}
		if put.Outcome == "accepted" {
			counts[put.Cluster]++
		}
	}
	return counts
}

func (m *moving) check(clusters int) {
	m.t.Helper()
	counts := m.accepted()
	for name, n := range counts {
		if n != 1 {
			m.t.Errorf("%d PUTs to %s were accepted, want 1", n, name)
		}
	}
	if len(counts) != clusters {
		m.t.Errorf("%d clusters were moved, want %d: %v", len(counts), clusters, counts)
	}
	records := map[string]int{}
	for _, name := range m.archive.Names() {
		if !strings.HasPrefix(name, "evidence/") {
			continue
		}
		data, _ := m.archive.Data(name)
		var e rotation.Evidence
		if err := json.Unmarshal(data, &e); err != nil || e.Order == "" || e.From.URI != movedFrom || e.Key != movedTo || e.Trigger.Kind != "order" {
			m.t.Errorf("evidence %s (error %v): %s", name, err, data)
		}
		records[e.ClusterName]++
	}
	for name := range counts {
		if records[name] != 1 {
			m.t.Errorf("%d evidence records of %s, want 1", records[name], name)
		}
	}
	for _, key := range m.world.StoreKeys() {
		if key.URI != movedTo || key.Behind {
			m.t.Errorf("the store key of %s is encrypted with %s, behind: %t", key.Cluster, key.URI, key.Behind)
		}
	}
}

// One process moves a fleet of six clusters: one canary, then at most three in flight, in observe mode.
func TestOrders_moveAFleetInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoving(t, 6)
		if err := m.world.Set(simulator.RotationDuration, "90s"); err != nil {
			t.Fatal(err)
		}
		f := m.process(&writes{})
		tick(t, f) // the fleet is known
		if !m.move(f) {
			t.Fatal("the process ended")
		}
		m.check(6)
		var sent []time.Time
		for _, put := range m.world.PUTs() {
			sent = append(sent, put.Time)
		}
		slices.SortFunc(sent, time.Time.Compare)
		if len(sent) != 6 || sent[1].Sub(sent[0]) < 90*time.Second {
			t.Errorf("PUTs were sent at %v; the second must wait for the canary's end", sent)
		}
		puts := len(m.world.PUTs())
		m.move(m.process(&writes{})) // again
		if n := len(m.world.PUTs()); n != puts {
			t.Errorf("the same orders again sent %d more PUTs", n-puts)
		}
	})
}

// The process is ended after each of its writes in turn: the order's item, the cluster's, the lease, the PUT, the archive, the topic. The
// command is run again.
func TestOrders_aProcessMayEndAfterAnyWrite(t *testing.T) {
	points := 0
	for n := 1; ; n++ {
		reached := false
		synctest.Test(t, func(t *testing.T) {
			m := newMoving(t, 6)
			if err := m.world.Set(simulator.RotationDuration, "8s"); err != nil {
				t.Fatal(err)
			}
			tick(t, m.process(&writes{}))
			w := &writes{crashAfter: n}
			if m.move(m.process(w)) {
				return // it has fewer writes
			}
			reached = true
			if !m.move(m.process(&writes{})) {
				t.Fatal("the second process ended, too")
			}
			m.check(6)
			if t.Failed() {
				t.Logf("the process ended after its write number %d", n)
			}
		})
		if t.Failed() || !reached {
			break
		}
		points = n
	}
	t.Logf("ended after each of %d writes", points)
	if points < 60 {
		t.Errorf("the command writes %d times; that is too few to prove anything", points)
	}
}

// Somebody puts the old key back, as Terraform does when the resource is edited: it is reported, and never put back.
func TestOrders_aKeyThatWasPutBack_isReportedAndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoving(t, 6)
		m.move(m.process(&writes{}))
		m.check(6)
		key := m.world.StoreKeys()[0]
		back := cmek.RegionSpec{Region: key.Region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: movedFrom, AuthPrincipal: "arn:aws:iam::111122223333:role/payments-cmek"}}
		if err := m.world.PUTCMEK("org-admin", key.Cluster, back); err != nil {
			t.Fatal(err)
		}
		sent, f := len(m.world.PUTs()), m.process(&writes{})
		minutes(f, 90)
		undone := 0
		for _, a := range m.notifier.Alerts() {
			if a.Change == "order undone" && a.Clusters[0].ID == key.ClusterID {
				undone++
			}
		}
		if now := m.world.StoreKeys()[0].URI; undone != 1 || now != movedFrom || len(m.world.PUTs()) != sent {
			t.Errorf("%d alerts, the region is on %s, and %d PUTs were sent; want 1, the key that was put back, and none", undone, now, len(m.world.PUTs())-sent)
		}
		// A person says that this key is the right one.
		accept := func() rotation.CheckedOrder {
			checked, err := f.CheckOrders(t.Context(), key.ClusterID, []rotation.Wanted{{Region: key.Region, To: cmek.KeySpec{URI: movedFrom}}}, rotation.Asking{By: "ana", Reason: "CHG-7"})
			if err != nil || len(checked.Orders) != 1 {
				t.Fatalf("checked %+v: %v", checked, err)
			}
			return checked.Orders[0]
		}
		order := accept()
		if !order.Reached || !order.Accepts {
			t.Fatalf("the order is %+v, want one that accepts the key in use", order)
		}
		if _, err := f.Ledger.PlaceOrders(t.Context(), key.ClusterID, []ledger.Order{order.Order}, time.Now()); err != nil {
			t.Fatal(err)
		}
		minutes(f, 30)
		last, _ := item(t, f, key.ClusterID).LastMove(key.Region)
		if last.To != movedFrom || last.By != "ana" || last.Reason != "CHG-7" || !last.Undone.IsZero() || len(m.world.PUTs()) != sent {
			t.Errorf("on record is %+v, and %d PUTs were sent; want the key in use, accepted by ana, and none", last, len(m.world.PUTs())-sent)
		}
		if again := accept(); !again.Reached || again.Accepts {
			t.Errorf("the same order again is %+v, want nothing to do", again)
		}
	})
}

// An order whose PUT gets no answer is not sent twice.
func TestOrders_anAnswerThatIsLost_isReadNotRepeated(t *testing.T) {
	for _, flip := range []string{"before", "after"} {
		for _, moves := range []string{"moves", "stays"} {
			t.Run(flip+" "+moves, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMoving(t, 6)
					for name, value := range map[string]string{simulator.StatusFlip: flip, simulator.UpdatedAt: moves, simulator.RotationDuration: "8s"} {
						if err := m.world.Set(name, value); err != nil {
							t.Fatal(err)
						}
					}
					f := m.process(&writes{})
					tick(t, f)
					f.Cloud = losing{f.Cloud}
					m.move(f)
					m.check(6)
				})
			})
		}
	}
}

// losing loses every answer to a PUT.
type losing struct{ cmek.Cloud }

func (l losing) RotateCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer {
	l.Cloud.RotateCMEK(ctx, id, specs)
	return cmek.Answer{Outcome: cmek.Unknown, Message: "connection reset"}
}

func TestCancelOrders_untilTheRequestIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoving(t, 6)
		if err := m.world.Set(simulator.RotationDuration, "20m"); err != nil {
			t.Fatal(err)
		}
		f := m.process(&writes{})
		tick(t, f)
		ctx := t.Context()
		ids := []string{"7c1d9e20-3a4b-4c5d-8e6f-000000000100", "7c1d9e20-3a4b-4c5d-8e6f-000000000101"}
		for _, id := range ids {
			c, err := f.CheckOrders(ctx, id, []rotation.Wanted{{To: cmek.KeySpec{URI: movedTo}}}, rotation.Asking{By: "ana", Terraform: "none"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Ledger.PlaceOrders(ctx, id, []ledger.Order{c.Orders[0].Order}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		tick(t, f)
		tick(t, f) // the canary's PUT is sent, the other cluster waits for it
		if n := len(m.world.PUTs()); n != 1 {
			t.Fatalf("%d PUTs were sent, want that of the canary", n)
		}
		for i, want := range [][2]int{{0, 1}, {1, 0}} {
			canceled, sent, err := f.Ledger.CancelOrders(ctx, ids[i], nil, time.Now(), "bob")
			if err != nil || len(canceled) != want[0] || len(sent) != want[1] {
				t.Errorf("canceled %d, sent %d, error %v; want %v", len(canceled), len(sent), err, want)
			}
		}
		for range 90 {
			tick(t, f)
		}
		if counts := m.accepted(); len(counts) != 1 {
			t.Errorf("PUTs were accepted for %v, want the canary alone", counts)
		}
		c, err := f.Ledger.Cluster(ctx, ids[1])
		if err != nil || len(c.Work) > 0 || len(c.Orders) != 1 || !strings.Contains(c.Orders[0].Why, "bob") {
			t.Errorf("the canceled order left %+v, ended %+v, error %v", c.Work, c.Orders, err)
		}
	})
}
