package ledger

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
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
	// Projects are the projects of Google Cloud that the cluster names, as far as both of their names are known. What was known once
	// stays, so that a read that is refused takes nothing away.
	Projects []cmek.Project `json:"projects,omitempty"`
	// Gone is true once the Cloud API says that the cluster is deleted. A cluster that is merely not shown is not gone.
	Gone bool `json:"gone,omitempty"`
	// Unread says since when, and why, the cluster's CMEK is not shown although it had one; zero while it is. The inventory is
	// kept as last read, and its keys still count.
	Unread Unread `json:"unread,omitzero"`
	// Older is a read that shows an earlier state than one before it; zero if the last read was not older.
	Older OlderRead `json:"older,omitzero"`
	// Absent holds, for each region that a read showed neither in the cluster nor in its CMEK, the time of the first such read;
	// Partial those that only one of the two showed.
	Absent  map[string]time.Time `json:"absent,omitempty"`
	Partial map[string]time.Time `json:"partial,omitempty"`
	// Work is what is open, oldest first.
	Work []Work `json:"work,omitempty"`
	// Operation is the last write of an operator's command; nil if there was none.
	Operation *Operation `json:"operation,omitempty"`
	// Sent are the times at which requests about the CMEK left, the newest last; see [Cluster.NoteSent].
	Sent []time.Time `json:"sent,omitempty"`
	// Done holds the last key version done for each region, ordered by region.
	Done []Done `json:"done,omitempty"`
	// Dropped holds the newest pieces of work that ended without being done, for people who ask why.
	Dropped []Dropped `json:"dropped,omitempty"`
	// Alarms are the conditions that were reported and have not ended yet.
	Alarms []Alarm `json:"alarms,omitempty"`
	Outbox
	// Chain links the cluster's evidence records.
	Chain Chain `json:"chain,omitzero"`
	// Skipped are regions whose failure no longer stops the other clusters of the key, because an operator said so.
	Skipped []string `json:"released,omitempty"`
	// Orders says what became of the newest orders that have ended, the last one last.
	Orders []OrderEnd `json:"orders,omitempty"`
	// Pins says what became of the cluster's pins.
	Pins []Pinned `json:"pins,omitempty"`
	// Failures counts polls that failed in a row, for their backoff.
	Failures int       `json:"failures,omitempty"`
	NextLook time.Time `json:"next_look,omitzero"`

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
	// Blocked: somebody must act, or something must recover, before a PUT may be sent.
	Blocked State = "blocked"
)

// UnmarshalText accepts "held" as well, the name that Blocked had once.
func (s *State) UnmarshalText(text []byte) error {
	if *s = State(text); *s == "held" {
		*s = Blocked
	}
	return nil
}

// Unread is why a cluster that had a CMEK was not read.
type Unread struct {
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"`
}

// IsZero reports whether the cluster was read.
func (u Unread) IsZero() bool { return u.Since.IsZero() }

// OlderRead counts consistent reads in a row that are older than the inventory.
type OlderRead struct {
	Since time.Time `json:"since,omitzero"`
	Count int       `json:"count,omitempty"`
	// Print identifies what they show, to tell whether they agree.
	Print string `json:"print,omitempty"`
}

// IsZero reports whether the last read was not older.
func (o OlderRead) IsZero() bool { return o.Count == 0 }

