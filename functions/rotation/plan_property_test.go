package rotation_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

var (
	planSeed   = flag.Int64("plan-seed", -1, "run only the plan's world of this seed, with a log")
	planWorlds = flag.Int("plan-worlds", 500, "number of the plan's worlds to run")
)

// What keyturn plan lists is what follow sends: in worlds without faults, of random fleets, keys, settings and moments, every third of them on
// Google Cloud.
func TestPlan_listsWhatFollowSends(t *testing.T) {
	defer func() { onGoogleCloud = false }()
	if *planSeed >= 0 {
		synctest.Test(t, func(t *testing.T) {
			w := newPlanWorld(t, uint64(*planSeed))
			w.run()
			t.Log(w.describe())
		})
		return
	}
	moments := map[string]int{}
	var sends, googleSends, ordered, keysSent, whole, waits, orders int
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much garbage, little to keep
	for n := 0; n < *planWorlds && !t.Failed(); n++ {
		synctest.Test(t, func(t *testing.T) {
			w := newPlanWorld(t, uint64(n))
			w.run()
			moments[w.moment]++
			sends += len(w.planned)
			if onGoogleCloud {
				googleSends += len(w.planned)
			}
			ordered += w.ordered
			keysSent += w.keysSent
			whole += w.whole
			waits += w.waits
			orders += w.orders
			if t.Failed() {
				t.Log(w.describe())
			}
		})
	}
	t.Logf("%d worlds: %d regions of clusters planned and sent, %d of them on Google Cloud, %d in an order that is certain; %d keys, of %d the whole order; %d reasons for waiting; %d orders to another key; plans by moment: %v",
		*planWorlds, sends, googleSends, ordered, keysSent, whole, waits, orders, moments)
	if sends < *planWorlds || googleSends < *planWorlds/4 || waits < *planWorlds/10 {
		t.Errorf("the worlds planned %d PUTs and gave %d reasons for waiting; that proves little", sends, waits)
	}
}

// planWorld is a fleet without faults, and a moment at which follow-through is planned.
type planWorld struct {
	t     *testing.T
	n     uint64
	cloud planCloud
	rand  *rand.Rand
	seed  simulator.Seed
	world *simulator.World
	f     *rotation.Function

	moment  string
	planned []rotation.PlannedSend
	plans   []rotation.ClusterPlan
	sent    []sentRegion
	// What was compared: regions in the order of their key, keys of which the whole order was, and reasons for waiting.
	ordered, keysSent, whole, waits int
	// orders were given, to another key of a region.
	orders int
}

// sentRegion is one region of an accepted PUT.
type sentRegion struct {
	put     int
	at      time.Time
	cluster string
	region  string
	uri     cmek.KeyURI
	version cmek.KeyVersion
}

// The moments at which a world is planned.
const (
	emptyLedger    = "the ledger is empty"
	workOpened     = "work was opened"
	versionSettles = "versions settle"
	whileObserving = "observe mode"
	canaryInFlight = "a PUT is in flight"
)

func (w *planWorld) one(chance int) bool { return w.rand.IntN(chance) == 0 }

