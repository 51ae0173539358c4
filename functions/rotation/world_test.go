package rotation

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const (
	east = "us-east-1"
	west = "us-west-2"

	mrkEast = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef")
	mrkWest = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/mrk-0123456789abcdef0123456789abcdef")

	strange = cmek.Status("REBALANCING") // a status that the API may add one day
)

var (
	// noon is the time at which everything is decided.
	noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	// longAgo is when the store key was last re-encrypted; after is a time since the PUT of two minutes ago.
	longAgo = noon.Add(-300 * 24 * time.Hour)
	after   = noon.Add(-time.Minute)

	errOutage = errors.New("the KMS does not answer")
)

// names are the cluster's keys, its principal and versions of its keys.
type names struct {
	east, west, another cmek.KeyURI
	role                cmek.Principal
	v1, v2, v3          cmek.KeyVersion
}

var (
	awsNames = names{
		east: "arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-1111-2222-3333-444444444444", west: "arn:aws:kms:us-west-2:111122223333:key/bbbbbbbb-1111-2222-3333-444444444444",
		another: "arn:aws:kms:us-east-1:111122223333:key/cccccccc-1111-2222-3333-444444444444", role: "arn:aws:iam::111122223333:role/cmek",
		v1: cmek.MaterialVersion(strings.Repeat("1", 64)), v2: cmek.MaterialVersion(strings.Repeat("2", 64)), v3: cmek.MaterialVersion(strings.Repeat("3", 64)),
	}
	googleNames = names{
		east: "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/east", west: "projects/acme/locations/us-west1/keyRings/crdb/cryptoKeys/west",
		another: "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/new", role: "cmek@acme.iam.gserviceaccount.com",
		v1: cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"}, v2: cmek.KeyVersion{Scheme: cmek.Primary, ID: "2"}, v3: cmek.KeyVersion{Scheme: cmek.Primary, ID: "3"},
	}

	// These are of the cloud that the test runs on: see onBothClouds.
	eastKey, westKey, newKey = awsNames.east, awsNames.west, awsNames.another
	role                     = awsNames.role
	v1, v2, v3               = awsNames.v1, awsNames.v2, awsNames.v3
)

func (n names) use() {
	eastKey, westKey, newKey, role, v1, v2, v3 = n.east, n.west, n.another, n.role, n.v1, n.v2, n.v3
}

// onBothClouds runs a test that is about no cloud's own ways with the keys of each. Such tests do not run in parallel.
func onBothClouds(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer awsNames.use()
	for name, cloud := range map[string]names{"AWS": awsNames, "GoogleCloud": googleNames} {
		cloud.use()
		t.Run(name, test)
	}
}

// world is what the reads show and the ledger holds of one cluster at noon.
type world struct {
	facts    Facts
	item     *ledger.Cluster
	settings Settings
}

// given changes a world.
type given func(*world)

// newWorld is a cluster in following mode whose key in us-east-1 rotated from v1 to v2 an hour ago, long after the store
// key was encrypted under v1. Nobody noticed yet, and everything was read just now; then the changes apply, in order.
func newWorld(changes ...given) *world {
	cluster := func() cmek.Cluster {
		return cmek.Cluster{ID: "c-1", Name: "orders", Plan: cmek.PlanAdvanced, State: cmek.StateCreated, Regions: []cmek.Region{{Name: east}}}
	}
	info := func() cmek.ClusterInfo {
		return cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{regionInfo(east, eastKey)}}
	}
	w := &world{
		facts: Facts{
			Cluster: cluster(), CMEK: info(), ClusterRead: true, CMEKRead: true, ReadAt: noon,
			Keys: map[cmek.KeyURI]KeyFact{eastKey: {Key: healthyKey(eastKey)}},
		},
		item: &ledger.Cluster{ID: "c-1", Cluster: cluster(), CMEK: info(), SeenAt: ago(time.Hour),
			Done: []ledger.Done{{Region: east, Key: eastKey, Version: v1, At: ago(300 * 24 * time.Hour), Followed: true, Evidence: "operation seen"}}},
		settings: DefaultSettings(),
	}
	w.settings.Mode = Follow
	for _, change := range changes {
		change(w)
	}
	return w
}

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func in(d time.Duration) time.Time { return noon.Add(d) }

func spec(uri cmek.KeyURI) cmek.KeySpec {
	return cmek.KeySpec{Type: uri.Type(), URI: uri, AuthPrincipal: role}
}

