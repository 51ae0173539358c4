package rotation

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// EvidenceSchema names the shape of an evidence record.
const EvidenceSchema = "keyturn.evidence/v1"

// Evidence is the immutable record of one follow-through: what turned the key, what we sent, what was answered, what was
// seen. Records of a cluster form a chain: each holds the SHA-256 of the one before it.
type Evidence struct {
	Schema string `json:"schema"`
	// Number counts the cluster's records from 1; PreviousSHA256 is the hash of the bytes of the one before, "" in the first.
	Number         int    `json:"number"`
	PreviousSHA256 string `json:"previous_sha256"`

	ClusterID   string          `json:"cluster_id"`
	ClusterName string          `json:"cluster_name"`
	Region      string          `json:"region"`
	Key         cmek.KeyURI     `json:"key"`
	Version     cmek.KeyVersion `json:"key_version"`
	// PreviousVersion is the version that the store key was known to be wrapped under before; zero if none was known.
	PreviousVersion cmek.KeyVersion `json:"previous_key_version,omitzero"`
	// RotatedAt is when the KMS made the version current; zero if it does not tell.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// Order is the ID of the operator's order that the request carried out, and From the key spec that it moved the region from; neither if
	// the key was rotated.
	Order    string          `json:"order,omitempty"`
	From     cmek.KeySpec    `json:"from,omitzero"`
	Trigger  ledger.Trigger  `json:"trigger"`
	OpenedAt time.Time       `json:"opened_at"`
	Request  *ledger.Request `json:"request"`
	DoneAt   time.Time       `json:"done_at"`
	// Finding says how we know that the store key was re-encrypted. The Cloud API has no operation to ask and shows no key
	// version: "updated_at moved" and "operation seen" are observations, "accepted, no trace …" is Cockroach Labs' word only.
	Finding string `json:"finding"`
}

// file puts the follow-through's record into the outbox and moves the cluster's chain on.
func file(item *ledger.Cluster, w ledger.Work, d ledger.Done, previous ledger.Done) {
	record := Evidence{
		Schema: EvidenceSchema, ClusterID: item.ID, ClusterName: item.Cluster.Name, Region: w.Region, Key: w.Key, Version: w.Version,
		Order: w.Order, From: w.From,
		RotatedAt: w.RotatedAt, Trigger: w.Trigger, OpenedAt: w.Since, Request: w.Request, DoneAt: d.At, Finding: d.Evidence,
	}
	if previous.Key.SameKey(w.Key) {
		record.PreviousVersion = previous.Version
	}
	item.Link(d.At, w.Region, func(number int, before string) []byte {
		record.Number, record.PreviousSHA256 = number, before
		data, err := json.MarshalIndent(record, "", "  ")
		if err != nil {
			// Only a time outside the years 0–9999 can do this; the chain goes on with what can be said.
			return fmt.Appendf(nil, `{"schema":%q,"number":%d,"previous_sha256":%q,"error":%q}`, EvidenceSchema, number, before, err)
		}
		return data
	})
}
