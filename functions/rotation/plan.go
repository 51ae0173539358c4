package rotation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// ClusterPlan is what a tick would do about one cluster now, with what it was decided upon.
type ClusterPlan struct {
	// Item is the cluster's ledger item with the inventory as just read; nothing of it was written. A cluster that is not in
	// the ledger has no open and no done work.
	Item  *ledger.Cluster
	Facts Facts
	// Plan heeds the fleet's order: a PUT that must wait for other clusters is a verdict to wait, and not in Plan.Put.
	Plan Plan
	// Err is why the cluster could not be read; Plan is empty then.
	Err error
}

// Plan says what follow-through would do about the clusters, or about all clusters of the fleet if none is named. It reads
// the Cloud API and the KMS afresh, writes nothing and sends no PUT.
//
// The plans are in the order of the ids, or in that of the Cloud API's list. Of several clusters that are due at once, the
// first in this order counts as the canary; the tick takes the one that has waited longest. The error means that the list of
// clusters or the ledger could not be read; what could not be read of one cluster is in its own Err.
func (f *Function) Plan(ctx context.Context, clusterIDs ...string) ([]ClusterPlan, error) {
	w := &worker{Function: f, fleets: map[string][]*ledger.Cluster{}}
	paused, err := f.Ledger.Paused(ctx)
	if err != nil {
		return nil, err
	}
	wanted := make([]cmek.Cluster, len(clusterIDs))
	for i, id := range clusterIDs {
		wanted[i].ID = id
	}
	if len(clusterIDs) == 0 {
		if wanted, err = w.wholeFleet(ctx); err != nil {
			return nil, err
		}
	}
	var plans []ClusterPlan
	for _, cluster := range wanted {
		facts := Facts{Cluster: cluster, ClusterRead: cluster.State != "", Paused: paused}
		p, err := w.preview(ctx, cluster.ID, facts)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("plan cluster %s: %w", cluster.ID, err)
		}
		p.Err = err
		// A cluster that never had a CMEK is of interest only to who asks for it.
		if len(clusterIDs) > 0 || err != nil || !p.Item.SeenAt.IsZero() || len(p.Facts.CMEK.RegionInfos) > 0 {
			plans = append(plans, p)
		}
	}
	return plans, nil
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
		return c.Plan != "" && c.Plan != cmek.PlanAdvanced || c.State == cmek.StateDeleted
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

// preview reads everything about one cluster and decides.
func (w *worker) preview(ctx context.Context, id string, f Facts) (ClusterPlan, error) {
	item, err := w.Ledger.Cluster(ctx, id)
	if err != nil {
		return ClusterPlan{Item: &ledger.Cluster{ID: id}}, err
	}
	p := ClusterPlan{Item: item, Facts: f}
	if p.Facts, err = w.readEverything(ctx, item, f); err != nil {
		return p, err
	}
	if p.Facts.Gone && item.SeenAt.IsZero() {
		return p, fmt.Errorf("read cluster %s: %w", id, cmek.ErrNotFound)
	}
	now := time.Now()
	if !p.Facts.Gone {
		item.Cluster, item.CMEK = p.Facts.Cluster, p.Facts.CMEK
	}
	p.Plan = Decide(p.Facts, item, now, w.Settings)
	return p, w.keepOrder(ctx, item, &p.Plan, now)
}

func (w *worker) readEverything(ctx context.Context, item *ledger.Cluster, f Facts) (Facts, error) {
	var err error
	if !f.ClusterRead {
		f, err = w.readCluster(ctx, item.ID, f)
	}
	if err == nil && !f.Gone {
		f, err = w.readCMEK(ctx, item.ID, f)
	}
	if err != nil || f.Gone {
		return f, err
	}
	// The keys of open work, and those of the regions without any.
	if err := w.readKeys(ctx, item, item.Work, &f); err != nil {
		return f, err
	}
	ofWork := f.Keys
	if err := w.readKeys(ctx, item, nil, &f); err != nil {
		return f, err
	}
	maps.Copy(f.Keys, ofWork)
	return f, nil
}

// keepOrder takes back the PUTs whose turn it is not, and lets the plans that follow count on the others.
func (w *worker) keepOrder(ctx context.Context, item *ledger.Cluster, p *Plan, now time.Time) error {
	if err := w.loadFleets(ctx, p.Put); err != nil {
		return err
	}
	put := w.turns(item, p.Put, now)
	ordered := Plan{WantCluster: p.WantCluster}
	for _, v := range p.Verdicts {
		its := func(spec cmek.RegionSpec) bool { return spec.Region == v.Region }
		if v.Act == Send && !slices.ContainsFunc(put, its) {
			v = v.because(Wait, "%s", item.Work[v.work].Reason).until(now.Add(turnWait))
		}
		ordered.add(v)
	}
	*p = ordered
	for _, spec := range put {
		for _, other := range w.fleets[spec.KeySpec.URI.Canonical()] {
			if other.ID == item.ID {
				claim(other, []cmek.RegionSpec{spec}, now)
			}
		}
	}
	return nil
}
