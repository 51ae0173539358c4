package local

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/keyturn/keyturn/internal/alert"
)

// Terminal shows alerts to the person in front of it. It is safe for concurrent use; alerts do not interleave.
type Terminal struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
}

// NewTerminal returns a notifier that writes to out, with the severity in color if asked.
func NewTerminal(out io.Writer, color bool) *Terminal { return &Terminal{out: out, color: color} }

// mostShown is how many bytes of an alert are shown: some screens full.
const mostShown = 32 << 10

// Notify writes the alert's text and an empty line.
func (t *Terminal) Notify(ctx context.Context, a alert.Alert) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("show alert %s: %w", a.ID, err)
	}
	text := a.Fit(mostShown, func(a alert.Alert) int { return len(a.Text()) }).Text()
	if t.color {
		headline, rest, _ := strings.Cut(text, "\n")
		text = "\x1b[" + colorOf(a) + "m" + headline + "\x1b[0m\n" + rest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.out, text+"\n"); err != nil {
		return fmt.Errorf("show alert %s: %w", a.ID, err)
	}
	return nil
}

// colorOf is the parameter of the terminal's "select graphic rendition" sequence (ECMA-48, 8.3.117).
func colorOf(a alert.Alert) string {
	const boldRed, red, yellow, green, plain = "1;31", "31", "33", "32", "0"
	switch {
	case a.Resolved:
		return green
	case a.Severity == alert.Critical:
		return boldRed
	case a.Severity == alert.High:
		return red
	case a.Severity == alert.Medium:
		return yellow
	}
	return plain
}
