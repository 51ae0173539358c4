package rotation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// records returns the evidence in the outbox, by name in order.
func records(item *ledger.Cluster) (names []string, data [][]byte) {
	for _, m := range item.Messages {
		if m.Evidence != nil {
			names, data = append(names, m.ID), append(data, m.Evidence)
		}
	}
	return names, data
}

func TestEvidence_recordsTheWholeFollowThrough(t *testing.T) {
	onBothClouds(t, testEvidence_recordsTheWholeFollowThrough)
}

func testEvidence_recordsTheWholeFollowThrough(t *testing.T) {
	w := newWorld(accepted, movedAt, confirmed, sighting(ledger.Sighting{Region: cmek.Rotating, Key: cmek.Enabled}),
		work(func(w *ledger.Work) { w.RotatedAt = ago(61 * time.Minute) }))
	work := w.item.Work[0]
	names, data := records(w.transition().item)
	if want := []string{"evidence/c-1/20261120T120000Z-000001-us-east-1.json"}; !reflect.DeepEqual(names, want) {
		t.Fatalf("the archive gets %q, want %q", names, want)
	}
	var got Evidence
	if err := json.Unmarshal(data[0], &got); err != nil {
		t.Fatalf("the record is not JSON: %v\n%s", err, data[0])
	}
	request := *work.Request
	request.Timeline = sighted(request.Timeline, ledger.Sighting{At: noon, Region: cmek.Enabled, Key: cmek.Enabled, UpdatedAt: after})
	request.Evidence = ledger.Evidence{Kind: evidenceMoved, At: noon}
	want := Evidence{
		Schema: EvidenceSchema, Number: 1, ClusterID: "c-1", ClusterName: "orders", Region: east, Key: eastKey,
		Version: v2, PreviousVersion: v1, RotatedAt: work.RotatedAt, Trigger: work.Trigger, OpenedAt: work.Since,
		Request: &request, DoneAt: noon, Finding: "updated_at moved",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the record reads\n%s\nwant the content of %+v", data[0], want)
	}
}

func TestEvidence_noPreviousVersionOfAnotherKey(t *testing.T) {
	onBothClouds(t, testEvidence_noPreviousVersionOfAnotherKey)
}

func testEvidence_noPreviousVersionOfAnotherKey(t *testing.T) {
	_, data := records(newWorld(accepted, movedAt, confirmed, doneWith(newKey, v1)).transition().item)
	var got Evidence
	if err := json.Unmarshal(data[0], &got); err != nil {
		t.Fatalf("decode record: %v", err)
	}
	if !got.PreviousVersion.IsZero() {
		t.Errorf("the record takes %s of another key for the version before", got.PreviousVersion)
	}
}

func TestEvidence_recordsFormAChain(t *testing.T) { onBothClouds(t, testEvidence_recordsFormAChain) }

func testEvidence_recordsFormAChain(t *testing.T) {
	w := newWorld(accepted, movedAt, confirmed, alsoWest(westKey))
	second := w.item.Work[0]
	second.Region, second.Key = west, westKey
	w.item.Work = append(w.item.Work, second)
	w.facts.CMEK.RegionInfos[1].KeyInfos[0].UpdatedAt = after
	item := w.transition().item

	third := newWorld(accepted, movedAt, confirmed)
	third.item.Chain = item.Chain
	third.item.Messages = item.Messages
	item = third.transition().item

	_, data := records(item)
	if len(data) != 3 || item.Chain.Count != 3 {
		t.Fatalf("three follow-throughs filed %d records and count %d", len(data), item.Chain.Count)
	}
	previous := ""
	for i, d := range data {
		var got Evidence
		if err := json.Unmarshal(d, &got); err != nil {
			t.Fatalf("record %d: %v", i+1, err)
		}
		if got.Number != i+1 || got.PreviousSHA256 != previous {
			t.Errorf("record %d has number %d and links to %q, want the SHA-256 of the record before, %q", i+1, got.Number, got.PreviousSHA256, previous)
		}
		sum := sha256.Sum256(d)
		previous = hex.EncodeToString(sum[:])
	}
	if item.Chain.Last != previous {
		t.Errorf("the chain's head is %q, want the SHA-256 of the newest record, %q", item.Chain.Last, previous)
	}
}

func TestEvidence_isTheSameBytesAfterAConflict(t *testing.T) {
	onBothClouds(t, testEvidence_isTheSameBytesAfterAConflict)
}

func testEvidence_isTheSameBytesAfterAConflict(t *testing.T) {
	outbox := func() string {
		data, err := json.Marshal(newWorld(accepted, movedAt, confirmed).transition().item.Outbox)
		if err != nil {
			t.Fatalf("encode outbox: %v", err)
		}
		return string(data)
	}
	if first, again := outbox(), outbox(); first != again {
		t.Errorf("after a conflict the outbox is\n%s\nwas\n%s", again, first)
	}
}

func TestEvidence_isFiledForOurOwnPUTsOnly(t *testing.T) {
	onBothClouds(t, testEvidence_isFiledForOurOwnPUTsOnly)
}

func testEvidence_isFiledForOurOwnPUTsOnly(t *testing.T) {
	for sentence, changes := range map[string][]given{
		"an adopted region": {neverDone, rotated(5 * time.Hour), movedAt},
		"dropped work":      {due, usingKey(newKey)},
		"a failed PUT":      {accepted, failedBefore, regionStatus(cmek.RotateFailed)},
		"a PUT read once":   {accepted, movedAt},
		"a PUT in progress": {accepted, regionStatus(cmek.Rotating)},
	} {
		if names, _ := records(newWorld(changes...).transition().item); len(names) > 0 {
			t.Errorf("%s filed %q, want no record", sentence, names)
		}
	}
}
