package simulator

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// mostRequests is how many requests a world remembers; a sweep over a large fleet makes that many in minutes.
const mostRequests = 20_000

// Request is the record of one request that reached a handler, without headers and bodies.
type Request struct {
	Seq  int       `json:"seq"`
	Time time.Time `json:"time"`
	// API is "cloud", "kms" or "google".
	API    string `json:"api"`
	Method string `json:"method"`
	// Path is the URL's path, or the operation's name for the KMS.
	Path string `json:"path"`
	// Caller is the service account (Cloud API), the Region (KMS) or the principal (Google); "" if the caller was not recognized.
	Caller string `json:"caller,omitempty"`
	Status int    `json:"status"`
	// Outcome is "ok" or the error's message.
	Outcome string `json:"outcome"`
}

// PUT is the record of one PUT …/cmek that reached an existing cluster.
type PUT struct {
	Seq       int       `json:"seq"`
	Time      time.Time `json:"time"`
	ClusterID string    `json:"cluster_id"`
	Cluster   string    `json:"cluster"`
	Caller    string    `json:"caller"`
	// Regions are those the PUT named, in its order.
	Regions []PUTRegion `json:"regions"`
	Status  int         `json:"status"`
	// Outcome is "accepted", "no-op" or the error's message.
	Outcome string `json:"outcome"`
}

// PUTRegion is one region of a PUT.
type PUTRegion struct {
	Region string      `json:"region"`
	URI    cmek.KeyURI `json:"uri"`
	// Material is what the KMS encrypted the store key with; "" unless the PUT was accepted.
	Material string `json:"material,omitempty"`
}

// Event is one payload that a cloud sends: what AWS would have put on the account's default event bus, or the body of the push by which
// Pub/Sub delivers a log entry of Google Cloud.
type Event struct {
	Seq  int       `json:"seq"`
	Time time.Time `json:"time"`
	// Payload is the EventBridge envelope, or the push body.
	Payload json.RawMessage `json:"payload"`
}

// StoreKey tells how the store key of a region is wrapped: the truth that the Cloud API does not show.
type StoreKey struct {
	ClusterID string      `json:"cluster_id"`
	Cluster   string      `json:"cluster"`
	Region    string      `json:"region"`
	URI       cmek.KeyURI `json:"uri"`
	// Material is the AWS key material id, the number of the Cloud KMS version, or the version in the Key Vault URI.
	Material string `json:"material"`
	// Behind is true if the KMS would now encrypt with other material.
	Behind    bool      `json:"behind"`
	WrappedAt time.Time `json:"wrapped_at"`
	// AcceptedPUTs counts the accepted PUTs by the material they wrapped the store key under, failed operations included.
	AcceptedPUTs map[string]int `json:"accepted_puts"`
}

// Requests returns the newest requests in the order of their arrival, at most 20,000.
func (w *World) Requests() []Request {
	w.enter()
	defer w.mu.Unlock()
	return slices.Clone(w.requests.entries)
}

// PUTs returns every PUT …/cmek in the order of their arrival, refused ones included.
func (w *World) PUTs() []PUT {
	w.enter()
	defer w.mu.Unlock()
	return slices.Clone(w.puts.entries)
}

// Events returns what the clouds emitted since the last call of Events, in the order of emission.
func (w *World) Events() []Event {
	w.enter()
	defer w.mu.Unlock()
	events := w.events.after(w.eventsSeen)
	w.eventsSeen += len(events)
	return events
}

// EventsAfter returns what the clouds emitted after the event with the sequence number; 0 gives all. It leaves [World.Events] alone.
func (w *World) EventsAfter(seq int) []Event {
	w.enter()
	defer w.mu.Unlock()
	return w.events.after(seq)
}

// StoreKeys returns the store key of every region of every cluster with a CMEK, by cluster name and region.
func (w *World) StoreKeys() []StoreKey {
	now := w.enter()
	defer w.mu.Unlock()
	var all []StoreKey
	for _, c := range w.clusters.byName {
		if !c.hasCMEK() || c.deleted() {
			continue
		}
		for _, r := range c.regions {
			current, usable := w.wrappingMaterial(c, r.storeKey.spec, now)
			key := StoreKey{
				ClusterID: c.id, Cluster: c.name, Region: r.name,
				URI: r.storeKey.spec.URI, Material: r.storeKey.material, WrappedAt: r.storeKey.wrappedAt,
				Behind:       usable && current != r.storeKey.material,
				AcceptedPUTs: map[string]int{},
			}
			for material, n := range r.acceptedPUTs {
				key.AcceptedPUTs[material] = n
			}
			all = append(all, key)
		}
	}
	return all
}

// journal is an append-only list with sequence numbers from 1 that may forget its oldest entries.
type journal[T any] struct {
	entries []T
	added   int
	// most is how many entries are kept; 0 means all.
	most int
}

// next is the sequence number of the entry that add will append.
func (l *journal[T]) next() int { return l.added + 1 }

func (l *journal[T]) add(entry T) {
	l.added++
	l.entries = append(l.entries, entry)
	// Forgetting a quarter at once keeps the cost of an append constant.
	if l.most > 0 && len(l.entries) > l.most {
		l.entries = append(make([]T, 0, l.most), l.entries[len(l.entries)-l.most*3/4:]...)
	}
}

func (l *journal[T]) after(seq int) []T {
	forgotten := l.added - len(l.entries)
	from := min(max(seq-forgotten, 0), len(l.entries))
	return slices.Clone(l.entries[from:])
}
