package notify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Pager is a channel that wakes people. It has one incident for each dedup key, and in a storm one that stands for the rest.
type Pager interface {
	Channel
	// SendRest opens an incident that stands for those of several alerts, or adds to it; inAll is how many it stands for then. An alert
	// under its key that is resolved ends it.
	SendRest(ctx context.Context, key string, alerts []alert.Alert, inAll int) error
}

// Pages reads what a pager was sent, lets change alter it, and swaps it in, so that all instances of the function see the same. change
// may be called several times.
type Pages func(ctx context.Context, change func(*ledger.Pages) error) error

// The stated limit: so many incidents are opened by themselves within so long, those not counted that are resolved. What goes beyond
// is in one incident, which takes in all that arrives within an hour.
const (
	MostPages  = 20
	PageWindow = 10 * time.Minute
	StormLasts = time.Hour
)

// Bounds on what is recorded. An incident that stands for others must be resolved by hand once they are forgotten.
const (
	keepPages = 30 * 24 * time.Hour
	mostKept  = 10_000 // that others stand for
	mostOwn   = 1_000
	// mostInStorm is how many incidents one may stand for.
	mostInStorm = mostKept / 2
	// recordWithin leaves time to page in if the ledger hangs.
	recordWithin = 10 * time.Second
)

// plan is what to send to a pager for a batch.
type plan struct {
	own    []*delivery // by themselves
	storms []stormPlan
	// over are the keys of storms that nothing is left of.
	over []string
}

// stormPlan is what to send about an incident that stands for inAll others.
type stormPlan struct {
	key   string
	rest  []*delivery
	inAll int
}

// page records to which incident each alert belongs, and then sends. So a batch that is delivered again, to whichever instance, opens
// nothing new; and since PagerDuty ignores what it knows, sending again is harmless.
func (f *Function) page(ctx context.Context, pager Pager, deliveries []*delivery) {
	inOrder := pagingOrder(deliveries)
	if f.Pages == nil {
		f.each(ctx, inOrder)
		return
	}
	var p plan
	err := f.record(ctx, func(pages *ledger.Pages) error {
		p = assign(pages, inOrder, time.Now())
		return nil
	})
	if err != nil {
		f.pageUnrecorded(ctx, inOrder, err)
		return
	}
	f.each(ctx, p.own)
	for _, s := range p.storms {
		err := f.send(ctx, func(ctx context.Context) error { return pager.SendRest(ctx, s.key, alertsOf(s.rest), s.inAll) })
		for _, d := range s.rest {
			d.err = err
		}
	}
	f.endStorms(ctx, pager, p.over, inOrder)
}

// endStorms resolves the incidents that stand for nothing any longer, and forgets them. If one cannot be resolved, the resolutions of the
// batch are to be delivered again, and the next batch tries too.
func (f *Function) endStorms(ctx context.Context, pager Pager, over []string, deliveries []*delivery) {
	for _, key := range over {
		err := f.send(ctx, func(ctx context.Context) error {
			return pager.Send(ctx, alert.Alert{DedupKey: key, Resolved: true})
		})
		if err == nil {
			err = f.record(ctx, func(pages *ledger.Pages) error {
				pages.Storms = slices.DeleteFunc(pages.Storms, func(s ledger.Storm) bool { return s.Key == key && len(s.Open) == 0 })
				return nil
			})
		}
		if err == nil {
			f.Log.InfoContext(ctx, "grouped incident resolved: every alert in it is resolved", "alert", key)
			continue
		}
		f.Log.WarnContext(ctx, "grouped incident not resolved yet, although every alert in it is", "alert", key, "error", err)
		for _, d := range deliveries {
			if d.Resolved {
				d.err = cmp.Or(d.err, err)
			}
		}
	}
}

// pageUnrecorded pages each incident by itself, because nobody can tell which were paged already. Resolutions come again, since they
// may be the last of an incident that stands for others.
func (f *Function) pageUnrecorded(ctx context.Context, deliveries []*delivery, cause error) {
	f.Log.WarnContext(ctx, "paging each incident separately: it is not known what was paged before", "error", cause)
	f.each(ctx, deliveries)
	for _, d := range deliveries {
		if d.Resolved {
			d.err = cmp.Or(d.err, cause)
		}
	}
}

