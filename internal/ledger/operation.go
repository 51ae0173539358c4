package ledger

import (
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// LongestOperation is the longest operation at Cockroach Labs that is allowed for: the Terraform provider gives up after it, and there is
// no other known bound. Whatever a request did shows in the Cloud API by then.
const LongestOperation = 2 * time.Hour

// ClaimTime is how long a worker's claim to send a PUT keeps others from the cluster: after it, nothing leaves for the claim any more.
const ClaimTime = 40 * time.Second

// OperationKind is what an [Operation] asks for.
type OperationKind string

// The kinds.
const (
	OperationEnable    OperationKind = "enable"
	OperationAddRegion OperationKind = "add-region"
	OperationRevoke    OperationKind = "revoke"
)

// OperationResult is how an operation ended.
type OperationResult string

// The results.
const (
	// OperationDone: reads show what was asked for.
	OperationDone OperationResult = "done"
	// OperationFailed: the API accepted it, and reads show a failure.
	OperationFailed OperationResult = "failed"
	// OperationRefused: the API refused it, and reads show no trace of it.
	OperationRefused OperationResult = "refused"
	// OperationLost: its outcome was unknown, and it left no trace.
	OperationLost OperationResult = "no trace"
)

// Operation is a write to the Cloud API that an operator's command sends beside the PUTs of rotations. It stands in the cluster's item,
// where the swap that claims a PUT sees it, and the other way round: the two never run at once. It is on record before the first request
// leaves. A request of unknown outcome is resolved by reading and never sent again.
type Operation struct {
	Kind OperationKind `json:"kind"`
	By   string        `json:"by"`
	// Reason is why, as the operator said it; "" for none.
	Reason string `json:"reason,omitempty"`
	// Waived are the hazards that the operator took, by name, each with the reason.
	Waived map[string]string `json:"waived,omitempty"`
	// Specs are the keys that are sent, and Nodes the node counts of the regions that are new to the cluster.
	Specs []cmek.RegionSpec `json:"specs,omitempty"`
	Nodes map[string]int    `json:"nodes,omitempty"`
	// Since is when it was first to leave, Sent when it was last: requests that were refused because policies had not spread are sent
	// again. Attempts counts them all.
	Since    time.Time `json:"since"`
	Sent     time.Time `json:"sent"`
	Attempts int       `json:"attempts"`
	// Baseline is what was read before the last request; nil once it has ended.
	Baseline *OperationBaseline `json:"baseline,omitempty"`
	// Answer is nil as long as none is on record: the request may be under way, or whoever sent it died.
	Answer   *cmek.Answer `json:"answer,omitempty"`
	Answered time.Time    `json:"answered,omitzero"`
	// Timeline is what was read since, without repeats, the newest last.
	Timeline []OperationSighting `json:"timeline,omitempty"`
	// Evidence is the first trace of the request since the baseline, Final the state of rest that the last reads show.
	Evidence Evidence `json:"evidence,omitzero"`
	Final    Final    `json:"final,omitzero"`
	// Ended is when and Result how it ended, Why says more to people.
	Ended  time.Time       `json:"ended,omitzero"`
	Result OperationResult `json:"result,omitempty"`
	Why    string          `json:"why,omitempty"`
}

// OperationBaseline is what a cluster showed just before a request. Only what differs from it can be a trace of the request.
type OperationBaseline struct {
	ReadAt  time.Time        `json:"read_at"`
	Regions []cmek.Region    `json:"regions"`
	CMEK    cmek.ClusterInfo `json:"cmek"`
	// Operation is the cluster's operation status.
	Operation string `json:"operation,omitempty"`
}

// OperationSighting is what one read showed.
type OperationSighting struct {
	At time.Time `json:"at"`
	// State and Operation are the cluster's state and operation status.
	State     string `json:"state,omitempty"`
	Operation string `json:"operation,omitempty"`
	// CMEK is the cluster's status, Regions that of each region by name.
	CMEK    cmek.Status            `json:"cmek,omitempty"`
	Regions map[string]cmek.Status `json:"regions,omitempty"`
}

// Open reports whether there is an operation whose end is not on record.
func (o *Operation) Open() bool { return o != nil && o.Ended.IsZero() }

// RefusedOperationKept is how long an operation whose last request was refused keeps others from the cluster, for the command that sends it
// again.
const RefusedOperationKept = 3 * time.Minute

// Refused reports whether the last request was refused, so that nothing is on its way.
func (o *Operation) Refused() bool { return o.Answer != nil && o.Answer.Outcome == cmek.Refused }

// Excludes reports whether the operation keeps other requests from the cluster: it is open, and what its last request did may not show
// yet. After [LongestOperation] only what the Cloud API shows counts, so that a command nobody runs again holds up nothing for ever.
func (o *Operation) Excludes(now time.Time) bool {
	switch {
	case !o.Open():
		return false
	case o.Refused():
		return now.Before(o.Answered.Add(RefusedOperationKept))
	}
	return now.Before(o.Sent.Add(LongestOperation))
}

// Claimed reports whether a worker may be about to send a PUT for the work.
func (w Work) Claimed(now time.Time) bool {
	return w.Claim != nil && now.Before(w.Claim.Intent.Add(ClaimTime))
}

// Sending returns the region of a PUT that is under way, may be, or is about to leave; "" if there is none.
func (c *Cluster) Sending(now time.Time) (region string) {
	for _, w := range c.Work {
		if w.State == Requested || w.Claimed(now) {
			return w.Region
		}
	}
	return ""
}

// shortenOperation leaves of an operation that has ended what people ask for. The rest is in its evidence.
func (c *Cluster) shortenOperation() {
	if c.Operation == nil || c.Operation.Open() {
		return
	}
	o := *c.Operation
	o.Timeline, o.Baseline = nil, nil
	c.Operation = &o
}
