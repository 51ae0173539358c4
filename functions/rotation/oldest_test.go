package rotation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// sweeps returns the function's log lines about the ends of sweeps so far.
func sweeps(t *testing.T, log *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for text := range bytes.Lines(log.Bytes()) {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("the log has a line that is not JSON: %s", text)
		}
		if line["msg"] == "sweep ended" {
			lines = append(lines, line)
		}
	}
	return lines
}

// opened: work in the state was opened at the cluster at the given time, and nobody looks at it.
func opened(t *testing.T, f *rotation.Function, id string, state ledger.State, at time.Time) {
	t.Helper()
	_, err := f.Ledger.UpdateCluster(t.Context(), id, func(c *ledger.Cluster) error {
		region := c.CMEK.RegionInfos[0]
		w := ledger.Work{Region: region.Region, Key: region.KeyInfos[0].Spec.URI, Version: nextVersion(), State: state, Since: at}
		if state == ledger.Requested {
			w.Request = &ledger.Request{Intent: time.Now(), Answer: &cmek.Answer{Outcome: cmek.Accepted}}
		}
		c.Work = []ledger.Work{w}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheEndOfASweepTellsTheAgeOfTheOldestOpenWork(t *testing.T) {
	onEachCloud(t, testTheEndOfASweepTellsTheAgeOfTheOldestOpenWork)
}

func testTheEndOfASweepTellsTheAgeOfTheOldestOpenWork(t *testing.T) {
	for _, row := range []struct {
		what string
		// open is how long before the sweep work was opened, by the cluster's place in the list, and in which state.
		open  map[int]time.Duration
		state ledger.State
		want  time.Duration
	}{
		{"nothing is open", nil, "", 0},
		{"work is due at one cluster", map[int]time.Duration{3: 5 * time.Minute}, ledger.Due, 5 * time.Minute},
		{"work is requested at several", map[int]time.Duration{0: 5 * time.Minute, 2: 30 * time.Minute, 4: 20 * time.Minute}, ledger.Requested, 30 * time.Minute},
		{"work is held at the first", map[int]time.Duration{0: 40 * time.Minute, 4: time.Minute}, ledger.Blocked, 40 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			seed := sharedKey(5)
			world, err := simulator.New(seed)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			f := follower(t, world, cmektest.NewStore(), 0)
			f.Log = slog.New(slog.NewJSONHandler(&log, nil))
			tick(t, f)
			time.Sleep(time.Hour)
			began := time.Now()
			if row.state == ledger.Blocked {
				f.KMS = disabled{f.KMS, seed.Clusters[0].Regions[0].Key}
			}
			for i, ago := range row.open {
				opened(t, f, seed.Clusters[i].ID, row.state, began.Add(-ago))
			}
			log.Reset()
			tick(t, f)
			lines := sweeps(t, &log)
			if len(lines) != 1 {
				t.Fatalf("%s: the log has %d ends of a sweep, want one", row.what, len(lines))
			}
			got, isNumber := lines[0]["oldest_open_seconds"].(float64)
			if off := got - row.want.Seconds(); !isNumber || off < 0 || off > 55 || row.want == 0 && off > 0 {
				t.Errorf("%s: the end of the sweep tells %v, want the age at its end of work opened %s before it", row.what, lines[0], row.want)
			}
		})
	}
}

// paged is a cloud that lists its clusters on two pages, and takes its time for the second.
type paged struct {
	cmek.Cloud
	pages [][]cmek.Cluster
	slow  time.Duration
}

func (p paged) ClusterPage(_ context.Context, page string) ([]cmek.Cluster, string, error) {
	if page == "second" {
		time.Sleep(p.slow)
		return p.pages[1], "", nil
	}
	return p.pages[0], "second", nil
}

func TestTheOldestOpenWorkIsKeptOverTheTicksOfASweep(t *testing.T) {
	onEachCloud(t, testTheOldestOpenWorkIsKeptOverTheTicksOfASweep)
}

func testTheOldestOpenWorkIsKeptOverTheTicksOfASweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(2)
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		f := follower(t, world, cmektest.NewStore(), 0)
		f.Log = slog.New(slog.NewJSONHandler(&log, nil))
		tick(t, f)
		list, _, err := f.Cloud.ClusterPage(t.Context(), "")
		if err != nil || len(list) != 2 {
			t.Fatalf("list clusters: %d, %v", len(list), err)
		}
		cloud := &paged{f.Cloud, [][]cmek.Cluster{list[:1], list[1:]}, 54 * time.Second}
		f.Cloud = cloud
		time.Sleep(time.Hour)
		f.KMS = disabled{f.KMS, seed.Clusters[0].Regions[0].Key}
		opened(t, f, list[0].ID, ledger.Blocked, time.Now().Add(-3*time.Hour))
		log.Reset()
		tick(t, f)
		if w, err := f.Ledger.Worker(t.Context()); err != nil || !w.Sweep.Running() || w.Sweep.OldestOpen.IsZero() || len(sweeps(t, &log)) != 0 {
			t.Fatalf("after the first tick the sweep is %+v (error %v), want it under way and to know of open work", w.Sweep, err)
		}
		cloud.slow = 0
		tick(t, f)
		lines := sweeps(t, &log)
		if len(lines) != 1 || lines[0]["oldest_open_seconds"].(float64) < 3*3600 {
			t.Errorf("the sweep ended with %v, want the age of the work that its first tick saw", lines)
		}
		if lines[0]["msg"] != rotation.LogSweepEnded || lines[0][rotation.LogOldestOpen] == nil || lines[0]["error"] != nil {
			t.Errorf("a walk that came to its end is logged as %v, want no error", lines[0])
		}

		// What has ended since does not count in the next one.
		if _, err := f.Ledger.UpdateCluster(t.Context(), list[0].ID, func(c *ledger.Cluster) error { c.Work = nil; return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		tick(t, f)
		if lines = sweeps(t, &log); len(lines) != 2 || lines[1]["oldest_open_seconds"] != 0.0 {
			t.Errorf("the next sweep ended with %v, want no open work", lines)
		}
	})
}

// unlisted is a cloud whose clusters cannot be listed.
type unlisted struct{ cmek.Cloud }

func (unlisted) ClusterPage(context.Context, string) ([]cmek.Cluster, string, error) {
	return nil, "", errors.New("no answer")
}

func TestAnOutageDoesNotHideTheAgeOfOpenWork(t *testing.T) {
	onEachCloud(t, testAnOutageDoesNotHideTheAgeOfOpenWork)
}

func testAnOutageDoesNotHideTheAgeOfOpenWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(2)
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		f := follower(t, world, cmektest.NewStore(), 0)
		f.Log = slog.New(slog.NewJSONHandler(&log, nil))
		tick(t, f)
		f.KMS = disabled{f.KMS, seed.Clusters[0].Regions[0].Key}
		opened(t, f, seed.Clusters[0].ID, ledger.Blocked, time.Now().Add(-3*time.Hour))
		time.Sleep(time.Hour)
		tick(t, f)

		f.Cloud = unlisted{f.Cloud}
		log.Reset()
		for range 60 {
			time.Sleep(time.Minute)
			_ = f.Tick(t.Context()) // It fails, and reports that.
		}
		lines := sweeps(t, &log)
		if len(lines) < 3 || lines[len(lines)-1]["oldest_open_seconds"].(float64) < 4.5*3600 {
			t.Errorf("in an hour without an answer sweeps ended with %v, want at least 3, and the age of the work that was open before", lines)
		}
		for _, line := range lines {
			if line["error"] == nil {
				t.Errorf("a walk that was given up is logged as %v, want its error: it is no sign of life", line)
			}
		}
	})
}
