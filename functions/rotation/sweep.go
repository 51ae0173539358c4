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
		*s = ledger.Sweep{Began: time.Now(), Complete: s.Complete}
	}
	clusters, next, err := w.Cloud.ClusterPage(ctx, s.Page)
	if err != nil {
		return false, w.pageFailed(ctx, err)
	}
	s.PageFailures = 0
	todo := clusters[min(s.Skip, len(clusters)):]
	visited, failed, err := w.visitAll(ctx, todo)
	s.Clusters += visited
	s.Failed += failed
	s.Skip += visited
	if visited == len(todo) {
		s.Page, s.Skip = next, 0
		if next == "" {
			s.Ended = time.Now()
			if s.Failed == 0 {
				s.Complete = s.Ended
			}
			w.Log.Info("sweep ended", "clusters", s.Clusters, "failed", s.Failed, "seconds", int(s.Ended.Sub(s.Began).Seconds()))
		}
	}
	var conditions []cmek.Alert
	if !s.Running() && s.Failed > 0 {
		conditions = append(conditions, sweepIncomplete(*s, nil))
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return s.Running() && key == "sweep-incomplete" },
		time.Now(), &w.lease.Outbox)
	saveErr := w.saveLease(ctx)
	return saveErr == nil && visited > failed, errors.Join(err, saveErr, w.deliverOwn(ctx))
}

// pageFailed notes that the list of clusters could not be read.
func (w *worker) pageFailed(ctx context.Context, cause error) error {
	s, now := &w.lease.Sweep, time.Now()
	s.PageFailures++
	if s.PageFailures >= pageAttempts {
		// Not complete: the next walk begins at the first page.
		s.Ended, s.Page, s.Skip, s.PageFailures = now, "", 0, 0
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

// visitAll visits clusters in order, Settings.Concurrency at a time, as long as there is time. It returns how many were
// visited from the start of the list, and how many of them failed.
func (w *worker) visitAll(ctx context.Context, clusters []cmek.Cluster) (visited, failed int, err error) {
	var mu sync.Mutex
	var problems []error
	next := func() (cmek.Cluster, bool) {
		mu.Lock()
		defer mu.Unlock()
		if visited == len(clusters) || !w.timeLeft(ctx) || failed >= outage && failed == visited {
			return cmek.Cluster{}, false
		}
		visited++
		return clusters[visited-1], true
	}
	walk := func() {
		for c, ok := next(); ok; c, ok = next() {
			if err := w.visit(ctx, c); err != nil {
				mu.Lock()
				failed++
				problems = append(problems, fmt.Errorf("visit cluster %s: %w", c.ID, err))
				mu.Unlock()
			}
		}
	}
	if w.Settings.Concurrency == 1 {
		walk() // in this goroutine: a run with one worker can be repeated exactly
		return visited, failed, errors.Join(problems...)
	}
	var group sync.WaitGroup
	for range w.Settings.Concurrency {
		group.Go(walk)
	}
	group.Wait()
	return visited, failed, errors.Join(problems...)
}

// visit refreshes the inventory of one cluster and opens the work that no event told of. It sends nothing.
func (w *worker) visit(ctx context.Context, cluster cmek.Cluster) error {
	if (cluster.Plan != "" && cluster.Plan != cmek.PlanAdvanced) || cluster.State == cmek.StateDeleted {
		return nil
	}
	c, err := w.Ledger.Cluster(ctx, cluster.ID)
	if err != nil {
		return err
	}
	f, err := w.readCMEK(ctx, cluster.ID, Facts{Cluster: cluster, ClusterRead: true})
	if err != nil {
		if c.SeenAt.IsZero() {
			return err
		}
		return w.failed(ctx, cluster.ID, err)
	}
	if len(f.CMEK.RegionInfos) == 0 && c.SeenAt.IsZero() {
		return nil // without CMEK there is nothing to keep
	}
	everything := *c
	everything.Work = nil
	if err := w.readKeys(ctx, &everything, &f); err != nil {
		return err
	}
	now := time.Now()
	_, err = w.update(ctx, cluster.ID, func(item *ledger.Cluster) error {
		apply(item, f, Decide(f, item, now, w.Settings), now, w.Settings)
		return nil
	})
	return errors.Join(err, w.notePolicies(ctx, f.CMEK))
}
