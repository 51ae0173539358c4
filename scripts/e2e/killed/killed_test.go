package killed

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
)

var (
	firstSeed = flag.Uint64("seed", 1, "seed of the first world; the next worlds have the next seeds")
	worlds    = flag.Int("worlds", 17, "number of worlds, each with a ledger of its own, that run side by side")
	kills     = flag.Int("kills", 50, "number of times that keyturn follow is killed, in all worlds together")
)

// All times are shorter than in production and stay in proportion: a stale answer is younger (45 s to 50 s) than the time between
// the two reads that confirm an end, which is much shorter than the time until a PUT without trace is sent again.
var shortened = []string{
	"KEYTURN_MODE=follow", "KEYTURN_SETTLE=2s", "KEYTURN_POLL=500ms", "KEYTURN_CONFIRM=3s", "KEYTURN_GRACE=20s", "KEYTURN_SWEEP_EVERY=5s",
}

const (
	staleFor = 2700 * time.Millisecond
	// killWithin is the longest time from a process's first request to its end: enough for a whole follow-through.
	killWithin = 12 * time.Second
	// quietWithin is how long following may take once nothing goes wrong any more: a dead worker's lease runs out in 30 s, a
	// request without an answer on record counts as under way for 40 s, and one without a trace as lost KEYTURN_GRACE later.
	quietWithin = 150 * time.Second
)

// hostile is the way to the Cloud API.
func hostile() cmektest.Profile {
	return cmektest.Profile{
		Reads: cmektest.Chances{DelayRequest: 0.01, DelayAnswer: 0.02, LoseAnswer: 0.02, CutBody: 0.01, TruncateBody: 0.01, ServeStale: 0.5}.
			Replaced(0.05),
		Writes: cmektest.Chances{DelayRequest: 0.1, DelayAnswer: 0.1, LoseRequest: 0.05, LoseAnswer: 0.15, CutBody: 0.05, TruncateBody: 0.05,
			Acted: 0.6}.Replaced(0.25),
		LeastDelay: 500 * time.Millisecond, MostDelay: 3 * time.Second,
		StaleFor: staleFor, Probe: adminAPIKey,
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The worlds mostly wait, so all of them run at once.
	if err := flag.Set("test.parallel", fmt.Sprint(max(*worlds, 1))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestFollow_killed50Times_eachRotationGetsOnePUT(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("end-to-end tests run with KEYTURN_E2E=1: make e2e")
	}
	program := buildKeyturn(t)
	t.Run("worlds", func(t *testing.T) {
		for i := range *worlds {
			seed := *firstSeed + uint64(i)
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, program, seed)
				for range (*kills + i) / *worlds {
					w.rotate()
					w.killOnce()
				}
				w.network.SetProfile(cmektest.Profile{})
				w.finish()
				w.check()
				w.report()
			})
		}
	})
}

func buildKeyturn(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "keyturn")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../functions/keyturn")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build keyturn: %v\n%s", err, out)
	}
	return program
}

// killOnce starts keyturn follow, and kills it at a random time after its first request. Another key may rotate meanwhile. A
// process that ends before is no kill; with a rotation to follow the next one has more to do.
func (w *world) killOnce() {
	w.t.Helper()
	for range 20 {
		p := w.start("follow")
		seen, ended := w.awaitRequest(p)
		if seen {
			first, second := w.upTo(killWithin/2), w.upTo(killWithin/2)
			if ended = p.endsWithin(first); !ended {
				if w.random.IntN(2) == 0 {
					w.rotate()
				}
				ended = p.endsWithin(second)
			}
		}
		if !ended {
			p.kill()
			w.killed++
			return
		}
		w.endings = append(w.endings, fmt.Sprintf("exit code %d: %s", p.code(), p.lastLine()))
		w.rotate()
	}
	w.t.Fatalf("keyturn follow ended 20 times before it could be killed:\n%s", strings.Join(w.endings, "\n"))
}

