package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// pager is PagerDuty as far as incidents go: one for each dedup key, opened once and ended once.
type pager struct {
	mu    sync.Mutex
	open  map[string]bool
	paged int
	// rests are the events about several, inAll what the last one said.
	rests int
	inAll map[string]int
	// refuse answers in its place.
	refuse func(key string, resolved bool) error
}

func newPager() *pager { return &pager{open: map[string]bool{}, inAll: map[string]int{}} }

func (p *pager) Send(_ context.Context, a alert.Alert) error { return p.event(a.DedupKey, a.Resolved) }

func (p *pager) SendRest(_ context.Context, key string, alerts []alert.Alert, inAll int) error {
	if err := p.event(key, false); err != nil || len(alerts) == 0 {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rests++
	p.inAll[key] = inAll
	return nil
}

func (p *pager) event(key string, resolved bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		if err := p.refuse(key, resolved); err != nil {
			return err
		}
	}
	switch {
	case resolved:
		delete(p.open, key)
	case !p.open[key]:
		p.open[key] = true
		p.paged++
	}
	return nil
}

// storms are the open incidents that stand for others.
func (p *pager) storms() (keys []string) {
	for key := range p.open {
		if strings.HasPrefix(key, "storm/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// paging is an instance of the function before the pager, with the ledger that all instances share.
func paging(p *pager, store ledger.Store, seed uint64) *notify.Function {
	l := ledger.New(store, rand.New(rand.NewPCG(seed, 0)))
	return &notify.Function{Channel: p, Least: alert.High, Log: slog.New(slog.DiscardHandler), Pages: func(ctx context.Context, change func(*ledger.Pages) error) error {
		return l.UpdatePages(ctx, "pager", change)
	}}
}

func ends(alerts []alert.Alert) (all []alert.Alert) {
	for _, a := range alerts {
		a.ID, a.Resolved, a.Time = a.ID+"/resolved", true, a.Time.Add(time.Hour)
		all = append(all, a)
	}
	return all
}

func must(t *testing.T, errs []error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestAPagerOpensSoManyIncidentsAndOneForTheRest(t *testing.T) {
	for _, tc := range []struct{ alerts, paged, inAll int }{
		{1, 1, 0}, {notify.MostPages, notify.MostPages, 0}, {notify.MostPages + 1, notify.MostPages + 1, 1}, {150, notify.MostPages + 1, 130},
	} {
		for _, batch := range []int{1, 7, 1000} {
			p, store := newPager(), cmektest.NewStore()
			instances := []*notify.Function{paging(p, store, 1), paging(p, store, 2)}
			alerts := batchOf(tc.alerts)
			for i := range 2 { // everything is delivered twice
				n := i
				for chunk := range slices.Chunk(alerts, batch) {
					n++
					must(t, instances[n%2].Alerts(t.Context(), chunk))
				}
			}
			inAll := 0
			for _, key := range p.storms() {
				inAll += p.inAll[key]
			}
			if p.paged != tc.paged || len(p.open) != tc.paged || inAll != tc.inAll {
				t.Errorf("%d alerts in batches of %d page %d times, and the last incident stands for %d; want %d and %d", tc.alerts, batch, p.paged, inAll, tc.paged, tc.inAll)
			}
			must(t, instances[0].Alerts(t.Context(), ends(alerts)))
			if len(p.open) != 0 {
				t.Errorf("%d alerts in batches of %d are resolved, and these incidents are open: %v", tc.alerts, batch, p.open)
			}
		}
	}
}

func TestTheMostUrgentGetIncidentsOfTheirOwn(t *testing.T) {
	alerts := batchOf(100)
	for i := 90; i < 100; i++ {
		alerts[i].Severity = alert.Critical
	}
	p := newPager()
	must(t, paging(p, cmektest.NewStore(), 1).Alerts(t.Context(), alerts))
	for _, a := range alerts[90:] {
		if !p.open[a.DedupKey] {
			t.Errorf("critical %s has no incident of its own: %v", a.DedupKey, p.open)
		}
	}
}

// The incident that stands for others ends with the last of them, and not before.
func TestTheIncidentForTheRestEndsWithTheLastOfThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		p, store := newPager(), cmektest.NewStore()
		f := paging(p, store, 1)
		alerts := batchOf(60)
		must(t, f.Alerts(t.Context(), alerts))
		all := ends(alerts)
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i := 0; i < len(all); {
			n := min(1+r.IntN(10), len(all)-i)
			must(t, f.Alerts(t.Context(), all[i:i+n]))
			must(t, f.Alerts(t.Context(), all[i:i+r.IntN(n+1)])) // some arrive twice
			i += n
			left := 0 // of those in the storm
			for _, end := range all[i:] {
				if !p.open[end.DedupKey] {
					left++
				}
			}
			if storms := len(p.storms()); (left > 0) != (storms == 1) {
				t.Fatalf("%d of the rest are open, and so are %d incidents for the rest", left, storms)
			}
		}
		if len(p.open) > 0 {
			t.Fatalf("all is resolved, and open are %v", p.open)
		}
	}
}

func TestAfterTheWindowIncidentsAreOpenedByThemselvesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager()
		f := paging(p, cmektest.NewStore(), 1)
		alerts := batchOf(100)
		must(t, f.Alerts(t.Context(), alerts[:50]))
		time.Sleep(notify.PageWindow - time.Second)
		must(t, f.Alerts(t.Context(), alerts[50:51]))
		if p.open[alerts[50].DedupKey] {
			t.Error("within the window it has an incident of its own")
		}
		time.Sleep(2 * time.Second)
		must(t, f.Alerts(t.Context(), alerts[51:52]))
		if !p.open[alerts[51].DedupKey] {
			t.Error("after the window it has none of its own")
		}
		time.Sleep(notify.StormLasts)
		before := p.storms()
		must(t, f.Alerts(t.Context(), alerts[52:]))
		if got := p.storms(); len(before) != 1 || len(got) != 2 {
			t.Errorf("a storm an hour later is in %v, want a new incident besides %v: people may have acknowledged that one", got, before)
		}
		must(t, f.Alerts(t.Context(), ends(alerts)))
		if len(p.open) > 0 {
			t.Errorf("in the end these are open: %v", p.open)
		}
	})
}

