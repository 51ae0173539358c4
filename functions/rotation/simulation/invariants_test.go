package simulation_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// memory is what a schedule knows of its own deeds.
type memory struct {
	start      time.Time
	eventsSeen int
	putsSeen   int
	// rotated holds when rotations of each key were begun; failures counts the operations of a cluster that fail.
	rotated  map[string][]time.Time
	failures map[string]int
	// disabled holds the keys that cannot be used, since when; deleted the clusters that are gone.
	disabled          map[string]time.Time
	deleted           map[string]bool
	paused, observing time.Time
	// off holds the clusters with the label keyturn=off, since when; forgotten when each cluster was forgotten.
	off       map[string]time.Time
	forgotten map[string][]time.Time
	// holds are what an operator held, until it expired or was released.
	holds cmek.Holds
	// unusable and hidden are when each key was disabled and each cluster hidden.
	unusable, hidden spans
	// setBack counts how often an older version of the key became its primary again; versions are the disabled ones, by their names.
	setBack map[string]int
	// byHand is when a person re-encrypted each cluster.
	byHand     map[string][]time.Time
	versions   map[string]bool
	alertsSeen int
	// flaps counts how often the incident that began most often did.
	flaps   int
	flapped string
	// moved: a person moved payments to another key. ordered are the keys that it was ordered to.
	moved   bool
	ordered map[cmek.KeyURI]bool
	// pinned holds the clusters that are pinned to the alias, and how; alias is what it named, the last one still.
	pinned map[string]pinned
	alias  []aliasSpan
	// keys are the keys of the regions, by cluster and region, a minute ago at most; followedMoves are PUTs that followed the alias.
	keys          map[string]cmek.KeyURI
	followedMoves int
	// puts counts our accepted PUTs for a region under one material, but for those that were meant for the material before.
	puts map[string]int
}

func (m *memory) begin(_ *schedule, start time.Time) {
	*m = memory{start: start, rotated: map[string][]time.Time{}, failures: map[string]int{}, disabled: map[string]time.Time{},
		deleted: map[string]bool{}, puts: map[string]int{}, off: map[string]time.Time{}, forgotten: map[string][]time.Time{},
		unusable: spans{}, hidden: spans{}, setBack: map[string]int{}, byHand: map[string][]time.Time{}, versions: map[string]bool{},
		ordered: map[cmek.KeyURI]bool{}, pinned: map[string]pinned{}, alias: []aliasSpan{{key: paymentsKey, from: start.Add(-24 * time.Hour)}}, keys: map[string]cmek.KeyURI{}}
}

// spans are times during which something was so, by what it was so with. The last one may have no end yet.
type spans map[string][]span

type span struct{ from, to time.Time }

func (s spans) begin(of string) {
	if all := s[of]; len(all) > 0 && all[len(all)-1].to.IsZero() {
		return
	}
	s[of] = append(s[of], span{from: time.Now()})
}

func (s spans) end(of string) {
	if all := s[of]; len(all) > 0 && all[len(all)-1].to.IsZero() {
		all[len(all)-1].to = time.Now()
	}
}

// at is the span that the time lies in, if it began so long before that every read must have shown it.
func (s spans) at(of string, at time.Time) (span, bool) {
	for _, x := range s[of] {
		if at.Sub(x.from) > seenBy && (x.to.IsZero() || at.Before(x.to)) {
			return x, true
		}
	}
	return span{}, false
}

// seenBy is when every read shows what has changed: the KMS takes up to 4 minutes, the Cloud API's stale answers less.
const seenBy = 6 * time.Minute

// inFlight is how long a request may be under way after a decision: delays, and the client's own patience.
const inFlight = time.Minute

// checkNow checks what must hold at any time.
func (s *schedule) checkNow() {
	all := s.world.PUTs()
	for _, put := range all[s.memory.putsSeen:] {
		if slices.Contains(s.all, put.ClusterID) {
			s.puts++
		}
		switch {
		case put.Caller == s.account:
			s.checkPUT(put)
		case put.Caller != human && slices.Contains(s.all, put.ClusterID):
			s.t.Errorf("seed %d: a PUT to %s, which is %s's, was sent by %s", s.seed, put.Cluster, s.name, put.Caller)
		}
	}
	s.memory.putsSeen = len(all)
	alerts := s.notifier.Alerts()
	for _, a := range alerts[s.memory.alertsSeen:] {
		if a.Resolved {
			s.checkResolved(a)
		}
	}
	s.memory.alertsSeen = len(alerts)
	items := s.items()
	for _, key := range s.storeKeys() {
		c := items[key.ClusterID]
		if c == nil || !key.Behind || s.memory.deleted[key.ClusterID] {
			continue
		}
		done, ok := c.DoneIn(key.Region)
		if !ok || done.Key != key.URI {
			continue
		}
		// Nothing done is behind: no rotation that its PUT did not see.
		at := done.Sent
		if at.IsZero() {
			at = done.At
		}
		if last := s.lastRotation(key.URI); at.After(last.Add(6 * time.Minute)) {
			s.t.Errorf("seed %d: %s/%s is done (%s at %s) and behind its key, which rotated at %s", s.seed, key.Cluster, key.Region, done.Evidence, clock(at), clock(last))
		}
	}
}

