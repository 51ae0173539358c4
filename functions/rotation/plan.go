package rotation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Preview is what follow-through would do: about each cluster now, and which PUTs it would send from now on.
type Preview struct {
	Clusters []ClusterPlan
	// Sends lists the PUTs in the order in which they would leave, if each succeeds and nothing else happens.
	Sends []PlannedSend
}

// ClusterPlan is what a tick would do about one cluster now, with what it was decided upon.
type ClusterPlan struct {
	// Item is the cluster's ledger item with the inventory as just read; nothing of it was written. A cluster that is not in
	// the ledger has no open and no done work.
	Item  *ledger.Cluster
	Facts Facts
	Plan  Plan
	// Others is true for a cluster of another installation; it is not planned for.
	Others bool
	// Err is why the cluster could not be read; Plan is empty then.
	Err error
}

// PlannedSend is one region of a PUT that would be sent. PUTs of one rank carry several regions of one cluster.
type PlannedSend struct {
	// Rank counts the PUTs from 1.
	Rank    int
	Cluster *ledger.Cluster
	Region  string
	Spec    cmek.KeySpec
	Version cmek.KeyVersion
	// Why says what it waits for first; "" for nothing.
	Why string
}

// Plan says what follow-through would do about the clusters, or about all clusters of the fleet if none is named. It reads
// the Cloud API and the KMS afresh, writes nothing and sends no PUT. It decides as the tick does, with the same function, and
// carries the decisions forward past settle times.
//
// The plans are in the order of the ids, or in that of the Cloud API's list. The error means that the list of clusters or the
// ledger could not be read; what could not be read of one cluster is in its own Err.
func (f *Function) Plan(ctx context.Context, clusterIDs ...string) (Preview, error) {
	lease, err := f.Ledger.Worker(ctx)
	if err != nil {
		return Preview{}, err
	}
	w := f.worker(lease, time.Time{})
	paused, err := f.Ledger.Paused(ctx)
	if err != nil {
		return Preview{}, err
	}
	fleet, err := w.wholeFleet(ctx)
	if err != nil {
		return Preview{}, err
	}
	for _, id := range clusterIDs {
		if !slices.ContainsFunc(fleet, func(c cmek.Cluster) bool { return c.ID == id }) {
			fleet = append(fleet, cmek.Cluster{ID: id})
		}
	}
	// The clusters that share a key with one that is named are read, too: the order among them decides.
	s := &stage{worker: w, paused: paused, named: clusterIDs}
	for _, cluster := range fleet {
		p, err := s.read(ctx, cluster)
		if err := ctx.Err(); err != nil {
			return Preview{}, fmt.Errorf("plan cluster %s: %w", cluster.ID, err)
		}
		p.Err = err
		s.clusters = append(s.clusters, p)
	}
	return s.play(time.Now()), nil
}

// wholeFleet lists the clusters that can have a CMEK, then those that only the ledger knows, by their ids alone.
func (w *worker) wholeFleet(ctx context.Context) ([]cmek.Cluster, error) {
	fleet, err := w.listClusters(ctx)
	if err != nil {
		return nil, err
	}
	known, err := w.Ledger.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, c := range fleet {
		listed[c.ID] = true
	}
	for _, item := range known {
		if !listed[item.ID] {
			fleet = append(fleet, cmek.Cluster{ID: item.ID})
		}
	}
	return slices.DeleteFunc(fleet, func(c cmek.Cluster) bool {
		return withoutCMEK(c.Plan) || c.State == cmek.StateDeleted
	}), nil
}

func (w *worker) listClusters(ctx context.Context) (all []cmek.Cluster, err error) {
	page := ""
	for range mostPages {
		clusters, next, err := w.Cloud.ClusterPage(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("list clusters: %w", err)
		}
		all = append(all, clusters...)
		if next == "" {
			return all, nil
		}
		page = next
	}
	return nil, fmt.Errorf("list clusters: no end after %d pages", mostPages)
}

