package ledger_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// largestItem is what an item may take: its data and its keys in their smaller form, and 200 bytes for names.
const largestItem = 300_000

func stored(t *testing.T, store ledger.Store, kind, id string) (r ledger.Record, size int) {
	t.Helper()
	r, err := store.Get(t.Context(), kind, id)
	if err != nil || r.Version == 0 {
		t.Fatalf("read %s/%s: version %d, error %v", kind, id, r.Version, err)
	}
	packed := ledger.PackKeys(r.Keys)
	size = len(r.Data) + len(packed) + 200
	if packed == nil {
		for _, key := range r.Keys {
			size += len(key) + 1
		}
	}
	return r, size
}

// sample makes values that do not compress better than real ones.
type sample struct{ *rand.Rand }

func newSample(seed uint64) sample { return sample{rand.New(rand.NewPCG(seed, 1))} }

func (s sample) hex(digits int) string {
	var b strings.Builder
	for range digits {
		fmt.Fprintf(&b, "%x", s.IntN(16))
	}
	return b.String()
}

func (s sample) uuid() string {
	return strings.Join([]string{s.hex(8), s.hex(4), s.hex(4), s.hex(4), s.hex(12)}, "-")
}

func (s sample) words(length int) string {
	var b strings.Builder
	for b.Len() < length {
		b.WriteString([]string{"access ", "denied ", "by ", "the ", "key ", "policy ", "of ", "role ", "operation ", s.hex(4) + " "}[s.IntN(10)])
	}
	return b.String()[:length]
}

func (s sample) time() time.Time {
	return noon.Add(time.Duration(s.Int64N(int64(1000 * time.Hour)))).Truncate(time.Microsecond)
}

func (s sample) alert(clusters int) alert.Alert {
	a := alert.Alert{
		ID: s.uuid(), DedupKey: "key-unusable/" + s.uuid(), Audience: []alert.Audience{alert.Owners, alert.Operations}[s.IntN(2)],
		Severity: []alert.Severity{alert.High, alert.Medium, alert.Low, alert.Info}[s.IntN(4)], Resolved: s.IntN(4) == 0, Change: "key unusable",
		Summary: s.words(120), Impact: s.words(300), RecoverySteps: []string{s.words(100), s.words(100)},
		Key: cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/" + s.uuid()), Principal: "arn:aws:iam::111122223333:user/" + s.hex(8),
		Time: s.time(), Runbook: "functions/alerting/README.md#key-unusable",
	}
	for range clusters {
		a.Clusters = append(a.Clusters, alert.AffectedCluster{ID: s.uuid(), Name: "production-" + s.hex(8), Regions: []string{"us-east-1", "eu-west-1"}, Impact: "the next backup fails, within 1h"})
	}
	return a
}

// evidence is as large as a record of rotation, with as much in it that does not compress.
func (s sample) evidence(number int) []byte {
	data, _ := json.MarshalIndent(map[string]any{
		"schema": "keyturn.evidence/v1", "number": number, "previous_sha256": s.hex(64), "cluster_id": "7c1d9e20-3a4b-4c5d-8e6f-000000000003",
		"cluster_name": "production", "region": "us-east-1", "key": "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001",
		"key_version": "material:" + s.hex(64), "previous_key_version": "material:" + s.hex(64), "trigger": ledger.Trigger{Kind: "event", EventID: s.uuid(), Source: "aws.kms", Time: s.time()},
		"opened_at": s.time(), "done_at": s.time(), "finding": "operation seen",
		"request": ledger.Request{Intent: s.time(), Before: s.time(), Answered: s.time(), Answer: &cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200}, Timeline: s.timeline(4)},
	}, "", "  ")
	return data
}

func (s sample) timeline(n int) (timeline []ledger.Sighting) {
	for range n {
		timeline = append(timeline, ledger.Sighting{At: s.time(), Region: cmek.Rotating, Key: cmek.Enabling, Operation: cmek.CMEKOperationRunning, UpdatedAt: s.time()})
	}
	return timeline
}

// inventory is a CMEK of many regions and keys. uri and principal make the names of one key.
func (s sample) inventory(regions, infos int, uri func(region string) cmek.KeyURI, principal func(region int) string) cmek.ClusterInfo {
	info := cmek.ClusterInfo{Status: cmek.Enabled}
	for r := range regions {
		region := cmek.RegionInfo{Region: fmt.Sprintf("ap-southeast-%d", r), Status: cmek.Enabled}
		for k := range infos {
			status := cmek.Disabled
			if k == infos-1 {
				status = cmek.Enabled
			}
			u := uri(region.Region)
			region.KeyInfos = append(region.KeyInfos, cmek.KeyInfo{
				Spec: cmek.KeySpec{Type: u.Type(), URI: u, AuthPrincipal: cmek.Principal(principal(r))}, Status: status, UserMessage: s.words(300), CreatedAt: s.time(), UpdatedAt: s.time(),
			})
		}
		info.RegionInfos = append(info.RegionInfos, region)
	}
	return info
}

