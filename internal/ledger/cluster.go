package ledger

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Cluster is the one ledger item of a cluster: what it is (as last read), what is open, what was done, and what still has
// to be told. Everything that must change together is in it, so that one compare-and-swap changes it together.
type Cluster struct {
	ID string `json:"id"`
	// Cluster and CMEK are the inventory, as last read at SeenAt.
	Cluster cmek.Cluster     `json:"cluster"`
	CMEK    cmek.ClusterInfo `json:"cmek"`
	SeenAt  time.Time        `json:"seen_at,omitzero"`
	// Gone is true once the Cloud API no longer knows the cluster.
	Gone bool `json:"gone,omitempty"`
	// Work is what is open, oldest first.
	Work []Work `json:"work,omitempty"`
	// Done holds the last key version done for each region, ordered by region.
	Done []Done `json:"done,omitempty"`
	// Dropped holds the newest pieces of work that ended without being done, for people who ask why.
	Dropped []Dropped `json:"dropped,omitempty"`
	// Alarms are the conditions that were reported and have not ended yet.
	Alarms []Alarm `json:"alarms,omitempty"`
	Outbox
	// Chain links the cluster's evidence records.
	Chain Chain `json:"chain,omitzero"`
	// Released are regions whose failure an operator has dealt with although no work of ours stands for it.
	Released []string `json:"released,omitempty"`
	// Failures counts looks that failed in a row, for their backoff; KeyFailures those that could not read a key.
	Failures    int       `json:"failures,omitempty"`
	KeyFailures int       `json:"key_failures,omitempty"`
	NextLook    time.Time `json:"next_look,omitzero"`

	record Record
}

// State is the state of a piece of open work. Done and dropped work is no longer open: it moves to Cluster.Done and
// Cluster.Dropped.
type State string

// The states of open work.
const (
	// Due: a PUT is needed, now or after a wait.
	Due State = "due"
	// Requested: the intent is on record; a PUT may have been sent, and its outcome is to be read.
	Requested State = "requested"
	// Held: a person must act, or something must get well again, before a PUT may be sent.
	Held State = "held"
)

// Work is one follow-through in progress: the store key of one region of the cluster is to be re-encrypted under one
// version of its key.
type Work struct {
	Region string      `json:"region"`
	Key    cmek.KeyURI `json:"key"`
	// Version is the key version to reach; zero until the KMS was read, if the event did not carry it.
	Version cmek.KeyVersion `json:"version,omitzero"`
	State   State           `json:"state"`
	// Reason says why the work waits or is held; for a person.
	Reason string `json:"reason,omitempty"`
	// Trigger is what opened the work, at Since.
	Trigger Trigger   `json:"trigger"`
	Since   time.Time `json:"since"`
	// RotatedAt is when the version became current, by the KMS; zero if it does not tell.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// NotBefore is the end of the backoff after a refusal or a failure.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Attempts counts PUTs that were refused in a row; Failed counts accepted PUTs that ended in *_FAILED; Lost counts PUTs
	// whose outcome stayed unknown.
	Attempts int `json:"attempts,omitempty"`
	Failed   int `json:"failed,omitempty"`
	Lost     int `json:"lost,omitempty"`
	// Request is the PUT in question while the state is Requested, and the last one otherwise.
	Request *Request `json:"request,omitempty"`
	// Released is true once an operator released the hold; failures before that no longer hold it.
	Released bool `json:"released,omitempty"`
	// Announced is true once observe mode has told what it would do.
	Announced bool `json:"announced,omitempty"`
}

