package simulator

import (
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// What the Cloud API does not show although it is there. Nothing of it is documented; it is how reads look when a role, a
// proxy or a replica that is behind stands between a caller and the truth.

// Views from which [World.HideRegion] hides a region.
const (
	// ClusterView is regions of the list and of GET cluster.
	ClusterView = "cluster"
	// CMEKView is region_infos of …/cmek.
	CMEKView = "cmek"
)

// sight is what of a cluster is hidden from the Cloud API's callers.
type sight struct {
	// hidden: the cluster is there for ORG_ADMIN only.
	hidden bool
	// cmekForm is the setting of CMEKAbsent in which GET …/cmek shows no CMEK, "" if it shows what there is.
	cmekForm string
	// regions are hidden ones by view.
	regions map[string][]string
}

// hides reports whether the view leaves out the region.
func (s sight) hides(view, region string) bool { return slices.Contains(s.regions[view], region) }

// Hide makes the cluster invisible, as if a role had been taken away: the list leaves it out, every other call answers 404
// with code 5. Service accounts with ORG_ADMIN see it all the same. The cluster is named by id or name.
func (w *World) Hide(cluster string) error { return w.setHidden(cluster, true) }

// Show ends [World.Hide].
func (w *World) Show(cluster string) error { return w.setHidden(cluster, false) }

func (w *World) setHidden(cluster string, hidden bool) error {
	w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	c.sight.hidden = hidden
	return nil
}

// HideCMEK makes GET …/cmek of the cluster answer as if it had no CMEK, in the form that is one of the settings of the switch
// CMEKAbsent: disabled, 404 or empty. Writes work as before, and their answers show what there is.
func (w *World) HideCMEK(cluster, form string) error {
	if err := checkSwitch(CMEKAbsent, form); err != nil {
		return fmt.Errorf("hide CMEK: %w", err)
	}
	return w.setCMEKForm(cluster, form)
}

// ShowCMEK ends [World.HideCMEK].
func (w *World) ShowCMEK(cluster string) error { return w.setCMEKForm(cluster, "") }

func (w *World) setCMEKForm(cluster, form string) error {
	w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	c.sight.cmekForm = form
	return nil
}

// HideRegion leaves the region out of a view (ClusterView or CMEKView) of the cluster; both are hidden by two calls.
func (w *World) HideRegion(cluster, region, view string) error {
	return w.setRegionHidden(cluster, region, view, true)
}

// ShowRegion ends [World.HideRegion].
func (w *World) ShowRegion(cluster, region, view string) error {
	return w.setRegionHidden(cluster, region, view, false)
}

func (w *World) setRegionHidden(cluster, region, view string, hidden bool) error {
	if view != ClusterView && view != CMEKView {
		return fmt.Errorf("hide region: %q is none of %s, %s", view, ClusterView, CMEKView)
	}
	w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	if c.region(region) == nil {
		return fmt.Errorf("cluster %q has no region %q", cluster, region)
	}
	if c.sight.regions == nil {
		c.sight.regions = map[string][]string{}
	}
	others := slices.DeleteFunc(c.sight.regions[view], func(r string) bool { return r == region })
	if hidden {
		others = append(others, region)
	}
	c.sight.regions[view] = others
	return nil
}

// sees reports whether the cluster exists for the caller: it has a role there, and the cluster is not hidden from it.
func (a *serviceAccount) sees(c *cluster) bool {
	return a.hasAnyOn(c, viewers) && (!c.sight.hidden || a.hasAnyOn(c, []string{orgAdmin}))
}

// shown is the CMEK without the regions that are hidden; info must be the caller's own.
func (s sight) shown(info cmek.ClusterInfo) cmek.ClusterInfo {
	info.RegionInfos = slices.DeleteFunc(slices.Clone(info.RegionInfos), func(r cmek.RegionInfo) bool {
		return s.hides(CMEKView, r.Region)
	})
	return info
}