// work is open work in each region of the inventory.
func (s sample) work(info cmek.ClusterInfo) (all []ledger.Work) {
	for i, r := range info.RegionInfos {
		all = append(all, ledger.Work{
			Region: r.Region, Key: r.KeyInfos[len(r.KeyInfos)-1].Spec.URI, Version: cmek.MaterialVersion(s.hex(64)),
			State: []ledger.State{ledger.Due, ledger.Requested, ledger.Blocked}[i%3], Since: s.time(), Reason: s.words(300), Attempts: 3,
			Trigger: ledger.Trigger{Kind: "event", EventID: s.uuid(), Source: "aws.kms/KMS CMK Rotation", Time: s.time()},
			Request: &ledger.Request{Intent: s.time(), Answer: &cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200}, Timeline: s.timeline(24)},
		})
	}
	return all
}

func (s sample) done(info cmek.ClusterInfo) (all []ledger.Done) {
	for _, r := range info.RegionInfos {
		all = append(all, ledger.Done{Region: r.Region, Key: r.KeyInfos[0].Spec.URI, Version: cmek.MaterialVersion(s.hex(64)), At: s.time(), Followed: true, Evidence: "operation seen"})
	}
	return all
}

// neverDropped is what an item keeps however large it is, in a form that can be compared.
func neverDropped(t *testing.T, c *ledger.Cluster) string {
	t.Helper()
	var kept struct {
		Work     []ledger.Work
		Done     []ledger.Done
		Keys     []string
		Specs    []cmek.KeySpec
		Statuses []cmek.Status
		Alarms   []string
		Evidence []string
		Chain    ledger.Chain
		Released []string
	}
	kept.Work = slices.Clone(c.Work)
	for i, w := range kept.Work {
		if w.State != ledger.Requested && w.Request != nil { // what was seen of a request whose outcome is known may go
			request := *w.Request
			request.Timeline, kept.Work[i].Request = nil, &request
		}
	}
	kept.Done, kept.Keys, kept.Chain, kept.Released = c.Done, c.Keys(), c.Chain, c.Skipped
	for _, r := range c.CMEK.RegionInfos {
		for _, k := range r.KeyInfos {
			kept.Specs, kept.Statuses = append(kept.Specs, k.Spec), append(kept.Statuses, k.Status)
			if k.Status != cmek.Disabled {
				kept.Evidence = append(kept.Evidence, k.UserMessage)
			}
		}
	}
	for _, a := range c.Alarms {
		kept.Alarms = append(kept.Alarms, fmt.Sprint(a.Key, a.Since, a.Alert.ID, a.Alert.Severity, a.Alert.Summary, a.Alert.AffectedCount()))
	}
	for _, m := range c.Messages {
		if m.Evidence != nil {
			kept.Evidence = append(kept.Evidence, m.ID, string(m.Evidence))
		}
	}
	data, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// messages counts the messages of the outbox, those that were merged included.
func messages(o ledger.Outbox) (alerts int) {
	for _, m := range o.Messages {
		if m.Alert != nil {
			alerts += max(m.Merged, 1)
		}
	}
	return alerts
}

func TestClusterItemsFit(t *testing.T) {
	long := strings.Repeat("x", 512)
	awsKey := func(s sample) func(string) cmek.KeyURI {
		return func(region string) cmek.KeyURI {
			return cmek.KeyURI("arn:aws:kms:" + region + ":111122223333:key/" + s.uuid())
		}
	}
	role := func(int) string { return "arn:aws:iam::111122223333:role/crdb-cmek" }
	for name, fill := range map[string]func(s sample, c *ledger.Cluster){
		"50 regions of 25 AWS keys with open work": func(s sample, c *ledger.Cluster) {
			c.CMEK = s.inventory(50, 25, awsKey(s), func(r int) string {
				return fmt.Sprintf("arn:aws:iam::111122223333:role/%s/%d/%s", long[:505], r, long[:64])
			})
			c.Work, c.Done = s.work(c.CMEK), s.done(c.CMEK)
		},
		"50 regions of 25 Google keys": func(s sample, c *ledger.Cluster) {
			c.CMEK = s.inventory(50, 25, func(region string) cmek.KeyURI {
				return cmek.KeyURI(fmt.Sprintf("projects/%s/locations/%s/keyRings/%s/cryptoKeys/%s%s", long[:30], region, long[:63], long[:51], s.hex(12)))
			}, func(int) string { return long[:30] + "@" + long[:30] + ".iam.gserviceaccount.com" })
			c.Work, c.Done = s.work(c.CMEK), s.done(c.CMEK)
		},
		"50 regions of 25 Azure keys": func(s sample, c *ledger.Cluster) {
			c.CMEK = s.inventory(50, 25, func(string) cmek.KeyURI {
				return cmek.KeyURI(fmt.Sprintf("https://%s.vault.azure.net/keys/%s/%s", long[:24], long[:127], s.hex(32)))
			}, func(int) string { return "7c1d9e20-3a4b-4c5d-8e6f-000000000003" })
			c.Work, c.Done = s.work(c.CMEK), s.done(c.CMEK)
		},
		"50 regions of 25 keys with names of 2048 bytes": func(s sample, c *ledger.Cluster) {
			c.CMEK = s.inventory(50, 25, func(region string) cmek.KeyURI {
				uri := "arn:aws:kms:" + region + ":111122223333:key/" + s.uuid()
				return cmek.KeyURI(uri + strings.Repeat("k", 2048-len(uri)))
			}, func(int) string { return "arn:aws:iam::111122223333:role/" + strings.Repeat("p", 2017) })
			c.Work, c.Done = s.work(c.CMEK), s.done(c.CMEK)
		},
		"1,000 undelivered messages": func(s sample, c *ledger.Cluster) {
			c.CMEK = s.inventory(3, 5, awsKey(s), role)
			for i := range 500 {
				c.File(fmt.Sprintf("evidence/7c1d9e20/20260301T120000Z-%06d-us-east-1.json", i), s.evidence(i))
				c.Tell(s.alert(1))
			}
		},
		"1,000 undelivered alerts": func(s sample, c *ledger.Cluster) {
			for range 1000 {
				c.Tell(s.alert(1))
			}
		},
		"700 undelivered evidence records": func(s sample, c *ledger.Cluster) {
			for i := range 700 {
				c.File(fmt.Sprintf("evidence/7c1d9e20/20260301T120000Z-%06d-us-east-1.json", i), s.evidence(i))
			}
		},
		"alarms that name 5,000 clusters": func(s sample, c *ledger.Cluster) {
			for range 6 {
				a := s.alert(5000)
				c.Alarms = append(c.Alarms, ledger.Alarm{Key: a.DedupKey, Since: s.time(), Alert: a})
			}
			c.Tell(s.alert(5000))
		},
		"all of it at once": func(s sample, c *ledger.Cluster) {
			c.CMEK = s.inventory(50, 25, awsKey(s), role)
			c.Work, c.Done = s.work(c.CMEK), s.done(c.CMEK)
			for i := range 100 {
				c.File(fmt.Sprintf("evidence/7c1d9e20/20260301T120000Z-%06d-us-east-1.json", i), s.evidence(i))
			}
			for range 500 {
				c.Tell(s.alert(1))
			}
			a := s.alert(5000)
			c.Alarms = append(c.Alarms, ledger.Alarm{Key: a.DedupKey, Since: s.time(), Alert: a})
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := cmektest.NewStore()
			l := newLedger(store, 1)
			var before string
			var alerts int
			var whole []byte
			returned := update(t, l, "c-1", func(c *ledger.Cluster) {
				fill(newSample(7), c)
				c.NextLook = noon
				before, alerts = neverDropped(t, c), messages(c.Outbox)
				whole, _ = json.Marshal(c)
			})
			r, size := stored(t, store, "rotation", "cluster#c-1")
			if size > largestItem {
				t.Errorf("the item takes %d bytes, want at most %d", size, largestItem)
			}
			read, err := l.Cluster(t.Context(), "c-1")
			if err != nil {
				t.Fatal(err)
			}
			if after := neverDropped(t, read); after != before {
				t.Errorf("what must never be dropped has changed: %d bytes before, %d after", len(before), len(after))
			}
			if n := messages(read.Outbox); n != alerts {
				t.Errorf("%d of %d alerts to be sent are left", n, alerts)
			}
			a, _ := json.Marshal(returned)
			b, _ := json.Marshal(read)
			if !bytes.Equal(a, b) {
				t.Error("the item that the update returned is not the one in the ledger")
			}
			t.Logf("%7d bytes of JSON: %6d stored, data %6d, %d keys; %d messages; nothing lost: %t", len(whole), size, len(r.Data), len(r.Keys), len(read.Messages), bytes.Equal(whole, b))

			version := r.Version
			update(t, l, "c-1", func(c *ledger.Cluster) {})
			if r, _ := stored(t, store, "rotation", "cluster#c-1"); r.Version != version {
				t.Error("an item that has not changed was written again")
			}
		})
	}
}

