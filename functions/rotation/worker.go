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

// worker is one tick under the lease.
type worker struct {
	*Function
	lease *ledger.Worker
	until time.Time
	keys  *keyCache
	// noted holds the documents that were noted in this tick.
	noted notedDocuments
	// fleets holds the clusters of each key, by its canonical URI, kept up to date with our own swaps.
	mu     sync.Mutex
	fleets Fleet
	// polls counts the polls of each cluster in this tick, so that none can hold up the others; woken are the clusters that waited
	// for one that has just moved on, in order.
	polls map[string]int
	woken []string
	// deniedChanged: lease.Denied is not as it was last reported.
	deniedChanged bool
}

func (f *Function) worker(lease *ledger.Worker, until time.Time) *worker {
	return &worker{Function: f, lease: lease, until: until, keys: &keyCache{kms: f.KMS, log: f.Log},
		fleets: Fleet{}, polls: map[string]int{}}
}

const (
	// batch is the number of due clusters taken up at a time; pollsPerTick bounds the polls of one cluster.
	batch        = 25
	pollsPerTick = 12
	// outage is the number of polls that fail in a row before the tick leaves the rest for the next one.
	outage = 3
)

// run does due work first, then a page of the sweep, in turn.
func (w *worker) run(ctx context.Context) error {
	problems := []error{w.deliverOwn(ctx), w.reportHolds(ctx), w.checkSubscribers(ctx)}
	failures := 0
	var undecodable error // each query finds the same ones
	for w.timeLeft(ctx) && failures < outage {
		agenda, err := w.Ledger.Due(ctx, time.Now(), batch)
		if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
			return errors.Join(append(problems, err)...)
		}
		undecodable = err
		polled := false
		slices.SortStableFunc(agenda.Clusters, byRank)
		taken := map[string]bool{} // of this batch: the rest of it is older than what a woken cluster has become
		for _, c := range agenda.Clusters {
			if taken[c.ID] {
				continue
			}
			for c := c; c != nil; c = w.nextWoken(ctx) {
				if !w.timeLeft(ctx) || failures >= outage {
					break
				}
				if w.polls[c.ID]++; w.polls[c.ID] > pollsPerTick {
					continue
				}
				polled, taken[c.ID] = true, true
				if err := w.poll(ctx, c); err != nil {
					problems = append(problems, err)
					w.polls[c.ID] = pollsPerTick
					if !errors.Is(err, cmek.ErrDenied) && !errors.Is(err, errUndelivered) {
						failures++ // the others say nothing about the next cluster
					}
					continue
				}
				failures = 0
			}
		}
		problems = append(problems, w.reportKeys(ctx), w.reportDenied(ctx))
		if polled || !w.timeLeft(ctx) {
			continue
		}
		if !w.sweepDue(time.Now()) {
			break
		}
		goOn, err := w.sweep(ctx)
		problems = append(problems, err)
		if !goOn {
			break
		}
	}
	if failures >= outage && w.timeLeft(ctx) && w.sweepDue(time.Now()) {
		// The sweep must not wait for ever behind clusters that cannot be read.
		_, err := w.sweep(ctx)
		problems = append(problems, err)
	}
	return errors.Join(append(problems, w.reportKeys(ctx), w.reportDenied(ctx), undecodable)...)
}

func (w *worker) timeLeft(ctx context.Context) bool {
	return ctx.Err() == nil && time.Now().Before(w.until)
}

// release gives the lease back and keeps the sweep's place.
func (w *worker) release(ctx context.Context) error {
	if w.lease == nil {
		return nil // lost to another worker
	}
	// The lease must go back even when our own time is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	w.lease.Holder, w.lease.Until = "", time.Time{}
	return w.saveLease(ctx)
}

// saveLease writes the worker's record. If somebody else took the lease over, the tick ends.
func (w *worker) saveLease(ctx context.Context) error {
	next := w.lease.Sweep.Began.Add(w.Settings.SweepEvery)
	if w.lease.Sweep.Running() {
		next = time.Now()
	}
	err := w.Ledger.SaveWorker(ctx, w.lease, w.nextSubscribers(next))
	if errors.Is(err, ledger.ErrConflict) {
		w.lease, w.until = nil, time.Time{}
		return fmt.Errorf("the worker's lease was lost: %w", err)
	}
	return err
}

