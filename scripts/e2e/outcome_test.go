package e2e

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// reencrypted is what rotation calls a follow-through that is done, in its alerts and its runbook.
const reencrypted cmek.Change = "re-encrypted"

// notFollowed says what is missing until every region of the clusters is wrapped under its key's newest material and
// everything about it is recorded, archived and told; "" if nothing is.
func (s *scene) notFollowed(clusters []string, messages []alert.Alert) string {
	told := told(messages)
	for _, key := range s.storeKeys(clusters) {
		where := key.Cluster + " in " + key.Region
		item, err := s.ledger.Cluster(s.t.Context(), key.ClusterID)
		if err != nil {
			return err.Error()
		}
		done, _ := item.DoneIn(key.Region)
		switch {
		case key.Behind:
			return where + " is wrapped under older key material"
		case !done.Followed || done.Version != cmek.MaterialVersion(key.Material):
			return fmt.Sprintf("%s is not recorded as done; open is %+v", where, item.Work)
		case len(item.Work) > 0 || len(item.Messages) > 0:
			return fmt.Sprintf("%s has %d pieces of open work and %d messages in its outbox", key.Cluster, len(item.Work), len(item.Messages))
		case !told[where]:
			return where + " is not reported"
		}
	}
	return ""
}

// told lists what the alerts say is re-encrypted, as "cluster in region".
func told(messages []alert.Alert) map[string]bool {
	places := map[string]bool{}
	for _, a := range messages {
		if a.Change != reencrypted {
			continue
		}
		for _, c := range a.Clusters {
			for _, region := range c.Regions {
				places[c.Name+" in "+region] = true
			}
		}
	}
	return places
}

// storeKeys is the truth about the clusters' store keys.
func (s *scene) storeKeys(clusters []string) []simulator.StoreKey {
	keys := s.world.StoreKeys()
	return slices.DeleteFunc(keys, func(k simulator.StoreKey) bool { return !slices.Contains(clusters, k.Cluster) })
}

// checkFollowed checks that exactly these clusters were rotated, each once, with whole evidence and nothing else told.
func (s *scene) checkFollowed(clusters []string, messages []alert.Alert) {
	s.t.Helper()
	s.checkPUTs(clusters)
	s.checkMessages(messages)
	keys := map[string][]simulator.StoreKey{} // by cluster id
	for _, key := range s.storeKeys(clusters) {
		keys[key.ClusterID] = append(keys[key.ClusterID], key)
	}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		s.checkEvidence(id, keys[id])
	}
}

// checkPUTs checks that one PUT was accepted for each of the clusters, and none for any other.
func (s *scene) checkPUTs(clusters []string) {
	s.t.Helper()
	for _, key := range s.storeKeys(clusters) {
		if n := key.AcceptedPUTs[key.Material]; n != 1 {
			s.t.Errorf("%s in %s was re-encrypted by %d accepted PUTs, want 1", key.Cluster, key.Region, n)
		}
	}
	var accepted []string
	for _, put := range s.world.PUTs() {
		if put.Status == http.StatusOK {
			accepted = append(accepted, put.Cluster)
		}
	}
	if slices.Sort(accepted); !slices.Equal(accepted, clusters) {
		s.t.Errorf("PUTs were accepted for %v, want one for each of %v", accepted, clusters)
	}
}

// checkMessages checks that the owners were notified of re-encryptions only, and that what came twice came in the same words.
func (s *scene) checkMessages(messages []alert.Alert) {
	s.t.Helper()
	first := map[string]string{}
	for _, a := range messages {
		if a.Change != reencrypted || a.Severity != alert.Info || a.Audience != alert.Owners {
			s.t.Errorf("besides the re-encryption this was reported: %s", a.Headline())
		}
		switch text := a.Text(); first[a.ID] {
		case "":
			first[a.ID] = text
		case text:
		default:
			s.t.Errorf("message %s came twice, first as\n%s\nthen as\n%s", a.ID, first[a.ID], text)
		}
	}
}

// checkEvidence checks that the cluster's archive holds one record for each store key, in an unbroken chain that ends where
// the ledger says.
func (s *scene) checkEvidence(clusterID string, keys []simulator.StoreKey) {
	s.t.Helper()
	item, err := s.ledger.Cluster(s.t.Context(), clusterID)
	must(s.t, err, "read ledger")
	records := s.account.archived(clusterID)
	if len(records) != len(keys) || item.Chain.Count != len(records) {
		s.t.Fatalf("cluster %s has %d records of evidence and the ledger counts %d; want %d", clusterID, len(records), item.Chain.Count, len(keys))
	}
	previous := ""
	var regions []string
	for i, data := range records {
		var e rotation.Evidence
		must(s.t, json.Unmarshal(data, &e), "read evidence")
		if e.Schema != rotation.EvidenceSchema || e.Number != i+1 || e.PreviousSHA256 != previous {
			s.t.Errorf("record %d of cluster %s (schema %q) calls itself number %d and names %q as the hash of the one before, want %q",
				i+1, clusterID, e.Schema, e.Number, e.PreviousSHA256, previous)
		}
		truth := slices.IndexFunc(keys, func(k simulator.StoreKey) bool { return k.Region == e.Region })
		if truth < 0 || e.Version != cmek.MaterialVersion(keys[truth].Material) || e.Key != keys[truth].URI {
			s.t.Errorf("record %d of cluster %s says that %s is wrapped under %s of %s; want the truth of %+v",
				i+1, clusterID, e.Region, e.Version, e.Key, keys)
		}
		if e.Trigger.Kind != "event" || e.Trigger.EventID == "" || e.Request == nil || e.Finding == "" {
			s.t.Errorf("record %d of cluster %s does not tell trigger, request and finding: %s", i+1, clusterID, data)
		}
		regions = append(regions, e.Region)
		sum := sha256.Sum256(data)
		previous = hex.EncodeToString(sum[:])
	}
	if item.Chain.Last != previous {
		s.t.Errorf("the ledger names %q as the newest record of cluster %s, want %q", item.Chain.Last, clusterID, previous)
	}
	if slices.Sort(regions); len(slices.Compact(regions)) != len(keys) {
		s.t.Errorf("cluster %s has evidence for the regions %s, want each of %d once", clusterID, strings.Join(regions, " "), len(keys))
	}
}

// checkCanary checks that of two clusters on one key, in whatever order, the second got its PUT after the first was done.
func (s *scene) checkCanary(a, b string) {
	s.t.Helper()
	var sent []simulator.PUT
	for _, put := range s.world.PUTs() {
		if put.Cluster == a || put.Cluster == b {
			sent = append(sent, put)
		}
	}
	if len(sent) != 2 {
		s.t.Errorf("%s and %s got %d PUTs, want one each", a, b, len(sent))
		return
	}
	slices.SortFunc(sent, func(x, y simulator.PUT) int { return cmp.Compare(x.Seq, y.Seq) })
	canary, err := s.ledger.Cluster(s.t.Context(), sent[0].ClusterID)
	must(s.t, err, "read ledger")
	done, _ := canary.DoneIn(sent[0].Regions[0].Region)
	if sent[1].Time.Before(done.At) {
		s.t.Errorf("%s got its PUT at %s, before the canary %s was done at %s", sent[1].Cluster, sent[1].Time, sent[0].Cluster, done.At)
	}
}