// Work is one follow-through in progress: the store key of one region of the cluster is to be re-encrypted under one
// version of its key.
type Work struct {
	Region string      `json:"region"`
	Key    cmek.KeyURI `json:"key"`
	// Version is the key version to reach; zero until the KMS was read, if the event did not carry it.
	Version cmek.KeyVersion `json:"version,omitzero"`
	// Order is the ID of the order that the work carries out: the region is to be moved to Key, which is that of the order. The order
	// itself says to what spec. "" if the region's key was rotated.
	Order string `json:"order,omitempty"`
	// From is the spec that the order moves the region from, to tell what became of a request; zero without an order.
	From  cmek.KeySpec `json:"from,omitzero"`
	State State        `json:"state"`
	// Reason says why the work waits or is blocked; for people.
	Reason string `json:"reason,omitempty"`
	// Trigger is what opened the work, at Since.
	Trigger Trigger   `json:"trigger"`
	Since   time.Time `json:"since"`
	// RotatedAt is when the version became current, by the KMS; zero if it does not tell.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// VersionSeen is when Version was first known; zero means at Since. The settle time counts from it.
	VersionSeen time.Time `json:"version_seen,omitzero"`
	// NotBefore is the end of the backoff after a refusal or a failure.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Attempts counts PUTs that were refused in a row, the first of them at RefusedSince; Failed counts PUTs that ended in
	// *_FAILED; Lost counts PUTs of unknown outcome that left no trace.
	Attempts     int       `json:"attempts,omitempty"`
	RefusedSince time.Time `json:"refused_since,omitzero"`
	Failed       int       `json:"failed,omitempty"`
	Lost         int       `json:"lost,omitempty"`
	// Claim is a worker's claim to send the next PUT; nil if there is none. Nothing has left as long as it stands.
	Claim *Claim `json:"claim,omitempty"`
	// Request is the last PUT that may have left.
	Request *Request `json:"request,omitempty"`
	// Detained is true if the work waits for something of its own (a busy cluster, an unreadable key): others of the same key
	// need not wait for it.
	Detained bool `json:"detained,omitempty"`
	// Retried is true once an operator asked for another try; failures before that no longer count.
	Retried bool `json:"released,omitempty"`
	// Announced is true once observe mode has told what it would do.
	Announced bool `json:"announced,omitempty"`
}

