package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

// Display shows progress while it happens. What is written to it (alerts, log lines) does not get mixed up with that.
type Display interface {
	io.Writer
	// show is told all tracks in order, and which of them moved. The caller keeps them unchanged until it returns.
	show(all, moved []*Track)
}

// NewDisplay paints over a terminal, and writes a line for each move to anything else.
func NewDisplay(t *terminal.Terminal) Display {
	switch {
	case t.JSON:
		return &jsonLines{out: t.Out, err: t.Err}
	case t.Live:
		return &board{out: t.Out, c: t.Palette(), width: t.Width}
	}
	return &lines{out: t.Out, began: time.Now()}
}

// jsonLines is NDJSON for programs; what is written for people goes to err.
type jsonLines struct{ out, err io.Writer }

func (j *jsonLines) Write(text []byte) (int, error) { return j.err.Write(text) }

func (j *jsonLines) show(_, moved []*Track) {
	for _, t := range moved {
		_ = json.NewEncoder(j.out).Encode(t) // a reader that is gone must not end the work
	}
}

// lines writes one line for each move.
type lines struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(text)
}

func (l *lines) show(all, moved []*Track) {
	l.mu.Lock()
	defer l.mu.Unlock()
	widths := columns(all)
	for _, t := range moved {
		at := fmt.Sprintf("%.1fs", t.At.Sub(l.began).Seconds())
		stages := strings.Join(t.fresh, " → ")
		if stages == "" {
			stages = t.last()
		}
		line := fmt.Sprintf("%8s  %-*s  %-*s  %-14s  %s", at, widths.cluster, t.Cluster, widths.region, terminal.Printable(t.Region), terminal.Printable(stages), t.Note)
		terminal.Tell(l.out, "%s\n", strings.TrimRight(line, " "))
	}
}

// board paints one line for each track over the one before. Once all tracks have ended it stays as it is, and what comes
// next goes below.
type board struct {
	mu  sync.Mutex
	out io.Writer
	c   terminal.Palette
	// width is the terminal's, 0 if it is not known.
	width int
	drawn []string
	// left are the tracks of boards that ended.
	left map[*Track]bool
}

// Control sequences of a terminal (ECMA-48, and DEC's autowrap): long lines are cut at the edge instead of wrapped, because
// a wrapped line could not be painted over.
const (
	upLines   = "\x1b[%dA"
	eraseDown = "\x1b[J"
	wrapOff   = "\x1b[?7l"
	wrapOn    = "\x1b[?7h"
)

// Write puts the text above the board.
func (b *board) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	drawn := b.drawn
	b.paint(nil)
	n, err := b.out.Write(text)
	b.paint(drawn)
	return n, err
}

// mostRows bounds a board: what has left the top of the screen cannot be painted over.
const mostRows = 20

func (b *board) show(all, _ []*Track) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var open, ended []*Track
	for _, t := range all {
		switch {
		case b.left[t]:
		case t.ended():
			ended = append(ended, t)
		default:
			open = append(open, t)
		}
	}
	b.paint(b.rows(all, len(open)+len(ended)))
	if len(open) > 0 {
		return
	}
	b.drawn = nil
	if b.left == nil {
		b.left = map[*Track]bool{}
	}
	for _, t := range ended {
		b.left[t] = true
	}
}

// rows are those of the tracks that have not left. If there are too many, the ones that ended are left out first.
func (b *board) rows(all []*Track, candidates int) (rows []string) {
	widths, hidden := columns(all), 0
	for _, t := range all {
		switch {
		case b.left[t]:
		case candidates-hidden > mostRows && t.ended(), len(rows) == mostRows:
			hidden++
		default:
			rows = append(rows, b.row(t, widths))
		}
	}
	if hidden > 0 {
		rows = append(rows, b.c.Dim(fmt.Sprintf("    … and %d more", hidden)))
	}
	return rows
}

func (b *board) row(t *Track, widths columnWidths) string {
	var stages []string
	for i, stage := range t.Stages {
		if i < len(t.Stages)-1 {
			stages = append(stages, b.c.Dim(terminal.Printable(stage)))
		} else {
			stages = append(stages, State(b.c, terminal.Printable(stage)))
		}
	}
	row := fmt.Sprintf("    %-*s  %-*s  %s", widths.cluster, t.Cluster, widths.region, terminal.Printable(t.Region), strings.Join(stages, b.c.Dim(" → ")))
	if t.Note != "" {
		row += "  " + b.c.Dim(terminal.Printable(t.Note))
	}
	if b.width > 0 { // the last column stays free: some terminals wrap there
		row = text.Snip(row, b.width-1, "…")
	}
	return row
}

// paint replaces the rows on the screen, in one write so that it does not flicker.
func (b *board) paint(rows []string) {
	var s strings.Builder
	if len(b.drawn) > 0 {
		fmt.Fprintf(&s, upLines, len(b.drawn))
		s.WriteString(eraseDown)
	}
	if len(rows) > 0 {
		s.WriteString(wrapOff + strings.Join(rows, "\n") + "\n" + wrapOn)
	}
	_, _ = io.WriteString(b.out, s.String()) // a terminal that is gone must not end the work
	b.drawn = rows
}

type columnWidths struct{ cluster, region int }

func columns(tracks []*Track) columnWidths {
	w := columnWidths{cluster: 10, region: 12} // so that most tables keep their columns while rows are added
	for _, t := range tracks {
		w.cluster, w.region = max(w.cluster, len(t.Cluster)), max(w.region, len(t.Region))
	}
	return w
}