// poll takes one due cluster as far as it can go now.
func (w *worker) poll(ctx context.Context, c *ledger.Cluster) error {
	now := time.Now()
	if c.NextLook.IsZero() || c.NextLook.After(now) && !w.waitsInOrder(c, now) {
		return w.deliver(ctx, c) // only its messages are due
	}
	reads, err := w.read(ctx, c)
	if err != nil {
		return w.failed(ctx, c.ID, err)
	}
	before := c.Work
	var put []cmek.RegionSpec
	now = time.Now()
	c, err = w.update(ctx, c.ID, func(item *ledger.Cluster) error {
		plan := decidePoll(item, reads, now, w.Settings)
		w.learn(plan)
		put = plan.Put
		return nil
	})
	if err != nil {
		return err
	}
	if len(put) > 0 {
		if c, err = w.send(ctx, c.ID, put, now); err != nil {
			return err
		}
	}
	if movedOn(before, c) {
		w.wake(ctx, before)
	}
	return w.deliver(ctx, c)
}

// send reads once more, sends the claimed PUT unless that read decides otherwise, and notes the answer.
func (w *worker) send(ctx context.Context, id string, put []cmek.RegionSpec, intent time.Time) (*ledger.Cluster, error) {
	var before []ledger.Work
	takeBack := func(cause error) error {
		_, err := w.record(ctx, id, func(item *ledger.Cluster) error { stay(item, before, intent, time.Now()); return nil })
		return errors.Join(cause, err)
	}
	reads, err := w.readAgain(ctx, id, put)
	if err != nil {
		return nil, errors.Join(takeBack(nil), w.failed(ctx, id, err))
	}
	leaves := false
	c, err := w.update(ctx, id, func(item *ledger.Cluster) error {
		before = slices.Clone(item.Work)
		var plan Plan
		plan, leaves = decideSend(item, reads, put, intent, time.Now(), w.Settings)
		w.learn(plan)
		return nil
	})
	if err != nil {
		return nil, takeBack(err)
	}
	if !leaves {
		return c, nil
	}
	log := w.Log.With("cluster", id)
	for _, spec := range put {
		log.Info("sending PUT", "region", spec.Region, "key", spec.KeySpec.URI)
	}
	// The client may have to wait for its share of the request rate; too late is too late there, too.
	sending, cancelSending := context.WithDeadline(ctx, intent.Add(sendWithin))
	defer cancelSending()
	a := w.Cloud.RotateCMEK(sending, id, put)
	log.Info("PUT answered", "outcome", a.Outcome, "status", a.HTTPStatus, "message", a.Message)
	w.noteDenied(c, a.Denied)
	if a.Outcome == cmek.Refused {
		for _, spec := range put {
			w.keys.drop(spec.KeySpec.URI) // it may have been refused because of the key
		}
	}
	return w.record(ctx, id, func(item *ledger.Cluster) error {
		answer(item, intent, a, time.Now(), w.Settings)
		return nil
	})
}

// updatedAtMoves reports whether an accepted PUT of this ledger has moved updated_at. Visits ask beside each other.
func (w *worker) updatedAtMoves() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lease.UpdatedAtMoves
}

// learn notes that an accepted PUT has moved updated_at.
func (w *worker) learn(p Plan) {
	if p.provesUpdatedAt() {
		w.mu.Lock()
		w.lease.UpdatedAtMoves = true
		w.mu.Unlock()
	}
}