// OrderEnd is what became of an order.
type OrderEnd struct {
	ID     string      `json:"id"`
	Region string      `json:"region"`
	To     cmek.KeyURI `json:"to"`
	// Done: the region is on the order's key. Otherwise the order was dropped. Why says more.
	Done bool      `json:"done,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
	// By is who said that the region's key is the right one, by an order for the key that it was on, and Reason why; "" for an order that
	// moves the region.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Terraform is as in [Order], if a request moved the region.
	Terraform string `json:"terraform,omitempty"`
	// Undone is when the region was first seen on another key, of the last order that moved it; zero if it is on the order's.
	Undone time.Time `json:"undone,omitzero"`
}

// UndoneAlert is the dedup key of the alert that reports that the cluster's region left the order's key; "" while it has not.
func (e OrderEnd) UndoneAlert(cluster string) string {
	if e.Undone.IsZero() {
		return ""
	}
	return alert.IncidentKey(alert.OrderUndone, fmt.Sprintf("%s/%s@%d", cluster, e.ID, e.Undone.Unix()))
}

// LastMove returns the last order that moved the region to another key; false if none did.
func (c *Cluster) LastMove(region string) (last OrderEnd, moved bool) {
	for _, e := range c.Orders {
		if e.Done && e.Region == region && !e.At.Before(last.At) {
			last, moved = e, true
		}
	}
	return last, moved
}

// OrderEnded returns what became of the order, and whether it has ended.
func (c *Cluster) OrderEnded(id string) (OrderEnd, bool) {
	if i := slices.IndexFunc(c.Orders, func(e OrderEnd) bool { return e.ID == id }); i >= 0 {
		return c.Orders[i], true
	}
	return OrderEnd{}, false
}

// mostOrderEnds bounds the ends of orders that are kept: more than a cluster can be given orders for within the time in which one may
// begin.
const mostOrderEnds = mostOrders

// EndOrder notes what became of an order, once.
func (c *Cluster) EndOrder(e OrderEnd) {
	if _, ended := c.OrderEnded(e.ID); ended {
		return
	}
	c.Orders = append(slices.Clone(c.Orders), e)
	over := len(c.Orders) - mostOrderEnds
	c.Orders = slices.DeleteFunc(slices.Clone(c.Orders), func(old OrderEnd) bool {
		if last, _ := c.LastMove(old.Region); old.ID == last.ID {
			return false // says which key the region was moved to
		}
		over--
		return e.At.Sub(old.At) > ordersKept || over >= 0
	})
}

// Trigger is what opened a piece of work.
type Trigger struct {
	// Kind is "event", "sweep", "operator", "order" or "pin", whose Source is the alias.
	Kind    string    `json:"kind"`
	EventID string    `json:"event_id,omitempty"`
	Source  string    `json:"source,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// SeenVersion is when the work's version was first known.
func (w Work) SeenVersion() time.Time {
	if w.VersionSeen.IsZero() {
		return w.Since
	}
	return w.VersionSeen
}

// Claim is one worker's right to read once more and then send a PUT.
type Claim struct {
	Intent time.Time `json:"intent"`
}

// Request is one PUT: what was read before it, its answer, and what was read since.
type Request struct {
	// Intent is when the PUT was decided; the request leaves after it or never.
	Intent time.Time `json:"intent"`
	// Sent is when the ledger was told that the request is about to leave. Zero in records of before there was a Baseline.
	Sent time.Time `json:"sent,omitzero"`
	// Baseline is what was read just before; nil in records of before there was one.
	Baseline *Baseline `json:"baseline,omitempty"`
	// Before is the region's updated_at before the PUT, and FailedBefore whether the cluster's operation status was that of a failed
	// CMEK operation already, in records without a Baseline.
	Before       time.Time `json:"before,omitzero"`
	FailedBefore bool      `json:"failed_before,omitempty"`
	// Answer is nil as long as none is on record: the PUT may be under way, or whoever sent it died.
	Answer   *cmek.Answer `json:"answer,omitempty"`
	Answered time.Time    `json:"answered,omitzero"`
	// Timeline is what was read since, without repeats, the newest last. The PUT's own answer comes first.
	Timeline []Sighting `json:"timeline,omitempty"`
	// Evidence is the first trace of an operation that began after the baseline.
	Evidence Evidence `json:"evidence,omitzero"`
	// Final is the state of rest that the last reads show, since the first of them.
	Final Final `json:"final,omitzero"`
	// Ended is true once the operation is known to have failed: later traces are not of this request.
	Ended bool `json:"ended,omitempty"`
	// GivenUp is true once the request, of unknown outcome, has left no trace in time.
	GivenUp bool `json:"given_up,omitempty"`
	// StuckSince is set when the operation takes longer than any known one.
	StuckSince time.Time `json:"stuck_since,omitzero"`
}

// LeftAt is when the request left, if it did.
func (r *Request) LeftAt() time.Time {
	if r.Sent.IsZero() {
		return r.Intent
	}
	return r.Sent
}

// Baseline is what a region, its key and its cluster showed just before a PUT. Only what differs from it can be a trace of
// the PUT.
type Baseline struct {
	ReadAt time.Time   `json:"read_at"`
	Region cmek.Status `json:"region,omitempty"`
	Key    cmek.Status `json:"key,omitempty"`
	// UpdatedAt is zero if the API left it out.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// Operation is the cluster's operation status.
	Operation string `json:"operation,omitempty"`
}

// Evidence is a trace of an operation on a region or its key; zero if there is none.
type Evidence struct {
	Kind string    `json:"kind,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// IsZero reports whether there is no trace.
func (e Evidence) IsZero() bool { return e.Kind == "" }

// Final is a state in which no operation runs; zero if the last read showed none.
type Final struct {
	Status cmek.Status `json:"status,omitempty"`
	Since  time.Time   `json:"since,omitzero"`
}

// IsZero reports whether no state of rest is shown.
func (f Final) IsZero() bool { return f.Status == "" }

// Sighting is what one read showed.
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
	Region string      `json:"region"`
	Key    cmek.KeyURI `json:"key"`
	// Version is zero if a later request for another one may have been carried out, and nothing shows whether it was.
	Version cmek.KeyVersion `json:"version,omitzero"`
	At      time.Time       `json:"at"`
	// Order is the ID of the order that the PUT carried out; "" for none.
	Order string `json:"order,omitempty"`
	// Followed is true if our PUT did it, false if it was adopted as up to date when first discovered.
	Followed bool `json:"followed"`
	// Sent is when that PUT left; zero if there was none, and in records of before it was kept.
	Sent time.Time `json:"sent,omitzero"`
	// Evidence says how we know, in one word or two.
	Evidence string `json:"evidence"`
}

// Dropped is work that ended without a PUT being needed.
type Dropped struct {
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key"`
	Version cmek.KeyVersion `json:"version,omitzero"`
	// Order is the ID of the order that the work was for; "" for none.
	Order  string    `json:"order,omitempty"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Request is the work's request if its end is not known: the same work, opened again, goes on with it.
	Request *Request `json:"request,omitempty"`
}

// Alarm is a condition that was reported; its end is reported too. The key is the incident's dedup key.
type Alarm struct {
	Key   string      `json:"key"`
	Since time.Time   `json:"since"`
	Alert alert.Alert `json:"alert"`
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

// Link files a record of evidence as the next of the cluster's chain: write gets its number and the hash of the record before, and returns
// its bytes. The subject ends its name.
func (c *Cluster) Link(at time.Time, subject string, write func(number int, previous string) []byte) {
	c.File(c.Chain.link(EvidenceFolder+c.ID, at, subject, write))
}

// link moves the chain on by the record that write returns, and gives the record's name in the folder, with its bytes.
func (c *Chain) link(folder string, at time.Time, subject string, write func(number int, previous string) []byte) (name string, data []byte) {
	data = write(c.Count+1, c.Last)
	sum := sha256.Sum256(data)
	if c.Start.IsZero() {
		c.Start = at.UTC()
	}
	c.Count, c.Last = c.Count+1, hex.EncodeToString(sum[:])
	return fmt.Sprintf("%s/%s-%06d-%s.json", folder, c.Start.Format("20060102T150405Z"), c.Count, subject), data
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
	slices.SortFunc(c.Done, func(a, b Done) int { return cmp.Compare(a.Region, b.Region) })
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
// what was written under it, and those that it is to be moved to. With them go the principals that the cluster acts as, and the accounts of
// both, for [Ledger.ByAccount] and [Ledger.ByRole]. A project of Google Cloud counts under both of its names.
func (c *Cluster) Keys() []string {
	if c.Gone {
		return nil
	}
	var keys []string
	for _, r := range c.CMEK.RegionInfos {
		for _, k := range r.KeyInfos {
			keys = append(keys, k.Spec.URI.Canonical(), accountKey(k.Spec.URI.Account()))
			for _, name := range projectsOf(k.Spec) {
				if p := c.project(name); p != (cmek.Project{}) {
					keys = append(keys, accountKey(p.ID), accountKey(p.Number))
				}
			}
			if p := c.project(k.Spec.URI.Account()); k.Spec.Type == cmek.GCPCloudKMS && p != (cmek.Project{}) {
				keys = append(keys, string(k.Spec.URI.In(p.ID)), string(k.Spec.URI.In(p.Number)))
			}
			if account := k.Spec.AuthPrincipal.Account(); account != "" {
				keys = append(keys, roleKey(account, k.Spec.AuthPrincipal.Name()), accountKey(account))
			}
		}
	}
	for _, w := range c.Work {
		if w.Order != "" { // the clusters that are to be moved to a key go in order, like those of a key that was rotated
			keys = append(keys, w.Key.Canonical())
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func accountKey(account string) string    { return "account:" + account }
func roleKey(account, name string) string { return "role:" + account + "/" + name }