func (f *Function) record(ctx context.Context, change func(*ledger.Pages) error) error {
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	return f.Pages(ctx, change)
}

// pagingOrder is the order in which alerts are assigned: beginnings, the most urgent first, because they may get an incident of their
// own; then ends; then what began again after an end that is in the same batch.
func pagingOrder(deliveries []*delivery) []*delivery {
	ended := map[string]time.Time{}
	for _, d := range deliveries {
		if key := incidentOf(d.Alert); d.Resolved && d.Time.After(ended[key]) {
			ended[key] = d.Time
		}
	}
	phase := func(d *delivery) int {
		end, ends := ended[incidentOf(d.Alert)]
		switch {
		case d.Resolved:
			return 1
		case ends && d.Time.After(end):
			return 2
		}
		return 0
	}
	inOrder := slices.Clone(deliveries)
	slices.SortStableFunc(inOrder, func(a, b *delivery) int {
		return cmp.Or(cmp.Compare(phase(a), phase(b)), alert.ByUrgency(a.Alert, b.Alert))
	})
	return inOrder
}

// assign decides for each alert whether it is sent by itself or within a storm, and notes it.
func assign(pages *ledger.Pages, deliveries []*delivery, now time.Time) (p plan) {
	forget(pages, now)
	rest := map[string][]*delivery{}
	for _, d := range deliveries {
		name := hash(incidentOf(d.Alert))
		i := slices.IndexFunc(pages.Storms, func(s ledger.Storm) bool { return s.Open[name] })
		_, own := pages.Own[name]
		switch {
		case d.Resolved && i >= 0:
			delete(pages.Storms[i].Open, name)
			continue
		case d.Resolved:
			delete(pages.Own, name)
			p.own = append(p.own, d)
			continue
		case i < 0 && (own || pagedSince(pages, now.Add(-PageWindow)) < MostPages):
			if !own {
				pages.Own[name] = now
			}
			p.own = append(p.own, d)
			continue
		case i < 0:
			i = storm(pages, d.Alert, now)
			pages.Storms[i].Open[name] = true
		}
		key := pages.Storms[i].Key
		rest[key] = append(rest[key], d)
	}
	for _, s := range pages.Storms {
		if len(rest[s.Key]) > 0 {
			p.storms = append(p.storms, stormPlan{s.Key, rest[s.Key], len(s.Open)})
		}
		if len(s.Open) == 0 {
			p.over = append(p.over, s.Key)
		}
	}
	return p
}

// storm is the index of the storm that takes in what is new. One that is over takes in nothing: it may be being resolved.
func storm(pages *ledger.Pages, first alert.Alert, now time.Time) int {
	i := slices.IndexFunc(pages.Storms, func(s ledger.Storm) bool {
		return len(s.Open) > 0 && len(s.Open) < mostInStorm && now.Sub(s.Since) < StormLasts
	})
	if i >= 0 {
		return i
	}
	pages.Storms = append(pages.Storms, ledger.Storm{
		Key: fmt.Sprintf("storm/%s/%s", now.UTC().Format(time.RFC3339), hash(first.ID)), Since: now.UTC(), Open: map[string]bool{},
	})
	return len(pages.Storms) - 1
}

func pagedSince(pages *ledger.Pages, since time.Time) (n int) {
	for _, at := range pages.Own {
		if at.After(since) {
			n++
		}
	}
	return n
}

// forget keeps what is recorded within bounds.
func forget(pages *ledger.Pages, now time.Time) {
	if pages.Own == nil {
		pages.Own = map[string]time.Time{}
	}
	longest := keepPages
	if len(pages.Own) > mostOwn {
		longest = PageWindow
	}
	maps.DeleteFunc(pages.Own, func(_ string, at time.Time) bool { return now.Sub(at) > longest })
	pages.Storms = slices.DeleteFunc(pages.Storms, func(s ledger.Storm) bool { return now.Sub(s.Since) > keepPages })
	kept := 0
	for i, s := range slices.Backward(pages.Storms) { // the newest first
		if kept += len(s.Open); kept > mostKept {
			pages.Storms = pages.Storms[i+1:]
			return
		}
	}
}

// hash is short, and different for different texts.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func alertsOf(deliveries []*delivery) (alerts []alert.Alert) {
	for _, d := range deliveries {
		alerts = append(alerts, d.Alert)
	}
	return alerts
}
