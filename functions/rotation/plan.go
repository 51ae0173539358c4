package rotation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Planning says what to plan for, and upon which reads.
type Planning struct {
	// Clusters are ids; none means the whole fleet.
	Clusters []string
	// Fresh: every cluster is read again. Otherwise the inventory of the last complete sweep is used, if it is not older than three
	// sweeps; keys are read in any case.
	Fresh bool
	// Seen, if not nil, is called for each cluster of the Cloud API once it was read, in the order of the list: with what would be done
	// about it as far as is known then, and how many of how many are read.
	Seen func(c ClusterPlan, read, of int)
}

// Preview is what follow-through would do: about each cluster now, and which PUTs it would send from now on.
type Preview struct {
	Clusters []ClusterPlan
	// Sends lists the PUTs in the order in which they would leave, if each succeeds and nothing else happens.
	Sends []PlannedSend
	// Swept is when the sweep ended whose inventory was used; zero if every cluster was read.
	Swept time.Time
	// Others counts the clusters of another installation; those that a sweep found are not among Clusters.
	Others int
	// Read clusters of Of were read before the plan was interrupted; both are the same if it was not.
	Read, Of int
	// Troubles are the keys that cannot be used, as a sweep would report them; Unread those that could not be read, by cause.
	Troubles []alert.Alert
	Unread   []UnreadKeys
	// Holds are the operators' holds, those that ended among them.
	Holds cmek.Holds
	Pause ledger.Pause
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

// inventoryFresh is how old the last complete sweep may be for a plan to rest on it: three sweeps.
const inventoryFresh = 3

// Plan says what follow-through would do about the clusters. It writes nothing and sends no PUT. It decides as the tick does, with
// the same function, and carries the decisions forward past settle times.
//
// The plans are in the order of the ids, or in that of the Cloud API's list. If ctx ends, the plan is about what was read until then.
// The error means that the list of clusters or the ledger could not be read; what could not be read of one cluster is in its own Err.
func (f *Function) Plan(ctx context.Context, of Planning) (Preview, error) {
	lease, err := f.Ledger.Worker(ctx)
	if err != nil {
		return Preview{}, err
	}
	s := &stage{worker: f.worker(lease, time.Time{}), named: of.Clusters}
	if err := s.readOrders(ctx, &s.orders); err != nil {
		return Preview{}, err
	}
	known, err := f.Ledger.Clusters(ctx)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Holds: s.orders.Holds, Pause: s.orders.Paused}
	if age := time.Since(lease.Sweep.Complete); !of.Fresh && age < inventoryFresh*s.Settings.SweepEvery {
		p.Swept, p.Others = lease.Sweep.Complete, lease.Sweep.Others
	}
	fleet := s.listed(ctx, known)
	if !p.Swept.IsZero() {
		fleet = inventory(known)
	}
	for _, item := range known { // what a decision about a cluster sees of the others until they are read
		s.meets(item)
	}
	p.Of = len(known)
	var problem error
	for c, err := range s.readAll(ctx, withNamed(fleet, of.Clusters)) {
		if ctx.Err() != nil {
			break
		}
		if problem = err; err != nil {
			break
		}
		s.clusters, s.reads = append(s.clusters, c.plan), append(s.reads, c.reads)
		if c.plan.Others && p.Swept.IsZero() {
			p.Others++
		}
		p.Read = len(s.clusters)
		p.Of = max(p.Of, c.listed)
		if of.Seen != nil && p.Swept.IsZero() {
			of.Seen(s.provisional(c.plan, c.reads), p.Read, p.Of)
		}
	}
	if s.walked && p.Read == s.listedClusters {
		p.Of = p.Read
	} else {
		p.Of = max(p.Of, p.Read+1)
	}
	played := s.play(time.Now())
	p.Clusters, p.Sends = played.Clusters, played.Sends
	return p, errors.Join(problem, s.troubles(&p))
}