// mostPages bounds a walk over the Cloud API's list; at the smallest page size there is, no fleet has as many.
const mostPages = 10_000

// stage is a fleet in memory on which follow-through is played forward.
type stage struct {
	*worker
	paused   ledger.Pause
	named    []string
	clusters []ClusterPlan
	reads    []Reads
	// polled marks the clusters that were polled on the stage; ends is when each cluster's open request is taken to be done, zero
	// for none; waited is what each region waits for first, by
	// cluster id and region.
	polled []bool
	ends   []time.Time
	waited map[string]string
}

// read reads everything about one cluster, and decides about it as a sweep does.
func (s *stage) read(ctx context.Context, cluster cmek.Cluster) (ClusterPlan, error) {
	s.reads = append(s.reads, Reads{At: time.Now(), Paused: s.paused, UpdatedAtMoves: s.lease.UpdatedAtMoves})
	r := &s.reads[len(s.reads)-1]
	item, err := s.Ledger.Cluster(ctx, cluster.ID)
	if err != nil {
		return ClusterPlan{Item: &ledger.Cluster{ID: cluster.ID, Cluster: cluster}}, err
	}
	p := ClusterPlan{Item: item}
	if cluster.State != "" {
		r.Cluster = &cluster
	} else if err := s.readCluster(ctx, cluster.ID, r); err != nil {
		return p, err
	}
	if r.Cluster != nil {
		item.Cluster = *r.Cluster
		if p.Others = !s.owns(*r.Cluster, item.CMEK); p.Others {
			return p, nil
		}
	}
	if r.Hidden {
		if item.SeenAt.IsZero() {
			return p, fmt.Errorf("read cluster %s: %w", cluster.ID, cmek.ErrNotFound)
		}
	} else if err := s.readCMEK(ctx, item, r); err != nil {
		return p, err
	}
	if r.CMEK != nil && r.Cluster != nil {
		if p.Others = !s.owns(*r.Cluster, *r.CMEK); p.Others {
			return p, nil
		}
	}
	// The keys of open work, and those of the regions without any.
	if err := s.readKeys(ctx, item, item.Work, r); err != nil {
		return p, err
	}
	ofWork := r.Keys
	if err := s.readKeys(ctx, item, nil, r); err != nil {
		return p, err
	}
	maps.Copy(r.Keys, ofWork)
	return p, nil
}

// play decides about every cluster, then goes on in time.
func (s *stage) play(now time.Time) Preview {
	var p Preview
	for i := range s.clusters {
		c := &s.clusters[i]
		if c.Err != nil || c.Others {
			continue
		}
		s.reads[i].Fleet = s.fleets
		c.Facts = absorb(c.Item, s.reads[i], now)
	}
	s.gather()
	for i := range s.clusters {
		if c := &s.clusters[i]; c.Err == nil && !c.Others {
			c.Plan = Decide(c.Facts, c.Item, now, s.Settings)
		}
	}
	shown := slices.Clone(s.clusters)
	p.Sends = s.forward(now)
	for _, c := range shown {
		wanted := len(s.named) == 0 || slices.Contains(s.named, c.Item.ID)
		// A cluster that never had a CMEK is of interest only to who asks for it.
		if wanted && (len(s.named) > 0 || c.Err != nil || c.Others || c.Item.CMEK.HasKeys()) {
			p.Clusters = append(p.Clusters, c)
		}
	}
	if len(s.named) > 0 {
		p.Sends = slices.DeleteFunc(p.Sends, func(send PlannedSend) bool { return !slices.Contains(s.named, send.Cluster.ID) })
	}
	return p
}

// gather fills the fleets with the items on the stage.
func (s *stage) gather() {
	clear(s.fleets)
	for _, c := range s.clusters {
		seen := map[string]bool{}
		for _, info := range c.Item.CMEK.RegionInfos {
			for _, k := range info.KeyInfos {
				if key := k.Spec.URI.Canonical(); !seen[key] && !c.Others {
					seen[key] = true
					s.fleets[key] = append(s.fleets[key], c.Item)
				}
			}
		}
	}
}