func keyInfo(uri cmek.KeyURI, status cmek.Status, updated time.Time) cmek.KeyInfo {
	return cmek.KeyInfo{Spec: spec(uri), Status: status, CreatedAt: updated, UpdatedAt: updated}
}

func regionInfo(region string, uri cmek.KeyURI) cmek.RegionInfo {
	return cmek.RegionInfo{Region: region, Status: cmek.Enabled,
		KeyInfos: []cmek.KeyInfo{keyInfo(uri, cmek.Enabled, longAgo)}}
}

func healthyKey(uri cmek.KeyURI) cmek.Key {
	return cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: v2, RotatedAt: ago(time.Hour)}
}

// The ledger.

// due: an event told of v2 an hour ago.
func due(w *world) { w.item.Work = append(w.item.Work, workFor(east, eastKey)) }

func workFor(region string, uri cmek.KeyURI) ledger.Work {
	return ledger.Work{Region: region, Key: uri, Version: v2, State: ledger.Due, Since: ago(time.Hour),
		Trigger: ledger.Trigger{Kind: "event", EventID: "e-1", Time: ago(time.Hour)}}
}

// bySweep: the work was opened by a read of the KMS, not by an event.
func bySweep(w *world) {
	w.item.Work[len(w.item.Work)-1].Trigger = ledger.Trigger{Kind: "sweep", Time: ago(time.Hour)}
}

// work changes the newest piece of work.
func work(change func(*ledger.Work)) given {
	return func(w *world) { change(&w.item.Work[len(w.item.Work)-1]) }
}

// request changes the newest piece of work's request.
func request(change func(*ledger.Request)) given {
	return work(func(w *ledger.Work) { change(w.Request) })
}

// unanswered: a PUT for us-east-1 may have left two minutes ago, and no answer is on record.
func unanswered(w *world) {
	due(w)
	newest := &w.item.Work[len(w.item.Work)-1]
	newest.State, newest.Request = ledger.Requested, requestOf(2*time.Minute)
}

// requestOf is a request that left so long ago, after a read that showed everything ENABLED and last updated 300 days ago.
func requestOf(d time.Duration) *ledger.Request {
	return &ledger.Request{Intent: ago(d), Sent: ago(d), Baseline: &ledger.Baseline{ReadAt: ago(d), Region: cmek.Enabled, Key: cmek.Enabled, UpdatedAt: longAgo}}
}

// accepted: it was answered with 200.
func accepted(w *world) {
	unanswered(w)
	answered(cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200})(w)
}

// timedOut: it may have arrived or not.
func timedOut(w *world) { unanswered(w); answered(cmek.Answer{Outcome: cmek.Unknown})(w) }

// refusedOnce: the PUT was refused, and its backoff is over.
func refusedOnce(w *world) {
	unanswered(w)
	answered(cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 503, Message: "cluster is locked"})(w)
	work(func(w *ledger.Work) { w.State, w.Attempts, w.RefusedSince = ledger.Due, 1, ago(2*time.Minute) })(w)
}

// givenUp: the PUT of unknown outcome left no trace in time and is due once more.
func givenUp(w *world) {
	timedOut(w)
	sent(11 * time.Minute)(w)
	request(func(r *ledger.Request) { r.GivenUp = true })(w)
	work(func(w *ledger.Work) { w.State, w.Lost = ledger.Due, 1 })(w)
}

// claimedBefore: a worker claimed the work so long ago and has not sent yet.
func claimedBefore(d time.Duration) given {
	return work(func(w *ledger.Work) { w.Claim = &ledger.Claim{Intent: ago(d)} })
}

func answered(a cmek.Answer) given {
	return request(func(r *ledger.Request) { r.Answer, r.Answered = &a, r.Intent.Add(time.Second) })
}

func sent(d time.Duration) given {
	return request(func(r *ledger.Request) { r.Intent, r.Sent, r.Baseline.ReadAt = ago(d), ago(d), ago(d) })
}

// baseline changes what was read just before the request.
func baseline(change func(*ledger.Baseline)) given {
	return request(func(r *ledger.Request) { change(r.Baseline) })
}

// sighting: an earlier poll read this.
func sighting(s ledger.Sighting) given {
	return request(func(r *ledger.Request) { s.At = r.Intent.Add(time.Second); r.Timeline = append(r.Timeline, s) })
}

// rested: the status of rest was read before, first so long ago.
func rested(s cmek.Status, d time.Duration) given {
	return request(func(r *ledger.Request) { r.Final = ledger.Final{Status: s, Since: ago(d)} })
}

