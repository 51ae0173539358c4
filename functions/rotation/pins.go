package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A pin is an operator's standing order: a region follows an alias. When the alias comes to name another key, an order to that key follows from
// it. Such an order stands in the cluster's item, which functions write. So it is derived anew at each read, from the pin, from what the
// alias names now and from the region's own spec: what stands in the item chooses no key.

// fromPin is the trigger of work whose order follows from a pin.
const fromPin = "pin"

// aliasUnreadAfter is how long an alias may not be read before it is reported. That an alias was moved may take five minutes to reach who may read
// the key by it (docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html).
const aliasUnreadAfter = 15 * time.Minute

// PinFact is a pin with what its alias names.
type PinFact struct {
	ledger.Pin
	// Asked: the alias was read. It is not while a request to the region is open.
	Asked bool
	// Target is the key that the alias names; Err is why that is not known, cmek.ErrNotFound if there is no such alias.
	Target cmek.KeyURI
	Err    error
}

// readPins reads the cluster's pins, and what their aliases name.
func (f *Function) readPins(ctx context.Context, c *ledger.Cluster, r *Reads) error {
	pins, err := f.Ledger.Pins(ctx, c.ID)
	if err != nil {
		return err
	}
	r.Pins = nil
	for _, pin := range pins {
		fact := PinFact{Pin: pin, Asked: !requested(c, pin.Region)}
		if fact.Asked {
			fact.Target, fact.Err = f.aliasTarget(ctx, pin.Alias)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read alias %s: %w", pin.Alias, err)
		}
		r.Pins = append(r.Pins, fact)
	}
	return nil
}

func (f *Function) aliasTarget(ctx context.Context, alias cmek.KeyURI) (cmek.KeyURI, error) {
	if f.Aliases == nil {
		return "", errors.New("aliases are not read here")
	}
	target, err := f.Aliases.AliasTarget(ctx, alias)
	if err == nil && (target.Type() != cmek.AWSKMS || target.IsAlias() || target.Location() == "") {
		return "", fmt.Errorf("read alias %s: the answer names no key: %q", alias, target)
	}
	return target, err
}

// aliasChanged has the clusters polled that are pinned to the event's alias. What it names now, the tick reads.
func (f *Function) aliasChanged(ctx context.Context, e cmek.Event) error {
	alias := e.Alias()
	if e.Error != "" || alias == "" {
		return nil
	}
	pinned, err := f.Ledger.AliasChanged(ctx, alias, e.Time, time.Now())
	f.Log.Info("alias changed", "event", e.ID, "change", e.Change, "key", e.Key, "alias", alias, "clusters", len(pinned))
	return err
}

// requested reports whether a request to the region is open.
func requested(c *ledger.Cluster, region string) bool {
	return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Region == region && w.State == ledger.Requested })
}

// pinnedOrders are the orders that followed from the cluster's pins when they were last read.
func pinnedOrders(c *ledger.Cluster) (orders []ledger.Order) {
	for _, p := range c.Pins {
		if p.Order != nil {
			orders = append(orders, *p.Order)
		}
	}
	return orders
}

// absorbPins notes in the item how each pinned region and its alias stand, and returns the orders that follow and are to be carried out.
func absorbPins(item *ledger.Cluster, f Facts, now time.Time) (orders []ledger.Order) {
	var all []ledger.Pinned
	for _, fact := range f.Pins {
		p, known := item.PinnedIn(fact.Region)
		if !known || p.Alias != fact.Alias || !p.Since.Equal(fact.Since) {
			p = ledger.Pinned{Region: fact.Region, Alias: fact.Alias, Since: fact.Since}
		}
		p.Follow = fact.Follow
		p = seen(p, fact, now)
		p = derive(p, fact, f, item, now)
		if p.Order != nil && fact.Follow {
			orders = append(orders, *p.Order)
		}
		all = append(all, p)
	}
	item.Pins = all
	return orders
}

const whyDenied = "access denied"

