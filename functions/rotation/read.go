package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// read reads what a decision about the cluster's open work needs, and no more: the keys of work that was not sent, the CMEK
// if a request is open, everything if nothing is open and no sweep has seen the cluster for a day.
func (w *worker) read(ctx context.Context, c *ledger.Cluster) (Facts, error) {
	f := Facts{Cluster: c.Cluster, CMEK: c.CMEK}
	var err error
	if f.Paused, err = w.Ledger.Paused(ctx); err != nil {
		return f, err
	}
	now := time.Now()
	needCMEK := len(c.Work) == 0
	for _, work := range c.Work {
		info, ok := c.CMEK.Region(work.Region)
		_, distinct := info.Current()
		unclear := !ok || distinct != 1 || info.Status != cmek.Enabled || c.CMEK.Status.HandsOff()
		answered := work.State == ledger.Requested && (work.Request.Answer != nil || !now.Before(work.Request.Intent.Add(answerWithin)))
		needCMEK = needCMEK || answered || (work.State != ledger.Requested && unclear)
	}
	if needCMEK {
		if f, err = w.readCMEK(ctx, c.ID, f); err != nil {
			return f, err
		}
	}
	if err := w.readKeys(ctx, c, c.Work, &f); err != nil {
		return f, err
	}
	if !f.ClusterRead && !f.Gone && (len(c.Work) == 0 || Decide(f, c, now, w.Settings).WantCluster) {
		return w.readCluster(ctx, c.ID, f)
	}
	return f, nil
}

// readAgain reads cluster and CMEK afresh, right before a PUT. A busy cluster settles the matter with one GET.
func (w *worker) readAgain(ctx context.Context, id string, f Facts) (Facts, error) {
	f, err := w.readCluster(ctx, id, f)
	if err != nil || f.Gone || f.Cluster.Busy() != "" {
		return f, err
	}
	if f, err = w.readCMEK(ctx, id, f); err != nil {
		return f, err
	}
	f.Paused, err = w.Ledger.Paused(ctx)
	return f, err
}

func (w *worker) readCluster(ctx context.Context, id string, f Facts) (Facts, error) {
	cluster, err := w.Cloud.Cluster(ctx, id)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		f.Gone = true
	case err != nil:
		return f, err
	default:
		f.Cluster, f.ClusterRead = cluster, true
		f.Gone = cluster.State == cmek.StateDeleted
	}
	return f, nil
}

// readCMEK reads the CMEK. "Not found" may mean that there is no CMEK or no cluster; only the cluster tells.
func (w *worker) readCMEK(ctx context.Context, id string, f Facts) (Facts, error) {
	info, err := w.Cloud.CMEK(ctx, id)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		f.CMEK, f.CMEKRead = cmek.ClusterInfo{}, true
		if !f.ClusterRead {
			return w.readCluster(ctx, id, f)
		}
	case err != nil:
		return f, err
	default:
		f.CMEK, f.CMEKRead = info, true
	}
	return f, nil
}

// readKeys reads the keys of the regions that have unsent work of the cluster's; without work, those of all regions.
func (w *worker) readKeys(ctx context.Context, c *ledger.Cluster, works []ledger.Work, f *Facts) error {
	wanted := map[string]bool{}
	for _, work := range works {
		wanted[work.Region] = wanted[work.Region] || work.State != ledger.Requested
	}
	f.Keys = map[cmek.KeyURI]KeyFact{}
	for _, info := range f.CMEK.RegionInfos {
		if len(works) > 0 && !wanted[info.Region] {
			continue
		}
		uris := map[cmek.KeyURI]bool{}
		if spec, n := info.Current(); n == 1 {
			uris[spec.Spec.URI] = followable(spec.Spec)
		}
		for _, work := range works { // after a failed rotation of our own no key may read ENABLED
			if spec := info.Newest(work.Key).Spec; work.Region == info.Region && (work.Failed > 0 || work.Released) && spec.URI != "" {
				uris[spec.URI] = followable(spec)
			}
		}
		for _, k := range info.KeyInfos { // in the API's order, so that a run can be repeated
			if !uris[k.Spec.URI] {
				continue
			}
			fact := w.keys.read(ctx, w.KMS, k.Spec.URI, versionDone(c, f.CMEK, k.Spec.URI), w.Log)
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("read key %s: %w", k.Spec.URI, err)
			}
			f.Keys[k.Spec.URI] = fact
		}
	}
	return nil
}

// versionDone is the version of the key that is done in every region of the cluster that uses it. It is zero if there is none,
// and if any work is open at the cluster: then it matters when the key was rotated.
func versionDone(c *ledger.Cluster, info cmek.ClusterInfo, uri cmek.KeyURI) (version cmek.KeyVersion) {
	if len(c.Work) > 0 {
		return cmek.KeyVersion{}
	}
	for _, region := range info.RegionInfos {
		if spec, n := region.Current(); n != 1 || spec.Spec.URI != uri {
			continue
		}
		done, ok := c.DoneIn(region.Region)
		if !ok || !done.Key.SameKey(uri) || !version.IsZero() && done.Version != version {
			return cmek.KeyVersion{}
		}
		version = done.Version
	}
	return version
}

func followable(spec cmek.KeySpec) bool {
	return spec.Type == cmek.AWSKMS || spec.Type == cmek.GCPCloudKMS
}

// keyCache reads each key once in a tick, however many clusters and goroutines ask, or once for each version that they have
// done. It is bounded, so that a sweep's memory does not grow with the fleet.
type keyCache struct {
	mu      sync.Mutex
	entries map[keyAsked]*keyEntry
}

// keyAsked is a key, and the version that who asks for it has done; zero for none.
type keyAsked struct {
	uri  cmek.KeyURI
	done cmek.KeyVersion
}

// onceEach tells the first mention of a name in a tick from later ones. It is bounded like keyCache.
type onceEach struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (o *onceEach) first(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil || len(o.seen) >= keysCached {
		o.seen = map[string]bool{}
	}
	first := !o.seen[name]
	o.seen[name] = true
	return first
}

// keyEntry's fact may be used once read is closed.
type keyEntry struct {
	read chan struct{}
	fact KeyFact
}

const keysCached = 1024

// read reads a key for a cluster that has the version done: all that there is to know of it, or, if that is its version still,
// no more than that.
func (k *keyCache) read(ctx context.Context, kms cmek.KMS, uri cmek.KeyURI, done cmek.KeyVersion, log *slog.Logger) KeyFact {
	asked := keyAsked{uri, done}
	k.mu.Lock()
	if k.entries == nil || len(k.entries) >= keysCached {
		k.entries = map[keyAsked]*keyEntry{}
	}
	entry, ok := k.entries[asked]
	if !ok {
		entry = &keyEntry{read: make(chan struct{})}
		k.entries[asked] = entry
	}
	k.mu.Unlock()
	if ok {
		<-entry.read
		return entry.fact
	}
	defer close(entry.read)
	if done.IsZero() {
		entry.fact.Key, entry.fact.Err = kms.Key(ctx, uri)
	} else {
		// In an idle fleet most keys are as they were. To read their rotations, too, would triple the calls.
		entry.fact.Key, entry.fact.Err = kms.Describe(ctx, uri)
		if entry.fact.Err == nil && entry.fact.Key.Version != done {
			entry.fact = k.read(ctx, kms, uri, cmek.KeyVersion{}, log)
			return entry.fact
		}
	}
	if err := entry.fact.Err; err != nil {
		log.Warn("key not read", "key", uri, "err", err)
	}
	return entry.fact
}
