package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// The line of the log that ends a walk, and its field with the age of the oldest open work, in seconds. Alarms are made of them. A walk
// that was given up has the field "error" as well.
const (
	LogSweepEnded = "sweep ended"
	LogOldestOpen = "oldest_open_seconds"
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
		*s = ledger.Sweep{Began: time.Now(), Complete: s.Complete, WasOpen: s.WasOpen, WasKnown: s.Known, Marks: s.Found.Lacks(s.WasKnown),
			Names: ledger.Named{IDs: true, Numbers: true}, Named: s.Named}
	}
	clusters, next, err := w.Cloud.ClusterPage(ctx, s.Page)
	if err != nil {
		return false, w.pageFailed(ctx, err)
	}
	s.PageFailures = 0
	todo := clusters[min(s.Skip, len(clusters)):]
	v, err := w.visitAll(ctx, todo)
	s.Clusters += v.visited - v.others
	s.Failed += v.failed
	s.Unread += v.unread
	s.Others += v.others
	s.Found, s.Known = s.Found.Plus(v.found), s.Known.Plus(v.known)
	s.Names = s.Names.And(v.named)
	s.Skip += v.visited
	s.OldestOpen = earlier(s.OldestOpen, v.oldestOpen)
	if v.visited == len(todo) {
		s.Page, s.Skip = next, 0
		if next == "" {
			s.Ended = time.Now()
			s.WasOpen = s.OldestOpen
			if s.Marks {
				err = errors.Join(err, w.askForUnlisted(ctx, s.Began))
			}
			if s.Failed == s.Unread {
				s.Complete, s.Named = s.Ended, s.Names
			}
			w.Log.Info(LogSweepEnded, "clusters", s.Clusters, "failed", s.Failed, "unread", s.Unread, "others", s.Others, "seconds", int(s.Ended.Sub(s.Began).Seconds()),
				LogOldestOpen, openSeconds(*s))
		}
	}
	var conditions []alert.Alert
	if !s.Running() && s.Failed > s.Unread {
		conditions = append(conditions, sweepIncomplete(*s, nil))
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return key != "api-key-refused" && (key != "sweep-incomplete" || s.Running()) },
		time.Now(), &w.lease.Outbox)
	saveErr := w.saveAndDeliver(ctx)
	return saveErr == nil && v.visited > v.failed, errors.Join(err, saveErr, w.reportKeys(ctx))
}

// pageFailed notes that the list of clusters could not be read.
func (w *worker) pageFailed(ctx context.Context, cause error) error {
	s, now := &w.lease.Sweep, time.Now()
	s.PageFailures++
	if s.PageFailures >= pageAttempts {
		// Not complete: the next walk begins at the first page.
		s.Ended, s.Page, s.Skip, s.PageFailures = now, "", 0, 0
		// What was open at the last poll is open still, as far as anybody knows: its age must not go unsaid in an outage.
		s.OldestOpen = earlier(s.OldestOpen, s.WasOpen)
		w.Log.Warn(LogSweepEnded, "clusters", s.Clusters, "failed", s.Failed, LogOldestOpen, openSeconds(*s), "error", cause)
	}
	var conditions []alert.Alert
	switch {
	case errors.Is(cause, cmek.ErrDenied):
		conditions = append(conditions, apiKeyRefused(cause))
	case !s.Running():
		conditions = append(conditions, sweepIncomplete(*s, cause))
	}
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(string) bool { return true }, now, &w.lease.Outbox)
	return errors.Join(fmt.Errorf("list clusters: %w", cause), w.saveAndDeliver(ctx))
}