// seen is the pin after its alias was read, if it was. What was not read changes nothing but that.
func seen(p ledger.Pinned, fact PinFact, now time.Time) ledger.Pinned {
	target := fact.Target
	switch {
	case !fact.Asked:
		return p
	case errors.Is(fact.Err, cmek.ErrNotFound):
		target = ""
	case fact.Err != nil:
		if p.Unread.IsZero() {
			p.Unread.Since = now
		}
		switch denied := errors.Is(fact.Err, cmek.ErrDenied); {
		case denied:
			p.Unread.Why = whyDenied
		case p.Unread.Why == "" || p.Unread.Why == whyDenied: // each answer may have an id of its own
			p.Unread.Why = fact.Err.Error()
		}
		return p
	}
	p.Unread = ledger.Unread{}
	if p.Seen.IsZero() || p.Target != target {
		p.Target, p.Seen = target, now
	}
	return p
}

// stand is how a pinned region and its alias stand to each other.
type stand int

const (
	// standUnclear: not enough is known to say; what was known before stays.
	standUnclear stand = iota
	standAgreed
	// standAliasMoved: the alias names another key than the region's, which was the key of both. standRegionMoved: the region was moved to a
	// key that the alias did not name.
	standAliasMoved
	standRegionMoved
	standAliasMissing
)

func (f Facts) standOf(p ledger.Pinned, item *ledger.Cluster) (s stand, current cmek.KeySpec) {
	info, shown := f.CMEK.Region(p.Region)
	in, distinct := info.Current()
	switch current = in.Spec; {
	case f.Gone || f.Older || f.Unread != "" || !shown || slices.Contains(f.Unshown, p.Region) || distinct != 1,
		p.Seen.IsZero(), requested(item, p.Region):
		return standUnclear, current
	case p.Target == "":
		return standAliasMissing, current
	case p.Target == current.URI:
		return standAgreed, current
	case p.Agreed != "" && p.Agreed != current.URI:
		return standRegionMoved, current
	}
	return standAliasMoved, current
}

// derive brings the pin's order up to date: one that is still wanted stays the same order.
func derive(p ledger.Pinned, fact PinFact, f Facts, item *ledger.Cluster, now time.Time) ledger.Pinned {
	stand, current := f.standOf(p, item)
	switch stand {
	case standUnclear:
		if _, shown := f.CMEK.Region(p.Region); !shown && f.CMEKRead {
			p.Order = nil
		}
		return p
	case standAgreed:
		p.Agreed, p.Order = p.Target, nil
		return p
	case standRegionMoved:
		p.Order = nil
		return p
	case standAliasMissing:
		return p // it may come back
	}
	p.Agreed = current.URI
	if orderedByHand(f, item, p.Region, now) {
		p.Order = nil
		return p
	}
	wanted := ledger.Order{
		Region: p.Region, From: current, To: cmek.KeySpec{Type: p.Target.Type(), URI: p.Target, AuthPrincipal: current.AuthPrincipal},
		At: now, By: fact.By, Reason: fact.Reason, Terraform: fact.Terraform, Alias: p.Alias,
	}
	if p.Order != nil && p.Order.Same(wanted) {
		if _, ended := item.OrderEnded(p.Order.ID); !ended {
			wanted.At = p.Order.At
		}
	}
	wanted.Identify()
	p.Order = &wanted
	return p
}

// orderedByHand reports whether an operator's own order about the region is open, which goes before the pin.
func orderedByHand(f Facts, item *ledger.Cluster, region string, now time.Time) bool {
	return slices.ContainsFunc(f.Orders, func(o ledger.Order) bool { return o.Alias == "" && o.Region == region && item.MayBegin(o, now) })
}

// agreePinned notes that a region was moved to the key of its pin's order.
func agreePinned(item *ledger.Cluster, w ledger.Work) {
	item.Pins = slices.Clone(item.Pins)
	for i, p := range item.Pins {
		if p.Order != nil && p.Order.ID == w.Order {
			item.Pins[i].Order, item.Pins[i].Agreed = nil, w.Key
		}
	}
}

// actsOnPins reports whether orders that follow from pins are carried out. Nobody asked for one at the time, so they are not in observe mode.
func (d decision) actsOnPins() bool { return d.settings.Mode == Follow }

