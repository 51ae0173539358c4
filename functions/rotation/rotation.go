// Package rotation follows KMS rotations through: when the key that wraps a cluster's store keys gets a new version, it sees
// to it that every store key is re-encrypted under that version, once, and keeps the proof.
//
// Events open work in the ledger; the tick does it, and finds what events missed. Decide is pure, apply carries a decision
// out on the ledger item, and this file and its neighbors read, swap and send.
package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Subscribes lists the changes that concern rotation. Infrastructure builds event rules from it.
var Subscribes = []cmek.Change{cmek.Rotated}

// Function is follow-through with everything it needs. Its methods may be called concurrently, also from several processes
// on one ledger.
type Function struct {
	Cloud   cmek.Cloud
	KMS     cmek.KMS
	Ledger  *ledger.Ledger
	Archive cmek.Archive
	// Policies is nil if policies are not to be kept.
	Policies cmek.Policies
	Notifier cmek.Notifier
	Settings Settings
	Log      *slog.Logger
	// Holder names this worker in the lease. It must differ between processes that run at the same time.
	Holder string

	begun atomic.Bool
}

// Event opens work for each cluster region that the rotated key wraps. It uses the ledger only, so it works when the Cloud
// API or the KMS does not answer. An error means that the event must be delivered again; repeating one is harmless.
func (f *Function) Event(ctx context.Context, e cmek.Event) error {
	log := f.Log.With("event", e.ID, "change", e.Change, "key", e.Key)
	if e.Change != cmek.Rotated {
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
			if regions = open(item, e, time.Now(), f.Settings.Settle); len(regions) == 0 {
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
// costs one ledger query. If another worker is at it, Tick returns at once.
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
		f.Log.Debug("another worker is at it")
		return nil
	}
	if err != nil {
		return fmt.Errorf("take the worker's lease: %w", err)
	}
	w := &worker{Function: f, lease: lease, until: until, fleets: map[string][]*ledger.Cluster{}, looks: map[string]int{}}
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

// Release lets held work of a cluster try again. It returns the regions released.
func (f *Function) Release(ctx context.Context, clusterID string) (regions []string, err error) {
	_, err = f.Ledger.UpdateCluster(ctx, clusterID, func(item *ledger.Cluster) error {
		if regions = release(item, time.Now()); len(regions) == 0 {
			return ledger.ErrUnchanged
		}
		return nil
	})
	return regions, err
}
