package lifecycle

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// EvidenceSchema names the shape of the record of an operation.
const EvidenceSchema = "keyturn.operation/v1"

// Evidence is the immutable record of one operation: who asked for it and why, what was read before, sent, answered and read since. It is
// in one chain with the records of the cluster's rotations: each holds the SHA-256 of the one before it.
type Evidence struct {
	Schema         string `json:"schema"`
	Number         int    `json:"number"`
	PreviousSHA256 string `json:"previous_sha256"`

	ClusterID   string           `json:"cluster_id"`
	ClusterName string           `json:"cluster_name,omitempty"`
	Operation   ledger.Operation `json:"operation"`
}

// end ends the item's open operation and files its record, in the same swap. The item keeps it without its baseline.
func end(item *ledger.Cluster, result ledger.OperationResult, why string, now time.Time) {
	o := ended(*item.Operation, result, why, now)
	record := Evidence{Schema: EvidenceSchema, ClusterID: item.ID, ClusterName: item.Cluster.Name, Operation: o}
	item.Link(now, string(o.Kind), func(number int, previous string) []byte {
		record.Number, record.PreviousSHA256 = number, previous
		data, err := json.MarshalIndent(record, "", "  ")
		if err != nil {
			// Only a time outside the years 0–9999 can do this; the chain goes on with what can be said.
			return fmt.Appendf(nil, `{"schema":%q,"number":%d,"previous_sha256":%q,"error":%q}`, EvidenceSchema, number, previous, err)
		}
		return data
	})
	o.Baseline = nil
	item.Operation = &o
}