// forwardFor bounds how far the stage is played forward without a PUT: past settle times and backoffs. What waits longer waits for
// something that the stage cannot show.
const forwardFor = 3 * time.Hour

// forward plays the tick on copies of the items, from poll to poll. Each request, also one that is open now, is taken to succeed.
func (s *stage) forward(now time.Time) (sends []PlannedSend) {
	for i := range s.clusters {
		item := *s.clusters[i].Item
		item.Work, item.Done = slices.Clone(item.Work), slices.Clone(item.Done)
		s.clusters[i].Item = &item
	}
	s.gather()
	s.waited = map[string]string{}
	s.ends = make([]time.Time, len(s.clusters))
	takes := s.takes()
	s.polled = make([]bool, len(s.clusters))
	for i := range s.clusters {
		s.flies(i, now, takes)
	}
	sweep := latest(now, s.lease.Sweep.Began.Add(s.Settings.SweepEvery))
	if s.lease.Sweep.Running() {
		sweep = now
	}
	for clock, progress := now, now; ; {
		next := -1
		for i := range s.clusters {
			if s.moves(i) && (next < 0 || s.before(i, next)) {
				next = i
			}
		}
		if !sweep.IsZero() && (next < 0 || !s.clusters[next].Item.NextLook.Before(sweep)) {
			clock, progress = sweep, sweep
			for i := range s.clusters {
				s.act(i, clock, takes, &sends, true)
			}
			sweep = time.Time{} // a second one would find nothing more
			continue
		}
		if next < 0 {
			return sends
		}
		clock = latest(clock, s.clusters[next].Item.NextLook)
		if clock.After(progress.Add(forwardFor)) {
			return sends
		}
		count := len(sends)
		if s.ends[next].IsZero() {
			s.act(next, clock, takes, &sends, false)
		} else {
			s.end(next, clock)
			progress = clock
		}
		if len(sends) > count {
			progress = clock
		}
	}
}

// takes is how long a request is taken to be open: as long as the last one was, and at least until two reads can show its end.
func (s *stage) takes() time.Duration {
	var last ledger.Done
	for _, c := range s.clusters {
		for _, d := range c.Item.Done {
			if d.Followed && !d.Sent.IsZero() && d.At.After(last.At) {
				last = d
			}
		}
	}
	return max(s.Settings.Poll+s.Settings.confirm(), last.At.Sub(last.Sent))
}

// moves reports whether the cluster has work that time alone brings on.
func (s *stage) moves(i int) bool {
	c := s.clusters[i]
	if c.Err != nil || c.Others {
		return false
	}
	return !s.ends[i].IsZero() || !s.polled[i] && len(c.Item.Work) > 0 || slices.ContainsFunc(c.Item.Work, func(w ledger.Work) bool {
		return w.State == ledger.Due && !w.Detained && s.Settings.Mode == Follow && !s.paused.Active()
	})
}

// before orders clusters that are due by time, those of one time as the fleet's order has it.
func (s *stage) before(a, b int) bool {
	x, y := s.clusters[a].Item, s.clusters[b].Item
	return cmp.Or(x.NextLook.Compare(y.NextLook), rank(x, y)) < 0
}

