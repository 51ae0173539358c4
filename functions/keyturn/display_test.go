package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// clusterWith is a cluster on the key of payments with the work.
func clusterWith(work ...ledger.Work) *ledger.Cluster {
	for i := range work {
		work[i].Region, work[i].Key, work[i].Since = "us-east-1", paymentsKey, noon
	}
	return &ledger.Cluster{ID: "c-1", Cluster: cmek.Cluster{ID: "c-1", Name: "payments"}, Work: work}
}

func TestProgressKeepsTheWayOfAPieceOfWork(t *testing.T) {
	request := &ledger.Request{Intent: noon.Add(time.Minute)}
	seen := *request
	seen.Timeline = []ledger.Sighting{{Region: cmek.Rotating}}
	done := clusterWith()
	done.Done = []ledger.Done{{Region: "us-east-1", Key: paymentsKey, At: noon.Add(time.Hour), Followed: true, Evidence: "updated_at moved"}}
	dropped := clusterWith()
	dropped.Dropped = []ledger.Dropped{{Region: "us-east-1", At: noon.Add(time.Hour), Reason: "the region is gone"}}
	due := clusterWith(ledger.Work{State: ledger.Due, Reason: "the new version settles"})
	requested := clusterWith(ledger.Work{State: ledger.Requested, Request: request, Reason: "sending"})
	rotating := clusterWith(ledger.Work{State: ledger.Requested, Request: &seen, Reason: "status ROTATING"})
	blocked := clusterWith(ledger.Work{State: ledger.Blocked, Reason: "the key is disabled"})

	for _, tc := range []struct {
		sentence   string
		looks      []*ledger.Cluster
		want, note string
	}{
		{"a follow-through", []*ledger.Cluster{due, requested, rotating, done}, "due requested ROTATING ENABLED done", "updated_at moved"},
		{"a poll that came late", []*ledger.Cluster{due, rotating, done}, "due requested ROTATING ENABLED done", "updated_at moved"},
		{"a block that ends", []*ledger.Cluster{due, blocked, due}, "due blocked due", "the new version settles"},
		{"dropped work", []*ledger.Cluster{due, dropped}, "due dropped", "the region is gone"},
		{"looks that show nothing new", []*ledger.Cluster{due, due, due}, "due", "the new version settles"},
	} {
		var p progress
		for _, c := range tc.looks {
			p.observe([]*ledger.Cluster{c}, noon)
		}
		if got := strings.Join(p.tracks[0].Stages, " "); got != tc.want || p.tracks[0].Note != tc.note {
			t.Errorf("%s: stages are %q with note %q, want %q with %q", tc.sentence, got, p.tracks[0].Note, tc.want, tc.note)
		}
	}
}

func TestTheBoardIsPaintedOverUntilAllHasEnded(t *testing.T) {
	var out buffer
	b := &board{out: &out}
	row := &track{Cluster: "payments", Region: "us-east-1", Stages: []string{"due"}}
	b.show([]*track{row}, []*track{row})
	row.reach("requested")
	b.show([]*track{row}, []*track{row})
	wantText(t, "the second painting", out.String(), "\x1b[1A\x1b[J", "due → requested")
	if _, err := b.Write([]byte("news\n")); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := strings.Cut(out.String(), "news\n"); !strings.Contains(after, "due → requested") {
		t.Errorf("the board is not painted again below what was written:\n%q", out.String())
	}
	row.reach("done")
	b.show([]*track{row}, []*track{row})
	before := len(out.String())
	if _, err := b.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if after := out.String()[before:]; after != "the end\n" {
		t.Errorf("after the last track ended %q is written, want the text alone", after)
	}
}

func TestABoardLeavesOutRowsThatDoNotFitTheEndedOnesFirst(t *testing.T) {
	var out buffer
	b := &board{out: &out}
	var all []*track
	for i := range 30 {
		row := &track{Cluster: fmt.Sprintf("c%02d", i), Region: "us-east-1", Stages: []string{"due"}}
		if i < 15 {
			row.reach(stageDone)
		}
		all = append(all, row)
	}
	b.show(all, all)
	wantText(t, "the board", out.String(), "c10 ", "c29 ", "… and 10 more")
	if strings.Contains(out.String(), "c09 ") {
		t.Errorf("the board shows an ended row although there are too many:\n%s", out.String())
	}
}

func TestColorsAreForTerminalsAndCanBeSwitchedOff(t *testing.T) {
	for _, tc := range []struct {
		live    bool
		environ []string
		want    bool
	}{
		{true, nil, true},
		{true, []string{"NO_COLOR="}, true},
		{true, []string{"NO_COLOR=1"}, false},
		{false, nil, false},
	} {
		if got := (&program{live: tc.live, environ: tc.environ}).color(); got != tc.want {
			t.Errorf("terminal %t with %q: color is %t, want %t", tc.live, tc.environ, got, tc.want)
		}
	}
}

func TestTimesReadAsPeopleCountThem(t *testing.T) {
	for at, want := range map[time.Time]string{
		{}:                          "–",
		noon:                        "just now",
		noon.Add(15 * time.Second):  "in 15s",
		noon.Add(-90 * time.Second): "90s ago",
		noon.Add(-5 * time.Minute):  "5m ago",
		noon.Add(49 * time.Hour):    "in 2d",
	} {
		if got := when(at, noon); got != want {
			t.Errorf("%s seen from noon is %q, want %q", at, got, want)
		}
	}
}

func TestWhatOthersWroteCannotDriveTheTerminal(t *testing.T) {
	if got := printable("a\x1b[2Jb\nc\u009b1md"); got != "a [2Jb c 1md" {
		t.Errorf("the text became %q", got)
	}
}
