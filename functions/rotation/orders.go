package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// An order moves a region to another key. It is due work like a rotation's, whose PUT carries the spec of the order: the one PUT that does
// not carry the cluster's own. That spec is taken from the order each time, which functions may not write, and never from the work.

// unopened are the orders that may begin and that no work is open for, one for each region. p has the verdicts about all work.
func (d decision) unopened(p Plan) (list []ledger.Order) {
	for _, o := range d.Orders {
		_, ended := d.item.OrderEnded(o.ID)
		if d.Gone || ended || !o.Open(d.now) || o.Alias != "" && (!d.actsOnPins() || d.optedOut()) {
			continue
		}
		begun := slices.ContainsFunc(p.Verdicts, func(v Verdict) bool {
			of := d.item.Work[v.work].Order
			return v.Region == o.Region && of != "" && (v.Act != Drop || of == o.ID)
		})
		if !begun && !slices.ContainsFunc(list, func(other ledger.Order) bool { return other.Region == o.Region }) {
			list = append(list, o)
		}
	}
	return list
}

// ordersFirst keeps a region's rotation from going with, or shortly before, the order that moves the region: one PUT carries a region once.
// An order that is blocked, or waits for something of its own, keeps no rotation.
func (d decision) ordersFirst(p *Plan, unopened []ledger.Order) {
	moved := map[string]bool{}
	for _, o := range unopened {
		moved[o.Region] = true
	}
	for _, v := range p.Verdicts {
		goes := v.Act == Send || v.Act == Wait && !v.detained // it waits for its place in the order at most
		moved[v.Region] = moved[v.Region] || goes && v.order.ID != ""
	}
	p.Put, p.Next = nil, time.Time{}
	verdicts := p.Verdicts
	p.Verdicts = nil
	for _, v := range verdicts {
		if v.Act == Send && v.order.ID == "" && moved[v.Region] {
			v.detained = true
			v = v.because(Wait, "an order moves the region to another key").until(d.now.Add(busyWait))
		}
		p.add(v)
	}
}

// move decides about the work of an order for which no request is open.
func (d decision) move(w ledger.Work) Verdict {
	i := slices.IndexFunc(d.Orders, func(o ledger.Order) bool { return o.ID == w.Order })
	var v Verdict
	if i < 0 {
		return v.because(Drop, "%s", d.whyWithdrawn(w))
	}
	o := d.Orders[i]
	v.Spec, v.order = o.To, o
	soon, later := d.now.Add(busyWait), d.now.Add(backoffMax)
	unread := func(format string, args ...any) Verdict {
		v.detained, v.unread = true, true
		return v.because(Wait, format, args...).until(soon)
	}
	_, partial := d.item.Partial[w.Region]
	info, shown := d.CMEK.Region(w.Region)
	current, distinct := info.Current()
	switch {
	case !o.Canceled.IsZero():
		return v.because(Drop, "canceled by %s", o.CanceledBy)
	case o.Expired(d.now): // no request is open: one that was refused, lost or failed is not sent once more after so long
		return v.because(Drop, "%s: it was not carried out within %s", whyExpired, ledger.OrderExpires)
	case d.Older:
		return unread("%s", whyOlder)
	case !shown:
		return v.because(Drop, "the region is gone")
	case d.unshown(w.Region) || partial:
		return unread("the Cloud API does not show the region in both the cluster and its CMEK")
	case d.handsOff(info) != "":
		return v.because(Block, "%s: hands off", d.handsOff(info)).until(later)
	case distinct == 1 && current.Spec == o.To && !info.Status.Failed():
		v.reached = true
		return v.because(Drop, "the region is on this key already")
	case distinct == 0 && (info.Status.InProgress() || !info.Status.Known()):
		v.detained = true
		return v.because(Wait, "status %s", info.Status).until(soon)
	case distinct != 1:
		return v.because(Block, "%d key specs are ENABLED, and the order is for one (region status %s)", distinct, info.Status).until(soon)
	case current.Spec != o.From:
		return v.because(Block, "the region's key is %s, and the order is to move it from %s", current.Spec.URI, o.From.URI).until(soon)
	case d.optedOut():
		v.detained = true
		return v.because(Wait, "the cluster has the label keyturn=off").until(later)
	}
	if o.Alias != "" {
		if waits := d.pinned(v, o); waits.Act != "" {
			return waits
		}
	}
	fact, read := d.Moves[o.ID]
	if !read {
		return unread("the order's keys were not read yet").until(d.now)
	}
	if problems := fact.Problems(o, d.Cluster); len(problems) > 0 {
		if problems[0].Unread {
			return unread("%s", problems[0].Message)
		}
		return v.because(Block, "%s", problems[0].Message).until(soon)
	}
	key := fact.To.Key.Key
	v.Version, v.RotatedAt = key.Version, key.RotatedAt
	switch {
	case w.Failed > 1:
		return v.because(Block, "the move to the key failed twice").until(later)
	case w.Lost > 1 && !d.UpdatedAtMoves:
		return v.because(Block, whyLost).until(later)
	case info.Status.Failed() && w.Failed == 0 && !w.Retried:
		return v.because(Block, "status %s, and not by keyturn's request%s", info.Status, quoted(info, current.Spec.URI)).until(later)
	}
	if waits := d.gate(w, v, key, d.settledFor(w, key)); waits.Act != "" {
		return waits
	}
	// A person asked for it, so it is carried out in observe mode, too; one that follows from a pin is not, as the pin says.
	return d.send(w, v, key, orderedBy(o))
}