// finish lets keyturn follow until nothing is open. Work that needs a person is retried, as a person would.
func (w *world) finish() {
	w.t.Helper()
	var p *process
	wrong := 0
	for deadline := time.Now().Add(quietWithin); time.Now().Before(deadline); time.Sleep(3 * time.Second) {
		p = w.start("follow")
		if !p.endsWithin(time.Until(deadline)) {
			p.kill()
			break
		}
		behind := w.behind()
		if p.code() == 0 && len(behind) == 0 {
			return
		}
		w.endings = append(w.endings, fmt.Sprintf("in the end, exit code %d, behind %v: %s", p.code(), behind, p.lastLine()))
		if p.code() == 0 {
			if wrong++; wrong == 3 {
				w.t.Errorf("seed %d: keyturn reports that nothing is open, and the store keys of %v are behind", w.seed, behind)
				return
			}
			continue
		}
		for _, cluster := range behind {
			retry := w.start("retry", cluster)
			if retry.endsWithin(10*time.Second) && retry.code() == 0 && !slices.Contains(w.retried, cluster) {
				w.retried = append(w.retried, cluster)
			}
		}
	}
	w.t.Errorf("seed %d: following did not end within %s, although nothing went wrong any more; the last process said:\n%s",
		w.seed, quietWithin, p.output())
}

// check compares with the simulator's own record that every region is re-encrypted, by one accepted PUT of ours for each
// version of its key, and by none for the version that it had. A PUT that was on its way when the key rotated was meant for the
// version before: if it found the newer one, nobody can tell, and the PUT for that one is no duplicate.
func (w *world) check() {
	w.t.Helper()
	if behind := w.behind(); len(behind) > 0 {
		w.t.Errorf("seed %d: the store keys of %v are behind their keys", w.seed, behind)
	}
	type version struct{ cluster, region, material string }
	accepted := map[version][]time.Time{}
	var order []version
	for _, put := range w.puts() {
		if put.Caller != "keyturn" || put.Outcome != "accepted" {
			continue
		}
		for _, r := range put.Regions {
			v := version{put.Cluster, r.Region, r.Material}
			if _, ok := accepted[v]; !ok {
				order = append(order, v)
				accepted[v] = nil
			}
			if w.before[v.cluster+"/"+v.region] == v.material || !w.overtaken(put, r.URI) {
				accepted[v] = append(accepted[v], put.Time)
			}
		}
	}
	for _, v := range order {
		switch times := accepted[v]; {
		case w.before[v.cluster+"/"+v.region] == v.material:
			w.t.Errorf("seed %d: %d accepted PUTs for %s/%s under the version that it had before, want none: %v",
				w.seed, len(times), v.cluster, v.region, times)
		case len(times) > 1:
			w.t.Errorf("seed %d: %d accepted PUTs for %s/%s under %.12s…, want one: %v", w.seed, len(times), v.cluster, v.region, v.material, times)
		}
	}
	if len(order) == 0 {
		w.t.Errorf("seed %d: no PUT was accepted; the test proves nothing", w.seed)
	}
	w.accepted = len(order)
}

// report logs what happened, in full if the test has failed.
func (w *world) report() {
	w.t.Helper()
	w.t.Logf("seed %d: %d kills, %d rotations, %d regions re-encrypted, retried %v, faults %v",
		w.seed, w.killed, len(w.rotations), w.accepted, w.retried, w.network.Counts())
	for _, ending := range w.endings {
		w.t.Log(ending)
	}
	if !w.t.Failed() {
		return
	}
	w.t.Logf("replay: KEYTURN_E2E=1 go test ./scripts/e2e/killed -seed %d -worlds 1 -v (times differ)", w.seed)
	var events []string
	stamp := func(at time.Time) string { return at.UTC().Format("15:04:05.000") }
	for _, a := range w.network.Log() {
		if a.Method != http.MethodGet || a.Fault == cmektest.ServeStale {
			events = append(events, stamp(a.Time)+" network "+a.String())
		}
	}
	for _, put := range w.puts() {
		events = append(events, fmt.Sprintf("%s server  PUT %s %d %s %v", stamp(put.Time), put.Cluster, put.Status, put.Outcome, put.Regions))
	}
	events = append(events, w.history...)
	slices.Sort(events)
	w.t.Log(strings.Join(events, "\n"))
}
