package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

var errReset = errors.New("read tcp: connection reset by peer")

// swallow loses writes before they reach the server.
type swallow struct{ w *world }

func (s swallow) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method != http.MethodGet {
		return nil, errReset
	}
	return simulator.Transport(s.w.CloudAPI()).RoundTrip(q)
}

// deaf lets writes through and loses their answers.
type deaf struct{ w *world }

func (d deaf) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := writes{d.w, simulator.Transport(d.w.CloudAPI())}.RoundTrip(q)
	if q.Method != http.MethodGet && err == nil {
		return nil, errReset
	}
	return resp, err
}

// contrary lets the first write through and answers that the cluster is locked.
type contrary struct {
	w    *world
	said *bool
}

func (c contrary) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := writes{c.w, simulator.Transport(c.w.CloudAPI())}.RoundTrip(q)
	if q.Method != http.MethodGet && err == nil && !*c.said {
		*c.said = true
		resp.StatusCode, resp.Body = http.StatusConflict, io.NopCloser(strings.NewReader(`{"code":10,"message":"cluster lock is held by another operation"}`))
	}
	return resp, err
}

// hurried refuses the first write by the rate limit.
type hurried struct {
	w    *world
	said *bool
}

func (h hurried) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method != http.MethodGet && !*h.said {
		*h.said = true
		return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}},
			Body: io.NopCloser(strings.NewReader(`{"code":8,"message":"rate limit exceeded"}`)), Request: q}, nil
	}
	return writes{h.w, simulator.Transport(h.w.CloudAPI())}.RoundTrip(q)
}

// outdated shows the cluster's regions as older makes them, as long as show says so.
type outdated struct {
	lifecycle.Cloud
	show  *bool
	older func([]cmek.Region) []cmek.Region
}

func (c outdated) Cluster(ctx context.Context, id string) (cmek.Cluster, error) {
	got, err := c.Cloud.Cluster(ctx, id)
	if *c.show && err == nil {
		got.Regions = c.older(slices.Clone(got.Regions))
	}
	return got, err
}

// killed is what a process panics with when it is killed.
type killed struct{}

// doomed kills the process at its nth step: a call of the ledger's store or of the Cloud API, before or after it took effect.
type doomed struct {
	steps  int
	before bool
}

// step counts a step, and runs it unless the process ends before it.
func (d *doomed) step(run func()) {
	d.steps--
	if d.steps == 0 && d.before {
		panic(killed{})
	}
	run()
	if d.steps == 0 {
		panic(killed{})
	}
}

type doomedStore struct {
	ledger.Store
	*doomed
}

func (s doomedStore) Put(ctx context.Context, r ledger.Record) (err error) {
	s.step(func() { err = s.Store.Put(ctx, r) })
	return err
}

type doomedCloud struct {
	lifecycle.Cloud
	*doomed
}

func (c doomedCloud) CMEK(ctx context.Context, id string) (info cmek.ClusterInfo, err error) {
	c.step(func() { info, err = c.Cloud.CMEK(ctx, id) })
	return info, err
}

func (c doomedCloud) EnableCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) (a cmek.Answer) {
	c.step(func() { a = c.Cloud.EnableCMEK(ctx, id, specs) })
	return a
}

func (c doomedCloud) AddRegions(ctx context.Context, to cmek.Cluster, additions []cmek.AddedRegion) (a cmek.Answer) {
	c.step(func() { a = c.Cloud.AddRegions(ctx, to, additions) })
	return a
}

func (c doomedCloud) RevokeCMEK(ctx context.Context, id string) (a cmek.Answer) {
	c.step(func() { a = c.Cloud.RevokeCMEK(ctx, id) })
	return a
}

