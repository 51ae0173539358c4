package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Wanted is the key that a region of a cluster is to be moved to.
type Wanted struct {
	// Region is a region of the cluster; "" is every region whose key is From.
	Region string
	// From is the key that the region must be on; "" is whatever key it is on.
	From cmek.KeyURI
	// To is the spec to move it to. Without an auth_principal it is that of the region's current spec, without a type the URI's.
	To cmek.KeySpec
}

// Asking is who asks for orders, and what they answered beforehand.
type Asking struct {
	By, Reason  string
	CrossRegion bool
	// Terraform says how the clusters' configuration was dealt with; "" if that was not said.
	Terraform string
	// Unwatched says why changes of a key would not be reported to keyturn; "" if they are. Nil: nobody can tell, and the caller says so.
	Unwatched func(ctx context.Context, key cmek.KeyURI) string
}

// CheckedCluster is a cluster with the orders that were asked for.
type CheckedCluster struct {
	Cluster cmek.Cluster
	Orders  []CheckedOrder
}

// CheckedOrder is an order with what was read about it.
type CheckedOrder struct {
	ledger.Order
	// Given: the order stands in the ledger already, and has not ended. Reached: the region is on its key. Neither is checked again.
	Given, Reached bool
	// Accepts: the region came to its key otherwise than by the last order that moved it; the order is given to say that the key is right.
	Accepts  bool
	Problems []Problem
}

// CheckOrders reads what decides about the orders that were asked for, as it is now, and says what keeps each from being carried out. It
// writes nothing.
func (f *Function) CheckOrders(ctx context.Context, clusterID string, wanted []Wanted, by Asking) (c CheckedCluster, err error) {
	if c.Cluster, err = f.Cloud.Cluster(ctx, clusterID); err != nil {
		return c, fmt.Errorf("read cluster %s: %w", clusterID, err)
	}
	info, err := f.Cloud.CMEK(ctx, clusterID)
	if err != nil && !errors.Is(err, cmek.ErrNotFound) {
		return c, fmt.Errorf("read CMEK of cluster %s: %w", clusterID, err)
	}
	holds, err := f.Ledger.Holds(ctx)
	if err != nil {
		return c, err
	}
	item, err := f.Ledger.Cluster(ctx, clusterID)
	if err != nil {
		return c, err
	}
	given, err := f.Ledger.Orders(ctx, clusterID)
	if err != nil {
		return c, err
	}
	for _, o := range expand(wanted, info, by) {
		checked := CheckedOrder{Order: o}
		region, _ := info.Region(o.Region)
		current, distinct := region.Current()
		n := slices.IndexFunc(given, func(old ledger.Order) bool { return old.Region == o.Region && item.MayBegin(old, time.Now()) })
		switch {
		case n >= 0 && given[n].To == o.To:
			checked.Order, checked.Given = given[n], true
		case n >= 0:
			checked.Problems = []Problem{{Row: "order", Message: fmt.Sprintf("another order is open, to %s, by %s; \"keyturn rotate %s --cancel --region %s\" takes it back if nothing was sent",
				given[n].To.URI, given[n].By, clusterID, o.Region)}}
		case distinct == 1 && current.Spec == o.To && region.Status == cmek.Enabled:
			checked.Reached = true
			last, moved := item.LastMove(o.Region)
			checked.Accepts = moved && last.To != o.To.URI
		default:
			m := f.ReadMove(ctx, c.Cluster, o)
			if by.Unwatched != nil {
				m.To.Unwatched = by.Unwatched(ctx, o.To.URI)
			}
			checked.Problems = Preflight(o, c.Cluster, info, m, holds, time.Now())
			if o.From.Type != "" && !f.follows(o.From.Type) {
				checked.Problems = []Problem{{Row: "installation", Message: fmt.Sprintf(
					"the cluster's key is of type %s, which this installation does not follow; name the deployment on that cloud with --deployment", o.From.Type)}}
			}
		}
		c.Orders = append(c.Orders, checked)
	}
	return c, ctx.Err()
}

// expand makes orders of what is wanted, each from the spec that its region has now.
func expand(wanted []Wanted, info cmek.ClusterInfo, by Asking) (orders []ledger.Order) {
	for _, w := range wanted {
		w.To.Type = cmp.Or(w.To.Type, w.To.URI.Type())
		add := func(region string, from cmek.KeySpec) {
			to := w.To
			to.AuthPrincipal = cmp.Or(to.AuthPrincipal, from.AuthPrincipal)
			orders = append(orders, ledger.Order{Region: region, From: from, To: to, By: by.By, Reason: by.Reason, CrossRegion: by.CrossRegion, Terraform: by.Terraform})
		}
		if w.Region != "" {
			add(w.Region, fromSpec(info, w.Region, w.From))
			continue
		}
		for _, region := range info.RegionInfos {
			from := fromSpec(info, region.Region, "")
			if w.From == "" || inForce(region, w.From) || from.URI == w.To.URI {
				add(region.Region, fromSpec(info, region.Region, w.From))
			}
		}
	}
	return orders
}

// fromSpec is the spec that the region is to be moved from: its current one, with the key that was named, if one was. While an operation
// runs none may be ENABLED; then it is one that is still in force.
func fromSpec(info cmek.ClusterInfo, name string, from cmek.KeyURI) cmek.KeySpec {
	region, _ := info.Region(name)
	current, distinct := region.Current()
	spec := current.Spec
	for _, k := range region.KeyInfos {
		if distinct != 1 && k.Status != cmek.Disabled && (from == "" || k.Spec.URI == from) {
			spec = k.Spec
			break
		}
	}
	if from != "" && !spec.URI.SameKey(from) {
		spec.URI, spec.Type = from, from.Type()
	}
	return spec
}