// askForUnlisted makes those clusters due that the ledger knows and a walk that marks did not visit: each is then asked for by
// itself.
func (w *worker) askForUnlisted(ctx context.Context, began time.Time) error {
	known, err := w.Ledger.Clusters(ctx)
	problems := []error{err}
	for _, c := range known {
		if c.SeenAt.Before(began) && c.Unread.IsZero() && !c.SeenAt.IsZero() {
			_, err := w.update(ctx, c.ID, func(item *ledger.Cluster) error {
				item.WaitUntil(time.Now())
				return nil
			})
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// visits is what came of visiting clusters: how many, from the start of the list; how many of them failed, and how many of those
// because they show no CMEK any more; how many are another installation's; which of them the ledger knew before and knows now; by which
// names the projects of all of them are known; and when the oldest work was opened that is still open at one of them, zero if none is.
type visits struct {
	visited, failed, unread, others int
	found, known                    ledger.Set
	named                           ledger.Named
	oldestOpen                      time.Time
}

// errUnread and errOthers are why a visit found nothing to follow.
var (
	errUnread = errors.New("no CMEK is shown")
	errOthers = errors.New("another installation's")
)

// visitAll visits clusters in order, Settings.Concurrency at a time, as long as there is time.
func (w *worker) visitAll(ctx context.Context, clusters []cmek.Cluster) (v visits, err error) {
	var mu sync.Mutex
	var problems []error
	v.named = ledger.Named{IDs: true, Numbers: true}
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
			item, found, err := w.visit(ctx, c)
			mu.Lock()
			if found {
				v.found = v.found.Plus(ledger.Of(c.ID))
			}
			if inInventory(item) {
				v.known = v.known.Plus(ledger.Of(c.ID))
				v.named = v.named.And(item.Named())
			}
			for _, work := range item.Work {
				v.oldestOpen = earlier(v.oldestOpen, work.Since)
			}
			switch {
			case errors.Is(err, errOthers):
				v.others++
			case errors.Is(err, errUnread):
				v.unread++
				fallthrough
			case err != nil:
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

// openSeconds is the age of the oldest open work at the end of a walk; 0 if none is open.
func openSeconds(s ledger.Sweep) int {
	if s.OldestOpen.IsZero() {
		return 0
	}
	return int(s.Ended.Sub(s.OldestOpen).Seconds())
}

// inInventory reports whether the ledger knows the cluster, as one that exists.
func inInventory(c *ledger.Cluster) bool { return !c.SeenAt.IsZero() && !c.Gone }

// visit refreshes the inventory of one cluster and opens the work that no event announced. It sends nothing. The item returned is
// the one in the ledger as far as it is known, never nil; found says whether the ledger knew the cluster before.
func (w *worker) visit(ctx context.Context, cluster cmek.Cluster) (item *ledger.Cluster, found bool, err error) {
	if cmek.PlanWithoutCMEK(cluster.Plan) {
		return &ledger.Cluster{}, false, nil
	}
	c, err := w.Ledger.Cluster(ctx, cluster.ID)
	if err != nil {
		return &ledger.Cluster{}, false, err
	}
	found = inInventory(c)
	item, err = w.refresh(ctx, cluster, c)
	return item, found, err
}

// refresh is a visit of the cluster that the ledger has as c.
func (w *worker) refresh(ctx context.Context, cluster cmek.Cluster, c *ledger.Cluster) (*ledger.Cluster, error) {
	none := &ledger.Cluster{}
	known := !c.SeenAt.IsZero()
	if cluster.State == cmek.StateDeleted && (!known || c.Gone) {
		return none, nil
	}
	r := Reads{At: time.Now(), Cluster: &cluster, Listed: true, UpdatedAtMoves: w.updatedAtMoves()}
	var err error
	foreign := !w.owns(cluster, c.CMEK)
	if !foreign && cluster.State != cmek.StateDeleted {
		if err := w.readCMEK(ctx, c, &r); err != nil {
			if !known {
				return c, err
			}
			return c, w.failed(ctx, cluster.ID, err)
		}
		foreign = !w.owns(cluster, *r.CMEK)
		if !known && !r.CMEK.HasKeys() {
			return c, nil // without CMEK there is nothing to keep
		}
	}
	if foreign {
		return none, errors.Join(errOthers, w.disown(ctx, c))
	}
	if err := w.readKeys(ctx, c, nil, &r); err != nil {
		return c, err
	}
	if err := w.readMoves(ctx, c, &r, unsentOrder); err != nil {
		return c, err
	}
	if r.Fleet, err = w.fleetsOf(ctx, c, r); err != nil {
		return c, err
	}
	r.Projects = w.projectsOf(ctx, c, r)
	now := time.Now()
	before := c.Work
	swapped, err := w.update(ctx, cluster.ID, func(item *ledger.Cluster) error {
		facts, plan := decide(item, r, time.Time{}, now, w.Settings)
		if w.lease.Sweep.Marks && facts.CMEKRead {
			item.SeenAt = now
		}
		w.learn(plan)
		return nil
	})
	if err != nil {
		return c, err
	}
	w.stillDenied(swapped)
	if movedOn(before, swapped) {
		w.wake(ctx, before)
	}
	err = errors.Join(w.noteStates(ctx, r.Keys), w.notePolicies(ctx, swapped))
	if !swapped.Unread.IsZero() {
		err = errors.Join(err, fmt.Errorf("%w: %s", errUnread, swapped.Unread.Why))
	}
	return swapped, err
}

// owns reports whether the cluster's keys are of a type that this installation follows. A cluster that does not say is ours until
// its CMEK shows that it is not.
func (w *worker) owns(cluster cmek.Cluster, info cmek.ClusterInfo) bool {
	return cluster.MayHaveKeys(info, w.follows)
}

// disown ends the record that an earlier release kept of another installation's cluster.
func (w *worker) disown(ctx context.Context, c *ledger.Cluster) error {
	if c.SeenAt.IsZero() || c.Gone {
		return nil
	}
	now := time.Now()
	_, err := w.update(ctx, c.ID, func(item *ledger.Cluster) error {
		for _, work := range item.Work {
			item.Dropped = dropped(item.Dropped, work, "the cluster belongs to another installation", now)
		}
		item.Work, item.Gone, item.NextLook = nil, true, time.Time{}
		item.Alarms = transitions(item.Alarms, nil, never, now, &item.Outbox)
		return nil
	})
	return err
}