// record notes what must not be forgotten. It is worth more than our deadline and a single try: an answer that is not on record
// is an outcome that has to be found out.
func (w *worker) record(ctx context.Context, id string, change func(*ledger.Cluster) error) (c *ledger.Cluster, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for try := range 3 {
		time.Sleep(time.Duration(try) * 300 * time.Millisecond)
		if c, err = w.update(ctx, id, change); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// update swaps the cluster's item and shows the result to the fleets.
func (w *worker) update(ctx context.Context, id string, change func(*ledger.Cluster) error) (*ledger.Cluster, error) {
	c, err := w.Ledger.UpdateCluster(ctx, id, change)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, fleet := range w.fleets {
		i := slices.IndexFunc(fleet, func(other *ledger.Cluster) bool { return other != nil && other.ID == id })
		if i >= 0 {
			fleet = slices.Clone(fleet) // another goroutine may be deciding by it
			fleet[i] = c
			w.fleets[key] = fleet
		}
	}
	w.joins(c)
	return c, nil
}

// joins adds the cluster to the fleets of the keys that it is to be moved to, where they were read before it was.
func (w *worker) joins(c *ledger.Cluster) {
	for _, work := range c.Work {
		key := work.Key.Canonical()
		fleet, read := w.fleets[key]
		if work.Order == "" || !read || slices.ContainsFunc(fleet, func(other *ledger.Cluster) bool { return other != nil && other.ID == c.ID }) {
			continue
		}
		w.fleets[key] = append(slices.Clip(fleet), c)
	}
}

// fleetsOf returns the clusters of each key that the cluster has work for which is unsent, was lost before, or keeps others waiting
// because the cluster is not shown.
func (w *worker) fleetsOf(ctx context.Context, c *ledger.Cluster, r Reads) (Fleet, error) {
	unshown := r.Hidden || !c.Unread.IsZero() || len(c.Partial) > 0 || r.CMEK != nil && !r.CMEK.HasKeys()
	fleets := Fleet{}
	for _, work := range c.Work {
		if work.State == ledger.Requested && work.Lost == 0 && !unshown {
			continue
		}
		fleet, err := w.fleet(ctx, work.Key)
		if err != nil {
			return nil, err
		}
		fleets[work.Key.Canonical()] = spelledIn(fleet, work.Key.Account())
	}
	return fleets, nil
}

// spelledIn are the clusters with their keys of the project under that name of it: two clusters may name one key by either.
func spelledIn(fleet []*ledger.Cluster, project string) []*ledger.Cluster {
	fleet = slices.Clone(fleet)
	for i, c := range fleet {
		if c != nil {
			fleet[i] = c.SpelledIn(project)
		}
	}
	return fleet
}

func (w *worker) fleet(ctx context.Context, key cmek.KeyURI) ([]*ledger.Cluster, error) {
	w.mu.Lock()
	fleet, ok := w.fleets[key.Canonical()]
	w.mu.Unlock()
	if ok {
		return fleet, nil
	}
	fleet, err := w.Ledger.ByKey(ctx, key)
	switch {
	case errors.Is(err, ledger.ErrUndecodable):
		w.Log.Warn("clusters of key not read", "key", key, "error", err)
		fleet = append(fleet, nil)
	case err != nil:
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.fleets) >= keysCached {
		clear(w.fleets)
	}
	w.fleets[key.Canonical()] = fleet
	return fleet, nil
}

// movedOn reports whether work of the cluster is no longer where it was: others of the same keys may have waited for it.
func movedOn(before []ledger.Work, after *ledger.Cluster) bool {
	standing := func(w ledger.Work) string {
		return fmt.Sprint(w.Region, w.Key, w.Version, w.State, w.Failed, w.Attempts, w.Detained, w.Claim != nil)
	}
	return slices.ContainsFunc(before, func(was ledger.Work) bool {
		return !slices.ContainsFunc(after.Work, func(is ledger.Work) bool { return standing(is) == standing(was) })
	})
}

// wake has the clusters polled in this tick that wait for one that has just moved on. Where it cannot, they are polled when
// their own time comes.
func (w *worker) wake(ctx context.Context, before []ledger.Work) {
	var waiting []*ledger.Cluster
	keys := map[string]bool{}
	add := func(key cmek.KeyURI) {
		if keys[key.Canonical()] {
			return
		}
		keys[key.Canonical()] = true
		fleet, err := w.fleet(ctx, key)
		if err != nil {
			w.Log.Warn("clusters of key not read", "key", key, "error", err)
			return
		}
		for _, c := range fleet {
			if c != nil && w.waitsInOrder(c, time.Now()) {
				waiting = append(waiting, c)
			}
		}
	}
	for _, work := range before {
		add(work.Key)
	}
	slices.SortFunc(waiting, rank)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range waiting {
		if !slices.Contains(w.woken, c.ID) {
			w.woken = append(w.woken, c.ID)
		}
	}
}

// waitsInOrder reports whether the cluster has work that waits for others of its key only.
func (w *worker) waitsInOrder(c *ledger.Cluster, now time.Time) bool {
	return slices.ContainsFunc(c.Work, func(work ledger.Work) bool {
		return work.State == ledger.Due && !work.Detained && work.Claim == nil && !now.Before(work.NotBefore) &&
			(work.Order != "" || !now.Before(work.SeenVersion().Add(w.Settings.settle(cmek.Key{}))) && w.Settings.Mode == Follow)
	})
}

// nextWoken is the next cluster that was woken; nil if there is none.
func (w *worker) nextWoken(ctx context.Context) *ledger.Cluster {
	for len(w.woken) > 0 && w.timeLeft(ctx) {
		id := w.woken[0]
		w.woken = w.woken[1:]
		if w.polls[id] >= pollsPerTick {
			continue
		}
		c, err := w.Ledger.Cluster(ctx, id)
		if err != nil {
			w.Log.Warn("cluster with a change not read; its next poll is not brought forward", "cluster", id, "error", err)
			continue
		}
		return c
	}
	return nil
}

// failed notes that the cluster could not be read, and when to try again.
func (w *worker) failed(ctx context.Context, id string, cause error) error {
	now := time.Now()
	_, err := w.update(ctx, id, func(item *ledger.Cluster) error {
		notRead(item, cause, now)
		return nil
	})
	return errors.Join(fmt.Errorf("read cluster %s: %w", id, cause), err)
}

// notRead notes a poll that failed.
func notRead(item *ledger.Cluster, cause error, now time.Time) {
	item.Failures++
	item.NextLook = now.Add(backoff(item.Failures))
	if item.Failures >= outage {
		reportUnreadable(item, cause, now)
	}
}
