package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Orders and pins are items of their own, one of each for a cluster, which operators write and functions only read: whoever writes
// them chooses keys. What became of an order stands in the cluster's item.
const (
	orderPrefix = "order#"
	pinPrefix   = "pin#"
)

const (
	// OrderExpires is when an order expires that no request was sent for.
	OrderExpires = 24 * time.Hour
	// ordersKept is how long an order is kept for people who ask; mostOrders bounds those of one cluster.
	ordersKept = 30 * 24 * time.Hour
	mostOrders = 200
)

// Order is an operator's order to move one region of a cluster from one key spec to another.
type Order struct {
	// ID names the order among those of its cluster.
	ID     string       `json:"id"`
	Region string       `json:"region"`
	From   cmek.KeySpec `json:"from"`
	To     cmek.KeySpec `json:"to"`
	// At is when it was given, By who gave it, Reason why.
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	// CrossRegion allows To in another location than From. Terraform says how the configuration of the cluster was dealt with: without it no
	// request is sent, because Terraform would put the old key back.
	CrossRegion bool   `json:"cross_region,omitempty"`
	Terraform   string `json:"terraform,omitempty"`
	// Alias is the alias that a pin follows, if the order was derived from one; "" for an operator's own.
	Alias cmek.KeyURI `json:"alias,omitempty"`
	// Canceled is when somebody canceled it, and CanceledBy who; zero for one that nobody canceled.
	Canceled   time.Time `json:"canceled,omitzero"`
	CanceledBy string    `json:"canceled_by,omitempty"`
}

// Expired reports whether the order may no longer begin. One that follows from a pin stands as long as the alias names its key.
func (o Order) Expired(now time.Time) bool {
	return o.Alias == "" && !now.Before(o.At.Add(OrderExpires))
}

// Open reports whether the order may still begin: it is neither canceled nor expired.
func (o Order) Open(now time.Time) bool { return o.Canceled.IsZero() && !o.Expired(now) }

// Same reports whether both orders ask for the same.
func (o Order) Same(other Order) bool {
	return o.Region == other.Region && o.From == other.From && o.To == other.To
}

// Identify gives the order its ID. One given at another time, or by another pin, has another.
func (o *Order) Identify() {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q%q%q%d%q", o.Region, o.From, o.To, o.At.UnixNano(), o.Alias))
	o.ID = hex.EncodeToString(sum[:8])
}

type orders struct {
	Orders []Order `json:"orders,omitempty"`
}

// Orders reads the orders about the cluster, those that ended within 30 days among them, the oldest first.
func (l *Ledger) Orders(ctx context.Context, clusterID string) ([]Order, error) {
	var o orders
	r, err := l.store.Get(ctx, kindControl, orderPrefix+clusterID)
	if err != nil {
		return nil, fmt.Errorf("read orders of cluster %s: %w", clusterID, err)
	}
	err = decode(r, &o)
	return o.Orders, err
}

// ErrOrdered is, wrapped, the error about an order for a region that has another open one.
var ErrOrdered = errors.New("another order of the region is open")

// PlaceOrders gives orders, all or none, and returns them as they stand in the ledger; the cluster is due at once. One that asks for what an
// open order asks for is that order, so that the same orders again change nothing.
func (l *Ledger) PlaceOrders(ctx context.Context, clusterID string, given []Order, now time.Time) (placed []Order, err error) {
	c, err := l.Cluster(ctx, clusterID)
	if err != nil {
		return nil, err
	}
	err = l.updateOrders(ctx, clusterID, now, func(all []Order) ([]Order, error) {
		placed = nil
		for _, o := range given {
			i := slices.IndexFunc(all, func(old Order) bool { return old.Region == o.Region && c.MayBegin(old, now) })
			switch {
			case i < 0:
				o.At = now
				o.Identify()
				all = append(all, o)
			case !all[i].Same(o):
				return nil, fmt.Errorf("order %s to %s: %w: %s to %s, by %s", o.Region, o.To.URI, ErrOrdered, all[i].Region, all[i].To.URI, all[i].By)
			default:
				o = all[i]
			}
			placed = append(placed, o)
		}
		return all, nil
	})
	if err != nil {
		return nil, err
	}
	return placed, l.wake(ctx, clusterID, now) // if this is lost, the next sweep finds the orders
}

