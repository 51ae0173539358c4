package alerting

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// gather reads what an assessment needs: the ledger first, for half of the time at most, then everything else side by side
// for the rest of it. What could not be read in time is in doubts, for the alert; unread is why the inventory could not.
func (f *Function) gather(ctx context.Context, e cmek.Event) (facts Facts, doubts []string, unread error) {
	ctx, cancel := context.WithTimeout(ctx, f.Settings.Enrich)
	defer cancel()
	facts, clusters, unread := f.fromLedger(ctx, e)
	if unread != nil {
		doubts = append(doubts, "which clusters need it (keyturn's ledger did not answer in full)")
		f.Log.Warn("inventory not read", "event", e.ID, "error", unread)
	}
	facts.ByRepair, facts.OwnCaller = f.byRepair(ctx, e), f.Settings.ownFunction(caller(e))
	// What clusters act as is theirs, whatever the settings say: what cuts them off is judged by that.
	facts.Own = f.Settings.own(e) && (e.Identity == "" || !facts.Usage.InUse())
	if harmless(e, facts) {
		return facts, doubts, unread // a read that is denied would be the next such event, and so on without end
	}
	r := newReads(f.Log.With("event", e.ID))
	if readable(e.Key) {
		r.start("the key's state", "key", func() (func(), error) {
			key, err := f.KMS.Key(ctx, e.Key)
			return func() { facts.Key, facts.KeyKnown = key, err == nil }, err
		})
	}
	docs, all := newDocuments(f, r), Uses(clusters)
	if documented(e) {
		docs.start(ctx, e, all)
	}
	facts.Impacts = f.startImpacts(ctx, r, &facts, clusters)
	doubts = append(doubts, r.finish(ctx)...)
	if documented(e) {
		facts.Effect = Effects(e, docs.Documents, all, facts.Usage)
	}
	return facts, doubts, unread
}

// reads run side by side. What they found is put into place by whoever waits for them, so one that is late changes nothing any
// more.
type reads struct {
	log   *slog.Logger
	group sync.WaitGroup

	mu      sync.Mutex
	pending map[string]bool
	found   []func()
}

func newReads(log *slog.Logger) *reads { return &reads{log: log, pending: map[string]bool{}} }

