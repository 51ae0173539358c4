package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const key cmek.KeyURI = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// clusterWith is a cluster on the key of payments with the work.
func clusterWith(work ...ledger.Work) *ledger.Cluster {
	for i := range work {
		work[i].Region, work[i].Key, work[i].Since = "us-east-1", key, noon
	}
	return &ledger.Cluster{ID: "c-1", Cluster: cmek.Cluster{ID: "c-1", Name: "payments"}, Work: work}
}

func TestProgressKeepsTheWayOfAPieceOfWork(t *testing.T) {
	request := &ledger.Request{Intent: noon.Add(time.Minute)}
	seen := *request
	seen.Timeline = []ledger.Sighting{{Region: cmek.Rotating}}
	done := clusterWith()
	done.Done = []ledger.Done{{Region: "us-east-1", Key: key, At: noon.Add(time.Hour), Followed: true, Evidence: "updated_at moved"}}
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
	var out strings.Builder
	b := &board{out: &out}
	row := &Track{Cluster: "payments", Region: "us-east-1", Stages: []string{"due"}}
	b.show([]*Track{row}, []*Track{row})
	row.reach("requested")
	b.show([]*Track{row}, []*Track{row})
	if again := out.String(); !strings.Contains(again, "\x1b[1A\x1b[J") || !strings.Contains(again, "due → requested") {
		t.Errorf("the second painting is not over the first:\n%q", again)
	}
	if _, err := b.Write([]byte("news\n")); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := strings.Cut(out.String(), "news\n"); !strings.Contains(after, "due → requested") {
		t.Errorf("the board is not painted again below what was written:\n%q", out.String())
	}
	row.reach("done")
	b.show([]*Track{row}, []*Track{row})
	before := len(out.String())
	if _, err := b.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if after := out.String()[before:]; after != "the end\n" {
		t.Errorf("after the last track ended %q is written, want the text alone", after)
	}
}

func TestABoardLeavesOutRowsThatDoNotFitTheEndedOnesFirst(t *testing.T) {
	var out strings.Builder
	b := &board{out: &out}
	var all []*Track
	for i := range 30 {
		row := &Track{Cluster: fmt.Sprintf("c%02d", i), Region: "us-east-1", Stages: []string{"due"}}
		if i < 15 {
			row.reach(stageDone)
		}
		all = append(all, row)
	}
	b.show(all, all)
	for _, shown := range []string{"c10 ", "c29 ", "… and 10 more"} {
		if !strings.Contains(out.String(), shown) {
			t.Errorf("the board lacks %q:\n%s", shown, out.String())
		}
	}
	if strings.Contains(out.String(), "c09 ") {
		t.Errorf("the board shows an ended row although there are too many:\n%s", out.String())
	}
}

// The live view never writes beyond the edge, where terminals wrap or overwrite.
func TestBoard_fitsTheTerminal(t *testing.T) {
	row := &Track{Cluster: "a-cluster-with-a-long-name", Region: "ap-southeast-1", Stages: []string{"due", "requested", "ROTATING", "ENABLED", "done"}, Note: "updated_at moved, ENABLED in two reads"}
	for width, want := range map[int]string{0: "two reads", 80: "…", 140: "two reads"} {
		b := &board{c: true, width: width}
		line := b.row(row, columns([]*Track{row}))
		if n := text.StringWidthWithoutEscSequences(line); width > 0 && n >= width || !strings.Contains(line, want) {
			t.Errorf("at %d columns the row has %d:\n%s", width, n, line)
		}
	}
}
