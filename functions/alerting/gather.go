package alerting

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// gather reads what an assessment needs: the ledger first, for half of the time at most, then everything else side by side
// for the rest of it. What could not be read in time is in doubts, for the alert; unread is why the inventory could not.
func (f *Function) gather(ctx context.Context, e cmek.Event) (facts Facts, doubts []string, unread error) {
	ctx, cancel := context.WithTimeout(ctx, f.Settings.Enrich)
	defer cancel()
	facts, clusters, unread := f.fromLedger(ctx, e)
	if unread != nil {
		doubts = append(doubts, "which clusters need it (keyturn's ledger did not answer in full)")
		f.Log.Warn("inventory not read", "event", e.ID, "err", unread)
	}
	if harmless(e, facts) {
		return facts, doubts, unread // a read that is denied would be the next such event, and so on without end
	}
	facts.ByRepair = f.byRepair(e)
	facts.OurRule = e.Change == cmek.RuleChanged && f.Settings.OwnRules != "" && strings.HasPrefix(e.Parameters["rule"], f.Settings.OwnRules)

	r := reads{log: f.Log.With("event", e.ID), pending: map[string]bool{}}
	if readable(e.Key) {
		r.start("the key's state", func() (func(*Facts), error) {
			key, err := f.KMS.Key(ctx, e.Key)
			return func(facts *Facts) { facts.Key, facts.KeyKnown = key, err == nil }, err
		})
	}
	if (changesPolicy(e.Change) || e.Change == cmek.RoleDeleted) && e.Succeeded() {
		r.start("what the change does to the clusters' access", func() (func(*Facts), error) {
			effect, err := f.effect(ctx, e, clusters)
			return func(facts *Facts) { facts.Effect = effect }, err
		})
	}
	facts.Harm = f.startHarm(ctx, &r, facts.Usage, clusters)
	doubts = append(doubts, r.finish(ctx, &facts)...)
	return facts, doubts, unread
}

// reads run side by side. What they found is put into the facts by whoever waits for them, so one that is late changes
// nothing any more.
type reads struct {
	log   *slog.Logger
	group sync.WaitGroup

	mu      sync.Mutex
	pending map[string]bool
	found   []func(*Facts)
}

// start begins to read what, which a person can be told is not known; "" if the facts show that by themselves.
func (r *reads) start(what string, read func() (found func(*Facts), err error)) {
	r.mu.Lock()
	if what != "" {
		r.pending[what] = true
	}
	r.mu.Unlock()
	r.group.Go(func() {
		found, err := read()
		if err != nil {
			r.log.Warn("enrichment failed", "what", what, "err", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.found = append(r.found, found)
		if err == nil {
			delete(r.pending, what)
		}
	})
}

// finish waits no longer than ctx, completes the facts, and returns what is not known.
func (r *reads) finish(ctx context.Context, facts *Facts) (unknown []string) {
	done := make(chan struct{})
	go func() {
		r.group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, found := range r.found {
		found(facts)
	}
	return slices.Sorted(maps.Keys(r.pending))
}

func readable(key cmek.KeyURI) bool { return key != "" && !key.IsAlias() }

// fromLedger is FromLedger for half of the time that there is.
func (f *Function) fromLedger(ctx context.Context, e cmek.Event) (Facts, []*ledger.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Settings.Enrich/2)
	defer cancel()
	return FromLedger(ctx, f.Ledger, e)
}

// FromLedger is what the ledger knows about an event: the clusters that need what it is about, whether nobody else can, and
// whether the call was a cluster's own. After an error the facts are what could be read, and nobody is said to be the only one.
func FromLedger(ctx context.Context, l *ledger.Ledger, e cmek.Event) (facts Facts, clusters []*ledger.Cluster, err error) {
	switch {
	case readable(e.Key):
		clusters, err = l.ByKey(ctx, e.Key)
	case e.Role != "":
		clusters, err = l.ByRole(ctx, e.Account, e.Role)
	case concerned(e) != "":
		clusters, err = l.ByAccount(ctx, concerned(e))
	}
	facts.Usage.Clusters, facts.ByCluster = affected(clusters, e), byCluster(clusters, e)
	if err != nil {
		return facts, clusters, err
	}
	w, err := l.Worker(ctx)
	if err != nil {
		return facts, clusters, err
	}
	facts.Usage.Complete = time.Since(w.Sweep.Complete) < time.Hour
	return facts, clusters, nil
}

// concerned is the account that an event is about. One of the organization is recorded in its management account and names
// another as its target.
func concerned(e cmek.Event) string {
	if target := e.Parameters["target"]; len(target) == 12 && strings.Trim(target, "0123456789") == "" {
		return target
	}
	return e.Account
}

// affected lists the clusters with the regions that use the key or role now, first those whose nodes may restart at this
// moment. A cluster that only used it in the past comes last and without regions; its backups need it still.
func affected(clusters []*ledger.Cluster, e cmek.Event) (list []cmek.AffectedCluster) {
	for _, c := range clusters {
		a := cmek.AffectedCluster{ID: c.ID, Name: c.Cluster.Name}
		for _, info := range c.CMEK.RegionInfos {
			current, n := info.Current()
			switch {
			case n != 1:
			case readable(e.Key) && !current.Spec.URI.SameKey(e.Key):
			case e.Key == "" && e.Role != "" && current.Spec.AuthPrincipal.Name() != lastSegment(e.Role):
			case e.Key == "" && e.Role == "" && current.Spec.URI.Account() != concerned(e):
			default:
				a.Regions = append(a.Regions, info.Region)
			}
		}
		list = append(list, a)
	}
	restarting := map[string]bool{}
	for _, c := range clusters {
		restarting[c.ID] = underWay(c) != ""
	}
	rank := func(a cmek.AffectedCluster) int {
		switch {
		case len(a.Regions) == 0:
			return 2
		case !restarting[a.ID]:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b cmek.AffectedCluster) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// byCluster reports whether the call was a cluster's: made as one of its principals, or by its own account, which assumes the
// role that the cluster acts as.
func byCluster(clusters []*ledger.Cluster, e cmek.Event) bool {
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			for _, k := range info.KeyInfos {
				if k.Spec.AuthPrincipal.Same(cmek.Principal(e.Issuer)) || k.Spec.AuthPrincipal.Same(cmek.Principal(e.Principal)) {
					return true
				}
				if (e.Change == cmek.RoleAssumed || roleRefused(e)) && c.Cluster.AccountID != "" && strings.Contains(e.Principal, c.Cluster.AccountID) {
					return true
				}
			}
		}
	}
	return false
}

func named(c *ledger.Cluster) string {
	if c.Cluster.Name != "" {
		return c.Cluster.Name
	}
	return c.ID
}

func lastSegment(s string) string { return s[strings.LastIndex(s, "/")+1:] }
