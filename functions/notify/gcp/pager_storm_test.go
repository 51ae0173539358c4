package gcp

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/ledger"
)

// pagerDuty keeps which incidents were opened when; each request takes a while.
type pagerDuty struct {
	downUntil time.Duration // since the beginning

	mu     sync.Mutex
	began  time.Time
	opened map[string]time.Time // by dedup key
	// events are the requests that were taken.
	events int
	last   time.Time
}

func (p *pagerDuty) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	time.Sleep(150 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func(status int, text string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	}
	now := time.Now()
	if now.Sub(p.began) < p.downUntil {
		return answer(http.StatusServiceUnavailable, "")
	}
	var event struct {
		Key string `json:"dedup_key"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, err
	}
	if p.opened[event.Key].IsZero() {
		p.opened[event.Key] = now
	}
	p.events, p.last = p.events+1, now
	return answer(http.StatusAccepted, `{"status":"success"}`)
}

// A storm opens no more incidents than a person can look at, whichever instance gets which alert: what was opened is in the ledger, and the
// rest are in one incident. All are sent within minutes.
func TestAStormOpensFewIncidentsAtPagerDuty(t *testing.T) {
	const alerts = 1000
	for _, tc := range []struct {
		name        string
		pagerDuty   *pagerDuty
		over        time.Duration // in which the alerts are published
		instances   int
		concurrency int
		within      time.Duration
	}{
		{"at once", &pagerDuty{}, 0, 1, 250, 4 * time.Minute},
		{"at once, two instances", &pagerDuty{}, 0, 2, 250, 6 * time.Minute},
		{"within a minute", &pagerDuty{}, time.Minute, 2, 250, 6 * time.Minute},
		{"within nine minutes", &pagerDuty{}, 9 * time.Minute, 2, 250, 12 * time.Minute},
		{"PagerDuty is down for two minutes", &pagerDuty{downUntil: 2 * time.Minute}, 0, 1, 250, 12 * time.Minute},
		{"the lowest concurrency", &pagerDuty{}, 0, 2, 8, 30 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pubsub{concurrency: tc.concurrency, window: firstWindow, busy: make([]int, tc.instances)}
				p.changed = sync.NewCond(&p.mu)
				began, store := time.Now(), cmektest.NewStore()
				tc.pagerDuty.began, tc.pagerDuty.opened = began, map[string]time.Time{}
				for i := range tc.instances {
					p.instances = append(p.instances, pagerInstance(tc.pagerDuty, ledger.New(store, rand.New(rand.NewPCG(1, uint64(i))))))
				}
				var group sync.WaitGroup
				for i := range alerts {
					group.Go(func() {
						time.Sleep(tc.over * time.Duration(i) / alerts)
						p.deliver(pushOf(t, i))
					})
				}
				group.Wait()
				took, most := tc.pagerDuty.last.Sub(began), 0
				for _, from := range tc.pagerDuty.opened {
					n := 0
					for _, at := range tc.pagerDuty.opened {
						if d := at.Sub(from); d >= 0 && d < notify.PageWindow {
							n++
						}
					}
					most = max(most, n)
				}
				t.Logf("%d incidents, at most %d within %s, by %d events within %s; %d requests", len(tc.pagerDuty.opened), most, notify.PageWindow, tc.pagerDuty.events, took.Round(time.Second), p.attempts)
				switch {
				case p.dead > 0:
					t.Errorf("%d of %d alerts were given up", p.dead, alerts)
				case most > notify.MostPages+1 || most < notify.MostPages:
					t.Errorf("%d incidents were opened within %s, want %d and one for the rest", most, notify.PageWindow, notify.MostPages)
				case took > tc.within:
					t.Errorf("it took %s, want at most %s", took, tc.within)
				}
			})
		})
	}
}

// pagerInstance is the function as it is wired for PagerDuty, but for the network.
func pagerInstance(p *pagerDuty, l *ledger.Ledger) http.Handler {
	f := &notify.Function{Least: notify.Settings{Kind: notify.PagerDuty}.LeastSeverity(), Log: slog.New(slog.DiscardHandler), Channel: channel.PagerDuty{
		Client: &http.Client{Transport: p}, RoutingKey: func(context.Context) (string, error) { return "sample", nil },
	}}
	f.Pages = func(ctx context.Context, change func(*ledger.Pages) error) error {
		return l.UpdatePages(ctx, "secret", change)
	}
	return function.New(handler(f, notify.PagerDuty, function.DefaultSettings()))
}