func newPlanWorld(t *testing.T, n uint64) *planWorld {
	w := &planWorld{t: t, n: n, rand: rand.New(rand.NewPCG(n, 7)), cloud: planAWS}
	if onGoogleCloud = n%3 == 2; onGoogleCloud {
		w.cloud = planGoogle
	}
	w.seed = simulator.Seed{Organization: anyOrganization().Organization, APIKeys: anyOrganization().APIKeys, AWSAccount: "111122223333"}
	w.seed.Switches = map[string]string{
		simulator.RotationDuration: []string{"0s", "8s", "45s", "2m", "6m"}[w.rand.IntN(5)],
		simulator.SameURIKeyInfo:   []string{"update", "append"}[w.rand.IntN(2)],
		simulator.KeyInfoOrder:     []string{"oldest-first", "newest-first"}[w.rand.IntN(2)],
		simulator.StatusFlip:       []string{"before", "after"}[w.rand.IntN(2)],
		simulator.PageLimit:        []string{"2", "100"}[w.rand.IntN(2)],
	}
	w.keys()
	w.clusters()
	var err error
	if w.world, err = simulator.New(w.seed, simulator.WithRand(rand.New(rand.NewPCG(n, 8)))); err != nil {
		t.Fatal(err)
	}
	w.f = follower(t, w.world, cmektest.NewStore(), time.Duration(w.rand.IntN(300))*time.Millisecond)
	w.f.Settings.InFlight = 1 + w.rand.IntN(4)
	w.f.Settings.SweepEvery = time.Hour
	ambiguous := map[string]bool{}
	for _, c := range w.seed.Clusters {
		if w.one(15) {
			ambiguous[c.ID] = true
		}
	}
	w.f.Cloud = ambiguousCloud{w.f.Cloud, ambiguous, w.cloud.second}
	w.f.Policies = w.cloud.policies(t, w.world)
	return w
}

// anyOrganization is the default seed, which takes a while to parse.
var anyOrganization = sync.OnceValue(simulator.DefaultSeed)

// planCloud is the cloud that a world is on.
type planCloud struct {
	regions           []string
	provider, account string
	principal, second cmek.Principal
	// key is the URI of the kth key of the region in the nth world, and shared that of a key for all regions, with where its replicas are.
	key      func(n uint64, k int, region string) cmek.KeyURI
	shared   func(n uint64) (uri cmek.KeyURI, replicas []string)
	admits   string // the policy of a key that nobody uses
	policies func(*testing.T, *simulator.World) cmek.Policies
	version  func(shown string) cmek.KeyVersion
}

var planAWS = planCloud{
	regions: []string{"eu-west-1", "us-east-1", "us-west-2"}, provider: "AWS", account: "900000000001",
	principal: "arn:aws:iam::111122223333:role/cmek", second: "arn:aws:iam::111122223333:role/second",
	key: func(n uint64, k int, region string) cmek.KeyURI {
		return cmek.KeyURI(fmt.Sprintf("arn:aws:kms:%s:111122223333:key/%08x-0000-4000-8000-%012x", region, k, n))
	},
	shared: func(n uint64) (cmek.KeyURI, []string) {
		return cmek.KeyURI(fmt.Sprintf("arn:aws:kms:eu-west-1:111122223333:key/mrk-%032x", n)), []string{"us-east-1", "us-west-2"}
	},
	admits:   strings.ReplaceAll(forAll, "payments-cmek", "cmek"),
	policies: func(t *testing.T, world *simulator.World) cmek.Policies { return policiesOf(t, world) },
	version:  cmek.MaterialVersion,
}

var planGoogle = planCloud{
	regions: []string{"europe-west1", "us-east1", "us-west2"}, provider: "GCP", account: "crl-prod-abc",
	principal: googleUser, second: "second@acme.iam.gserviceaccount.com",
	key: func(n uint64, k int, region string) cmek.KeyURI {
		return cmek.KeyURI(fmt.Sprintf("projects/acme/locations/%s/keyRings/crdb/cryptoKeys/key-%d-%d", region, n, k))
	},
	shared: func(n uint64) (cmek.KeyURI, []string) {
		return cmek.KeyURI(fmt.Sprintf("projects/acme/locations/global/keyRings/crdb/cryptoKeys/shared-%d", n)), nil
	},
	admits: `{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:` + googleUser + `"]}]}`,
	policies: func(_ *testing.T, world *simulator.World) cmek.Policies {
		return google.NewPolicies(google.Config{HTTP: &http.Client{Transport: simulator.Transport(world.Google())}, Endpoint: "http://google.test"})
	},
	version: func(shown string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: shown} },
}

// in is the key of the URI as clusters of the region name it.
func (c planCloud) in(uri cmek.KeyURI, region string) cmek.KeyURI {
	if uri.Type() == cmek.GCPCloudKMS {
		return uri
	}
	return cmek.KeyURI(strings.Replace(string(uri), uri.Location(), region, 1))
}