// traced: an earlier read showed an operation that began after the baseline.
func traced(w *world) {
	request(func(r *ledger.Request) { r.Evidence = ledger.Evidence{Kind: evidenceSeen, At: ago(90 * time.Second)} })(w)
}

// movedAt: updated_at is later than before the PUT.
func movedAt(w *world) { updated(after)(w) }

// updatedAtMoves: an accepted PUT moved updated_at before.
func updatedAtMoves(w *world) { w.facts.UpdatedAtMoves = true }

func lost(n int) given { return work(func(w *ledger.Work) { w.Lost = n }) }

func failed(n int) given { return work(func(w *ledger.Work) { w.Failed = n }) }

func blocked(w *world) { work(func(w *ledger.Work) { w.State = ledger.Blocked })(w) }

func neverDone(w *world) { w.item.Done = nil }

func doneWith(uri cmek.KeyURI, v cmek.KeyVersion) given {
	return func(w *world) { w.item.Done[0].Key, w.item.Done[0].Version = uri, v }
}

// The Cloud API.

// statusEverywhere sets the status of the cluster, its region and the region's key.
func statusEverywhere(s cmek.Status) given {
	return func(w *world) {
		w.facts.CMEK.Status = s
		regionStatus(s)(w)
		w.facts.CMEK.RegionInfos[0].KeyInfos[0].Status = s
	}
}

func regionStatus(s cmek.Status) given {
	return func(w *world) { w.facts.CMEK.RegionInfos[0].Status = s }
}

// keys replaces the key infos of us-east-1.
func keys(infos ...cmek.KeyInfo) given {
	return func(w *world) { w.facts.CMEK.RegionInfos[0].KeyInfos = infos }
}

// updated sets the key's updated_at.
func updated(at time.Time) given {
	return func(w *world) { w.facts.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = at }
}

func userMessage(m string) given {
	return func(w *world) { w.facts.CMEK.RegionInfos[0].KeyInfos[0].UserMessage = m }
}

func cluster(change func(*cmek.Cluster)) given {
	return func(w *world) { change(&w.facts.Cluster) }
}

func operation(status string) given {
	return cluster(func(c *cmek.Cluster) { c.OperationStatus = status })
}

func state(s string) given { return cluster(func(c *cmek.Cluster) { c.State = s }) }

func optedOut(w *world) {
	w.facts.Cluster.Labels = map[string]string{"keyturn": "off"}
	w.item.Cluster.Labels = map[string]string{"keyturn": "off"}
}

// deleted: the Cloud API says that the cluster is deleted.
func deleted(w *world) {
	w.facts.Gone = true
	w.facts.Cluster.State = cmek.StateDeleted
	w.item.Gone = true
}

// unshown: the Cloud API shows no CMEK of the cluster, although it had one.
func unshown(w *world) {
	w.facts.Unread = whyNoCMEK
	w.item.Unread = ledger.Unread{Since: ago(time.Minute), Why: whyNoCMEK}
}

func regionUnshown(w *world) { w.facts.Unshown = []string{east} }

func regionGone(w *world) { w.facts.CMEK.RegionInfos = nil }

func cmekUnread(w *world) { w.facts.CMEKRead = false }

// olderRead: the CMEK was read, but is older than what was read before.
func olderRead(w *world) { w.facts.CMEKRead, w.facts.Older = false, true }

func clusterUnread(w *world) { w.facts.ClusterRead = false }

// usingKey gives us-east-1 another key than its usual one, in the reads and in the inventory.
func usingKey(uri cmek.KeyURI) given {
	return func(w *world) {
		for _, info := range []*cmek.ClusterInfo{&w.facts.CMEK, &w.item.CMEK} {
			info.RegionInfos[0] = regionInfo(east, uri)
		}
		w.facts.Keys = map[cmek.KeyURI]KeyFact{uri: {Key: healthyKey(uri)}}
	}
}

// alsoWest adds us-west-2 with its key, done at v1 as us-east-1 is.
func alsoWest(uri cmek.KeyURI) given {
	return func(w *world) {
		w.facts.CMEK.RegionInfos = append(w.facts.CMEK.RegionInfos, regionInfo(west, uri))
		w.item.CMEK.RegionInfos = append(w.item.CMEK.RegionInfos, regionInfo(west, uri))
		w.facts.Cluster.Regions = append(w.facts.Cluster.Regions, cmek.Region{Name: west})
		w.item.Cluster.Regions = append(w.item.Cluster.Regions, cmek.Region{Name: west})
		w.facts.Keys[uri] = KeyFact{Key: healthyKey(uri)}
		w.item.Done = append(w.item.Done, ledger.Done{Region: west, Key: uri, Version: v1, Followed: true})
	}
}