// seenCluster is a cluster that is planned for: as a list or the last sweep showed it, or by its id alone.
type seenCluster struct {
	cmek.Cluster
	// item is the cluster's ledger item if the plan rests on the inventory in it.
	item *ledger.Cluster
}

// inventory are the clusters as the ledger knows them.
func inventory(known []*ledger.Cluster) iter.Seq2[seenCluster, error] {
	return func(yield func(seenCluster, error) bool) {
		for _, item := range known {
			if !yield(seenCluster{item.Cluster, item}, nil) {
				return
			}
		}
	}
}

// withNamed adds to the fleet the clusters of these ids that it lacks.
func withNamed(fleet iter.Seq2[seenCluster, error], ids []string) iter.Seq2[seenCluster, error] {
	return func(yield func(seenCluster, error) bool) {
		missing := slices.Clone(ids)
		for c, err := range fleet {
			missing = slices.DeleteFunc(missing, func(id string) bool { return id == c.ID })
			if !yield(c, err) || err != nil {
				return
			}
		}
		for _, id := range missing {
			if !yield(seenCluster{Cluster: cmek.Cluster{ID: id}}, nil) {
				return
			}
		}
	}
}

// plannedCluster is a cluster with what was read of it, and how many were listed by then.
type plannedCluster struct {
	plan   ClusterPlan
	reads  Reads
	listed int
}

