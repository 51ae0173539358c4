package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// pageAttempts is how often a page of clusters is tried before the walk is given up until the next one is due. A page's name
// may have gone stale.
const pageAttempts = 3

func (w *worker) sweepDue(now time.Time) bool {
	s := w.lease.Sweep
	return s.Running() || !now.Before(s.Began.Add(w.Settings.SweepEvery))
}

// sweep visits one page of clusters, from where the walk stopped, and keeps its place in the worker's record. It reports
// whether there is a point in going on with the next page.
func (w *worker) sweep(ctx context.Context) (goOn bool, err error) {
	s := &w.lease.Sweep
	if !s.Running() {
		*s = ledger.Sweep{Began: time.Now(), Complete: s.Complete, WasOpen: s.WasOpen}
	}
	clusters, next, err := w.Cloud.ClusterPage(ctx, s.Page)
	if err != nil {
		return false, w.pageFailed(ctx, err)
	}
	s.PageFailures = 0
	todo := clusters[min(s.Skip, len(clusters)):]
	v, err := w.visitAll(ctx, todo)
	s.Clusters += v.visited
	s.Failed += v.failed
	s.Skip += v.visited
	s.OldestOpen = older(s.OldestOpen, v.oldestOpen)
	if v.visited == len(todo) {
		s.Page, s.Skip = next, 0
		if next == "" {
			s.Ended = time.Now()
			s.WasOpen = s.OldestOpen
			if s.Failed == 0 {
				s.Complete = s.Ended
			}
			w.Log.Info("sweep ended", "clusters", s.Clusters, "failed", s.Failed, "seconds", int(s.Ended.Sub(s.Began).Seconds()),
				"oldest_open_seconds", openSeconds(*s))
		}
	}
	var conditions []cmek.Alert
	if !s.Running() && s.Failed > 0 {
		conditions = append(conditions, sweepIncomplete(*s, nil))
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return s.Running() && key == "sweep-incomplete" },
		time.Now(), &w.lease.Outbox)
	saveErr := w.saveLease(ctx)
	return saveErr == nil && v.visited > v.failed, errors.Join(err, saveErr, w.deliverOwn(ctx))
}

// pageFailed notes that the list of clusters could not be read.
func (w *worker) pageFailed(ctx context.Context, cause error) error {
	s, now := &w.lease.Sweep, time.Now()
	s.PageFailures++
	if s.PageFailures >= pageAttempts {
		// Not complete: the next walk begins at the first page.
		s.Ended, s.Page, s.Skip, s.PageFailures = now, "", 0, 0
		// What was open at the last look is open still, as far as anybody knows: its age must not go unsaid in an outage.
		s.OldestOpen = older(s.OldestOpen, s.WasOpen)
		w.Log.Warn("sweep ended", "clusters", s.Clusters, "failed", s.Failed, "oldest_open_seconds", openSeconds(*s), "err", cause)
	}
	var conditions []cmek.Alert
	switch {
	case errors.Is(cause, cmek.ErrDenied):
		conditions = append(conditions, apiKeyRefused(cause))
	case !s.Running():
		conditions = append(conditions, sweepIncomplete(*s, cause))
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(string) bool { return true }, now, &w.lease.Outbox)
	return errors.Join(fmt.Errorf("list clusters: %w", cause), w.saveLease(ctx), w.deliverOwn(ctx))
}

// visits is what came of visiting clusters: how many, from the start of the list; how many of them failed; and when the oldest
// work was opened that is still open at one of them, zero if none is.
type visits struct {
	visited, failed int
	oldestOpen      time.Time
}

// visitAll visits clusters in order, Settings.Concurrency at a time, as long as there is time.
func (w *worker) visitAll(ctx context.Context, clusters []cmek.Cluster) (v visits, err error) {
	var mu sync.Mutex
	var problems []error
	next := func() (cmek.Cluster, bool) {
		mu.Lock()
		defer mu.Unlock()
		if v.visited == len(clusters) || !w.timeLeft(ctx) || v.failed >= outage && v.failed == v.visited {
			return cmek.Cluster{}, false
		}
		v.visited++
		return clusters[v.visited-1], true
	}
	walk := func() {
		for c, ok := next(); ok; c, ok = next() {
			item, err := w.visit(ctx, c)
			mu.Lock()
			for _, work := range item.Work {
				v.oldestOpen = older(v.oldestOpen, work.Since)
			}
			if err != nil {
				v.failed++
				problems = append(problems, fmt.Errorf("visit cluster %s: %w", c.ID, err))
			}
			mu.Unlock()
		}
	}
	if w.Settings.Concurrency == 1 {
		walk() // in this goroutine: a run with one worker can be repeated exactly
		return v, errors.Join(problems...)
	}
	var group sync.WaitGroup
	for range w.Settings.Concurrency {
		group.Go(walk)
	}
	group.Wait()
	return v, errors.Join(problems...)
}

// older is the earlier of two times, of which zero is none.
func older(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// openSeconds is the age of the oldest open work at the end of a walk; 0 if none is open.
func openSeconds(s ledger.Sweep) int {
	if s.OldestOpen.IsZero() {
		return 0
	}
	return int(s.Ended.Sub(s.OldestOpen).Seconds())
}

// visit refreshes the inventory of one cluster and opens the work that no event told of. It sends nothing. The item returned is
// the one in the ledger as far as it is known, never nil.
func (w *worker) visit(ctx context.Context, cluster cmek.Cluster) (*ledger.Cluster, error) {
	if (cluster.Plan != "" && cluster.Plan != cmek.PlanAdvanced) || cluster.State == cmek.StateDeleted {
		return &ledger.Cluster{}, nil
	}
	c, err := w.Ledger.Cluster(ctx, cluster.ID)
	if err != nil {
		return &ledger.Cluster{}, err
	}
	f, err := w.readCMEK(ctx, cluster.ID, Facts{Cluster: cluster, ClusterRead: true})
	if err != nil {
		if c.SeenAt.IsZero() {
			return c, err
		}
		return c, w.failed(ctx, cluster.ID, err)
	}
	if len(f.CMEK.RegionInfos) == 0 && c.SeenAt.IsZero() {
		return c, nil // without CMEK there is nothing to keep
	}
	if err := w.readKeys(ctx, c, nil, &f); err != nil {
		return c, err
	}
	now := time.Now()
	swapped, err := w.update(ctx, cluster.ID, func(item *ledger.Cluster) error {
		apply(item, f, Decide(f, item, now, w.Settings), now, w.Settings)
		return nil
	})
	if err == nil {
		c = swapped
	}
	return c, errors.Join(err, w.notePolicies(ctx, f.CMEK))
}