// Trigger is what opened a piece of work.
type Trigger struct {
	// Kind is "event", "sweep" or "operator".
	Kind    string    `json:"kind"`
	EventID string    `json:"event_id,omitempty"`
	Source  string    `json:"source,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// Request is one PUT: intent, answer, and what was seen since.
type Request struct {
	// Intent is when the PUT was decided and recorded; the request leaves after it or never.
	Intent time.Time `json:"intent"`
	// Before is the region's updated_at before the PUT; zero if the API left it out.
	Before time.Time `json:"before,omitzero"`
	// Answer is nil as long as none is on record: the PUT may be under way, or whoever sent it died.
	Answer   *cmek.Answer `json:"answer,omitempty"`
	Answered time.Time    `json:"answered,omitzero"`
	// Timeline is what was read since, without repeats, the newest last.
	Timeline []Sighting `json:"timeline,omitempty"`
	// FailedBefore is true if the cluster's operation status spoke of a failed CMEK operation before the PUT already.
	FailedBefore bool `json:"failed_before,omitempty"`
	// StuckSince is set when the operation takes longer than any known one.
	StuckSince time.Time `json:"stuck_since,omitzero"`
}

// Sighting is what one look showed.
type Sighting struct {
	At     time.Time   `json:"at"`
	Region cmek.Status `json:"region,omitempty"`
	Key    cmek.Status `json:"key,omitempty"`
	// Operation is the cluster's state or operation status, if it was read and says that a CMEK operation runs or failed.
	Operation string    `json:"operation,omitempty"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// Done is the last key version that a region's store key is known to be encrypted under.
type Done struct {
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key"`
	Version cmek.KeyVersion `json:"version"`
	At      time.Time       `json:"at"`
	// Followed is true if our PUT did it, false if it was adopted as up to date when first seen.
	Followed bool `json:"followed"`
	// Evidence says how we know, in one word or two.
	Evidence string `json:"evidence"`
}

// Dropped is work that ended without a PUT being needed.
type Dropped struct {
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key"`
	Version cmek.KeyVersion `json:"version,omitzero"`
	Reason  string          `json:"reason"`
	At      time.Time       `json:"at"`
}

// Alarm is a condition that was reported; its end is reported too. The key is the incident's dedup key.
type Alarm struct {
	Key   string     `json:"key"`
	Since time.Time  `json:"since"`
	Alert cmek.Alert `json:"alert"`
}

// Chain is the head of a cluster's chain of evidence.
type Chain struct {
	// Start is when the chain began. It is in the records' names, so that a chain begun anew, in a new ledger over an old
	// archive, does not run into the names of the one before.
	Start time.Time `json:"start,omitzero"`
	// Count is the number of records so far, Last the hex SHA-256 of the newest one's bytes.
	Count int    `json:"count"`
	Last  string `json:"last,omitempty"`
}

// DoneIn returns the region's last done version, and whether there is one.
func (c *Cluster) DoneIn(region string) (Done, bool) {
	for _, d := range c.Done {
		if d.Region == region {
			return d, true
		}
	}
	return Done{}, false
}

// SetDone replaces the region's last done version.
func (c *Cluster) SetDone(d Done) {
	c.Done = slices.DeleteFunc(c.Done, func(old Done) bool { return old.Region == d.Region })
	c.Done = append(c.Done, d)
	slices.SortFunc(c.Done, func(a, b Done) int {
		if a.Region < b.Region {
			return -1
		}
		return 1
	})
}

// DueAt is when somebody must look at the cluster or deliver its messages; zero for never.
func (c *Cluster) DueAt() time.Time { return c.dueAt(c.NextLook) }

// WaitUntil brings NextLook forward to at, never back.
func (c *Cluster) WaitUntil(at time.Time) {
	if c.NextLook.IsZero() || at.Before(c.NextLook) {
		c.NextLook = at
	}
}

// Keys are the canonical URIs of all keys that the cluster names, past ones included: a past key is still needed to read
// what was written under it. With them go the keys' accounts and the principals that the cluster acts as, for [Ledger.ByAccount]
// and [Ledger.ByRole].
func (c *Cluster) Keys() []string {
	if c.Gone {
		return nil
	}
	var keys []string
	for _, r := range c.CMEK.RegionInfos {
		for _, k := range r.KeyInfos {
			keys = append(keys, k.Spec.URI.Canonical(), accountKey(k.Spec.URI.Account()))
			if account := k.Spec.AuthPrincipal.Account(); account != "" {
				keys = append(keys, roleKey(account, k.Spec.AuthPrincipal.Name()))
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func accountKey(account string) string    { return "account:" + account }
func roleKey(account, name string) string { return "role:" + account + "/" + name }