// checkResolved checks that no incident is resolved while its condition is still there.
func (s *schedule) checkResolved(a alert.Alert) {
	kind, of, _ := strings.Cut(a.DedupKey, "/")
	switch kind {
	case "key-unusable":
		x, still := s.memory.unusable.at(s.exact(of), a.Time)
		needed := slices.ContainsFunc(s.storeKeys(), func(k simulator.StoreKey) bool {
			return string(k.URI) == of && !s.memory.deleted[k.ClusterID] && len(s.memory.forgotten[k.ClusterID]) == 0
		})
		if still && needed {
			s.t.Errorf("seed %d: %q is resolved at %s; the key is disabled since %s", s.seed, a.Summary, clock(a.Time), clock(x.from))
		}
	case "cluster-unshown":
		x, still := s.memory.hidden.at(of, a.Time)
		forgotten := slices.ContainsFunc(s.memory.forgotten[of], func(at time.Time) bool { return at.After(x.from) })
		if still && !forgotten && !s.memory.deleted[of] {
			s.t.Errorf("seed %d: %q is resolved at %s; the cluster is hidden since %s", s.seed, a.Summary, clock(a.Time), clock(x.from))
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// storeKeys are those of the cloud's clusters.
func (s *schedule) storeKeys() []simulator.StoreKey {
	return slices.DeleteFunc(s.world.StoreKeys(), func(k simulator.StoreKey) bool { return !slices.Contains(s.all, k.ClusterID) })
}

func (s *schedule) lastRotation(uri cmek.KeyURI) (last time.Time) {
	if all := s.memory.rotated[s.identity(string(uri))]; len(all) > 0 {
		return all[len(all)-1]
	}
	return s.memory.start.Add(-time.Hour)
}

// checkPUT checks one PUT of ours.
func (s *schedule) checkPUT(put simulator.PUT) {
	wrong := func(format string, args ...any) {
		s.t.Errorf("seed %d: PUT to %s at %s (%s): %s", s.seed, put.Cluster, clock(put.Time), put.Outcome, fmt.Sprintf(format, args...))
	}
	since := func(begin time.Time) bool { return !begin.IsZero() && put.Time.Sub(begin) > inFlight }
	switch {
	case !slices.Contains(s.all, put.ClusterID):
		wrong("the cluster is another installation's")
	case put.Cluster == "archive":
		wrong("its CMEK is revoked")
	case since(s.memory.paused):
		wrong("paused since %s", clock(s.memory.paused))
	case since(s.memory.observing) && !s.isOrdered(put):
		wrong("observing since %s", clock(s.memory.observing))
	case since(s.memory.off[put.ClusterID]):
		wrong("labeled keyturn=off since %s", clock(s.memory.off[put.ClusterID]))
	case s.memory.deleted[put.ClusterID] && put.Outcome == "accepted":
		wrong("the cluster is deleted")
	}
	for _, region := range put.Regions {
		s.checkMove(put, region.Region, region.URI, wrong)
		if disabled := s.memory.disabled[s.exact(string(region.URI))]; since(disabled) {
			wrong("key %s is disabled since %s", region.URI, clock(disabled))
		}
		for _, h := range s.memory.holds {
			if h.On(put.ClusterID, region.URI) && since(h.Since) && put.Time.Before(h.Until) {
				wrong("%s is on hold since %s", h.Subject(), clock(h.Since))
			}
		}
		if region.Material == "" {
			continue
		}
		// One that left before the key's last rotation and arrived after it was meant for the version before.
		if last := s.lastRotation(region.URI); put.Time.Sub(last) < 3*time.Minute && put.Time.After(last) {
			continue
		}
		// A version that became primary once more is to be followed once more.
		key := s.identity(string(region.URI))
		id := fmt.Sprint(put.ClusterID, "/", region.Region, "/", key, "/", region.Material, "/", s.memory.setBack[key])
		s.memory.puts[id]++
		most := 1 + s.memory.failures[put.ClusterID]
		if put.ClusterID == payments && s.memory.ordered[region.URI] && (region.URI == paymentsKey || s.memory.moved) {
			most++ // it came back to a key that it had been re-encrypted under before, by an order or by a person
		}
		if _, is := s.memory.pinned[put.ClusterID]; is {
			most += s.memory.movesTo(region.URI)
		}
		if n := s.memory.puts[id]; n > most {
			if lost := s.undecidable(put.ClusterID); n <= most+lost {
				s.redundant++
				continue
			}
			wrong("accepted for the %d. time under %.12s…, want at most %d", n, region.Material, most)
		}
	}
}

// isOrdered reports whether a PUT is what somebody ordered, which is sent in observe mode, too.
func (s *schedule) isOrdered(put simulator.PUT) bool {
	return put.ClusterID == payments && len(put.Regions) == 1 && s.memory.ordered[put.Regions[0].URI]
}

// undecidable is the one case in which a second PUT cannot be avoided: the outcome of a PUT to the cluster was not learned,
// and nothing that can be read shows it. It returns how often that was so.
func (s *schedule) undecidable(clusterID string) int {
	if s.settings[simulator.UpdatedAt] == "stays" && s.settings[simulator.SameURIKeyInfo] == "update" {
		return s.trouble.lossesOf(clusterID)
	}
	return 0
}

// items are the ledger's items of the clusters that are not gone. Those that nobody wrote since they were last asked for are not
// decoded again.
func (s *schedule) items() map[string]*ledger.Cluster {
	end := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	records, err := s.store.Due(context.Background(), "rotation", end, 1000)
	if err != nil {
		s.t.Fatalf("seed %d: %v", s.seed, err)
	}
	items := map[string]*ledger.Cluster{}
	for _, r := range records {
		id, is := strings.CutPrefix(r.ID, "cluster#")
		if !is {
			continue
		}
		if s.decoded[id] != r.Version {
			if s.cached[id], err = ledger.New(s.store, s.rand).Cluster(context.Background(), id); err != nil {
				s.t.Fatalf("seed %d: %v", s.seed, err)
			}
			s.decoded[id] = r.Version
		}
		if c := s.cached[id]; !c.Gone {
			items[id] = c
		}
	}
	return items
}

// mayBlock are the reasons for which work may need a person (design, Follow-through): the rest must have ended by itself.
var mayBlock = []string{"failed twice", "not by keyturn's request", "left no trace", "different key specs", "hands off", "operation status stays CRDB_CMEK_OPERATION_FAILED", "operation status is CRDB_CMEK_OPERATION_FAILED", "no key spec is ENABLED", "stopped:",
	"and the order is to move it from", "and the order is for one"}

// operate is the person on call, four hours after the trouble is over: what is blocked was reported, and is retried.
func (s *schedule) operate() error {
	reported := map[string]bool{}
	for _, a := range s.notifier.Alerts() {
		reported[a.DedupKey] = true
	}
	f := s.process(0)
	for _, c := range s.sorted() {
		for _, w := range c.Work {
			if w.Order != "" && w.State == ledger.Blocked { // nothing that comes later makes it right
				if _, _, err := f.Ledger.CancelOrders(context.Background(), c.ID, nil, time.Now(), "on-call"); err != nil {
					return err
				}
			}
			allowed := slices.ContainsFunc(mayBlock, func(reason string) bool { return strings.Contains(w.Reason, reason) })
			if !allowed {
				s.t.Errorf("seed %d: work of %s/%s does not end by itself: %s %s", s.seed, c.Cluster.Name, w.Region, w.State, w.Reason)
			}
			if w.State == ledger.Blocked && !reported["held/"+c.ID] && !reported["order-blocked/"+c.ID+"/"+w.Region] && !reported["rotate-failed/"+c.ID] {
				s.t.Errorf("seed %d: the work of %s is blocked (%s) and nobody was notified", s.seed, c.Cluster.Name, w.Reason)
			}
		}
		if c.Cluster.Name == "archive" {
			continue
		}
		if _, err := f.Retry(context.Background(), c.ID, false); err != nil {
			return err
		}
	}
	return nil
}

func (s *schedule) sorted() (list []*ledger.Cluster) {
	for _, c := range s.items() {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *ledger.Cluster) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// checkEnd checks that in the end everything is re-encrypted, nothing is open, and the evidence is whole.
func (s *schedule) checkEnd() {
	for _, key := range s.storeKeys() {
		if key.Behind && key.Cluster != "archive" && !s.memory.deleted[key.ClusterID] && !s.unseen(key) {
			s.t.Errorf("seed %d: the store key of %s/%s is behind its key", s.seed, key.Cluster, key.Region)
		}
	}
	for _, c := range s.sorted() {
		if !slices.Contains(s.all, c.ID) {
			s.t.Errorf("seed %d: the ledger of %s has an item of %s", s.seed, s.name, c.Cluster.Name)
		}
		s.checkItem(c)
	}
	s.checkPins()
	s.checkAlerts()
}

// unseen reports whether nothing that can be read may show that a person re-encrypted the store key under a version that was set back
// then.
func (s *schedule) unseen(key simulator.StoreKey) bool {
	if s.memory.setBack[s.identity(string(key.URI))] == 0 {
		return false
	}
	done, _ := s.items()[key.ClusterID].DoneIn(key.Region)
	shown := s.settings[simulator.UpdatedAt] == "moves" && s.settings[simulator.ClockOffset] == "0s"
	return slices.ContainsFunc(s.memory.byHand[key.ClusterID], func(at time.Time) bool { return !shown || at.Before(done.At.Add(10*time.Minute)) })
}

func (s *schedule) checkItem(c *ledger.Cluster) {
	revoked := c.Cluster.Name == "archive" || slices.ContainsFunc(c.Work, func(w ledger.Work) bool {
		return strings.Contains(w.Reason, "operation status stays CRDB_CMEK_OPERATION_FAILED") // nothing but Cockroach Labs ends that
	})
	for _, w := range c.Work {
		if !revoked {
			s.t.Errorf("seed %d: work of %s/%s is still open: %s %s", s.seed, c.Cluster.Name, w.Region, w.State, w.Reason)
		}
	}
	failing := c.Cluster.OperationStatus == cmek.CMEKOperationFailed ||
		slices.ContainsFunc(c.CMEK.RegionInfos, func(r cmek.RegionInfo) bool { return r.Status.Failed() })
	for _, a := range c.Alarms {
		theirs := failing && strings.HasPrefix(a.Key, "rotate-failed/")
		if !revoked && !theirs && !s.staysOpen(a.Key) {
			s.t.Errorf("seed %d: an incident of %s is still open: %s", s.seed, c.Cluster.Name, a.Alert.Summary)
		}
	}
	if len(c.Messages) > 0 {
		s.t.Errorf("seed %d: %d messages of %s were not delivered", s.seed, len(c.Messages), c.Cluster.Name)
	}
	if s.memory.deleted[c.ID] {
		s.t.Errorf("seed %d: %s is deleted and still in the inventory", s.seed, c.Cluster.Name)
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

// mostFlaps is how often an incident may begin in one schedule.
const mostFlaps = 6

// checkAlerts checks that no incident flaps, that each condition was reported once, and its end once; repeats of one message have one ID.
func (s *schedule) checkAlerts() {
	open := map[string]alert.Alert{}
	begun := map[string]int{}
	sent := map[string]bool{}
	for _, a := range s.notifier.Alerts() {
		if *oneSeed >= 0 {
			s.t.Log("ALERT", clock(a.Time), a.ID, a.Resolved, a.Summary)
		}
		if sent[a.ID] {
			continue
		}
		sent[a.ID] = true
		before, is := open[a.DedupKey]
		switch {
		case a.Resolved && !is:
			s.t.Errorf("seed %d: the end of %q was reported without its beginning", s.seed, a.Summary)
		case a.Resolved:
			delete(open, a.DedupKey)
		case is && before.Summary == a.Summary && before.Severity == a.Severity && before.Deadline.Equal(a.Deadline):
			s.t.Errorf("seed %d: reported twice: %q", s.seed, a.Summary)
		default:
			open[a.DedupKey] = a
			if is {
				continue
			}
			if begun[a.DedupKey]++; begun[a.DedupKey] > s.memory.flaps {
				s.memory.flaps, s.memory.flapped = begun[a.DedupKey], a.DedupKey
			}
		}
	}
	if s.memory.flaps > mostFlaps {
		s.t.Errorf("seed %d: incident %s began %d times, want at most %d", s.seed, s.memory.flapped, s.memory.flaps, mostFlaps)
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
