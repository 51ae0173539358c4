// Package rotation follows KMS rotations through: when the key that wraps a cluster's store keys gets a new version, it sees
// to it that every store key is re-encrypted under that version, once, and keeps the proof.
//
// Events open work in the ledger; the tick does it, and finds what events missed. absorb makes facts of reads, Decide decides,
// transition carries the decision out on the ledger item: all three are pure. worker.go and its neighbors read, swap and send.
package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Subscribes lists the changes that concern rotation. Infrastructure builds event rules from it.
var Subscribes = []cmek.Change{cmek.ChangeRotated, cmek.ChangeAlias}

// RequestRate is how many requests per second the worker sends to the Cloud API, of the 10 that an API user has. Alerting has the rest.
const RequestRate = 8.0

// Function is follow-through with everything it needs. Its methods may be called concurrently, also from several processes
// on one ledger.
type Function struct {
	Cloud cmek.Cloud
	// KMS reads keys of the types in KeyTypes, by default AWS KMS keys. Clusters whose keys are of other types belong to another
	// installation.
	KMS      cmek.KMS
	KeyTypes []cmek.KeyType
	Ledger   *ledger.Ledger
	Archive  cmek.Archive
	// Policies is nil if policies are not to be kept.
	Policies cmek.Policies
	// Projects is nil where keys are in no projects.
	Projects cmek.Projects
	// Aliases is nil where keys have no aliases.
	Aliases  cmek.Aliases
	Notifier alert.Notifier
	// Subscribers is nil if it is not to be checked whom the messages reach.
	Subscribers Subscribers
	Settings    Settings
	Log         *slog.Logger
	// Holder names this worker in the lease. It must differ between processes that run at the same time.
	Holder string

	begun    atomic.Bool
	projects projectNames
}

// Event opens work for each cluster region that the rotated key wraps, and has the clusters polled that are pinned to an alias that was moved. It uses the ledger only, so it works when the Cloud
// API or the KMS does not answer. An error means that the event must be delivered again; repeating one is harmless.
func (f *Function) Event(ctx context.Context, e cmek.Event) error {
	log := f.Log.With("event", e.ID, "change", e.Change, "key", e.Key)
	if e.Begun {
		return nil // nothing has changed yet
	}
	if e.Change == cmek.ChangeAlias {
		return f.aliasChanged(ctx, e)
	}
	if e.Change != cmek.ChangeRotated {
		return nil
	}
	clusters, err := f.Ledger.ByKey(ctx, e.Key)
	if err == nil && len(clusters) == 0 {
		log.Info("no known cluster uses the key")
		return nil
	}
	problems := []error{err} // beside it may be clusters, if some could not be decoded
	for _, c := range clusters {
		var regions []string
		_, err := f.Ledger.UpdateCluster(ctx, c.ID, func(item *ledger.Cluster) error {
			var changed bool
			if regions, changed = open(item, e, time.Now(), f.Settings.settle(cmek.Key{})); !changed {
				return ledger.ErrUnchanged
			}
			return nil
		})
		switch {
		case err != nil:
			problems = append(problems, err)
		case len(regions) > 0:
			log.Info("work opened", "cluster", c.ID, "region", regions, "version", e.Version)
		default:
			log.Info("nothing to open: done, open already, or not the current key", "cluster", c.ID)
		}
	}
	return errors.Join(problems...)
}