// spare is a key of the region that nobody uses, in worlds with orders.
func (w *planWorld) spare(region string) cmek.KeyURI { return w.cloud.key(w.n, 0xabc, region) }

// keys draws one to four keys, the first of which is a multi-Region one in every second world. Some rotated months ago.
func (w *planWorld) keys() {
	for k := range 1 + w.rand.IntN(4) {
		key := simulator.KeySeed{AgeDays: 600}
		if k == 0 && w.one(2) {
			key.URI, key.Replicas = w.cloud.shared(w.n)
		} else {
			key.URI = w.cloud.key(w.n, k, w.cloud.regions[w.rand.IntN(3)])
		}
		if w.one(2) {
			key.Rotations = []simulator.RotationSeed{{AgeDays: 1 + w.rand.IntN(200)}}
		}
		w.seed.Keys = append(w.seed.Keys, key)
	}
	if w.n%4 == 0 { // keys that nobody uses, for orders
		for _, region := range w.cloud.regions {
			w.seed.Keys = append(w.seed.Keys, simulator.KeySeed{AgeDays: 100, Policy: w.cloud.admits, URI: w.spare(region)})
		}
	}
}

// clusters draws 1 to 12 clusters with a key in each of one to three regions. Some missed the key's last rotation.
func (w *planWorld) clusters() {
	keysIn := map[string][]int{}
	for k, key := range w.seed.Keys {
		if key.Policy != "" {
			continue
		}
		in := append([]string{key.URI.Location()}, key.Replicas...)
		if key.URI.Location() == "global" {
			in = w.cloud.regions
		}
		for _, region := range in {
			keysIn[region] = append(keysIn[region], k)
		}
	}
	count := 1 + min(w.rand.IntN(12), w.rand.IntN(12))
	oneKey := w.one(2) // in each cluster
	names := w.rand.Perm(count)
	for n := range count {
		c := simulator.ClusterSeed{
			ID:   fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-%012d", n),
			Name: fmt.Sprintf("cluster-%02d", names[n]), CloudProvider: w.cloud.provider, AccountID: w.cloud.account, AgeDays: 500, Labels: map[string]string{},
		}
		switch w.rand.IntN(12) {
		case 0:
			c.Labels["keyturn"] = "off"
		case 1:
			c.Labels["keyturn"] = "canary"
		case 2:
			c.Revoked = true
		}
		most := 1 + w.rand.IntN(3)
		for _, i := range w.rand.Perm(len(w.cloud.regions)) {
			region := w.cloud.regions[i]
			if len(keysIn[region]) == 0 || len(c.Regions) == most {
				continue
			}
			k := keysIn[region][w.rand.IntN(len(keysIn[region]))]
			if oneKey && len(c.Regions) > 0 && !c.Regions[0].Key.SameKey(w.seed.Keys[k].URI) {
				continue
			}
			key := w.seed.Keys[k]
			r := simulator.RegionSeed{Name: region, Key: w.cloud.in(key.URI, region), AuthPrincipal: w.cloud.principal}
			if len(key.Rotations) > 0 && w.one(2) {
				r.Behind = 1
			}
			c.Regions = append(c.Regions, r)
		}
		if len(c.Regions) > 0 {
			w.seed.Clusters = append(w.seed.Clusters, c)
		}
	}
	if len(w.seed.Clusters) == 0 { // no key is in the regions drawn
		region := w.seed.Keys[0].URI.Location()
		if region == "global" {
			region = w.cloud.regions[0]
		}
		w.seed.Clusters = []simulator.ClusterSeed{{ID: "7c1d9e20-3a4b-4c5d-8e6f-000000000000", Name: "cluster-00", CloudProvider: w.cloud.provider, AccountID: w.cloud.account, AgeDays: 500,
			Regions: []simulator.RegionSeed{{Name: region, Key: w.seed.Keys[0].URI, AuthPrincipal: w.cloud.principal}}}}
	}
}

