package rotation

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// keyCache reads each key once in a tick, however many clusters and goroutines ask, or once for each version that they have
// done. It is bounded, so that a sweep's memory does not grow with the fleet.
type keyCache struct {
	kms cmek.KMS
	log *slog.Logger

	mu      sync.Mutex
	entries map[keyAsked]*keyEntry
	// read holds the newest fact of each key read since it was last taken.
	read map[cmek.KeyURI]KeyFact
}

// keyAsked is a key, and the version that who asks for it has done; zero for none.
type keyAsked struct {
	uri  cmek.KeyURI
	done cmek.KeyVersion
}

// keyEntry's fact may be used once ready is closed.
type keyEntry struct {
	ready chan struct{}
	fact  KeyFact
	// at is when it was read.
	at time.Time
}

const keysCached = 1024

// get reads a key for a cluster that has the version done: all that there is to know of it, or, if that is its version still,
// no more than that.
func (k *keyCache) get(ctx context.Context, uri cmek.KeyURI, done cmek.KeyVersion) KeyFact {
	asked := keyAsked{uri, done}
	k.mu.Lock()
	if k.entries == nil || len(k.entries) >= keysCached {
		k.entries = map[keyAsked]*keyEntry{}
	}
	entry, ok := k.entries[asked]
	if !ok {
		entry = &keyEntry{ready: make(chan struct{})}
		k.entries[asked] = entry
	}
	k.mu.Unlock()
	if ok {
		<-entry.ready
		return entry.fact
	}
	defer close(entry.ready)
	entry.at = time.Now()
	if done.IsZero() {
		entry.fact.Key, entry.fact.Err = k.kms.Key(ctx, uri)
	} else {
		// In an idle fleet most keys are as they were. To read their rotations, too, would triple the calls.
		entry.fact.Key, entry.fact.Err = k.kms.Describe(ctx, uri)
		if entry.fact.Err == nil && entry.fact.Key.Version != done {
			entry.fact = k.get(ctx, uri, cmek.KeyVersion{})
			return entry.fact
		}
	}
	k.note(ctx, uri, entry.fact)
	return entry.fact
}

// recheckWithin is how old a key's state may be when a PUT leaves: the clusters of one key that go together share one read.
const recheckWithin = 2 * time.Second

// recheck reads the key's state and version again, right before a PUT.
func (k *keyCache) recheck(ctx context.Context, uri cmek.KeyURI) KeyFact {
	asked := keyAsked{uri, cmek.KeyVersion{}}
	k.mu.Lock()
	entry := k.entries[asked]
	k.mu.Unlock()
	if entry == nil || entry.fact.Err != nil || entry.fact.Key.Version.Scheme == cmek.RotatedOn {
		k.drop(uri)
		return k.get(ctx, uri, cmek.KeyVersion{})
	}
	if time.Since(entry.at) <= recheckWithin {
		return entry.fact
	}
	now := time.Now()
	described, err := k.kms.Describe(ctx, uri)
	if err == nil && described.Version != entry.fact.Key.Version {
		k.drop(uri)
		return k.get(ctx, uri, cmek.KeyVersion{}) // rotated since: everything about it may be new
	}
	fact := KeyFact{Err: err}
	if err == nil {
		fact.Key = entry.fact.Key
		fact.Key.State, fact.Key.DeletionDate = described.State, described.DeletionDate
	}
	fresh := &keyEntry{ready: make(chan struct{}), fact: fact, at: now}
	close(fresh.ready)
	k.mu.Lock()
	k.entries[asked] = fresh
	k.mu.Unlock()
	k.note(ctx, uri, fact)
	return fact
}

// drop forgets what was read of a key.
func (k *keyCache) drop(uri cmek.KeyURI) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.entries, func(asked keyAsked, _ *keyEntry) bool { return asked.uri == uri })
}

func (k *keyCache) note(ctx context.Context, uri cmek.KeyURI, fact KeyFact) {
	if ctx.Err() != nil {
		return // our own time is over; that says nothing about the key
	}
	if fact.Err != nil {
		k.log.Warn("key not read", "key", uri, "error", fact.Err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.read == nil {
		k.read = map[cmek.KeyURI]KeyFact{}
	}
	k.read[uri] = fact
}

// take returns what was read since it was last taken.
func (k *keyCache) take() map[cmek.KeyURI]KeyFact {
	k.mu.Lock()
	defer k.mu.Unlock()
	read := k.read
	k.read = nil
	return read
}