// Tick does what is due until shortly before ctx's deadline (or for 55 s if there is none) and returns. With nothing due it
// costs one ledger query. If another worker holds the lease, Tick returns at once.
//
// The error joins what went wrong; everything open stays open, so the next tick is the retry.
func (f *Function) Tick(ctx context.Context) error {
	now := time.Now()
	agenda, err := f.Ledger.Due(ctx, now, 1)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return err
	}
	if agenda.Empty() {
		created, beginErr := f.begin(ctx, now)
		if beginErr != nil || !created {
			return errors.Join(err, beginErr)
		}
	}
	until := now.Add(55 * time.Second)
	if deadline, ok := ctx.Deadline(); ok {
		// What was begun must be able to end: a tenth of the time, and three seconds if there are as many.
		total := deadline.Sub(now)
		until = deadline.Add(-max(total/10, min(3*time.Second, total/2)))
	}
	lease, err := f.Ledger.Lease(ctx, f.Holder, now, until.Add(leaseMargin))
	if errors.Is(err, ledger.ErrLeased) {
		f.Log.Debug("another worker holds the lease")
		return nil
	}
	if err != nil {
		return fmt.Errorf("take the worker's lease: %w", err)
	}
	w := f.worker(lease, until)
	return errors.Join(w.run(ctx), w.release(ctx))
}

// leaseMargin is how long a lease outlasts its holder's plans: a PUT that is under way then may still be answered.
const leaseMargin = 10 * time.Second

// begin writes the worker's record if the ledger has none, and reports whether it did. Once it is known to be there it is
// not asked for again, so that an idle tick stays one query.
func (f *Function) begin(ctx context.Context, now time.Time) (created bool, err error) {
	if f.begun.Load() {
		return false, nil
	}
	created, err = f.Ledger.EnsureWorker(ctx, now)
	f.begun.Store(err == nil)
	return created, err
}

// follows reports whether this installation follows keys of the type.
func (f *Function) follows(t cmek.KeyType) bool {
	if len(f.KeyTypes) == 0 {
		return t == cmek.AWSKMS
	}
	return slices.Contains(f.KeyTypes, t)
}

// Retry lets blocked, failed or refused work of a cluster try again. With done it also reopens work that is done, so that a PUT
// is sent once more for the current key version. It returns the regions concerned.
func (f *Function) Retry(ctx context.Context, clusterID string, done bool) (regions []string, err error) {
	_, err = f.Ledger.UpdateCluster(ctx, clusterID, func(item *ledger.Cluster) error {
		if regions = retry(item, done, time.Now()); len(regions) == 0 {
			return ledger.ErrUnchanged
		}
		return nil
	})
	return regions, err
}

// Skip lets the other clusters of a key go on although this cluster's re-encryption failed; its own work stays blocked. It
// returns the regions whose failure is skipped.
func (f *Function) Skip(ctx context.Context, clusterID string) (regions []string, err error) {
	_, err = f.Ledger.UpdateCluster(ctx, clusterID, func(item *ledger.Cluster) error {
		if regions = skip(item); len(regions) == 0 {
			return ledger.ErrUnchanged
		}
		return nil
	})
	if err != nil || len(regions) == 0 {
		return regions, err
	}
	return regions, f.wakeOthers(ctx, clusterID)
}

// wakeOthers makes the other clusters of the cluster's keys due, which may have waited for it.
func (f *Function) wakeOthers(ctx context.Context, clusterID string) error {
	c, err := f.Ledger.Cluster(ctx, clusterID)
	problems := []error{err}
	woken := map[string]bool{clusterID: true}
	for _, info := range c.CMEK.RegionInfos {
		for _, k := range info.KeyInfos {
			others, err := f.Ledger.ByKey(ctx, k.Spec.URI)
			problems = append(problems, err)
			for _, other := range others {
				if woken[other.ID] || len(other.Work) == 0 {
					continue
				}
				woken[other.ID] = true
				_, err := f.Ledger.UpdateCluster(ctx, other.ID, func(item *ledger.Cluster) error {
					item.WaitUntil(time.Now())
					return nil
				})
				problems = append(problems, err)
			}
		}
	}
	return errors.Join(problems...)
}

// Forget ends the record of a cluster that the Cloud API no longer shows: its open work is dropped with the reason, its keys no
// longer count as in use, and operations are notified. A cluster that is still shown cannot be forgotten.
func (f *Function) Forget(ctx context.Context, clusterID, by, reason string) error {
	_, err := f.Ledger.UpdateCluster(ctx, clusterID, func(item *ledger.Cluster) error {
		return forget(item, by, reason, time.Now())
	})
	return err
}