// ambiguousCloud shows some clusters with two ENABLED key specs in each region.
type ambiguousCloud struct {
	cmek.Cloud
	ids    map[string]bool
	second cmek.Principal // the principal of the second spec
}

func (a ambiguousCloud) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	info, err := a.Cloud.CMEK(ctx, id)
	if !a.ids[id] || err != nil {
		return info, err
	}
	info.RegionInfos = slices.Clone(info.RegionInfos)
	for i, r := range info.RegionInfos {
		if len(r.KeyInfos) > 0 && r.KeyInfos[0].Status == cmek.Enabled {
			second := r.KeyInfos[0]
			second.Spec.AuthPrincipal = a.second
			info.RegionInfos[i].KeyInfos = append(slices.Clone(r.KeyInfos), second)
		}
	}
	return info, nil
}

// rotate rotates some keys, or one at least, and waits until the KMS is done. Some of the events are delivered.
func (w *planWorld) rotate(most int) {
	some := w.rand.Perm(len(w.seed.Keys))
	for _, k := range some[:1+w.rand.IntN(min(len(some), most))] {
		if err := w.world.Rotate(string(w.seed.Keys[k].URI)); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(time.Duration(w.rand.IntN(3)) * 20 * time.Second)
	}
	time.Sleep(10 * time.Second)
	for _, e := range w.world.Events() {
		if w.one(2) {
			if err := cmektest.Deliver(context.Background(), e.Payload, w.f.Event); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// order orders some clusters to another key of their region; it may be one that others are on.
func (w *planWorld) order() {
	for _, c := range w.seed.Clusters {
		region := c.Regions[w.rand.IntN(len(c.Regions))]
		spare := w.spare(region.Name)
		if w.one(2) || !slices.ContainsFunc(w.seed.Keys, func(k simulator.KeySeed) bool { return k.URI == spare }) {
			continue
		}
		checked, err := w.f.CheckOrders(context.Background(), c.ID, []rotation.Wanted{{Region: region.Name, To: cmek.KeySpec{URI: spare}}}, rotation.Asking{By: "ana", Terraform: "none"})
		if err != nil {
			w.t.Fatal(err)
		}
		// Whatever its pre-flight says: it may be blocked.
		if _, err := w.f.Ledger.PlaceOrders(context.Background(), c.ID, []ledger.Order{checked.Orders[0].Order}, time.Now()); err != nil {
			w.t.Fatal(err)
		}
		w.orders++
	}
}

// minutes runs so many ticks.
func (w *planWorld) minutes(n int) {
	for range n {
		tick(w.t, w.f)
	}
}

func (w *planWorld) run() {
	if w.one(3) {
		w.rotate(4) // nobody knows the fleet yet
	}
	w.moment = []string{emptyLedger, workOpened, versionSettles, whileObserving, canaryInFlight}[w.rand.IntN(5)]
	follow := w.f.Settings
	switch w.moment {
	case emptyLedger:
	case workOpened:
		w.minutes(1)
		w.rotate(4)
		if w.one(2) {
			w.minutes(1)
		}
	case versionSettles:
		w.minutes(1)
		w.rotate(4)
		time.Sleep(time.Duration(w.rand.IntN(300)) * time.Second)
	case whileObserving:
		w.f.Settings.Mode = rotation.Observe
		w.minutes(2)
		w.rotate(4)
		w.minutes(75) // a sweep finds what no event announced
		w.f.Settings = follow
	case canaryInFlight:
		w.minutes(1)
		w.rotate(4)
		for n := 0; n < 75 && len(w.world.PUTs()) == 0; n++ {
			w.minutes(1)
		}
		w.minutes(w.rand.IntN(10))
	}
	if w.moment != emptyLedger && w.n%4 == 0 {
		w.order()
	}
	before := len(w.world.PUTs())
	preview, err := w.f.Plan(context.Background(), rotation.Planning{Fresh: w.n%2 == 0})
	if err != nil {
		w.t.Fatalf("world %d: plan: %v", w.n, err)
	}
	w.planned, w.plans = preview.Sends, preview.Clusters
	if n := len(w.world.PUTs()); n != before {
		w.t.Fatalf("world %d: Plan sent %d PUTs", w.n, n-before)
	}
	w.follow(before)
	w.compare()
}

// follow runs ticks until nothing is open that time or a tick could end, and a whole sweep has passed since.
func (w *planWorld) follow(before int) {
	w.minutes(1) // the first one begins the ledger
	swept := time.Now().Add(65 * time.Minute)
	store := w.f.Ledger
	for began := time.Now(); ; {
		if time.Since(began) > 48*time.Hour {
			w.t.Errorf("world %d: work is still open after two days", w.n)
			break
		}
		agenda, err := store.Due(context.Background(), time.Now(), 1)
		if err != nil {
			w.t.Fatal(err)
		}
		if agenda.Empty() {
			if time.Now().After(swept) && w.settled() {
				break
			}
			time.Sleep(time.Minute)
			continue
		}
		w.minutes(1)
	}
	for i, put := range w.world.PUTs()[before:] {
		if put.Outcome != "accepted" {
			w.t.Errorf("world %d: PUT to %s: %s", w.n, put.Cluster, put.Outcome)
		}
		for _, r := range put.Regions {
			w.sent = append(w.sent, sentRegion{i, put.Time, put.Cluster, r.Region, r.URI, w.cloud.version(r.Material)})
		}
	}
}

// settled reports whether all that is open is blocked.
func (w *planWorld) settled() bool {
	clusters, err := w.f.Ledger.Clusters(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range clusters {
		if slices.ContainsFunc(c.Work, func(work ledger.Work) bool { return work.State != ledger.Blocked }) {
			return false
		}
	}
	return true
}

var waitsFor = regexp.MustCompile(`waits for the canary (\S+)`)

// compare checks that exactly the planned PUTs were sent, those of each key in the planned order. How long operations take, no plan
// can know. So the order is not compared where it depends on that: at a cluster with work for two keys, which is busy with one when
// it is next in the other's order, and between clusters whose work settles at different times.
func (w *planWorld) compare() {
	planned, sent, keys := map[string][]string{}, map[string][]string{}, map[string][]string{}
	add := func(in map[string][]string, cluster, region string, uri cmek.KeyURI, version cmek.KeyVersion) {
		key := uri.Canonical()
		in[key] = append(in[key], fmt.Sprint(cluster, " ", region, " ", version.Short()))
		if !slices.Contains(keys[cluster], key) {
			keys[cluster] = append(keys[cluster], key)
		}
	}
	for _, s := range w.planned {
		add(planned, s.Cluster.Cluster.Name, s.Region, s.Spec.URI, s.Version)
	}
	for _, s := range w.sent {
		add(sent, s.cluster, s.region, s.uri, s.version)
	}
	ready := map[string][]string{} // by cluster: when its work is ready for its place in the order
	for _, c := range w.plans {
		name := c.Item.Cluster.Name
		for _, v := range c.Plan.Verdicts {
			when := string(v.Act)
			if strings.Contains(v.Why, "settles") {
				when += v.Until.Truncate(time.Minute).String()
			}
			if !slices.Contains(ready[name], when) {
				ready[name] = append(ready[name], when)
			}
		}
		for _, work := range c.Item.Work {
			if work.State == ledger.Requested { // its order is past
				add(map[string][]string{}, name, work.Region, work.Key, work.Version)
			}
		}
	}
	for _, seed := range w.seed.Keys {
		key := seed.URI.Canonical()
		inOrder := func(list []string) map[string][]string {
			groups := map[string][]string{}
			for _, s := range list {
				cluster, _, _ := strings.Cut(s, " ")
				if when := ready[cluster]; len(keys[cluster]) == 1 && len(when) == 1 {
					groups[when[0]] = append(groups[when[0]], s)
				}
			}
			return groups
		}
		want, got := inOrder(planned[key]), inOrder(sent[key])
		if !slices.Equal(slices.Sorted(slices.Values(planned[key])), slices.Sorted(slices.Values(sent[key]))) || !reflect.DeepEqual(want, got) {
			w.t.Errorf("world %d (%s): with key %s\nplanned %s\nsent    %s", w.n, w.moment, key, strings.Join(planned[key], ", "), strings.Join(sent[key], ", "))
		}
		for _, group := range got {
			w.ordered += len(group)
			if len(group) == len(sent[key]) {
				w.whole++
			}
		}
		if len(sent[key]) > 0 {
			w.keysSent++
		}
	}
	for _, c := range w.plans {
		for _, v := range c.Plan.Verdicts {
			match := waitsFor.FindStringSubmatch(v.Why)
			if v.Act != rotation.Wait || match == nil {
				continue
			}
			// What an order moves to another key meanwhile waits for nobody in the end, and nobody for it.
			if slices.ContainsFunc(w.sent, func(s sentRegion) bool {
				return (s.cluster == c.Item.Cluster.Name && s.region == v.Region || s.cluster == match[1]) && !s.uri.SameKey(v.Spec.URI)
			}) {
				continue
			}
			w.waits++
			canary, self := w.first(match[1], v.Spec.URI), w.first(c.Item.Cluster.Name, v.Spec.URI)
			if sentBefore := canary >= 0 && canary < self; self < 0 || !sentBefore && !w.flying(match[1], v.Spec.URI) {
				w.t.Errorf("world %d: %s/%s %s, which is sent as number %d, after its own %d", w.n, c.Item.Cluster.Name, v.Region, v.Why, canary, self)
			}
		}
	}
}

// first is the number of the first PUT that was sent to the cluster with the key, -1 if none was since the plan.
func (w *planWorld) first(cluster string, key cmek.KeyURI) int {
	i := slices.IndexFunc(w.sent, func(s sentRegion) bool { return s.cluster == cluster && s.uri.SameKey(key) })
	if i < 0 {
		return -1
	}
	return w.sent[i].put
}

// flying reports whether a request to the cluster with the key was open when the fleet was planned.
func (w *planWorld) flying(cluster string, key cmek.KeyURI) bool {
	return slices.ContainsFunc(w.plans, func(c rotation.ClusterPlan) bool {
		return c.Item.Cluster.Name == cluster && slices.ContainsFunc(c.Item.Work, func(work ledger.Work) bool {
			return work.State == ledger.Requested && work.Key.SameKey(key)
		})
	})
}

func (w *planWorld) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "world %d, planned when %s; in flight %d, switches %v\n", w.n, w.moment, w.f.Settings.InFlight, w.seed.Switches)
	for _, c := range w.seed.Clusters {
		fmt.Fprintf(&b, "  %s %v revoked=%t:", c.Name, c.Labels, c.Revoked)
		for _, r := range c.Regions {
			fmt.Fprintf(&b, " %s %s behind %d;", r.Name, r.Key, r.Behind)
		}
		b.WriteByte('\n')
	}
	for _, s := range w.planned {
		fmt.Fprintf(&b, "  planned %d %s/%s %s %s (%s)\n", s.Rank, s.Cluster.Cluster.Name, s.Region, s.Spec.URI.ID(), s.Version.Short(), s.Why)
	}
	for _, c := range w.plans {
		for _, v := range c.Plan.Verdicts {
			fmt.Fprintf(&b, "  verdict %s/%s %s: %s until %s\n", c.Item.Cluster.Name, v.Region, v.Act, v.Why, clock(v.Until))
		}
	}
	for _, s := range w.sent {
		fmt.Fprintf(&b, "  sent %d at %s %s/%s %s %s\n", s.put+1, clock(s.at), s.cluster, s.region, s.uri.ID(), s.version.Short())
	}
	return b.String()
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }
