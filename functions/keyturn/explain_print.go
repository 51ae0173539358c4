package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/keyturn/keyturn/internal/alert"
)

// textWidth is where prose is wrapped. Commands and ARNs are not, so that they can be copied.
const textWidth = 100

// explainerText writes a block for each record that concerns a key. Records that do not are folded into one line, for there
// are many of them in a trail.
type explainerText struct {
	out io.Writer
	c   palette
	// tally counts explanations by severity, passed those that concerned no key.
	tally  map[alert.Severity]int
	blocks int
	passed int
	// folded are the latest ones, in a row, that concerned no key; the last of them is of source.
	folded int
	source string
}

func (t *explainerText) one(x explanation) error {
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
		tell(t.out, "\n%s", indent(text.WrapSoft(printable(x.impact), textWidth)))
	}
	if len(x.RecoverySteps) > 0 {
		tell(t.out, "\n  Recovery steps\n")
	}
	for i, step := range x.RecoverySteps {
		tell(t.out, "  %d. %s\n", i+1, printable(step))
	}
	return nil
}

// gap separates blocks by an empty line.
func (t *explainerText) gap() {
	if t.blocks > 0 {
		tell(t.out, "\n")
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
			line += ": " + printable(t.source)
		}
		tell(t.out, "%s\n", t.c.dim(line))
	default:
		t.gap()
		tell(t.out, "%s\n", t.c.dim(fmt.Sprintf("NONE  %d records concern no key", t.folded)))
	}
	t.folded = 0
}

func (t *explainerText) headline(x explanation) {
	word := t.c.severity(x.Severity, strings.ToUpper(string(x.Severity)))
	tell(t.out, "%s  %s\n", t.c.bold(word), t.c.bold(printable(x.summary)))
	if x.SeverityUnused != x.Severity {
		tell(t.out, "  %s\n", t.c.dim(fmt.Sprintf("%s if no cluster needs the key", x.SeverityUnused)))
	}
}

func (t *explainerText) facts(x explanation) {
	fact := func(name, value string) {
		if value != "" {
			tell(t.out, "  %-9s%s\n", name, printable(value))
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
		tell(t.out, "\n%s: %s\n", count(total, "record"), strings.Join(parts, ", "))
	}
}

// severity colors s as the severity deserves.
func (c palette) severity(severity alert.Severity, s string) string {
	switch severity {
	case alert.Critical, alert.High:
		return c.red(s)
	case alert.Medium:
		return c.yellow(s)
	}
	return s
}