// readAll reads the clusters, some at a time, and yields them in their order. An error is one of the list, and the last.
func (s *stage) readAll(ctx context.Context, fleet iter.Seq2[seenCluster, error]) iter.Seq2[plannedCluster, error] {
	type result struct {
		plannedCluster
		err error
	}
	return func(yield func(plannedCluster, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()
		ahead := make(chan chan result, s.Settings.Concurrency)
		group.Go(func() {
			defer close(ahead)
			listed := 0
			for c, err := range fleet {
				listed++
				done := make(chan result, 1)
				select {
				case ahead <- done:
				case <-ctx.Done():
					return
				}
				if err != nil {
					done <- result{err: err}
					return
				}
				group.Go(func() {
					r := Reads{At: time.Now(), Paused: s.orders.Paused, Holds: s.orders.Holds, UpdatedAtMoves: s.updatedAtMoves()}
					p, err := s.read(ctx, c, &r)
					p.Err = err
					done <- result{plannedCluster{p, r, listed}, nil}
				})
			}
			s.walked, s.listedClusters = true, listed
		})
		for next := range ahead {
			if found := <-next; !yield(found.plannedCluster, found.err) {
				return
			}
		}
	}
}

// provisional decides about a cluster by itself, on a copy, before all clusters of its keys were read.
func (s *stage) provisional(c ClusterPlan, r Reads) ClusterPlan {
	if c.Err != nil || c.Others {
		return c
	}
	item, err := copyOf(c.Item)
	if err != nil {
		c.Err = err
		return c
	}
	now := time.Now()
	c.Item, r.Fleet = item, s.fleets
	c.Facts = absorb(c.Item, r, now)
	c.Plan = Decide(c.Facts, c.Item, now, s.Settings)
	return c
}

// UnreadKeys are keys of one account that could not be read for the same reason.
type UnreadKeys struct {
	Keys []cmek.KeyURI
	// Why is the KMS's answer for the first of them; Denied says that it is about permissions.
	Why    string
	Denied bool
}

func (u UnreadKeys) String() string {
	if len(u.Keys) == 1 {
		return fmt.Sprintf("key %s could not be read: %s", u.Keys[0], u.Why)
	}
	return fmt.Sprintf("%d keys of account %s could not be read: %s", len(u.Keys), u.Keys[0].Account(), u.Why)
}

// troubles fills in what is wrong with keys.
func (s *stage) troubles(p *Preview) (err error) {
	read, unread := map[cmek.KeyURI]KeyFact{}, map[cmek.KeyURI]error{}
	for _, r := range s.reads {
		for key, fact := range r.Keys {
			if fact.Err != nil {
				unread[key] = fact.Err
			} else {
				read[key] = fact
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(unread)) {
		if _, known := read[key]; known {
			continue // another cluster's read succeeded
		}
		denied := errors.Is(unread[key], cmek.ErrDenied)
		i := slices.IndexFunc(p.Unread, func(u UnreadKeys) bool { return u.Denied == denied && u.Keys[0].Account() == key.Account() })
		if i < 0 {
			i, p.Unread = len(p.Unread), append(p.Unread, UnreadKeys{Why: unread[key].Error(), Denied: denied})
		}
		p.Unread[i].Keys = append(p.Unread[i].Keys, key)
	}
	s.gather()
	p.Troubles, err = keyConditions(troubles(nil, read, time.Now()), func(key cmek.KeyURI) ([]*ledger.Cluster, error) { return s.fleets[key.Canonical()], nil })
	return err
}

// listed lists the clusters that can have a CMEK, page by page, then those that only the ledger knows, by their ids alone.
func (w *worker) listed(ctx context.Context, known []*ledger.Cluster) iter.Seq2[seenCluster, error] {
	return func(yield func(seenCluster, error) bool) {
		shown := map[string]bool{}
		page := ""
		for n := 0; n == 0 || page != ""; n++ {
			clusters, next, err := w.Cloud.ClusterPage(ctx, page)
			if n == mostPages && err == nil {
				err = fmt.Errorf("no end after %d pages", mostPages)
			}
			if err != nil {
				yield(seenCluster{}, fmt.Errorf("list clusters: %w", err))
				return
			}
			for _, c := range clusters {
				shown[c.ID] = true
				if !cmek.PlanWithoutCMEK(c.Plan) && c.State != cmek.StateDeleted && !yield(seenCluster{Cluster: c}, nil) {
					return
				}
			}
			page = next
		}
		for _, item := range known {
			if !shown[item.ID] && !yield(seenCluster{Cluster: cmek.Cluster{ID: item.ID}}, nil) {
				return
			}
		}
	}
}

// mostPages bounds a walk over the Cloud API's list; at the smallest page size there is, no fleet has as many.
const mostPages = 10_000

// stage is a fleet in memory on which follow-through is played forward.
type stage struct {
	*worker
	// orders are what operators ordered: only Paused and Holds are read.
	orders   Reads
	named    []string
	clusters []ClusterPlan
	// walked: the list was read to its end, and has listedClusters.
	walked         bool
	listedClusters int
	reads          []Reads
	// polled marks the clusters that were polled on the stage; ends is when each cluster's open request is taken to be done, zero
	// for none; waited is what each region waits for first, by
	// cluster id and region.
	polled []bool
	ends   []time.Time
	waited map[string]string
}

// read reads everything about one cluster that the last sweep did not.
func (s *stage) read(ctx context.Context, cluster seenCluster, r *Reads) (ClusterPlan, error) {
	item := cluster.item
	if item == nil {
		var err error
		if item, err = s.Ledger.Cluster(ctx, cluster.ID); err != nil {
			return ClusterPlan{Item: &ledger.Cluster{ID: cluster.ID, Cluster: cluster.Cluster}}, err
		}
	}
	p := ClusterPlan{Item: item}
	switch {
	case cluster.item != nil:
		known := item.CMEK
		r.At, r.Cluster, r.CMEK = item.SeenAt, &cluster.Cluster, &known
		if !item.Unread.IsZero() { // it was not shown: what is known of it is older
			r.Hidden, r.Cluster, r.CMEK = true, nil, nil
		}
	case cluster.State != "":
		r.Cluster = &cluster.Cluster
	default:
		if err := s.readCluster(ctx, cluster.ID, r); err != nil {
			return p, err
		}
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
	} else if r.CMEK == nil {
		if err := s.readCMEK(ctx, item, r); err != nil {
			return p, err
		}
	}
	if r.CMEK != nil && r.Cluster != nil {
		if p.Others = !s.owns(*r.Cluster, *r.CMEK); p.Others {
			return p, nil
		}
	}
	if err := s.readMoves(ctx, item, r, func(*ledger.Cluster, ledger.Order) bool { return true }); err != nil {
		return p, err
	}
	if err := s.expectMoves(ctx, item, r); err != nil {
		return p, err
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

// expectMoves notes in the item which orders follow from the cluster's pins as they were just read, and reads their keys: a worker would do so
// in its next poll.
func (s *stage) expectMoves(ctx context.Context, item *ledger.Cluster, r *Reads) error {
	if len(r.Pins) == 0 {
		return nil
	}
	next, err := copyOf(item)
	if err != nil {
		return err
	}
	absorb(next, *r, time.Now())
	item.Pins = next.Pins
	return s.readOrderKeys(ctx, item, r, func(*ledger.Cluster, ledger.Order) bool { return true })
}

// copyOf is the item as the ledger would give it again.
func copyOf(item *ledger.Cluster) (*ledger.Cluster, error) {
	var next ledger.Cluster
	data, err := json.Marshal(item)
	if err = errors.Join(err, json.Unmarshal(data, &next)); err != nil {
		return nil, fmt.Errorf("copy cluster %s: %w", item.ID, err)
	}
	return &next, nil
}

// play decides about every cluster, then goes on in time.
func (s *stage) play(now time.Time) (p Preview) {
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
		if !c.Others {
			s.meets(c.Item)
		}
	}
}

// meets adds an item to the fleets of its keys.
func (s *stage) meets(item *ledger.Cluster) {
	for _, key := range item.Keys() {
		s.fleets[key] = append(s.fleets[key], item)
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
		return w.State == ledger.Due && !w.Detained && (s.Settings.Mode == Follow || w.Order != "") && !s.orders.Paused.Active()
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
	s.joins(c.Item)
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
				if w := &c.Item.Work[j]; w.State == ledger.Due && carries(cmek.RegionSpec{Region: v.Region, KeySpec: v.Spec}, c.Item.Work, *w) {
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
			item.SetDone(ledger.Done{Region: w.Region, Key: w.Key, Version: w.Version, Order: w.Order, At: now, Followed: true})
			if w.Order != "" {
				endOrder(item, w, Verdict{reached: true}, now)
				s.reads[i].moved(w)
			}
			continue
		}
		w.Detained = false
		kept = append(kept, w)
	}
	item.Work, item.NextLook, s.ends[i] = kept, now, time.Time{}
	s.reads[i].ended()
	s.wakeAll(now)
}

// moved makes the reads show that the work's order was carried out.
func (r *Reads) moved(w ledger.Work) {
	n := slices.IndexFunc(r.Orders, func(o ledger.Order) bool { return o.ID == w.Order })
	if n < 0 && w.Trigger.Kind != fromPin || r.CMEK == nil {
		return
	}
	spec := cmek.KeySpec{Type: w.Key.Type(), URI: w.Key, AuthPrincipal: w.From.AuthPrincipal}
	if n >= 0 {
		spec = r.Orders[n].To
	}
	info := cmek.ClusterInfo{Status: r.CMEK.Status, RegionInfos: slices.Clone(r.CMEK.RegionInfos)}
	for i, region := range info.RegionInfos {
		if region.Region != w.Region {
			continue
		}
		region.KeyInfos = slices.Clone(region.KeyInfos)
		for j := range region.KeyInfos {
			region.KeyInfos[j].Status = cmek.Disabled
		}
		region.KeyInfos = append(region.KeyInfos, cmek.KeyInfo{Spec: spec, Status: cmek.Enabled})
		info.RegionInfos[i] = region
	}
	r.CMEK = &info
	r.Keys = maps.Clone(r.Keys)
	if m, read := r.Moves[w.Order]; read {
		r.Keys[spec.URI] = m.To.Key
	}
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