// The KMS.

// kms changes what the KMS says about every key that was read.
func kms(change func(*cmek.Key)) given {
	return func(w *world) {
		for uri, fact := range w.facts.Keys {
			change(&fact.Key)
			w.facts.Keys[uri] = fact
		}
	}
}

func rotated(d time.Duration) given { return kms(func(k *cmek.Key) { k.RotatedAt = ago(d) }) }

func version(v cmek.KeyVersion) given { return kms(func(k *cmek.Key) { k.Version = v }) }

// keysUnread: the look watches a request and reads no key.
func keysUnread(w *world) { w.facts.Keys = nil }

func keyState(s cmek.KeyState) given { return kms(func(k *cmek.Key) { k.State = s }) }

func history(versions ...cmek.KeyVersion) given {
	return kms(func(k *cmek.Key) {
		for _, v := range versions {
			k.Versions = append(k.Versions, cmek.KeyVersionInfo{Version: v})
		}
	})
}

func keyUnread(err error) given {
	return func(w *world) {
		for uri := range w.facts.Keys {
			w.facts.Keys[uri] = KeyFact{Err: err}
		}
	}
}

// The operator.

func observing(w *world) { w.settings.Mode = Observe }

func paused(w *world) { w.facts.Paused = ledger.Pause{Since: ago(time.Minute), By: "ana"} }

// Running a world.

func (w *world) decide() Plan { return Decide(w.facts, w.item, noon, w.settings) }

// transition decides and carries it out on the item, whose inventory is what was read.
func (w *world) transition() *world {
	w.item.Cluster, w.item.CMEK = w.facts.Cluster, w.facts.CMEK
	transition(w.item, w.facts, w.decide(), noon, w.settings)
	return w
}

// verdict returns the first verdict about the region.
func (w *world) verdict(t *testing.T, region string) Verdict {
	t.Helper()
	plan := w.decide()
	for _, v := range plan.Verdicts {
		if v.Region == region {
			return v
		}
	}
	t.Fatalf("no verdict about region %s in %+v", region, plan.Verdicts)
	return Verdict{}
}

// row is one sentence about a decision: given these changes, the verdict about us-east-1 is want.
type row struct {
	sentence string
	given    []given
	want     Act
	because  string    // a part of the reason; "" for any
	until    time.Time // when to poll again; zero for any
}

// decides checks the rows, and for each that deciding changes nothing and that deciding again gives the same plan.
func decides(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld(r.given...)
			v := w.verdict(t, east)
			if v.Act != r.want {
				t.Errorf("%s: decided %q (%s), want %q", r.sentence, v.Act, v.Why, r.want)
			}
			if !strings.Contains(v.Why, r.because) {
				t.Errorf("%s: the reason is %q, want it to say %q", r.sentence, v.Why, r.because)
			}
			if !r.until.IsZero() && !v.Until.Equal(r.until) {
				t.Errorf("%s: polls again at %s, want %s", r.sentence, v.Until, r.until)
			}
			if put := w.decide().Put; (len(put) > 0) != (r.want == Send) {
				t.Errorf("%s: the plan's PUT is %+v for the verdict %q", r.sentence, put, r.want)
			}
			checkPure(t, w, r.given)
		})
	}
}

// checkPure checks that Decide leaves its input alone and gives the same plan again.
func checkPure(t *testing.T, w *world, changes []given) {
	t.Helper()
	first, again := w.decide(), w.decide()
	if !reflect.DeepEqual(first, again) {
		t.Errorf("the same input gave two plans:\n%+v\n%+v", first, again)
	}
	untouched := newWorld(changes...)
	if !reflect.DeepEqual(w.item, untouched.item) {
		t.Errorf("Decide changed the ledger item:\n%+v\nwas\n%+v", w.item, untouched.item)
	}
	if !reflect.DeepEqual(w.facts, untouched.facts) {
		t.Errorf("Decide changed the facts:\n%+v\nwere\n%+v", w.facts, untouched.facts)
	}
}

// alerts returns the alerts in the item's outbox.
func alerts(item *ledger.Cluster) []alert.Alert {
	var found []alert.Alert
	for _, m := range item.Messages {
		if m.Alert != nil {
			found = append(found, *m.Alert)
		}
	}
	return found
}
