package compliance_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

// A request of Cloud Run ends when its time is up, and the next tick goes on behind the last part that was archived: the run is the one that
// a function with time enough leaves, and no tick has failed.
func TestGoogle_run_goes_on_with_the_next_tick(t *testing.T) {
	const clusters, part = 12, 2
	run := func(timeout, answer time.Duration) (m report.Manifest, ticks, lists int) {
		withinSeed(t, fleetOnGoogle(clusters), func(t *testing.T, w *world) {
			s := schedule{w, &cmektest.Archive{}, &cmektest.Notifier{}}
			w.Archive, w.Notifier, w.Log, w.Holder = s.archive, s.notifier, slog.New(slog.DiscardHandler), "test"
			w.Settings, w.KeyTypes, w.latency = compliance.Settings{Part: part, Parallel: 1, PageBytes: 1e6}, []cmek.KeyType{cmek.GCPCloudKMS}, answer
			h := function.Handler{Settings: function.Settings{Timeout: timeout}}
			h.Tick, h.Log = w.Tick, w.Log
			served := function.New(h)
			for s.runs().Last.Number == 0 && ticks < 2*clusters {
				ticks++
				began := time.Now()
				if status := tickOf(t, served); status != http.StatusNoContent || time.Since(began) > timeout {
					t.Fatalf("tick %d is answered with %d after %s", ticks, status, time.Since(began))
				}
				time.Sleep(time.Until(began.Add(15 * time.Minute)))
			}
			m, _ = s.manifest(1)
			lists = w.sent("GET /api/v1/clusters", "/clusters")
		})
		return m, ticks, lists
	}
	whole, ticks, _ := run(14*time.Minute, 10*time.Millisecond)
	if ticks != 1 || !whole.Complete || whole.Population.Checked != clusters {
		t.Fatalf("after %d ticks the manifest is %+v", ticks, whole)
	}
	// As many answers as the inventory takes fit into a tick, and not those of all parts.
	cut, ticks, lists := run(60*time.Second, 800*time.Millisecond)
	if ticks < 3 || lists != ticks {
		t.Errorf("it took %d ticks, which listed the clusters %d times", ticks, lists)
	}
	if !cut.Complete || fmt.Sprint(cut.Population) != fmt.Sprint(whole.Population) || fmt.Sprint(cut.Counts) != fmt.Sprint(whole.Counts) {
		t.Errorf("the run that was continued counts\n%+v %+v\nthe whole one\n%+v %+v", cut.Population, cut.Counts, whole.Population, whole.Counts)
	}
	if got, want := partsOf(cut), clusters/part+1; got != want || partsOf(whole) != want {
		t.Errorf("the runs have %d and %d parts, want %d", got, partsOf(whole), want)
	}
}

func partsOf(m report.Manifest) (n int) {
	for _, f := range m.Files {
		if strings.HasSuffix(f.Name, ".jsonl") {
			n++
		}
	}
	return n
}

// fleetOnGoogle are clusters on Google Cloud that share a key.
func fleetOnGoogle(n int) simulator.Seed {
	seed := mixedFleet()
	one := seed.Clusters[len(seed.Clusters)-1]
	seed.Clusters = nil
	for i := range n {
		one.ID, one.Name = fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-%012x", 0xc00+i), fmt.Sprintf("on-google-%d", i)
		seed.Clusters = append(seed.Clusters, one)
	}
	return seed
}

// tickOf sends Cloud Scheduler's request, and returns the status of the answer.
func tickOf(t *testing.T, function http.Handler) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(`{"keyturn":"tick"}`))
	req.Header.Set("X-CloudScheduler", "true")
	req.Header.Set("X-CloudScheduler-ScheduleTime", time.Now().UTC().Format(time.RFC3339))
	w := httptest.NewRecorder()
	function.ServeHTTP(w, req)
	return w.Code
}
