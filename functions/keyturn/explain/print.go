package explain

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
)

// explainerText writes a block for each record that concerns a key. Records that do not are folded into one line, for there
// are many of them in a trail.
type explainerText struct {
	out io.Writer
	c   terminal.Palette
	// tally counts explanations by severity, passed those that concerned no key.
	tally  map[alert.Severity]int
	blocks int
	passed int
	// folded are the latest ones, in a row, that concerned no key; the last of them is of source.
	folded int
	source string
}

func (t *explainerText) one(x Explanation) error {
	if x.Change == noChange {
		t.passed++
		t.folded++
		t.source = x.source
		return nil
	}
	t.unfold()
	if t.tally == nil {
		t.tally = map[alert.Severity]int{}
	}
	t.tally[x.Severity]++
	t.gap()
	t.headline(x)
	t.facts(x)
	if x.impact != "" {
		terminal.Tell(t.out, "\n%s", terminal.Indent(text.WrapSoft(terminal.Printable(x.impact), terminal.TextWidth)))
	}
	if len(x.RecoverySteps) > 0 {
		terminal.Tell(t.out, "\n  Recovery steps\n")
	}
	for i, step := range x.RecoverySteps {
		terminal.Tell(t.out, "  %d. %s\n", i+1, terminal.Printable(step))
	}
	return nil
}

// gap separates blocks by an empty line.
func (t *explainerText) gap() {
	if t.blocks > 0 {
		terminal.Tell(t.out, "\n")
	}
	t.blocks++
}

func (t *explainerText) unfold() {
	switch t.folded {
	case 0:
		return
	case 1:
		t.gap()
		line := "NONE  Concerns no key"
		if t.source != "" {
			line += ": " + terminal.Printable(t.source)
		}
		terminal.Tell(t.out, "%s\n", t.c.Dim(line))
	default:
		t.gap()
		terminal.Tell(t.out, "%s\n", t.c.Dim(fmt.Sprintf("NONE  %d records concern no key", t.folded)))
	}
	t.folded = 0
}

func (t *explainerText) headline(x Explanation) {
	word := t.c.Severity(x.Severity, strings.ToUpper(string(x.Severity)))
	terminal.Tell(t.out, "%s  %s\n", t.c.Bold(word), t.c.Bold(terminal.Printable(x.summary)))
	if x.SeverityUnused != x.Severity {
		terminal.Tell(t.out, "  %s\n", t.c.Dim(fmt.Sprintf("%s if no cluster needs the key", x.SeverityUnused)))
	}
}

func (t *explainerText) facts(x Explanation) {
	fact := func(name, value string) {
		if value != "" {
			terminal.Tell(t.out, "  %-9s%s\n", name, terminal.Printable(value))
		}
	}
	fact("change", string(x.Change))
	fact("source", x.source)
	fact("key", string(x.Key))
	if strings.HasPrefix(string(x.Key), "projects/") { // elsewhere a version is a long id that nobody types
		fact("version", x.version)
	}
	if strings.Contains(x.role, "@") {
		fact("account", x.role)
	} else {
		fact("role", x.role)
	}
	fact("who", x.Principal)
	fact("when", x.Time)
	if !x.Succeeded {
		fact("failed", x.failure)
	}
	if x.amends != "" {
		fact("amends", "event "+x.amends)
	}
	switch {
	case len(x.clusters) > 0:
		fact("clusters", strings.Join(x.clusters, ", "))
	case x.clusters != nil:
		fact("clusters", "none that the ledger knows")
	}
}

// end sums up, if there was more than one record.
func (t *explainerText) end(bad int) {
	t.unfold()
	total := t.passed + bad
	var parts []string
	for _, s := range []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low, alert.Info, alert.None} {
		n := t.tally[s]
		total += n
		if s == alert.None {
			n += t.passed
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if bad > 0 {
		parts = append(parts, fmt.Sprintf("%d not understood", bad))
	}
	if total > 1 {
		terminal.Tell(t.out, "\n%s: %s\n", terminal.Count(total, "record"), strings.Join(parts, ", "))
	}
}
