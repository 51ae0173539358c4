package terminal

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Tell writes for a person. A reader that is gone (a pager that was quit, a closed terminal) changes nothing about what was
// done, so there is nothing to report then.
func Tell(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }

// When is a time as people count it: "4m ago", "in 15s", "just now"; "–" for the zero time.
func When(at, now time.Time) string {
	switch d := at.Sub(now); {
	case at.IsZero():
		return "–"
	case d >= time.Second:
		return "in " + Roughly(d)
	case d <= -time.Second:
		return Roughly(-d) + " ago"
	case d > 0:
		return "now"
	}
	return "just now"
}

// Roughly is a duration in its largest unit.
func Roughly(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= 2*unit.length {
			return fmt.Sprintf("%d%s", d/unit.length, unit.name)
		}
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// ShortKey is a key's id, cut to what a person compares at a glance.
func ShortKey(uri cmek.KeyURI) string {
	const head, tail = 8, 4
	id := Printable(uri.ID())
	if id == "" {
		return "–"
	}
	if len(id) <= head+tail+1 {
		return id
	}
	return id[:head] + "…" + id[len(id)-tail:]
}

// Count is "1 region" or "3 regions".
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Printable makes text that others wrote fit for a terminal: one line, and no character that controls or reorders it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// PrintableLines is Printable for text of several lines.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// OneLine joins the lines of an error, which may be several errors.
func OneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// Indent puts two blanks before each line, and none at the ends of lines.
func Indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight("  "+line, " \n") + "\n")
	}
	return b.String()
}

// TextWidth is where prose is wrapped. Commands and ARNs are not, so that they can be copied.
const TextWidth = 100

// ClusterName is how people call the cluster.
func ClusterName(c *ledger.Cluster) string { return Printable(cmp.Or(c.Cluster.Name, c.ID)) }

// Palette colors words, or leaves them alone if it is false.
type Palette bool

func (c Palette) paint(code, s string) string {
	if !c || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Bold makes a word bold.
func (c Palette) Bold(s string) string { return c.paint("1", s) }

// Dim makes a word stand back.
func (c Palette) Dim(s string) string { return c.paint("2", s) }

// Red is for what needs attention.
func (c Palette) Red(s string) string { return c.paint("31", s) }

// Green is for what is healthy.
func (c Palette) Green(s string) string { return c.paint("32", s) }

// Yellow is for what is on its way.
func (c Palette) Yellow(s string) string { return c.paint("33", s) }

// Severity colors s as the severity deserves.
func (c Palette) Severity(severity alert.Severity, s string) string {
	switch severity {
	case alert.Critical, alert.High:
		return c.Red(s)
	case alert.Medium:
		return c.Yellow(s)
	}
	return s
}

// Palette is true if the output may be colored: it is a terminal, and nobody asked for none (no-color.org).
func (t *Terminal) Palette() Palette {
	return Palette(t.Live && !slices.ContainsFunc(t.Environ, func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		return name == "NO_COLOR" && value != ""
	}))
}
