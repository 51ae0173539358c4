package terminal

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
		p := &Terminal{Out: &out, Width: width, wide: wide}
		s := p.NewSheet(Column{Name: "cluster"}, Column{Name: "region"}, Column{Name: "key", Wide: true}, Column{Name: "version", Wide: true}, Column{Name: "why"})
		s.Add("payments", "us-east-1", "0a5d1c2e…f001", "material:0885a3009ede…", Palette(true).Red(why))
		s.Add("", "eu-west-1", "0a5d1c2e…f002", "–", "up to date")
		s.Flush()
		s.Add("a-cluster-that-came-late", "us-west-2", "0a5d1c2e…f003", "–", why)
		s.Flush()
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
