package google

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
)

func TestManualRotation_reencryptsOnceWithEvidence(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-rotated")
	s.sweep()

	// What gcloud does: a new version, which is then made the primary one.
	s.gcloud("POST", sharedKey+"/cryptoKeyVersions", `{}`)
	s.gcloud("POST", sharedKey+":updatePrimaryVersion", `{"cryptoKeyVersionId":"2"}`)
	if selected := s.sinks(3); selected["rotation"] == 0 || selected["alerting"] == 0 {
		t.Errorf("the sinks select %v; want entries for both functions", selected)
	}
	s.untilReencrypted("payments", "checkout")
}

func TestRotationByItself_isFoundByTheSweepAlone(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-swept", "KEYTURN_SWEEP_EVERY=2s")
	s.sweep()
	if err := s.world.Rotate(ownKey); err != nil {
		t.Fatal(err)
	}
	s.forget() // no sink passes anything on
	s.untilReencrypted("books")
}

// untilReencrypted ticks until no store key is behind its KMS key and the evidence of the clusters is in the bucket, and then for a while:
// nothing may be sent twice. Each key was rotated once, to its version 2.
func (s *stand) untilReencrypted(clusters ...string) {
	s.t.Helper()
	s.until("the store keys are re-encrypted, with evidence", func() string {
		s.ticks()
		for _, key := range s.world.StoreKeys() {
			if key.Behind {
				return "the store key of " + key.Cluster
			}
		}
		for _, c := range clusters {
			if len(s.evidence(c)) == 0 {
				return "evidence of " + c
			}
		}
		return ""
	})
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(500 * time.Millisecond) {
		s.ticks()
	}
	puts := map[string]int{}
	for _, put := range s.world.PUTs() {
		puts[put.Cluster]++
	}
	for _, c := range clusters {
		if puts[c] != 1 {
			s.t.Errorf("cluster %s has %d PUTs, want one", c, puts[c])
		}
		delete(puts, c)
		records := s.evidence(c)
		if len(records) != 1 {
			s.t.Errorf("cluster %s has %d records of evidence, want one", c, len(records))
			continue
		}
		var record rotation.Evidence
		if err := json.Unmarshal(records[0], &record); err != nil || record.Schema != rotation.EvidenceSchema || record.ClusterName != c || record.Version.ID != "2" {
			s.t.Errorf("cluster %s has the record %s (%v)", c, records[0], err)
		}
	}
	if len(puts) > 0 {
		s.t.Errorf("there are PUTs of clusters whose key was not rotated: %v", puts)
	}
}

// evidence are the records of a cluster in the archive's bucket.
func (s *stand) evidence(cluster string) (records [][]byte) {
	prefix := s.project + "-" + name + "-archive/evidence"
	for object, data := range s.world.Objects() {
		if strings.HasPrefix(object, prefix) && strings.Contains(object, "/evidence/"+clusters[cluster]+"/") {
			records = append(records, data)
		}
	}
	return records
}