// A request that fails is made again with the next delivery, for the same incident, whichever it was.
func TestWhatFailsIsSentAgainForTheSameIncident(t *testing.T) {
	down := &channel.Refused{Status: 500}
	r := rand.New(rand.NewPCG(5, 5))
	for range 20 {
		p, store := newPager(), cmektest.NewStore()
		p.refuse = func(string, bool) error {
			if r.IntN(3) == 0 {
				return down
			}
			return nil
		}
		deliver := func(alerts []alert.Alert) {
			for n := range 100 {
				var again []alert.Alert
				for i, err := range paging(p, store, uint64(n)).Alerts(t.Context(), alerts) {
					if err != nil {
						again = append(again, alerts[i])
					}
				}
				if alerts = again; len(alerts) == 0 {
					return
				}
			}
			t.Fatal("it does not end")
		}
		alerts := batchOf(50)
		deliver(alerts)
		if p.paged != notify.MostPages+1 {
			t.Fatalf("%d pages, want %d", p.paged, notify.MostPages+1)
		}
		deliver(ends(alerts))
		if len(p.open) > 0 {
			t.Fatalf("these are open: %v", p.open)
		}
	}
}

func TestWithoutTheLedgerEveryIncidentIsPagedAndEndsComeAgain(t *testing.T) {
	p := newPager()
	gone := errors.New("the table is gone")
	f := paging(p, cmektest.NewStore(), 1)
	recorded := f.Pages
	f.Pages = func(context.Context, func(*ledger.Pages) error) error { return gone }
	alerts := batchOf(50)
	must(t, f.Alerts(t.Context(), alerts))
	if p.paged != 50 {
		t.Errorf("%d pages, want one for each of 50: nobody knows what was paged", p.paged)
	}
	for _, err := range f.Alerts(t.Context(), ends(alerts)) {
		if !errors.Is(err, gone) {
			t.Errorf("an end is done with (%v), though it may be the last of an incident that stands for others", err)
		}
	}
	f.Pages = recorded
	must(t, f.Alerts(t.Context(), ends(alerts)))
	if len(p.open) > 0 {
		t.Errorf("these are open: %v", p.open)
	}
	// And without a ledger at all.
	f.Pages = nil
	must(t, f.Alerts(t.Context(), append(alerts, ends(alerts)...)))
	if len(p.open) > 0 {
		t.Errorf("without a ledger these are open: %v", p.open)
	}
}

// Of a batch that holds an incident's beginning and its end, the later one counts.
func TestBeginningAndEndInOneBatchAreTakenInTheirOrder(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	begin := alert.Alert{ID: "b", DedupKey: "k", Severity: alert.High, Time: noon}
	end := alert.Alert{ID: "e", DedupKey: "k", Resolved: true, Time: noon.Add(time.Minute)}
	again := alert.Alert{ID: "a", DedupKey: "k", Severity: alert.High, Time: noon.Add(2 * time.Minute)}
	for _, tc := range []struct {
		batch []alert.Alert
		open  bool
	}{
		{[]alert.Alert{begin, end}, false}, {[]alert.Alert{end, begin}, false},
		{[]alert.Alert{end, again}, true}, {[]alert.Alert{again, end}, true}, {[]alert.Alert{again, begin, end}, true},
	} {
		for _, others := range []int{0, notify.MostPages} { // by itself, and within a storm
			p := newPager()
			f := paging(p, cmektest.NewStore(), 1)
			must(t, f.Alerts(t.Context(), batchOf(others)))
			must(t, f.Alerts(t.Context(), tc.batch))
			if open := len(p.open) - others; open > 0 != tc.open {
				t.Errorf("%v after %d others: open is %v, want open: %t", tc.batch, others, p.open, tc.open)
			}
		}
	}
}

func TestWhatIsRecordedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager()
		f := paging(p, cmektest.NewStore(), 1)
		for n := range 14 {
			var alerts []alert.Alert
			for i := range 1000 {
				alerts = append(alerts, alert.Alert{ID: fmt.Sprint(n, "-", i), DedupKey: fmt.Sprint(n, "-", i), Severity: alert.High})
			}
			must(t, f.Alerts(t.Context(), alerts))
			time.Sleep(3 * time.Hour)
		}
		kept := 0
		if err := f.Pages(t.Context(), func(pages *ledger.Pages) error {
			for _, s := range pages.Storms {
				kept += len(s.Open)
			}
			return ledger.ErrUnchanged
		}); err != nil || kept > 11_000 || kept < 9_000 {
			t.Errorf("%d names are kept (%v), want about 10,000", kept, err)
		}
		time.Sleep(40 * 24 * time.Hour)
		must(t, f.Alerts(t.Context(), batchOf(1)))
		if err := f.Pages(t.Context(), func(pages *ledger.Pages) error {
			if len(pages.Storms) != 0 || len(pages.Own) != 1 {
				t.Errorf("after 40 days %d storms and %d incidents are kept, want the new incident only", len(pages.Storms), len(pages.Own))
			}
			return ledger.ErrUnchanged
		}); err != nil {
			t.Error(err)
		}
	})
}
