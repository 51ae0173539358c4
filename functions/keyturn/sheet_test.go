package main

import (
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
)

// A sheet fits its terminal: what is dispensable is left out, and the last column is wrapped, with no word lost.
func TestSheet_fitsTheTerminal(t *testing.T) {
	why := "the KMS denied keyturn the key, so whether a re-encryption is due is not known; see the recovery steps"
	render := func(width int, wide bool) string {
		var out strings.Builder
		p := &program{out: &out, width: width, wide: wide}
		s := p.newSheet(column{name: "cluster"}, column{name: "region"}, column{name: "key", wide: true}, column{name: "version", wide: true}, column{name: "why"})
		s.add("payments", "us-east-1", "0a5d1c2e…f001", "material:0885a3009ede…", palette(true).red(why))
		s.add("", "eu-west-1", "0a5d1c2e…f002", "–", "up to date")
		s.flush()
		s.add("a-cluster-that-came-late", "us-west-2", "0a5d1c2e…f003", "–", why)
		s.flush()
		return out.String()
	}
	for _, row := range []struct {
		width     int
		wide      bool
		shown     string
		unlimited bool
	}{
		{80, false, "CLUSTER REGION KEY WHY", false}, {140, false, "CLUSTER REGION KEY VERSION WHY", false}, {50, false, "CLUSTER REGION WHY", false},
		{0, false, "CLUSTER REGION KEY VERSION WHY", true}, {80, true, "CLUSTER REGION KEY VERSION WHY", true},
	} {
		out := render(row.width, row.wide)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if got := strings.Join(strings.Fields(lines[0]), " "); got != row.shown {
			t.Errorf("at %d columns the header is %q, want %q", row.width, got, row.shown)
		}
		if n := strings.Count(out, "CLUSTER"); n != 1 {
			t.Errorf("at %d columns there are %d headers", row.width, n)
		}
		longest := 0
		for _, line := range lines[:len(lines)-1] {
			longest = max(longest, text.StringWidthWithoutEscSequences(line))
		}
		if !row.unlimited && longest > row.width || row.unlimited && longest < len(why) {
			t.Errorf("at %d columns, wide %t, the longest line has %d:\n%s", row.width, row.wide, longest, out)
		}
		words := strings.Join(strings.Fields(strings.NewReplacer("\x1b[31m", "", "\x1b[0m", "", "payments", "", "us-east-1", "", "0a5d1c2e…f001", "", "material:0885a3009ede…", "").Replace(out)), " ")
		if !strings.Contains(words, why) {
			t.Errorf("at %d columns words are lost:\n%s", row.width, out)
		}
	}
}

// The live view never writes beyond the edge, where terminals wrap or overwrite.
func TestBoard_fitsTheTerminal(t *testing.T) {
	row := &track{Cluster: "a-cluster-with-a-long-name", Region: "ap-southeast-1", Stages: []string{"due", "requested", "ROTATING", "ENABLED", "done"}, Note: "updated_at moved, ENABLED in two reads"}
	for width, want := range map[int]string{0: "two reads", 80: "…", 140: "two reads"} {
		b := &board{c: true, width: width}
		line := b.row(row, columns([]*track{row}))
		if n := text.StringWidthWithoutEscSequences(line); width > 0 && n >= width || !strings.Contains(line, want) {
			t.Errorf("at %d columns the row has %d:\n%s", width, n, line)
		}
	}
}