func (f Facts) pinOf(region string) (PinFact, bool) {
	if i := slices.IndexFunc(f.Pins, func(p PinFact) bool { return p.Region == region }); i >= 0 {
		return f.Pins[i], true
	}
	return PinFact{}, false
}

// pinned says what of the pin keeps its order from being carried out now; a verdict without an Act for nothing.
func (d decision) pinned(v Verdict, o ledger.Order) Verdict {
	fact, _ := d.pinOf(o.Region)
	p, _ := d.item.PinnedIn(o.Region)
	soon := d.now.Add(busyWait)
	if !fact.Asked || !p.Unread.IsZero() {
		v.detained, v.unread = true, true
		return v.because(Wait, "it is not known which key the alias %s names: %s", o.Alias, cmp.Or(p.Unread.Why, whyInFlight)).until(soon)
	}
	settled := latest(o.At, p.Seen).Add(d.settings.settle(cmek.Key{}))
	from, to := o.From.URI, o.To.URI
	switch {
	case p.Target == "":
		return v.because(Block, "the alias %s does not exist", o.Alias).until(soon)
	case from.Account() != to.Account() || from.Location() != to.Location():
		return v.because(Block, "the alias %s names key %s, which is in another account or Region than %s; only a person orders such a move", o.Alias, to, from).until(soon)
	case !d.actsOnPins():
		v.detained = true
		return v.because(Wait, "observe mode: the region would be moved to the key that the alias names").until(d.now.Add(overdueAfter))
	case d.now.Before(settled):
		return v.because(Wait, "the alias settles").until(earlier(settled, soon)) // read often: it may be moved back and on
	}
	return Verdict{}
}

// whyWithdrawn says why the order of the work is not wanted any more.
func (d decision) whyWithdrawn(w ledger.Work) string {
	if w.Trigger.Kind != fromPin {
		return "the order is not in the ledger any more"
	}
	fact, pinned := d.pinOf(w.Region)
	p, _ := d.item.PinnedIn(w.Region)
	stand, current := d.standOf(p, d.item)
	switch {
	case !pinned:
		return "the region is not pinned any more"
	case string(fact.Alias) != w.Trigger.Source:
		return fmt.Sprintf("the region is pinned to another alias, %s", fact.Alias)
	case !fact.Follow:
		return fmt.Sprintf("the pin to %s reports only", fact.Alias)
	case stand == standAgreed:
		return fmt.Sprintf("the alias %s names the region's key again", fact.Alias)
	case stand == standRegionMoved:
		return fmt.Sprintf("the region was moved to %s meanwhile", current.URI)
	case orderedByHand(d.Facts, d.item, w.Region, d.now):
		return "another move of the region was ordered"
	}
	return fmt.Sprintf("the alias %s names key %s now", fact.Alias, p.Target)
}

// Codes of incidents about pins, each one for a region.
const (
	aliasMoved   = "alias-moved"
	aliasMissing = "alias-missing"
	aliasUnread  = "alias-unread"
	pinDrifted   = "pin-drifted"
)

// pinUnjudged reports whether an incident about a pin cannot be judged: what was not read ends nothing.
func pinUnjudged(dedupKey string, item *ledger.Cluster, f Facts) bool {
	p, known := item.PinnedIn(dedupKey[strings.LastIndex(dedupKey, "/")+1:])
	stand, _ := f.standOf(p, item)
	return known && stand == standUnclear
}