// act polls one cluster on the stage that has no request open, or visits it as a sweep does, which finds what no event announced.
func (s *stage) act(i int, now time.Time, takes time.Duration, sends *[]PlannedSend, visit bool) {
	c := &s.clusters[i]
	if c.Err != nil || c.Others || !s.ends[i].IsZero() || !visit && len(c.Item.Work) == 0 {
		return
	}
	s.polled[i] = true
	r := s.reads[i]
	r.At = now
	if !visit {
		r.Keys = keysOfWork(c.Item, r.Keys)
	}
	before := slices.Clone(c.Item.Work)
	f := absorb(c.Item, r, now)
	plan := Decide(f, c.Item, now, s.Settings)
	transition(c.Item, f, plan, now, s.Settings)
	c.Item.Messages = nil
	number := 1
	if n := len(*sends); n > 0 {
		number = (*sends)[n-1].Rank + 1
	}
	for _, v := range plan.Verdicts {
		place := c.Item.ID + "/" + v.Region
		switch v.Act {
		case Wait:
			s.waited[place] = cmp.Or(s.waited[place], v.Why)
		case Send:
			*sends = append(*sends, PlannedSend{Rank: number, Cluster: c.Item, Region: v.Region, Spec: v.Spec, Version: v.Version, Why: s.waited[place]})
			for j := range c.Item.Work {
				if w := &c.Item.Work[j]; w.Region == v.Region && w.State == ledger.Due {
					w.State, w.Request = ledger.Requested, &ledger.Request{Intent: now, Sent: now}
				}
			}
		}
	}
	s.flies(i, now, takes)
	if movedOn(before, c.Item) {
		s.wakeAll(now)
	}
}

// flies sets the end of the cluster's open request, if there is one. Its other work waits for that.
func (s *stage) flies(i int, now time.Time, takes time.Duration) {
	item := s.clusters[i].Item
	for _, w := range item.Work {
		if w.State == ledger.Requested {
			s.ends[i] = latest(s.ends[i], latest(now, w.Request.LeftAt().Add(takes)))
		}
	}
	if !s.ends[i].IsZero() {
		item.NextLook = s.ends[i]
		for j := range item.Work {
			item.Work[j].Detained = true
		}
	}
}

// keysOfWork leaves the keys that a poll reads: those of the regions with open work.
func keysOfWork(item *ledger.Cluster, all map[cmek.KeyURI]KeyFact) map[cmek.KeyURI]KeyFact {
	keys := map[cmek.KeyURI]KeyFact{}
	for _, w := range item.Work {
		info, _ := item.CMEK.Region(w.Region)
		for _, k := range info.KeyInfos {
			if fact, ok := all[k.Spec.URI]; ok {
				keys[k.Spec.URI] = fact
			}
		}
	}
	return keys
}

// end is the success of the cluster's open request.
func (s *stage) end(i int, now time.Time) {
	item := s.clusters[i].Item
	var kept []ledger.Work
	for _, w := range item.Work {
		if w.State == ledger.Requested {
			item.SetDone(ledger.Done{Region: w.Region, Key: w.Key, Version: w.Version, At: now, Followed: true})
			continue
		}
		w.Detained = false
		kept = append(kept, w)
	}
	item.Work, item.NextLook, s.ends[i] = kept, now, time.Time{}
	s.reads[i].ended()
	s.wakeAll(now)
}

// ended makes the reads show that the operation they may have shown has ended well.
func (r *Reads) ended() {
	over := func(s cmek.Status) cmek.Status {
		switch s {
		case cmek.Rotating, cmek.Enabling:
			return cmek.Enabled
		case cmek.Disabling:
			return cmek.Disabled
		}
		return s
	}
	if r.CMEK != nil {
		info := cmek.ClusterInfo{Status: over(r.CMEK.Status), RegionInfos: slices.Clone(r.CMEK.RegionInfos)}
		for i, region := range info.RegionInfos {
			region.Status, region.KeyInfos = over(region.Status), slices.Clone(region.KeyInfos)
			for j, k := range region.KeyInfos {
				region.KeyInfos[j].Status = over(k.Status)
			}
			info.RegionInfos[i] = region
		}
		r.CMEK = &info
	}
	if r.Cluster != nil && r.Cluster.OperationStatus == cmek.CMEKOperationRunning {
		cluster := *r.Cluster
		cluster.State, cluster.OperationStatus = cmek.StateCreated, ""
		r.Cluster = &cluster
	}
}

// wakeAll makes all clusters due now whose work waits for others of its key.
func (s *stage) wakeAll(now time.Time) {
	for i := range s.clusters {
		if item := s.clusters[i].Item; s.ends[i].IsZero() && s.moves(i) && s.waitsInOrder(item, now) {
			item.NextLook = now
		}
	}
}
