package cmek

import (
	"slices"
	"time"
)

// Severity orders alerts by how soon a person must act.
type Severity string

// Severities, most urgent first. Critical and High page somebody.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Audience is who an alert is for: those who own the clusters and keys, or those who run keyturn.
type Audience string

// The two audiences; each has a topic of its own.
const (
	Owners     Audience = "alerts"
	Operations Audience = "operations"
)

// AffectedCluster is a cluster within an alert's blast radius.
type AffectedCluster struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Regions []string `json:"regions,omitempty"`
	// Harm says in a few words what breaks there, and by when; "" if the alert's consequence says all there is to say.
	Harm string `json:"harm,omitempty"`
}

// Alert tells people about a danger or a happening. Its JSON is the payload of every channel; a repeat of an alert has
// the same bytes.
type Alert struct {
	// ID names this very message; a repeated delivery has the same ID.
	ID string `json:"id"`
	// DedupKey names the incident: alerts of one incident share it, and so does its resolution.
	DedupKey string   `json:"dedup_key"`
	Audience Audience `json:"audience"`
	Severity Severity `json:"severity"`
	// Resolved is true for the message that ends the incident.
	Resolved bool `json:"resolved,omitempty"`
	// Change names what happened, in the words of the runbook (for example "rotated", "rotate failed", "key unusable").
	Change Change `json:"change"`
	// Summary is one line that makes sense alone.
	Summary string `json:"summary"`
	// Consequence says what breaks, and when; WayBack says what to do, one step a line, with the real ids.
	Consequence string            `json:"consequence,omitempty"`
	WayBack     []string          `json:"way_back,omitempty"`
	Key         KeyURI            `json:"key,omitempty"`
	Clusters    []AffectedCluster `json:"clusters,omitempty"`
	// ClusterCount is the number of clusters concerned if Clusters lists only the first of them; 0 if it lists all.
	ClusterCount int    `json:"cluster_count,omitempty"`
	Principal    string `json:"principal,omitempty"`
	// Time is when it happened, Deadline by when it must be mended; either may be zero.
	Time     time.Time `json:"time,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Runbook is where to read on: a path in the repository with an anchor.
	Runbook string `json:"runbook,omitempty"`
}

// AffectedCount is the number of clusters concerned, listed or not.
func (a Alert) AffectedCount() int { return max(a.ClusterCount, len(a.Clusters)) }

// Shortened reports whether Clusters lists only some of the clusters concerned.
func (a Alert) Shortened() bool { return a.ClusterCount > len(a.Clusters) }

// Shorten keeps at most the first listed clusters, and the count of all. The list that the alert had stays as it is.
func (a *Alert) Shorten(listed int) {
	if len(a.Clusters) > listed {
		a.ClusterCount = a.AffectedCount()
		a.Clusters = slices.Clone(a.Clusters[:listed])
	}
}