func TestMergedMessagesNameHowManyAndTheWorst(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	s := newSample(3)
	worst := s.alert(1)
	worst.Audience, worst.Severity, worst.Resolved, worst.Summary = alert.Owners, alert.Critical, false, "The worst of all"
	const perRound = 700 // more than fit
	for round := range 3 {
		c := update(t, l, "c-1", func(c *ledger.Cluster) {
			c.Cluster.Name = "orders"
			for range perRound {
				a := s.alert(1)
				a.Audience, a.Severity, a.Resolved = alert.Owners, alert.Critical, false
				a.Summary, a.Impact = s.hex(200), s.hex(400)
				c.Tell(a)
			}
		})
		var merged []ledger.Message
		ids := map[string]bool{}
		for _, m := range c.Messages {
			if m.Merged > 0 {
				merged = append(merged, m)
			}
			ids[m.ID] = true
		}
		if n := messages(c.Outbox); n != perRound*(round+1) || len(merged) != 1 || len(ids) != len(c.Messages) {
			t.Fatalf("%d messages stand for %d alerts, %d of them merged ones; want %d alerts, one merged", len(c.Messages), n, len(merged), perRound*(round+1))
		}
		text := merged[0].Alert.Text()
		for _, part := range []string{fmt.Sprintf("[CRITICAL] %d messages about cluster orders", merged[0].Merged), "The most urgent of them: [CRITICAL] "} {
			if !strings.Contains(text, part) {
				t.Errorf("the merged message does not say %q:\n%s", part, text)
			}
		}
		if n := strings.Count(text, "most urgent of them"); n != 1 {
			t.Errorf("the merged message names the worst %d times", n)
		}
	}
}

