package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/keyturn/keyturn/internal/cmek"
)

// color reports whether the output may be colored: it is a terminal, and nobody asked for none (no-color.org).
func (p *program) color() bool {
	return p.live && !slices.ContainsFunc(p.environ, func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		return name == "NO_COLOR" && value != ""
	})
}

// tell writes for a person. A reader that is gone (a pager that was quit, a closed terminal) changes nothing about what was
// done, so there is nothing to report then.
func tell(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }

// palette colors words, or leaves them alone if it is false.
type palette bool

func (c palette) paint(code, s string) string {
	if !c || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (c palette) bold(s string) string   { return c.paint("1", s) }
func (c palette) dim(s string) string    { return c.paint("2", s) }
func (c palette) red(s string) string    { return c.paint("31", s) }
func (c palette) green(s string) string  { return c.paint("32", s) }
func (c palette) yellow(s string) string { return c.paint("33", s) }

// state colors a word for the state of a region: green is healthy, yellow is on its way, red needs attention.
func (c palette) state(s string) string {
	status := cmek.Status(s)
	switch {
	case s == stageDropped, status == cmek.Disabled: // a cluster without CMEK reads DISABLED
		return c.dim(s)
	case s == stageDone, s == stageUpToDate, status == cmek.Enabled:
		return c.green(s)
	case s == stageBlocked, s == stageStuck, s == stageNotShown, s == stageAtRisk, status.Failed(), status.HandsOff():
		return c.red(s)
	}
	return c.yellow(s)
}

// printJSON writes v with indentation.
func printJSON(out io.Writer, v any) error { return writeJSON(out, v, "  ") }

// printJSON writes v with indentation, and under --watch in one line.
func (p *program) printJSON(v any) error {
	if p.watch > 0 {
		return writeJSON(p.out, v, "")
	}
	return printJSON(p.out, v)
}

// writeJSON writes v and a line feed. Characters that control or reorder a terminal are written as escapes.
func writeJSON(out io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	text := b.String()
	if strings.ContainsFunc(text, isHidden) {
		var escaped strings.Builder
		for _, r := range text {
			switch {
			case !isHidden(r):
				escaped.WriteRune(r)
			case r > 0xffff:
				high, low := utf16.EncodeRune(r)
				fmt.Fprintf(&escaped, `\u%04x\u%04x`, high, low)
			default:
				fmt.Fprintf(&escaped, `\u%04x`, r)
			}
		}
		text = escaped.String()
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// isHidden reports whether a character of JSON, which holds control characters within its strings as escapes only, does not
// print.
func isHidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// when is a time as people count it: "4m ago", "in 15s", "just now"; "–" for the zero time.
func when(at, now time.Time) string {
	switch d := at.Sub(now); {
	case at.IsZero():
		return "–"
	case d >= time.Second:
		return "in " + roughly(d)
	case d <= -time.Second:
		return roughly(-d) + " ago"
	case d > 0:
		return "now"
	}
	return "just now"
}

// roughly is a duration in its largest unit.
func roughly(d time.Duration) string {
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

// shortKey is a key's id, cut to what a person compares at a glance.
func shortKey(uri cmek.KeyURI) string {
	const head, tail = 8, 4
	id := printable(uri.ID())
	if id == "" {
		return "–"
	}
	if len(id) <= head+tail+1 {
		return id
	}
	return id[:head] + "…" + id[len(id)-tail:]
}

// count is "1 region" or "3 regions".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// printable makes text that others wrote fit for a terminal: one line, and no character that controls or reorders it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}
