package report

import (
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
)

// Run is one run of the checks, as it is in memory.
type Run struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Population says of all clusters that the run was about whether they were checked.
	Population Population       `json:"population"`
	Findings   []checks.Finding `json:"findings"`
	Timelines  []Timeline       `json:"timelines,omitempty"`
	Proofs     []Proof          `json:"proofs,omitempty"`
	// SinceUnread is why it is not known since when the findings stand; "" if it is.
	SinceUnread string `json:"since_unread,omitempty"`
}

// Population accounts for every cluster: Listed = Checked + len(OutOfScope) + len(Unread) + UnreadMore + Unreached.
type Population struct {
	Listed     int       `json:"listed"`
	Checked    int       `json:"checked"`
	OutOfScope []Cluster `json:"out_of_scope,omitempty"`
	// Unread are clusters that could not be read, or that the ledger knows and the Cloud API does not list. UnreadMore counts further ones,
	// which are named by their findings only.
	Unread     []Cluster `json:"unread,omitempty"`
	UnreadMore int       `json:"unread_more,omitempty"`
	// Unreached counts the clusters that a run had not come to when it was given up.
	Unreached int `json:"unreached,omitempty"`
}

// Cluster is a cluster that was not checked, and why.
type Cluster struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
}

// Missing counts the clusters that were not read.
func (p Population) Missing() int { return len(p.Unread) + p.UnreadMore + p.Unreached }

// ChangeKind is what became of a finding since the run before.
type ChangeKind string

// The kinds. A failure that nobody accepts is Failed when it begins, Accepted once an exception accepts it, and Recovered once it has
// passed or has no meaning any more. Unanswered is the second run in a row without an answer, and Answered the first with one after
// that: neither says that anything has failed or recovered.
const (
	Same       ChangeKind = ""
	Failed     ChangeKind = "failed"
	Accepted   ChangeKind = "accepted"
	Recovered  ChangeKind = "recovered"
	Unanswered ChangeKind = "unanswered"
	Answered   ChangeKind = "answered"
)