func TestWorkerItemFits(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	s := newSample(5)
	w, err := l.Worker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 1500 {
		w.Tell(s.alert(2))
	}
	a := s.alert(5000)
	w.Holder, w.Sweep.Page, w.Alarms = "holder", "page", []ledger.Alarm{{Key: a.DedupKey, Since: noon, Alert: a}}
	if err := l.SaveWorker(t.Context(), w, noon); err != nil {
		t.Fatal(err)
	}
	if _, size := stored(t, store, "rotation", "worker"); size > largestItem {
		t.Errorf("the item takes %d bytes", size)
	}
	read, err := l.Worker(t.Context())
	if err != nil || messages(read.Outbox) != 1500 || read.Holder != "holder" || read.Sweep.Page != "page" || read.Alarms[0].Alert.AffectedCount() != 5000 {
		t.Errorf("the worker reads holder %q, %d messages, %d alarms, error %v", read.Holder, messages(read.Outbox), len(read.Alarms), err)
	}
}

func TestIncidentItemsFit(t *testing.T) {
	for _, clusters := range []int{5000, 10_000, 50_000} {
		store := cmektest.NewStore()
		l := newLedger(store, 1)
		a := newSample(9).alert(clusters)
		_, err := l.UpdateIncident(t.Context(), "d", func(i *ledger.Incident) error {
			i.Kind, i.Opened, i.NextLook, i.Alert, i.Events = "key-unusable", noon, noon, a, []string{"e-1"}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		r, size := stored(t, store, "alerting", "incident#d")
		read, err := l.Incident(t.Context(), "d")
		if err != nil || size > largestItem || read.Alert.AffectedCount() != clusters || !read.Notified("e-1") || !read.Open() || read.Alert.Summary != a.Summary {
			t.Errorf("an incident of %d clusters takes %d bytes and counts %d clusters (error %v)", clusters, size, read.Alert.AffectedCount(), err)
		}
		if clusters <= 10_000 {
			for n, c := range a.Clusters {
				if got := read.Alert.Clusters[n]; got.ID != c.ID || !slices.Equal(got.Regions, c.Regions) {
					t.Fatalf("cluster %d of %d is %+v, want %s", n, clusters, got, c.ID)
				}
			}
		}
		if a.Clusters[clusters-1].Name == "" {
			t.Error("the caller's alert was changed")
		}
		t.Logf("%d clusters: %d bytes stored, data %d; %d listed; nothing lost: %t", clusters, size, len(r.Data), len(read.Alert.Clusters), reflect.DeepEqual(read.Alert, a))
	}
}

func TestItemThatCannotFitIsAClearError(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	update(t, l, "c-1", func(c *ledger.Cluster) { c.Cluster.Name = "orders" })
	s := newSample(1)
	_, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error {
		for i := range 300 {
			c.File(fmt.Sprint("evidence/", i), []byte(s.hex(4000)))
		}
		c.Tell(s.alert(1))
		return nil
	})
	if !errors.Is(err, ledger.ErrTooLarge) {
		t.Fatalf("the error is %v, want ErrTooLarge", err)
	}
	for _, part := range []string{"cluster#c-1", "300 evidence records to archive 1200000 bytes"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	if c, err := l.Cluster(t.Context(), "c-1"); err != nil || len(c.Messages) > 0 || c.Cluster.Name != "orders" {
		t.Errorf("the ledger has %+v, error %v; want the item as it was", c, err)
	}
}

// The files hold items as they were stored until commit 21510dd, with a value in every field.
func TestStoredItemsStillRead(t *testing.T) {
	for name, row := range map[string]struct {
		kind, id string
		read     func(l *ledger.Ledger) (any, error)
	}{
		"cluster":  {"rotation", "cluster#c-1", func(l *ledger.Ledger) (any, error) { return l.Cluster(t.Context(), "c-1") }},
		"worker":   {"rotation", "worker", func(l *ledger.Ledger) (any, error) { return l.Worker(t.Context()) }},
		"incident": {"alerting", "incident#d", func(l *ledger.Ledger) (any, error) { return l.Incident(t.Context(), "d") }},
	} {
		data, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.TrimSpace(data)
		store := cmektest.NewStore()
		if err := store.Put(t.Context(), ledger.Record{Kind: row.kind, ID: row.id, Data: data}); err != nil {
			t.Fatal(err)
		}
		item, err := row.read(newLedger(store, 1))
		if err != nil {
			t.Errorf("the %s that was stored cannot be read: %v", name, err)
			continue
		}
		var was, is map[string]any
		again, _ := json.Marshal(item)
		err = errors.Join(json.Unmarshal(renamed.ReplaceAllFunc(data, newName), &was), json.Unmarshal(again, &is))
		delete(was, "key_failures") // counted by the worker now
		if err != nil || !reflect.DeepEqual(was, is) {
			t.Errorf("the %s that was stored reads as\n%s\nwant\n%s", name, again, data)
		}
	}
}

// renamed are fields of alerts that were stored under other names.
var renamed = regexp.MustCompile(`"(consequence|way_back|harm)":`)

func newName(old []byte) []byte {
	return []byte(map[string]string{
		`"consequence":`: `"impact":`, `"way_back":`: `"recovery_steps":`, `"harm":`: `"impact":`,
	}[string(old)])
}

func TestSmallItemsStayReadable(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	s := newSample(2)
	for _, keys := range []int{1, 60, 300} {
		update(t, l, "c-1", func(c *ledger.Cluster) {
			c.CMEK = s.inventory(1, keys, func(string) cmek.KeyURI { return key }, func(int) string { return "role" })
		})
		r, _ := stored(t, store, "rotation", "cluster#c-1")
		if plain := json.Valid(r.Data); plain != (keys < 300) {
			t.Errorf("an item with %d keys is stored in %d bytes, as plain JSON: %t", keys, len(r.Data), plain)
		}
	}
}

// Whatever an item holds, it reads back as it was stored; only if it is very large is it summarized, and then nothing is lost
// that must never be.
func TestItemsSurviveTheLedger(t *testing.T) {
	const items = 12
	summarized := 0
	for seed := uint64(12); seed < 12+items; seed++ {
		s := newSample(seed)
		store := cmektest.NewStore()
		l := newLedger(store, seed)
		var before, whole string
		update(t, l, "c-1", func(c *ledger.Cluster) {
			c.CMEK = s.inventory(s.IntN(20), 1+s.IntN(20), func(region string) cmek.KeyURI {
				return cmek.KeyURI("arn:aws:kms:" + region + ":111122223333:key/" + s.uuid())
			}, func(int) string { return s.words(s.IntN(600)) })
			c.Work, c.Done = s.work(c.CMEK), s.done(c.CMEK)
			for range s.IntN(5) {
				a := s.alert(s.IntN(3000))
				c.Alarms = append(c.Alarms, ledger.Alarm{Key: a.DedupKey, Since: s.time(), Alert: a})
			}
			for i := range s.IntN(150) {
				switch s.IntN(4) {
				case 0:
					c.File(fmt.Sprint("evidence/", i), s.evidence(i))
				case 1:
					c.File(fmt.Sprint("binary/", i), []byte{0xff, byte(i), 0, '"', '<'})
				default:
					c.Tell(s.alert(s.IntN(50)))
				}
			}
			before = neverDropped(t, c)
			data, _ := json.Marshal(c)
			whole = string(data)
		})
		read, err := l.Cluster(t.Context(), "c-1")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if after := neverDropped(t, read); after != before {
			t.Errorf("seed %d: what must never be dropped has changed", seed)
		}
		if _, size := stored(t, store, "rotation", "cluster#c-1"); size > largestItem {
			t.Errorf("seed %d: the item takes %d bytes", seed, size)
		}
		if data, _ := json.Marshal(read); string(data) != whole {
			summarized++
			if len(whole) < largestItem {
				t.Errorf("seed %d: an item of %d bytes was summarized", seed, len(whole))
			}
		}
	}
	t.Logf("%d of %d items were summarized", summarized, items)
	if summarized == 0 || summarized == items {
		t.Errorf("%d of %d items were summarized, want some", summarized, items)
	}
}

func TestUnreadablePackedItemIsUndecodable(t *testing.T) {
	store := cmektest.NewStore()
	l := newLedger(store, 1)
	s := newSample(4)
	update(t, l, "c-1", func(c *ledger.Cluster) {
		for i := range 200 {
			c.File(fmt.Sprint(i), s.evidence(i))
		}
	})
	whole, _ := stored(t, store, "rotation", "cluster#c-1")
	if json.Valid(whole.Data) {
		t.Fatal("the item is not packed")
	}
	for name, data := range map[string][]byte{"cut": whole.Data[:len(whole.Data)/2], "only the magic number": whole.Data[:2], "a flipped byte": func() []byte {
		flipped := bytes.Clone(whole.Data)
		flipped[len(flipped)/2] ^= 0xff
		return flipped
	}()} {
		r, _ := stored(t, store, "rotation", "cluster#c-1")
		r.Data = data
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Cluster(t.Context(), "c-1"); !errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "cluster#c-1") {
			t.Errorf("%s: the error is %v, want ErrUndecodable with the item's name", name, err)
		}
	}
}

// Packed evidence that belongs to no message of the item is not lost silently.
func TestPackedEvidenceWithoutItsMessageIsUndecodable(t *testing.T) {
	for _, r := range []struct {
		item, evidence string
		want           bool // it can be read
	}{
		{`{"outbox":[{"id":"a"}]}`, `[{"index":0,"text":"x"}]`, true},
		{`{"outbox":[{"id":"a"}]}`, `[{"index":1,"text":"x"}]`, false},
		{`{"outbox":[{"id":"a"}]}`, `[{"index":-1,"text":"x"}]`, false},
		{`{}`, `[{"index":0,"text":"x"}]`, false},
	} {
		var data bytes.Buffer
		w := gzip.NewWriter(&data)
		_, err := fmt.Fprintf(w, `{"item":%s,"evidence":%s}`, r.item, r.evidence)
		store := cmektest.NewStore()
		for _, record := range []ledger.Record{{Kind: "rotation", ID: "cluster#c-1"}, {Kind: "alerting", ID: "incident#d"}} {
			if err = errors.Join(err, w.Close()); err != nil {
				t.Fatal(err)
			}
			record.Data = data.Bytes()
			if err := store.Put(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
		l := newLedger(store, 1)
		if c, err := l.Cluster(t.Context(), "c-1"); (err == nil) != r.want || err != nil && !errors.Is(err, ledger.ErrUndecodable) || err == nil && string(c.Messages[0].Evidence) != "x" {
			t.Errorf("%s with the evidence %s reads with error %v, want it read: %t", r.item, r.evidence, err, r.want)
		}
		if _, err := l.Incident(t.Context(), "d"); !errors.Is(err, ledger.ErrUndecodable) {
			t.Errorf("an incident with the evidence %s reads with error %v: it has no outbox", r.evidence, err)
		}
	}
}

// Data of up to 100,000 bytes is plain JSON, for people to read.
func TestLargestPlainItem(t *testing.T) {
	size := func(name string) (n int, plain bool) {
		store := cmektest.NewStore()
		update(t, newLedger(store, 1), "c-1", func(c *ledger.Cluster) { c.Cluster.Name = name })
		r, _ := stored(t, store, "rotation", "cluster#c-1")
		return len(r.Data), json.Valid(r.Data)
	}
	empty, _ := size("x")
	full := strings.Repeat("x", 100_000-empty+1)
	if n, plain := size(full); n != 100_000 || !plain {
		t.Errorf("an item of %d bytes is plain JSON: %t, want 100,000 bytes of it", n, plain)
	}
	if n, plain := size(full + "x"); plain {
		t.Errorf("an item of %d bytes is plain JSON, want it compressed", n)
	}
}

func TestPackKeys_smallOnesStayPlain(t *testing.T) {
	for _, r := range []struct {
		keys []string
		want bool
	}{
		{[]string{strings.Repeat("k", 15_999)}, false},
		{[]string{strings.Repeat("k", 16_000)}, true},
		{[]string{strings.Repeat("k", 8_000), strings.Repeat("l", 7_998)}, false},
		{[]string{strings.Repeat("k", 8_000), strings.Repeat("l", 7_999)}, true},
	} {
		if packed := ledger.PackKeys(r.keys); (packed != nil) != r.want {
			t.Errorf("%d keys, the first of %d bytes, are packed: %t, want %t", len(r.keys), len(r.keys[0]), packed != nil, r.want)
		}
	}
}

// A few bytes may stand for very much, by mistake or by malice.
func TestHugePackedItemIsUndecodable(t *testing.T) {
	for size, want := range map[int]string{64 << 20: "", 64<<20 + 1: "too large"} {
		var data bytes.Buffer
		w, err := gzip.NewWriterLevel(&data, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		const item = `{"item":{}}`
		_, err = fmt.Fprint(w, item, strings.Repeat(" ", size-len(item)))
		store := cmektest.NewStore()
		if err := errors.Join(err, w.Close(), store.Put(t.Context(), ledger.Record{Kind: "rotation", ID: "cluster#c-1", Data: data.Bytes()})); err != nil {
			t.Fatal(err)
		}
		_, err = newLedger(store, 1).Cluster(t.Context(), "c-1")
		if want == "" && err != nil || want != "" && (!errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d bytes that decompress to %d read with error %v, want %q", data.Len(), size, err, want)
		}
	}
}

// The largest item that fits is as large as the database takes: by DynamoDB's rules, and with 150 bytes for names of attributes.
func TestItemSize_isWhatTheDatabaseCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // what is stored holds the time, whose length varies
		const id = 400 // bytes of the record's name
		name := cmek.KeyURI(strings.Repeat("k", id-len("policy#")))
		text := newSample(1).hex(650_000)
		store := cmektest.NewStore()
		l := newLedger(store, 1)
		tooLong := sort.Search(len(text), func(n int) bool {
			err := l.NotePolicy(t.Context(), string(name), text[:n], ledger.NotedPolicy{})
			if err != nil && !errors.Is(err, ledger.ErrTooLarge) {
				t.Fatal(err)
			}
			return err != nil
		})
		if err := l.NotePolicy(t.Context(), string(name), text[:tooLong-1], ledger.NotedPolicy{}); err != nil {
			t.Fatal(err)
		}
		r, err := store.Get(t.Context(), "control", "policy#"+string(name))
		if size := 150 + 2*len("control") + id + len(r.Data); err != nil || size > largestItem || size < largestItem-5 {
			t.Errorf("the largest item that fits takes %d bytes (error %v), want %d", size, err, largestItem)
		}
	})
}

// Alerts are merged for each audience by itself, the least urgent first; the end of an incident is as urgent as a high alert.
func TestMerge_keepsTheMostUrgentOfEachAudience(t *testing.T) {
	s := newSample(6)
	l := newLedger(cmektest.NewStore(), 1)
	c := update(t, l, "c-1", func(c *ledger.Cluster) {
		c.File("evidence/1", []byte("{}"))
		for n := range 210 {
			for _, audience := range []alert.Audience{alert.Owners, alert.Operations} {
				a := alert.Alert{ID: fmt.Sprint(audience, n), Audience: audience, Severity: alert.Low, Summary: fmt.Sprint("alert ", n), Impact: s.hex(2000)}
				switch {
				case n >= 20 && n < 50:
					a.Severity = alert.Medium
				case n >= 100 && n < 110:
					a.Severity = alert.High
				case n >= 150 && n < 160:
					a.Severity, a.Resolved = alert.Info, true
				case n >= 200:
					a.Severity = alert.Critical
				}
				c.Tell(a)
			}
		}
	})
	for _, audience := range []alert.Audience{alert.Owners, alert.Operations} {
		var kept []string
		var merged []ledger.Message
		for _, m := range c.Messages {
			switch {
			case m.Alert == nil || m.Alert.Audience != audience:
			case m.Merged > 0:
				merged = append(merged, m)
				kept = append(kept, "merged")
			default:
				kept = append(kept, m.Alert.Summary)
			}
		}
		want := []string{"merged"} // in the place of the first of them
		for n := range 210 {
			if n >= 20 && n < 40 || n >= 100 && n < 110 || n >= 150 && n < 160 || n >= 200 {
				want = append(want, fmt.Sprint("alert ", n))
			}
		}
		if len(merged) != 1 || merged[0].Merged != 160 || !slices.Equal(kept, want) {
			t.Fatalf("of 210 alerts to %s %q are kept, %d merged ones, want %q", audience, kept, len(merged), want)
		}
		if a := merged[0].Alert; a.Severity != alert.Medium || !strings.Contains(a.Impact, "alert 40") || strings.Contains(a.Summary, "cluster") {
			t.Errorf("the merged alert is %q, want the most urgent of them, the first one: %+v", a.Text(), a)
		}
	}
	if m := c.Messages[0]; string(m.Evidence) != "{}" {
		t.Errorf("the evidence before them is %+v", m)
	}
}

// What is summarized first leaves what is summarized later as it is.
func TestSummary_pastMessagesGoFirst_thenTimelines(t *testing.T) {
	s := newSample(8)
	info := s.inventory(1, 2, func(string) cmek.KeyURI { return key }, func(int) string { return "role" })
	request := func(sightings int) *ledger.Request { return &ledger.Request{Timeline: s.timeline(sightings)} }
	works := func(large int) []ledger.Work {
		return []ledger.Work{
			{Region: "a", State: ledger.Due, Request: request(large)}, {Region: "b", State: ledger.Requested, Request: request(5)}, {Region: "c", State: ledger.Blocked, Request: request(3)},
			{Region: "d", State: ledger.Due, Request: request(2)}, {Region: "e", State: ledger.Due, Request: request(1)}, {Region: "f", State: ledger.Due, Request: request(0)}, {Region: "g", State: ledger.Due},
		}
	}
	for _, r := range []struct {
		sentence string
		message  int // bytes of the message about the past key
		large    int // sightings of the first piece of work
		past     bool
		want     string
	}{
		{"an item that fits", 1000, 24, true, "[24 5 3 2 1 0 0]"},
		{"a large message about a past key", 700_000, 24, false, "[24 5 3 2 1 0 0]"},
		{"a large timeline", 1000, 30_000, false, "[2 5 2 2 1 0 0]"},
	} {
		c := update(t, newLedger(cmektest.NewStore(), 1), "c-1", func(c *ledger.Cluster) {
			c.CMEK, c.Work = info, works(r.large)
			c.CMEK.RegionInfos = []cmek.RegionInfo{info.RegionInfos[0]}
			c.CMEK.RegionInfos[0].KeyInfos = slices.Clone(info.RegionInfos[0].KeyInfos)
			c.CMEK.RegionInfos[0].KeyInfos[0].UserMessage = s.hex(r.message)
		})
		var sightings []int
		for _, w := range c.Work {
			n := 0
			if w.Request != nil {
				n = len(w.Request.Timeline)
			}
			sightings = append(sightings, n)
		}
		infos := c.CMEK.RegionInfos[0].KeyInfos
		if got := fmt.Sprint(sightings); got != r.want || (infos[0].UserMessage != "") != r.past || infos[1].UserMessage == "" {
			t.Errorf("%s: timelines of %s sightings are left, the past key's message: %t, the current one's: %t; want %s, %t and true",
				r.sentence, got, infos[0].UserMessage != "", infos[1].UserMessage != "", r.want, r.past)
		}
	}
}

// The names of clusters go before clusters do.
func TestSummary_incidentKeepsItsClusters(t *testing.T) {
	const clusters = 13_000
	alert := newSample(9).alert(clusters)
	i, err := newLedger(cmektest.NewStore(), 1).UpdateIncident(t.Context(), "d", func(i *ledger.Incident) error {
		i.Kind, i.Opened, i.Alert = "key-unusable", noon, alert
		return nil
	})
	if err != nil || len(i.Alert.Clusters) != clusters || i.Alert.Clusters[24].Name == "" || i.Alert.Clusters[25].Name != "" || i.Alert.Clusters[25].Impact != "" {
		t.Errorf("of %d clusters %d are listed (error %v), the 25th as %+v, the 26th as %+v; want all, 25 of them with their names",
			clusters, len(i.Alert.Clusters), err, i.Alert.Clusters[24], i.Alert.Clusters[25])
	}
}

func TestMerge_atItsBounds(t *testing.T) {
	s := newSample(7)
	for _, r := range []struct {
		sentence        string
		resolved, low   int // alerts of each kind
		digits          int // of each alert
		messages, count int // what is left, and how many of them are merged into one
	}{
		{"as many alerts as the first step keeps", 0, 200, 4000, 51, 150},
		{"one more", 0, 201, 4000, 51, 151},
		{"the end of an incident is not the worst of those merged", 40, 20, 12_000, 11, 50},
	} {
		c := update(t, newLedger(cmektest.NewStore(), 1), "c-1", func(c *ledger.Cluster) {
			for n := range r.resolved + r.low {
				a := alert.Alert{ID: fmt.Sprint("a-", n), Audience: alert.Owners, Severity: alert.Low, Impact: s.hex(r.digits)}
				if n < r.resolved {
					a.Severity, a.Resolved = alert.Critical, true
				}
				c.Tell(a)
			}
		})
		i := slices.IndexFunc(c.Messages, func(m ledger.Message) bool { return m.Merged > 0 })
		if i < 0 || len(c.Messages) != r.messages || c.Messages[i].Merged != r.count || c.Messages[i].Alert.Severity != alert.Low {
			t.Errorf("%s: %d messages are left, the merged one at %d: %+v; want %d, and %d in one of severity low", r.sentence, len(c.Messages), i, c.Messages, r.messages, r.count)
		}
	}
}