// start begins to read what, by its name for the log. doubt is what the alert says is unknown as long as it was not read;
// "" if the facts show that by themselves.
func (r *reads) start(doubt, what string, read func() (found func(), err error)) {
	r.mu.Lock()
	if doubt != "" {
		r.pending[doubt] = true
	}
	r.mu.Unlock()
	r.group.Go(func() {
		found, err := read()
		if err != nil {
			r.log.Warn("document not read", "what", what, "error", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.found = append(r.found, found)
		if err == nil {
			delete(r.pending, doubt)
		}
	})
}

// finish waits no longer than ctx, puts what was found into place, and returns what is not known.
func (r *reads) finish(ctx context.Context) (unknown []string) {
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
		found()
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
	case e.Identity != "":
		clusters, err = l.ByRole(ctx, e.Account, string(e.Identity))
	case e.Account != "":
		clusters, err = l.ByAccount(ctx, e.Account)
	case e.Parameters["resource"] != "":
		clusters, err = l.Clusters(ctx)
	}
	for i, c := range clusters {
		if risk.OnGoogle(e) {
			clusters[i] = c.SpelledIn(e.Account)
		}
	}
	if e.Key == "" && e.Identity == "" && e.Parameters["resource"]+e.Parameters["key_ring"] != "" {
		clusters = slices.DeleteFunc(clusters, func(c *ledger.Cluster) bool {
			return !slices.ContainsFunc(Uses([]*ledger.Cluster{c}), func(u Use) bool { return isAbout(e, u.Spec) })
		})
	}
	facts.Replica, facts.Keys = isReplica(clusters, e), keysOf(clusters, e)
	facts.Wraps, facts.WrapsKnown = wraps(clusters, e.Key)
	if readable(e.Key) && kind(e) == risk.Refused {
		// The inventory may not list the key yet that a cluster is about to use.
		others, unread := callers(ctx, l, e, clusters)
		clusters, err = append(clusters, others...), errors.Join(err, unread)
	}
	above, unread := aboveBefore(ctx, l, e)
	facts.Above, err = above, errors.Join(err, unread)
	pinned, unread := pinnedTo(ctx, l, e.Alias())
	clusters, err = together(clusters, pinned), errors.Join(err, unread)
	facts.Usage.Clusters, facts.ByCluster, facts.Pinned = affected(clusters, e), byCluster(clusters, e), len(pinned) > 0
	if err != nil {
		facts.WrapsKnown = false
		return facts, clusters, err
	}
	holds, err := l.Holds(ctx)
	if err != nil {
		return facts, clusters, err
	}
	facts.Hold = alert.HoldOn(e.Key, facts.Usage.Clusters, holds, time.Now())
	w, err := l.Worker(ctx)
	if err != nil {
		return facts, clusters, err
	}
	facts.Usage.Complete = time.Since(w.Sweep.Complete) < time.Hour && knownBy(e, w.Sweep.Named)
	return facts, clusters, nil
}

// aboveBefore is the folder or organization that the project of an update was directly below before it, as sweeps noted it; "" if that is
// not known.
func aboveBefore(ctx context.Context, l *ledger.Ledger, e cmek.Event) (string, error) {
	if !risk.UpdatesProject(e) || e.Parameters["destination_parent"] == "" {
		return "", nil
	}
	n, err := noted(ctx, l, google.Parents("projects/"+e.Account))
	if err != nil {
		return "", err
	}
	text := n.Text
	if n.Since.After(happened(e).Add(-clocks)) {
		// A sweep between the event and this look may have noted the new place already.
		text = n.Earlier
	}
	parents, err := google.ParseParents(text)
	if err != nil || len(parents) == 0 {
		return "", nil //nolint:nilerr // what is not understood is not known
	}
	return parents[0], nil
}

// pinnedTo lists the clusters with a region that is pinned to the alias; none if there is no alias.
func pinnedTo(ctx context.Context, l *ledger.Ledger, alias cmek.KeyURI) (clusters []*ledger.Cluster, err error) {
	if alias == "" {
		return nil, nil
	}
	ids, err := l.PinnedTo(ctx, alias)
	problems := []error{err}
	for _, id := range ids {
		c, err := l.Cluster(ctx, id)
		if err == nil {
			clusters = append(clusters, c)
		}
		problems = append(problems, err)
	}
	return clusters, errors.Join(problems...)
}

// together are the clusters of both lists, each once.
func together(list, more []*ledger.Cluster) []*ledger.Cluster {
	for _, c := range more {
		if !slices.ContainsFunc(list, func(other *ledger.Cluster) bool { return other.ID == c.ID }) {
			list = append(list, c)
		}
	}
	return list
}

// Named is the event with its project under its id, if it names it by its number and the ledger knows that: one project is one subject.
func Named(ctx context.Context, l *ledger.Ledger, e cmek.Event) (cmek.Event, error) {
	if !byNumber(e) {
		return e, nil
	}
	return l.ByID(ctx, e)
}

// knownBy reports whether the projects of all clusters are known by that name by which an event names its own. If not, clusters may be
// concerned that seem not to be.
func knownBy(e cmek.Event, all ledger.Named) bool {
	switch {
	case !risk.OnGoogle(e) || e.Account == "":
		return true
	case byNumber(e):
		return all.Numbers
	}
	return all.IDs
}

// callers are the clusters whose principal made the call, beside those that are known.
func callers(ctx context.Context, l *ledger.Ledger, e cmek.Event, known []*ledger.Cluster) ([]*ledger.Cluster, error) {
	by := caller(e)
	if by.Account() == "" {
		return nil, nil
	}
	clusters, err := l.ByRole(ctx, by.Account(), string(by))
	return slices.DeleteFunc(clusters, func(c *ledger.Cluster) bool {
		isKnown := slices.ContainsFunc(known, func(k *ledger.Cluster) bool { return k.ID == c.ID })
		return isKnown || !byCluster([]*ledger.Cluster{c}, e)
	}), err
}

// WithoutInventory is what can be assumed about an event where nobody knows the clusters: the worst. A use is a stranger's, a refusal
// is a cluster's, unless the principal's own account was refused to assume it: clusters run in accounts of Cockroach Labs.
func WithoutInventory(e cmek.Event) Facts {
	ownAccount := e.Key == "" && e.Identity != "" && e.Caller != "" && e.Caller == cmp.Or(e.Identity.Account(), e.Account)
	name := "any cluster that uses it"
	if e.Key == "" && e.Identity == "" && e.Parameters["custom_key_store_id"] == "" {
		name = "any cluster"
	}
	return Facts{
		Usage: Usage{Clusters: []alert.AffectedCluster{{Name: name}}}, NoInventory: true,
		ByCluster: kind(e) == risk.Refused && !ownAccount,
	}
}

// byNumber reports whether an event names a project of Google Cloud by its number alone.
func byNumber(e cmek.Event) bool { return risk.OnGoogle(e) && cmek.IsProjectNumber(e.Account) }

// wraps are the versions of a key that the store keys of the regions which use it now are wrapped by, as far as is on record. known is
// false if one of a region is not, or if a re-encryption may be under way there.
func wraps(clusters []*ledger.Cluster, key cmek.KeyURI) (versions []cmek.KeyVersion, known bool) {
	known = readable(key)
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			if !slices.ContainsFunc(info.KeyInfos, func(k cmek.KeyInfo) bool { return inUse(k.Status) && k.Spec.URI.SameKey(key) }) {
				continue
			}
			done, ok := c.DoneIn(info.Region)
			if ok && done.Key.SameKey(key) && !done.Version.IsZero() {
				versions = append(versions, done.Version)
			} else {
				known = false
			}
			known = known && !slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Region == info.Region && w.State == ledger.Requested })
		}
	}
	return unique(versions), known
}