// CancelOrders cancels the open orders about the cluster in these regions, or in all without any. Those of which a request was sent are
// returned apart: what was sent goes on.
func (l *Ledger) CancelOrders(ctx context.Context, clusterID string, regions []string, at time.Time, by string) (canceled, sent []Order, err error) {
	c, err := l.Cluster(ctx, clusterID)
	if err != nil {
		return nil, nil, err
	}
	err = l.updateOrders(ctx, clusterID, at, func(all []Order) ([]Order, error) {
		canceled = nil
		for i, o := range all {
			if c.MayBegin(o, at) && (len(regions) == 0 || slices.Contains(regions, o.Region)) {
				all[i].Canceled, all[i].CanceledBy = at, by
				canceled = append(canceled, all[i])
			}
		}
		if canceled == nil {
			return nil, ErrUnchanged
		}
		return all, nil
	})
	if err == nil {
		err = l.wake(ctx, clusterID, at)
	}
	if err != nil {
		return canceled, nil, err
	}
	if c, err = l.Cluster(ctx, clusterID); err != nil { // a request may have left meanwhile
		return canceled, nil, err
	}
	canceled = slices.DeleteFunc(canceled, func(o Order) bool {
		left := slices.ContainsFunc(c.Work, func(w Work) bool { return w.Order == o.ID && w.State == Requested })
		if left {
			sent = append(sent, o)
		}
		return left
	})
	return canceled, sent, nil
}

// MayBegin reports whether the order about the cluster is open, or work of it is.
func (c *Cluster) MayBegin(o Order, now time.Time) bool {
	_, ended := c.OrderEnded(o.ID)
	begun := slices.ContainsFunc(c.Work, func(w Work) bool { return w.Order == o.ID })
	return !ended && o.Canceled.IsZero() && (begun || o.Open(now))
}

// wake makes the cluster due. One that the ledger does not know is found by a sweep, with its orders.
func (l *Ledger) wake(ctx context.Context, clusterID string, now time.Time) error {
	_, err := l.UpdateCluster(ctx, clusterID, func(c *Cluster) error {
		if c.SeenAt.IsZero() {
			return ErrUnchanged
		}
		c.WaitUntil(now)
		return nil
	})
	return err
}

func (l *Ledger) updateOrders(ctx context.Context, clusterID string, now time.Time, change func([]Order) ([]Order, error)) error {
	return updateItem(ctx, l, orderPrefix+clusterID, func(o *orders) (keys []string, err error) {
		if o.Orders, err = change(o.Orders); err != nil {
			return nil, err
		}
		o.Orders = slices.DeleteFunc(o.Orders, func(old Order) bool { return now.Sub(old.At) > ordersKept })
		if len(o.Orders) > mostOrders {
			return nil, fmt.Errorf("%d orders were given within %d days, and %d is the most", len(o.Orders), int(ordersKept.Hours()/24), mostOrders)
		}
		return nil, nil
	})
}

