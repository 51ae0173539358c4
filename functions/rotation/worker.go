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

// worker is one tick under the lease.
type worker struct {
	*Function
	lease *ledger.Worker
	until time.Time
	keys  keyCache
	// noted holds the keys and roles whose policies were noted in this tick.
	noted onceEach
	// fleets holds the clusters of each key, by its canonical URI, kept up to date with our own swaps.
	mu     sync.Mutex
	fleets map[string][]*ledger.Cluster
	// looks counts the looks at each cluster in this tick, so that none can hold up the others.
	looks map[string]int
}

const (
	// batch is the number of due clusters taken up at a time; looksPerTick bounds the looks at one cluster.
	batch        = 25
	looksPerTick = 6
	// outage is the number of looks that fail in a row before the tick leaves the rest for the next one.
	outage = 3
)

// run does due work first, then a page of the sweep, in turn.
func (w *worker) run(ctx context.Context) error {
	problems := []error{w.deliverOwn(ctx)}
	failures := 0
	var undecodable error // each query finds the same ones
	for w.timeLeft(ctx) && failures < outage {
		agenda, err := w.Ledger.Due(ctx, time.Now(), batch)
		if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
			return errors.Join(append(problems, err)...)
		}
		undecodable = err
		looked := false
		for _, c := range agenda.Clusters {
			if !w.timeLeft(ctx) || failures >= outage {
				break
			}
			if w.looks[c.ID]++; w.looks[c.ID] > looksPerTick {
				continue
			}
			looked = true
			if err := w.look(ctx, c); err != nil {
				problems = append(problems, err)
				w.looks[c.ID] = looksPerTick
				if !errors.Is(err, cmek.ErrDenied) && !errors.Is(err, errUndelivered) {
					failures++ // the others say nothing about the next cluster
				}
				continue
			}
			failures = 0
		}
		if looked || !w.timeLeft(ctx) {
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
		// The sweep must not wait for ever behind clusters that cannot be looked at.
		_, err := w.sweep(ctx)
		problems = append(problems, err)
	}
	return errors.Join(append(problems, undecodable)...)
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
	err := w.Ledger.SaveWorker(ctx, w.lease, next)
	if errors.Is(err, ledger.ErrConflict) {
		w.lease, w.until = nil, time.Time{}
		return fmt.Errorf("the worker's lease was lost: %w", err)
	}
	return err
}