// pins reports pinned regions that are not on the key that their alias names, and aliases that name none or cannot be read.
func (c *conditions) pins(s Settings) {
	for _, p := range c.item.Pins {
		add := func(code string, change cmek.Change, severity alert.Severity, summary, impact string, steps ...string) {
			a := c.add(code, change, severity, []string{p.Region}, summary, impact, append(steps, onCluster("status", c.item.ID))...)
			a.DedupKey, a.Key = pinIncident(code, c.item, p.Region), p.Target
		}
		fact, _ := c.facts.pinOf(p.Region)
		stand, current := c.facts.standOf(p, c.item)
		switch stand {
		case standAliasMoved:
			if p.Order != nil {
				severity, impact := c.pinned(p, fact, s)
				add(aliasMoved, changeAliasMoved, severity, fmt.Sprintf("Alias %s names key %s, and cluster %s is on key %s in %s", p.Alias, p.Target.ID(), named(c.item), current.URI.ID(), p.Region),
					impact, "If the alias is not to name that key, move it back:",
					fmt.Sprintf("aws kms update-alias --region %s --alias-name %s --target-key-id %s", p.Alias.Location(), alert.ShellWord(p.Alias.ID()), alert.ShellWord(string(current.URI))),
					"If the region is to be moved now, with your answer about Terraform:", onCluster("rotate", c.item.ID)+" --region "+alert.ShellWord(p.Region)+" --to "+alert.ShellWord(string(p.Target)))
			}
		case standRegionMoved:
			add(pinDrifted, changePinDrifted, alert.High, fmt.Sprintf("Cluster %s was moved to key %s in %s, and alias %s, which it is pinned to, names key %s", named(c.item), current.URI.ID(), p.Region, p.Alias, p.Target.ID()),
				"keyturn moves nothing: it does not know which of the two is right. It goes on following the alias once both name one key.",
				"If the region's key is right, move the alias:",
				fmt.Sprintf("aws kms update-alias --region %s --alias-name %s --target-key-id %s", p.Alias.Location(), alert.ShellWord(p.Alias.ID()), alert.ShellWord(string(current.URI))),
				"If the alias is right, move the region, with your answer about Terraform:", onCluster("rotate", c.item.ID)+" --region "+alert.ShellWord(p.Region)+" --to "+alert.ShellWord(string(p.Target)))
		case standAliasMissing:
			add(aliasMissing, changeAliasMissing, alert.High, fmt.Sprintf("Alias %s, which cluster %s is pinned to in %s, does not exist", p.Alias, named(c.item), p.Region),
				"The cluster is not affected: it uses its key by the ARN. keyturn follows nothing there until the alias exists again.",
				"Create it again, for the region's key:",
				fmt.Sprintf("aws kms create-alias --region %s --alias-name %s --target-key-id %s", p.Alias.Location(), alert.ShellWord(p.Alias.ID()), alert.ShellWord(string(current.URI))),
				"Or end the pin:", onCluster("unpin", c.item.ID)+" --region "+alert.ShellWord(p.Region))
		case standAgreed, standUnclear:
		}
		if u := p.Unread; !u.IsZero() && c.now.Sub(u.Since) >= aliasUnreadAfter {
			add(aliasUnread, changeAliasUnread, alert.High, fmt.Sprintf("keyturn cannot read alias %s, which cluster %s is pinned to in %s: %s", p.Alias, named(c.item), p.Region, u.Why),
				"That the alias was moved is not noticed meanwhile. This says nothing about the alias or its key.",
				"If access was denied: allow keyturn's role kms:DescribeKey in the policy of the key that the alias names.")
			c.found[len(c.found)-1].Audience = alert.Operations
		}
	}
}

func pinIncident(code string, item *ledger.Cluster, region string) string {
	return code + "/" + item.ID + "/" + region
}

// pinned is what follows from an alias that was moved, and how urgent it is: a person is needed if keyturn does not act.
func (c *conditions) pinned(p ledger.Pinned, fact PinFact, s Settings) (alert.Severity, string) {
	still := ""
	if m, read := c.facts.Moves[p.Order.ID]; read {
		if problems := m.Problems(*p.Order, c.facts.Cluster); len(problems) > 0 {
			still = " A check would refuse it now: " + problems[0].Message + "."
		}
	}
	switch why := " The region stays on its key."; {
	case !fact.Follow:
		return alert.High, "keyturn only reports it: the pin is without --follow." + why + still
	case s.Mode != Follow:
		return alert.High, "keyturn observes and sends nothing." + why + still
	case off(c.facts.Cluster):
		return alert.High, "keyturn sends nothing: the cluster has the label keyturn=off." + why + still
	}
	return alert.Low, "keyturn moves the region to that key when the alias has settled and every check of an order passes."
}