// updateItem changes an operator's item, which names the keys that change returns.
func updateItem[T any](ctx context.Context, l *Ledger, id string, change func(*T) (keys []string, err error)) error {
	for range attempts {
		r, err := l.store.Get(ctx, kindControl, id)
		if err != nil {
			return fmt.Errorf("read %s: %w", id, err)
		}
		var item T
		if err := decode(r, &item); err != nil {
			return err
		}
		r.Kind, r.ID = kindControl, id
		if r.Keys, err = change(&item); errors.Is(err, ErrUnchanged) {
			return nil
		} else if err != nil {
			return err
		}
		if err := fit(&r, item, nil, func() []part { return []part{partOf("its content", item)} }); err != nil {
			return err
		}
		if _, err = l.put(ctx, r); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write %s: %w", id, ErrConflict)
}

// Pin is an operator's standing order: a region of a cluster follows an alias.
type Pin struct {
	Region string      `json:"region"`
	Alias  cmek.KeyURI `json:"alias"`
	// Follow: the region is moved to the key that the alias comes to name. Otherwise that is only reported.
	Follow bool `json:"follow,omitempty"`
	// Since is when it was given, By who gave it, Reason why.
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	// Terraform says how the configuration of the cluster was dealt with, as in [Order].
	Terraform string `json:"terraform,omitempty"`
}

// Pinned is what became of a pin: how its region and its alias stand. It is in the cluster's item, and its order is derived anew from the
// pin and from what the alias names before each request: who may write it chooses no key.
type Pinned struct {
	Region string      `json:"region"`
	Alias  cmek.KeyURI `json:"alias"`
	// Since is when the pin was given, which tells it from one before; Follow is as in [Pin].
	Since  time.Time `json:"since"`
	Follow bool      `json:"follow,omitempty"`
	// Target is the key that the alias names, and has named in all reads since Seen, during which no event said that it was changed; "" if
	// there is no such alias.
	Target cmek.KeyURI `json:"target,omitempty"`
	Seen   time.Time   `json:"seen,omitzero"`
	// Agreed is the key that region and alias both named last, or that the region was on when the pin was first read. A region that is on
	// another one was moved by somebody else.
	Agreed cmek.KeyURI `json:"agreed,omitempty"`
	// Order moves the region to Target; nil if nothing is to be moved.
	Order *Order `json:"order,omitempty"`
	// Unread says since when, and why, it is not known what the alias names; zero if it is.
	Unread Unread `json:"unread,omitzero"`
}

// PinnedIn returns what became of the region's pin, and whether that is known.
func (c *Cluster) PinnedIn(region string) (Pinned, bool) {
	if i := slices.IndexFunc(c.Pins, func(p Pinned) bool { return p.Region == region }); i >= 0 {
		return c.Pins[i], true
	}
	return Pinned{}, false
}

type pins struct {
	Pins []Pin `json:"pins,omitempty"`
}

func (p pins) aliases() (keys []string) {
	for _, pin := range p.Pins {
		keys = append(keys, pin.Alias.Canonical())
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Pins reads the pins of the cluster.
func (l *Ledger) Pins(ctx context.Context, clusterID string) ([]Pin, error) {
	var p pins
	r, err := l.store.Get(ctx, kindControl, pinPrefix+clusterID)
	if err != nil {
		return nil, fmt.Errorf("read pins of cluster %s: %w", clusterID, err)
	}
	err = decode(r, &p)
	return p.Pins, err
}

// SetPin pins a region, in place of its pin before; the cluster is due at once. A region that is pinned so already stays as it is.
func (l *Ledger) SetPin(ctx context.Context, clusterID string, pin Pin) error {
	err := updateItem(ctx, l, pinPrefix+clusterID, func(p *pins) ([]string, error) {
		i := slices.IndexFunc(p.Pins, func(old Pin) bool { return old.Region == pin.Region })
		switch {
		case i < 0:
			p.Pins = append(p.Pins, pin)
		case p.Pins[i].Same(pin):
			return nil, ErrUnchanged
		default:
			p.Pins[i] = pin
		}
		return p.aliases(), nil
	})
	if err != nil {
		return err
	}
	return l.wake(ctx, clusterID, pin.Since) // if this is lost, the next sweep finds the pin
}

// Same reports whether both pins order the same.
func (p Pin) Same(other Pin) bool {
	return p.Region == other.Region && p.Alias == other.Alias && p.Follow == other.Follow && p.Terraform == other.Terraform
}

// Unpin ends the pin of a region, and reports whether there was one; the cluster is due at once.
func (l *Ledger) Unpin(ctx context.Context, clusterID, region string, now time.Time) (was bool, err error) {
	err = updateItem(ctx, l, pinPrefix+clusterID, func(p *pins) ([]string, error) {
		kept := slices.DeleteFunc(slices.Clone(p.Pins), func(old Pin) bool { return old.Region == region })
		if was = len(kept) < len(p.Pins); !was {
			return nil, ErrUnchanged
		}
		p.Pins = kept
		return p.aliases(), nil
	})
	if err == nil && was {
		err = l.wake(ctx, clusterID, now)
	}
	return was, err
}

// AliasChanged notes that the alias was changed at that time: the clusters with a pin to it are due, and what it names settles once more. It returns
// their ids.
func (l *Ledger) AliasChanged(ctx context.Context, alias cmek.KeyURI, at, now time.Time) (clusterIDs []string, err error) {
	if at.After(now) {
		at = now
	}
	clusterIDs, err = l.PinnedTo(ctx, alias)
	problems := []error{err}
	for _, id := range clusterIDs {
		_, err := l.UpdateCluster(ctx, id, func(c *Cluster) error {
			if c.SeenAt.IsZero() {
				return ErrUnchanged // a sweep finds it, with its pins
			}
			c.Pins = slices.Clone(c.Pins)
			for i, p := range c.Pins {
				if p.Alias == alias && !p.Seen.IsZero() && at.After(p.Seen) {
					c.Pins[i].Seen = at
				}
			}
			c.WaitUntil(now)
			return nil
		})
		problems = append(problems, err)
	}
	return clusterIDs, errors.Join(problems...)
}

// PinnedTo returns the ids of the clusters with a pin to the alias.
func (l *Ledger) PinnedTo(ctx context.Context, alias cmek.KeyURI) (clusterIDs []string, err error) {
	records, err := l.store.ByKey(ctx, kindControl, alias.Canonical())
	if err != nil {
		err = fmt.Errorf("query ledger for pins to %s: %w", alias, err)
	}
	for _, r := range records {
		if id, is := strings.CutPrefix(r.ID, pinPrefix); is {
			clusterIDs = append(clusterIDs, id)
		}
	}
	return clusterIDs, err
}