// look takes one due cluster as far as it can go now.
func (w *worker) look(ctx context.Context, c *ledger.Cluster) error {
	now := time.Now()
	if c.NextLook.IsZero() || c.NextLook.After(now) {
		return w.deliver(ctx, c) // only its messages are due
	}
	facts, err := w.read(ctx, c)
	if err != nil {
		return w.failed(ctx, c.ID, err)
	}
	if err := w.loadFleets(ctx, Decide(facts, c, now, w.Settings).Put); err != nil {
		return err
	}
	var put []cmek.RegionSpec
	c, err = w.update(ctx, c.ID, func(item *ledger.Cluster) error {
		plan := Decide(facts, item, now, w.Settings)
		apply(item, facts, plan, now, w.Settings)
		if put = w.turns(item, plan.Put, now); len(put) > 0 {
			claim(item, put, now)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(put) > 0 {
		if c, err = w.send(ctx, c.ID, facts, put, now); err != nil {
			return err
		}
	}
	return w.deliver(ctx, c)
}

// turns returns the regions whose turn it is among the clusters of their keys. The others wait, and say for whom.
func (w *worker) turns(item *ledger.Cluster, want []cmek.RegionSpec, now time.Time) (put []cmek.RegionSpec) {
	for i := range item.Work {
		work := &item.Work[i]
		for _, spec := range want {
			if spec.Region != work.Region || work.State != ledger.Due {
				continue
			}
			ok, why := turn(w.fleets[work.Key.Canonical()], item.ID, *work, w.Settings.InFlight)
			if ok {
				put = append(put, spec)
				continue
			}
			work.Reason = why
			item.NextLook = now.Add(turnWait)
		}
	}
	return put
}

// update swaps the cluster's item and shows the result to the fleets.
func (w *worker) update(ctx context.Context, id string, change func(*ledger.Cluster) error) (*ledger.Cluster, error) {
	c, err := w.Ledger.UpdateCluster(ctx, id, change)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range c.Keys() {
		for i, other := range w.fleets[key] {
			if other.ID == id {
				w.fleets[key][i] = c
			}
		}
	}
	return c, nil
}

func (w *worker) loadFleets(ctx context.Context, put []cmek.RegionSpec) error {
	for _, spec := range put {
		key := spec.KeySpec.URI
		if _, ok := w.fleets[key.Canonical()]; ok {
			continue
		}
		fleet, err := w.Ledger.ByKey(ctx, key)
		if err != nil {
			return err
		}
		w.fleets[key.Canonical()] = fleet
	}
	return nil
}

// failed notes that the cluster could not be looked at, and when to try again.
func (w *worker) failed(ctx context.Context, id string, cause error) error {
	now := time.Now()
	_, err := w.update(ctx, id, func(item *ledger.Cluster) error {
		item.Failures++
		item.NextLook = now.Add(backoff(item.Failures))
		if item.Failures >= outage {
			unreadable(item, cause, now)
		}
		return nil
	})
	return errors.Join(fmt.Errorf("look at cluster %s: %w", id, cause), err)
}

// send sends the claimed PUT, unless a fresh read says otherwise, and notes the answer.
func (w *worker) send(ctx context.Context, id string, facts Facts, put []cmek.RegionSpec, intent time.Time) (*ledger.Cluster, error) {
	facts, err := w.readAgain(ctx, id, facts)
	if err != nil {
		_, undo := w.update(ctx, id, func(item *ledger.Cluster) error { unclaim(item, intent); return nil })
		return nil, errors.Join(w.failed(ctx, id, err), undo)
	}
	stands := false
	c, err := w.update(ctx, id, func(item *ledger.Cluster) error {
		now := time.Now()
		if stands = claimStands(item, facts, put, intent, now, w.Settings); stands {
			return ledger.ErrUnchanged
		}
		unclaim(item, intent)
		apply(item, facts, Decide(facts, item, now, w.Settings), now, w.Settings)
		return nil
	})
	if err != nil || !stands {
		return c, err
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
	return w.record(ctx, id, func(item *ledger.Cluster) error {
		answer(item, intent, a, facts.Cluster.OperationStatus == cmek.CMEKOperationFailed, time.Now(), w.Settings)
		return nil
	})
}

// record notes an answer. It is worth more than our deadline and a single try: an answer that is not on record is an outcome
// that has to be found out.
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

// claimStands reports whether the claim is still ours and a fresh look decides the same: the same regions, each with the
// same key spec and the same updated_at as when it was claimed, soon enough after the intent.
func claimStands(item *ledger.Cluster, facts Facts, put []cmek.RegionSpec, intent, now time.Time, s Settings) bool {
	if now.Sub(intent) > sendWithin {
		return false
	}
	before := map[string]time.Time{}
	for _, w := range item.Work {
		if w.State == ledger.Requested && w.Request.Intent.Equal(intent) && w.Request.Answer == nil {
			before[w.Region] = w.Request.Before
		}
	}
	free := *item
	free.Work = append([]ledger.Work(nil), item.Work...)
	unclaim(&free, intent)
	again := map[string]cmek.KeySpec{}
	for _, spec := range Decide(facts, &free, now, s).Put {
		again[spec.Region] = spec.KeySpec
	}
	for _, spec := range put {
		at, claimed := before[spec.Region]
		info, _ := facts.CMEK.Region(spec.Region)
		if !claimed || again[spec.Region] != spec.KeySpec || !info.Newest(spec.KeySpec.URI).UpdatedAt.Equal(at) {
			return false
		}
	}
	return true
}
