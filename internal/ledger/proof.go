package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

const proofPrefix = "proof#"

// Where the records of re-encryptions and those of their proofs are in the archive, in a folder for each cluster.
const (
	EvidenceFolder = "evidence/"
	ProofsFolder   = "proofs/"
)

// Proofs are what compliance has found in the clouds' logs about a cluster's re-encryptions, with the chain of its own records. It is an
// item of its own beside [Cluster], which rotation alone writes.
type Proofs struct {
	Cluster string `json:"cluster"`
	// Chain links the records of proofs.
	Chain Chain `json:"chain,omitzero"`
	// Regions are the last re-encryption of each region, by region.
	Regions []Proof `json:"regions,omitempty"`
	Outbox

	record Record
}

// Proof is what is known of one re-encryption beside what the Cloud API said of it.
type Proof struct {
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key"`
	Version cmek.KeyVersion `json:"version"`
	DoneAt  time.Time       `json:"done_at"`
	// Record names the record that corroborates it, at At; "" while there is none. Because is why there is none.
	Record  string    `json:"record,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Because string    `json:"because,omitempty"`
	// Evidence is the name of rotation's record of the re-encryption in the archive, with the SHA-256 of its bytes; "" while it was not found.
	Evidence       string `json:"evidence,omitempty"`
	EvidenceSHA256 string `json:"evidence_sha256,omitempty"`
	// Use is what corroborates it, Source the log that has it, and OtherCauses what else the use may come from.
	Use         cmek.RecordedUse `json:"use,omitzero"`
	Source      string           `json:"source,omitempty"`
	OtherCauses []string         `json:"other_causes,omitempty"`
	// ReadTo is up to when the log was read, and Event the last use of the key at that time.
	ReadTo time.Time `json:"read_to,omitzero"`
	Event  string    `json:"event,omitempty"`
	// OldUse is a use of an older version after DoneAt that people were notified of; zero if there was none.
	OldUse cmek.RecordedUse `json:"old_use,omitzero"`
}

// Of reports whether the proof is about the re-encryption.
func (p Proof) Of(d Done) bool {
	return p.Region == d.Region && p.Key == d.Key && p.Version == d.Version && p.DoneAt.Equal(d.At)
}

// Proofs reads the item of a cluster; one that does not exist is empty.
func (l *Ledger) Proofs(ctx context.Context, cluster string) (*Proofs, error) {
	r, err := l.store.Get(ctx, kindCompliance, proofPrefix+cluster)
	if err != nil {
		return nil, fmt.Errorf("read proofs of cluster %s: %w", cluster, err)
	}
	p := &Proofs{Cluster: cluster, record: r}
	return p, decode(r, p)
}

// SaveProofs swaps the item in. ErrConflict means that it was changed since it was read.
func (l *Ledger) SaveProofs(ctx context.Context, p *Proofs) (err error) {
	r := p.record
	r.Kind, r.ID = kindCompliance, proofPrefix+p.Cluster
	if err := fit(&r, p, nil, func() []part { return []part{partOf("regions", p.Regions), partOf("outbox", p.Messages)} }); err != nil {
		return err
	}
	p.record, err = l.put(ctx, r)
	return err
}

// Link files a record of a proof as the next of the chain, as [Cluster.Link] does, and returns its name.
func (p *Proofs) Link(at time.Time, region string, write func(number int, previous string) []byte) (name string) {
	name, data := p.Chain.link(ProofsFolder+p.Cluster, at, region, write)
	p.File(name, data)
	return name
}

// In is the proof about the region, zero if there is none.
func (p *Proofs) In(region string) Proof {
	if i := slices.IndexFunc(p.Regions, func(old Proof) bool { return old.Region == region }); i >= 0 {
		return p.Regions[i]
	}
	return Proof{}
}

// Set replaces what is known about the proof's region.
func (p *Proofs) Set(is Proof) {
	p.Regions = slices.DeleteFunc(p.Regions, func(old Proof) bool { return old.Region == is.Region })
	p.Regions = append(p.Regions, is)
	slices.SortFunc(p.Regions, func(a, b Proof) int { return cmp.Compare(a.Region, b.Region) })
}