// settledFor is when a PUT that moves a region to the key would no longer encrypt under the version before the key's current one.
func (d decision) settledFor(w ledger.Work, key cmek.Key) time.Time {
	if key.NeverRotated {
		return time.Time{}
	}
	seen := w.SeenVersion()
	if w.Version != key.Version {
		seen = d.now // it was rotated while the order waited, or just read for the first time
	}
	settled := seen.Add(d.settings.settle(key))
	if !key.RotatedAt.IsZero() { // by the KMS's clock
		settled = earlier(settled, key.RotatedAt.Add(clockOffset+d.settings.settle(key)))
	}
	return settled
}

const whyExpired = "expired"

func orderedBy(o ledger.Order) string {
	if o.Alias != "" {
		return fmt.Sprintf("the alias %s names another key", o.Alias)
	}
	return "ordered by " + o.By
}

// ordered is the work that an order opens.
func ordered(o ledger.Order, why string, now time.Time) ledger.Work {
	w := ledger.Work{Region: o.Region, Key: o.To.URI, Order: o.ID, From: o.From, State: ledger.Due, Reason: why,
		Trigger: ledger.Trigger{Kind: "order", Source: o.By, Time: o.At}, Since: now}
	if o.Alias != "" {
		w.Trigger.Kind, w.Trigger.Source = fromPin, string(o.Alias)
	}
	return w
}

// endOrder notes what became of the order of the work.
func endOrder(item *ledger.Cluster, w ledger.Work, v Verdict, now time.Time) {
	end := ledger.OrderEnd{ID: w.Order, Region: w.Region, To: w.Key, Done: v.reached, Why: v.Why, At: now}
	switch o := v.order; {
	case v.Act == Complete:
		end.Terraform = o.Terraform
	case v.reached && accepts(o):
		end.By, end.Reason = cmp.Or(o.By, "somebody"), o.Reason
	}
	item.EndOrder(end)
	if v.reached {
		agreePinned(item, w)
	}
	if !v.reached && (w.Trigger.Kind != fromPin || w.Request != nil) { // that the alias was moved is an incident, which ends with it
		item.Tell(orderDroppedAlert(item, w, v.Why, now))
	}
}

// accepts reports whether the order is for the key that its region has: it moves nothing, and says that this key is the chosen one.
func accepts(o ledger.Order) bool { return o.ID != "" && o.From == o.To }

// carries reports whether a PUT's spec is that of the work, one of the works of the cluster.
func carries(spec cmek.RegionSpec, works []ledger.Work, w ledger.Work) bool {
	if w.Region != spec.Region {
		return false
	}
	moves := func(w ledger.Work) bool {
		return w.Region == spec.Region && w.Order != "" && w.State == ledger.Due && w.Key == spec.KeySpec.URI
	}
	if slices.ContainsFunc(works, moves) {
		return moves(w)
	}
	return w.Order == ""
}

func orderDroppedAlert(item *ledger.Cluster, w ledger.Work, why string, now time.Time) alert.Alert {
	id := fmt.Sprintf("order-dropped/%s/%s", item.ID, w.Order)
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.Low, Change: changeOrderDropped, Key: w.Key, Time: now,
		Clusters:      []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: []string{w.Region}}},
		Summary:       fmt.Sprintf("Cluster %s was not moved to key %s in %s: %s", named(item), w.Key.ID(), w.Region, why),
		Impact:        "The region stays on the key that it has. keyturn goes on following the rotations of that one.",
		RecoverySteps: []string{"keyturn status " + item.ID},
		Runbook:       runbook(changeOrderDropped),
	}
}
