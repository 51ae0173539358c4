//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/jedib0t/go-pretty/v6/text"
)

// onTerminal runs the command line in a pseudo-terminal of that width, and returns what it wrote.
func (b *bench) onTerminal(t *testing.T, columns uint16, environ []string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = slices.Concat(os.Environ(), b.environ, []string{commandVariable + "=1", "TERM=xterm"}, environ)
	terminal, err := pty.StartWithSize(c, &pty.Winsize{Rows: 40, Cols: columns})
	if err != nil {
		t.Skipf("no pseudo-terminal can be had: %v", err)
	}
	defer func() { _ = terminal.Close() }()
	var out bytes.Buffer
	_, _ = io.Copy(&out, terminal) // it ends with an error when the process does
	if err := c.Wait(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

// What is shown fits terminals of 80 and of 140 columns, in color only where that is wanted.
func TestTerminal_outputFits(t *testing.T) {
	b := newBench(t).swept(t)
	_, critical := sampleIncidents()
	b.open(t, critical)
	b.succeed(t, "hold", "orders", "--reason", "a change freeze until the audit is over, CHG-1234")
	for _, args := range [][]string{{"status"}, {"alerts"}, {"plan", "--fresh"}, {"plan"}, {"hold"}} {
		for _, columns := range []uint16{80, 140} {
			out := b.onTerminal(t, columns, nil, args...)
			table, _, _ := strings.Cut(out, "\n\n")
			if args[0] == "status" {
				_, table, _ = strings.Cut(out, "\n\n")
				table, _, _ = strings.Cut(table, "\n\n")
			}
			for line := range strings.Lines(table) {
				if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n")); n > int(columns) {
					t.Errorf("keyturn %s at %d columns has a line of %d:\n%s", strings.Join(args, " "), columns, n, out)
				}
			}
			if colored := strings.Contains(out, "\x1b["); !colored && args[0] != "hold" {
				t.Errorf("keyturn %s in a terminal is not colored:\n%s", strings.Join(args, " "), out)
			}
		}
		for _, environ := range [][]string{{"NO_COLOR=1"}, {"TERM=dumb"}} {
			if out := b.onTerminal(t, 80, environ, args...); strings.Contains(out, "\x1b[") {
				t.Errorf("keyturn %s with %s is colored:\n%q", strings.Join(args, " "), environ, out)
			}
		}
	}
}

// The live view of follow stays within 80 columns, and its last state is what a reader is left with.
func TestTerminal_liveViewFits(t *testing.T) {
	b := newBench(t).swept(t)
	b.keyturnWith(t.Context(), b.rotate(t, ordersKey)[0], "replay", "-").wantCode(t, exitFine)
	out := b.onTerminal(t, 80, nil, "follow", "--mode", "follow")
	for line := range strings.Lines(out) {
		if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n")); n > 80 && strings.Contains(line, "→") {
			t.Errorf("the live view has a line of %d columns: %q", n, line)
		}
	}
	if !strings.Contains(out, "done") {
		t.Errorf("the live view ends without done:\n%s", out)
	}
}
