// Package alert is the message that keyturn sends to people: what happened to a key or cluster, its impact, and the recovery
// steps. It is pure. What two functions must agree on about alerts (severities, incident codes, runbook links) is here.
package alert

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Audience is who an alert is for: those who own the clusters and keys, or those who run keyturn.
type Audience string

// The two audiences; each has a topic of its own.
const (
	Owners     Audience = "alerts"
	Operations Audience = "operations"
)

// AffectedCluster is a cluster that an alert concerns.
type AffectedCluster struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Regions []string `json:"regions,omitempty"`
	// Impact says in a few words what fails there, and by when; "" if the alert's own Impact says all there is to say.
	Impact string `json:"impact,omitempty"`
}

// Alert notifies people of a risk or of something that happened. Its JSON is the payload of every channel; a repeat of an alert has
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
	Change cmek.Change `json:"change"`
	// Summary is one line that makes sense alone.
	Summary string `json:"summary"`
	// Impact says what fails, and when; RecoverySteps says what to do, one step a line, with the real ids.
	Impact        string            `json:"impact,omitempty"`
	RecoverySteps []string          `json:"recovery_steps,omitempty"`
	Key           cmek.KeyURI       `json:"key,omitempty"`
	Clusters      []AffectedCluster `json:"clusters,omitempty"`
	// ClusterCount is the number of clusters concerned if Clusters lists only the first of them; 0 if it lists all.
	ClusterCount int    `json:"cluster_count,omitempty"`
	Principal    string `json:"principal,omitempty"`
	// Time is when it happened, Deadline by when it must be fixed; either may be zero.
	Time     time.Time `json:"time,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Hold is the operator's order that leaves the key or a cluster alone, if there is one.
	Hold *cmek.Hold `json:"hold,omitempty"`
	// Runbook is where to read on: a path in the repository with an anchor.
	Runbook string `json:"runbook,omitempty"`
}

// HoldOn is the hold that stands at now on the key or else on one of the clusters, and nil if there is none.
func HoldOn(key cmek.KeyURI, clusters []AffectedCluster, holds cmek.Holds, now time.Time) *cmek.Hold {
	if h, ok := holds.Find("", key, now); ok {
		return &h
	}
	for _, c := range clusters {
		if h, ok := holds.Find(c.ID, "", now); ok {
			return &h
		}
	}
	return nil
}

// Notifier sends alerts to people. Delivering an alert twice is harmless: its ID and DedupKey stay the same. It is the one port
// that is not declared in package cmek, which cannot know alerts.
type Notifier interface {
	Notify(ctx context.Context, a Alert) error
}

// JSON is the alert as every channel for machines gets it: on one line, with no character escaped that need not be. What JSON takes
// as it is but XML, and so a queue of SQS, does not is escaped, too (www.w3.org/TR/xml/#charsets).
func (a Alert) JSON() ([]byte, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a); err != nil {
		return nil, err
	}
	return []byte(notInXML.Replace(strings.TrimSuffix(b.String(), "\n"))), nil
}

var notInXML = strings.NewReplacer("\uFFFE", `\ufffe`, "\uFFFF", `\uffff`)

// UnmarshalJSON reads an alert, also under the names that its fields had in ledgers before Impact and RecoverySteps.
func (a *Alert) UnmarshalJSON(data []byte) error {
	type plain Alert
	old := struct {
		*plain
		Consequence string   `json:"consequence"`
		Steps       []string `json:"way_back"`
	}{plain: (*plain)(a)}
	if err := json.Unmarshal(data, &old); err != nil {
		return err
	}
	if a.Impact == "" {
		a.Impact = old.Consequence
	}
	if a.RecoverySteps == nil {
		a.RecoverySteps = old.Steps
	}
	return nil
}

// UnmarshalJSON reads an affected cluster, also under the name that Impact had before.
func (c *AffectedCluster) UnmarshalJSON(data []byte) error {
	type plain AffectedCluster
	old := struct {
		*plain
		Before string `json:"harm"`
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(data, &old); err != nil {
		return err
	}
	if c.Impact == "" {
		c.Impact = old.Before
	}
	return nil
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
