package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// read reads what a decision about the cluster's open work needs, and no more: the keys of work that was not sent, the CMEK
// if a request is open, everything if nothing is open and no sweep has read the cluster for a day.
func (w *worker) read(ctx context.Context, c *ledger.Cluster) (Reads, error) {
	r := Reads{At: time.Now(), UpdatedAtMoves: w.updatedAtMoves()}
	var err error
	if err = w.readOrders(ctx, &r); err != nil {
		return r, err
	}
	needCluster, needCMEK := needed(c, r.UpdatedAtMoves, r.At, w.Settings)
	if needCMEK {
		if err := w.readCMEK(ctx, c, &r); err != nil {
			return r, err
		}
	}
	if r.Cluster == nil && !r.Hidden && needCluster {
		if err := w.readCluster(ctx, c.ID, &r); err != nil {
			return r, err
		}
	}
	if err := w.readMoves(ctx, c, &r, unsentOrder); err != nil {
		return r, err
	}
	if r.Fleet, err = w.fleetsOf(ctx, c, r); err != nil {
		return r, err
	}
	r.Projects = w.projectsOf(ctx, c, r)
	return r, w.readKeys(ctx, c, c.Work, &r)
}

// needed reports whether a poll must read the cluster and its CMEK.
func needed(c *ledger.Cluster, moves bool, now time.Time, s Settings) (needCluster, needCMEK bool) {
	all := len(c.Work) == 0 || !c.Unread.IsZero() || len(c.Absent) > 0
	needCMEK = all || !c.Older.IsZero()
	for _, work := range c.Work {
		info, ok := c.CMEK.Region(work.Region)
		_, distinct := info.Current()
		unclear := !ok || distinct != 1 || info.Status != cmek.Enabled || c.CMEK.Status.HandsOff()
		answered := work.State == ledger.Requested && (work.Request.Answer != nil || !now.Before(work.Request.LeftAt().Add(answerWithin)))
		needCMEK = needCMEK || answered || work.State == ledger.Blocked || work.State == ledger.Due && unclear
	}
	return all || needsCluster(c, moves, now, s), needCMEK
}

// readAgain reads cluster, CMEK and keys once more, right before a PUT. A busy cluster settles the matter with one GET.
func (w *worker) readAgain(ctx context.Context, id string, put []cmek.RegionSpec) (Reads, error) {
	r := Reads{At: time.Now(), UpdatedAtMoves: w.updatedAtMoves(), Keys: map[cmek.KeyURI]KeyFact{}}
	c, err := w.Ledger.Cluster(ctx, id)
	if err != nil {
		return r, err
	}
	if err := w.readCluster(ctx, id, &r); err != nil {
		return r, err
	}
	if r.free() {
		if err := w.readCMEK(ctx, c, &r); err != nil {
			return r, err
		}
	}
	if err := w.readMoves(ctx, c, &r, unsentOrder); err != nil {
		return r, err
	}
	if r.Fleet, err = w.fleetsOf(ctx, c, r); err != nil {
		return r, err
	}
	for _, spec := range put {
		if slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Order != "" && carries(spec, c.Work, w) }) {
			continue // what decides about it was read with the order
		}
		if _, ok := r.Keys[spec.KeySpec.URI]; !ok {
			r.Keys[spec.KeySpec.URI] = w.keys.recheck(ctx, spec.KeySpec.URI)
		}
	}
	if err := ctx.Err(); err != nil {
		return r, fmt.Errorf("read keys: %w", err)
	}
	r.Projects = w.projectsOf(ctx, c, r)
	return r, w.readOrders(ctx, &r)
}

// projectsOf are the projects that the cluster names, as known and as read.
func (w *worker) projectsOf(ctx context.Context, c *ledger.Cluster, r Reads) map[string]cmek.Project {
	shown := &ledger.Cluster{}
	if r.CMEK != nil {
		shown.CMEK = *r.CMEK
	}
	return w.readProjects(ctx, w.lease.Sweep.Began, c, shown)
}

// readOrders reads what operators ordered. An order that cannot be read stops a PUT.
func (w *worker) readOrders(ctx context.Context, r *Reads) (err error) {
	if r.Paused, err = w.Ledger.Paused(ctx); err != nil {
		return err
	}
	r.Holds, err = w.Ledger.Holds(ctx)
	return err
}

// free reports whether the cluster, as read, may be sent a PUT.
func (r Reads) free() bool {
	return r.Cluster != nil && r.Cluster.State != cmek.StateDeleted && r.Cluster.Busy() == ""
}

func (w *worker) readCluster(ctx context.Context, id string, r *Reads) error {
	cluster, err := w.Cloud.Cluster(ctx, id)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		r.Hidden = true
	case err != nil:
		return err
	default:
		r.Cluster = &cluster
	}
	return nil
}

// readCMEK reads the CMEK. "Not found" may mean that there is no CMEK or no cluster, and a region that is not shown may be gone;
// only the cluster tells.
func (w *worker) readCMEK(ctx context.Context, c *ledger.Cluster, r *Reads) error {
	info, err := w.Cloud.CMEK(ctx, c.ID)
	if err != nil && !errors.Is(err, cmek.ErrNotFound) {
		return err
	}
	r.CMEK = &info
	less := slices.ContainsFunc(c.CMEK.RegionInfos, func(known cmek.RegionInfo) bool {
		_, shown := info.Region(known.Region)
		return !shown
	})
	if (err != nil || less) && r.Cluster == nil {
		return w.readCluster(ctx, c.ID, r)
	}
	return nil
}

// readKeys reads the keys of the regions that have unsent work of the cluster's; without work, those of all regions.
func (w *worker) readKeys(ctx context.Context, c *ledger.Cluster, works []ledger.Work, r *Reads) error {
	r.Keys = map[cmek.KeyURI]KeyFact{}
	for _, k := range keysNeeded(c, works, r.CMEK, w.follows) {
		if _, read := r.Keys[k.uri]; read {
			continue
		}
		fact := w.keys.get(ctx, k.uri, versionDone(c, k.region, k.uri))
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read key %s: %w", k.uri, err)
		}
		r.Keys[k.uri] = fact
	}
	return nil
}

// versionDone is the version of the key that is done in every region of the cluster that uses it. It is zero if there is none,
// and if any work is open at the cluster: then it matters when the key was rotated.
func versionDone(c *ledger.Cluster, region string, uri cmek.KeyURI) cmek.KeyVersion {
	done, ok := c.DoneIn(region)
	if len(c.Work) > 0 || !ok || !done.Key.SameKey(uri) {
		return cmek.KeyVersion{}
	}
	if info, shown := c.CMEK.Region(region); shown && done.Version.Scheme == cmek.Primary && touched(info, uri, done) {
		return cmek.KeyVersion{} // whether a newer version was primary meanwhile, only the key's versions show
	}
	for _, other := range c.CMEK.RegionInfos {
		if spec, n := other.Current(); n == 1 && spec.Spec.URI == uri {
			if also, ok := c.DoneIn(other.Region); !ok || also.Version != done.Version {
				return cmek.KeyVersion{}
			}
		}
	}
	return done.Version
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
