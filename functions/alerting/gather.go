package alerting

import (
	"context"
	"errors"
	"fmt"
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
	clusters, complete, unread := f.users(ctx, e)
	if unread != nil {
		doubts = append(doubts, "which clusters need it (keyturn's ledger did not answer)")
		f.Log.Warn("inventory not read", "event", e.ID, "err", unread)
	}
	facts.Usage = Usage{Clusters: affected(clusters, e), Complete: complete && unread == nil}
	facts.ByCluster = byCluster(clusters, e)
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
	for _, c := range clusters[:min(len(clusters), mostEnriched)] {
		r.start("the next maintenance window and backup of "+named(c), func() (func(*Facts), error) {
			harm, err := f.nextHarm(ctx, c)
			return func(facts *Facts) { facts.Harm = append(facts.Harm, harm...) }, err
		})
	}
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

// start begins to read what, which a person can be told is not known.
func (r *reads) start(what string, read func() (found func(*Facts), err error)) {
	r.mu.Lock()
	r.pending[what] = true
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

// mostEnriched bounds the clusters whose next days are read for one alert.
const mostEnriched = 5

func readable(key cmek.KeyURI) bool { return key != "" && !key.IsAlias() }

// users finds the clusters that need what the event is about, and whether nobody else can.
func (f *Function) users(ctx context.Context, e cmek.Event) (clusters []*ledger.Cluster, complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.Settings.Enrich/2)
	defer cancel()
	switch {
	case readable(e.Key):
		clusters, err = f.Ledger.ByKey(ctx, e.Key)
	case e.Role != "":
		clusters, err = f.Ledger.ByRole(ctx, e.Account, e.Role)
	case concerned(e) != "":
		clusters, err = f.Ledger.ByAccount(ctx, concerned(e))
	}
	if err != nil {
		return nil, false, err
	}
	w, err := f.Ledger.Worker(ctx)
	if err != nil {
		return clusters, false, err
	}
	return clusters, time.Since(w.Sweep.Complete) < time.Hour, nil
}

// concerned is the account that an event is about. One of the organization is recorded in its management account and names
// another as its target.
func concerned(e cmek.Event) string {
	if target := e.Parameters["target"]; len(target) == 12 && strings.Trim(target, "0123456789") == "" {
		return target
	}
	return e.Account
}

// affected lists the clusters with the regions that use the key or role now; a cluster that only used it in the past is
// listed without regions, because its backups need it still.
func affected(clusters []*ledger.Cluster, e cmek.Event) (list []cmek.AffectedCluster) {
	for _, c := range clusters {
		a := cmek.AffectedCluster{ID: c.ID, Name: c.Cluster.Name}
		for _, info := range c.CMEK.RegionInfos {
			current, n := info.Current()
			switch {
			case n != 1:
			case readable(e.Key) && !current.Spec.URI.SameKey(e.Key):
			case e.Key == "" && e.Role != "" && !strings.HasSuffix(current.Spec.AuthPrincipal, "/"+lastSegment(e.Role)):
			case e.Key == "" && e.Role == "" && current.Spec.URI.Account() != concerned(e):
			default:
				a.Regions = append(a.Regions, info.Region)
			}
		}
		list = append(list, a)
	}
	return list
}

func byCluster(clusters []*ledger.Cluster, e cmek.Event) bool {
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			for _, k := range info.KeyInfos {
				if k.Spec.AuthPrincipal != "" && (k.Spec.AuthPrincipal == e.Issuer || k.Spec.AuthPrincipal == e.Principal) {
					return true
				}
				// A role is assumed by the cluster's own account.
				if e.Change == cmek.RoleAssumed && c.Cluster.AccountID != "" && strings.Contains(e.Principal, c.Cluster.AccountID) {
					return true
				}
			}
		}
	}
	return false
}

// nextHarm says when a cluster's next restart or backup is due.
func (f *Function) nextHarm(ctx context.Context, c *ledger.Cluster) (lines []string, err error) {
	if strings.HasSuffix(c.Cluster.OperationStatus, "_RUNNING") {
		lines = append(lines, fmt.Sprintf("%s: %s is under way and may restart nodes now.", named(c), c.Cluster.OperationStatus))
	}
	window, windowErr := f.Cloud.NextMaintenance(ctx, c.ID)
	switch opens := window.UTC().Format("Mon 2 Jan 15:04 UTC"); {
	case windowErr != nil, window.IsZero():
	case window.Before(time.Now()):
		lines = append(lines, fmt.Sprintf("%s: its maintenance window has been open since %s; nodes may restart now.", named(c), opens))
	default:
		lines = append(lines, fmt.Sprintf("%s: its maintenance window opens %s; nodes may restart then.", named(c), opens))
	}
	interval, intervalErr := f.Cloud.BackupInterval(ctx, c.ID)
	if intervalErr == nil && interval > 0 {
		lines = append(lines, fmt.Sprintf("%s: a managed backup begins every %s; the next one fails.", named(c), brief(interval)))
	}
	return lines, errors.Join(windowErr, intervalErr)
}

// brief is a duration in hours and minutes, without zeros at the end.
func brief(d time.Duration) string {
	s := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if strings.HasSuffix(s, "h0m") {
		return strings.TrimSuffix(s, "0m")
	}
	return s
}

func named(c *ledger.Cluster) string {
	if c.Cluster.Name != "" {
		return c.Cluster.Name
	}
	return c.ID
}

func lastSegment(s string) string { return s[strings.LastIndex(s, "/")+1:] }