// keysOf are the keys that the clusters use as the principal of the event.
func keysOf(clusters []*ledger.Cluster, e cmek.Event) (keys []cmek.KeyURI) {
	if e.Identity == "" {
		return nil
	}
	for _, use := range Uses(clusters) {
		if concerns(e, use.Spec.AuthPrincipal) {
			keys = append(keys, use.Spec.URI)
		}
	}
	return unique(keys)
}

// isReplica reports whether clusters use the multi-Region key of the event, and all of them by other replicas of it: state,
// policy and deletion are a replica's own.
func isReplica(clusters []*ledger.Cluster, e cmek.Event) bool {
	all := Uses(clusters)
	return e.Key.IsMultiRegion() && len(all) > 0 && !slices.ContainsFunc(all, func(u Use) bool { return u.Spec.URI == e.Key })
}

// affected lists the clusters with the regions that use the key or principal now, or follow the alias, first those whose nodes may restart at this
// moment. A cluster that only used it in the past comes last and without regions; its backups need it still.
func affected(clusters []*ledger.Cluster, e cmek.Event) (list []alert.AffectedCluster) {
	restarting := map[string]bool{}
	for _, c := range clusters {
		a := alert.AffectedCluster{ID: c.ID, Name: c.Cluster.Name}
		for _, info := range c.CMEK.RegionInfos {
			pinned, _ := c.PinnedIn(info.Region)
			follows := pinned.Alias != "" && pinned.Alias == e.Alias()
			if follows || slices.ContainsFunc(info.KeyInfos, func(k cmek.KeyInfo) bool { return inUse(k.Status) && isAbout(e, k.Spec) }) {
				a.Regions = append(a.Regions, info.Region)
			}
		}
		restarting[c.ID] = underWay(c) != ""
		list = append(list, a)
	}
	rank := func(a alert.AffectedCluster) int {
		switch {
		case len(a.Regions) == 0:
			return 2
		case !restarting[a.ID]:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b alert.AffectedCluster) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// isAbout reports whether an event is about what a key spec names: the key (any replica of it), the principal, the key ring, or the
// account.
func isAbout(e cmek.Event, spec cmek.KeySpec) bool {
	switch {
	case readable(e.Key):
		return spec.URI.SameKey(e.Key) || kind(e) == risk.Refused && spec.AuthPrincipal.Same(caller(e))
	case e.Identity != "":
		return concerns(e, spec.AuthPrincipal)
	}
	if ring := e.Parameters["key_ring"]; ring != "" {
		return strings.HasPrefix(spec.URI.Canonical(), ring+"/")
	}
	if e.Account == "" { // a folder or an organization of Google Cloud: nobody knows which projects are below it
		return e.Parameters["resource"] != "" && spec.Type == cmek.GCPCloudKMS
	}
	return spec.URI.Account() == e.Account || spec.AuthPrincipal.Account() == e.Account
}

// byCluster reports whether the call was a cluster's: made as one of its principals, or, where a principal was to be assumed, by
// the cluster's own account. Only what the provider vouches for decides: the caller's ARN as a whole, and its account.
func byCluster(clusters []*ledger.Cluster, e cmek.Event) bool {
	assumes := e.Key == "" && e.Identity != ""
	for _, c := range clusters {
		if assumes && c.Cluster.AccountID != "" && c.Cluster.AccountID == e.Caller {
			return true
		}
		// A provider may leave out who was refused, which may be anybody.
		if assumes && !e.Succeeded() && e.Principal == "" && e.Issuer == "" && e.Caller == "" {
			return true
		}
		for _, use := range Uses([]*ledger.Cluster{c}) {
			if use.Spec.AuthPrincipal.Same(caller(e)) {
				return true
			}
		}
	}
	return false
}

// caller is the principal that made a call: the role behind a session, or else who made it.
func caller(e cmek.Event) cmek.Principal {
	return cmp.Or(e.Issuer, cmek.SessionRole(e.Principal), cmek.Principal(e.Principal))
}

func named(c *ledger.Cluster) string { return cmp.Or(c.Cluster.Name, c.ID) }

func lastSegment(s string) string { return s[strings.LastIndex(s, "/")+1:] }