// operations are the three that send a request, as a person repeats them until they are done.
var operations = map[string]struct {
	run           func(w *world, f *lifecycle.Function) (lifecycle.Result, error)
	done          func(w *world) bool
	cluster, sent string
}{
	"enable": {
		func(w *world, f *lifecycle.Function) (lifecycle.Result, error) {
			return f.Run(w.t.Context(), enableAnalytics())
		},
		func(w *world) bool { return w.info(analytics).Status == cmek.Enabled }, analytics, "POST " + analytics + "/cmek",
	},
	"add-region": {
		func(w *world, f *lifecycle.Function) (lifecycle.Result, error) {
			return f.Run(w.t.Context(), addToPayments())
		},
		func(w *world) bool {
			info := w.info(payments)
			return len(info.RegionInfos) == 2 && info.Status == cmek.Enabled
		}, payments, "PATCH " + payments,
	},
	"revoke": {
		func(w *world, f *lifecycle.Function) (lifecycle.Result, error) {
			w.distrust()
			p, refused, err := f.PlanRevocation(w.t.Context(), revokePayments(), confirmed.Server, false)
			if err != nil || len(refused) > 0 {
				// Sent before: there is nothing to plan. The plan of then is applied again.
				return f.Apply(w.t.Context(), lifecycle.Plan{Kind: ledger.OperationRevoke, ClusterID: payments, Cluster: "payments", Reason: "key compromised"}, confirmed)
			}
			return f.Apply(w.t.Context(), p, confirmed)
		},
		func(w *world) bool { return w.info(payments).Status == cmek.Revoked }, payments, "PATCH " + payments + "/cmek",
	},
}

// However a process ends, at most one request is accepted, and the same command comes to the end with one record.
func TestAProcessThatIsKilledAtAnyStep_sendsNothingTwice(t *testing.T) {
	for name, op := range operations {
		for _, before := range []bool{true, false} {
			for n := 1; ; n++ {
				var died bool
				bubble(t, func(t *testing.T) {
					w := newWorld(t, simulator.DuplicatePUT, "rotate", simulator.POSTWhenEnabled, "rotate")
					at := &doomed{steps: n, before: before}
					f := w.function()
					f.Ledger = ledger.New(doomedStore{w.store, at}, newRandom())
					f.Cloud = doomedCloud{f.Cloud, at}
					died = ends(func() { _, _ = op.run(w, f) })
					var result lifecycle.Result
					for range 4 { // a person tries again
						var err error
						if result, err = op.run(w, w.function()); err != nil {
							t.Fatalf("%s killed at step %d: run again: %v", name, n, err)
						}
						if op.done(w) {
							break
						}
					}
					where := fmt.Sprintf("%s killed at step %d (before it: %t)", name, n, before)
					if !op.done(w) {
						t.Errorf("%s: not done: %+v; steps:\n%s", where, result, strings.Join(w.steps, "\n"))
					}
					if len(w.accepted) != 1 || w.accepted[0] != op.sent {
						t.Errorf("%s: accepted %q, want one %s", where, w.accepted, op.sent)
					}
					if w.item(op.cluster).Operation.Open() {
						if result, err := op.run(w, w.function()); err != nil || w.item(op.cluster).Operation.Open() {
							t.Errorf("%s: the operation stays open: %+v, %v", where, result, err)
						}
					}
					if records := w.records(); len(records)+waiting(w) < 1 || done(t, w, records) != 1 {
						t.Errorf("%s: the records are %q, want one of what was done", where, records)
					}
				})
				if !died {
					if n < 6 {
						t.Errorf("%s has only %d steps", name, n)
					}
					break
				}
			}
		}
	}
}

// waiting counts the records that wait in items for the next tick.
func waiting(w *world) (n int) {
	for _, id := range []string{analytics, payments} {
		n += len(w.item(id).Messages)
	}
	return n
}

// done counts the records of operations that were done, in the archive or on their way there.
func done(t *testing.T, w *world, names []string) (n int) {
	t.Helper()
	var texts []string
	for _, name := range names {
		data, _ := w.archive.Data(name)
		texts = append(texts, string(data))
	}
	for _, id := range []string{analytics, payments} {
		for _, m := range w.item(id).Messages {
			if _, archived := w.archive.Data(m.ID); !archived {
				texts = append(texts, string(m.Evidence))
			}
		}
	}
	for _, text := range texts {
		n += strings.Count(text, `"result": "done"`)
	}
	return n
}

// ends reports whether the process was killed.
func ends(run func()) (died bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case killed{}:
			died = true
		default:
			panic(r)
		}
	}()
	run()
	return false
}

// An answer that was lost says nothing, and the reads do.
func TestARequestWhoseAnswerIsLost_isResolvedByReading(t *testing.T) {
	for name, op := range operations {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.network = deaf{w}
			result, err := op.run(w, w.function())
			must(t, err)
			if !result.Done() || !op.done(w) || len(w.sent) != 1 {
				t.Errorf("%s: %+v, sent %q; steps:\n%s", name, result, w.sent, strings.Join(w.steps, "\n"))
			}
		})
	}
}
