package main

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// column is a column of a sheet.
type column struct {
	name string
	// atLeast is the width that it has from the first row on, where rows are printed as they come.
	atLeast int
	// wide: it is left out where the terminal is too narrow.
	wide bool
}

// sheet is a table without borders, for people and for awk, that fits a terminal: what is too wide for it is wrapped within the last
// column, and columns that a reader can do without are left out. Into a pipe, and with -o wide, it is as wide as it needs to be.
type sheet struct {
	out     io.Writer
	columns []column
	// width is the terminal's; 0 is no limit.
	width int

	rows   []table.Row
	widths []int // of the columns, once the first row is printed
	hidden []bool
}

func (p *program) newSheet(columns ...column) *sheet {
	s := &sheet{out: p.out, columns: columns, width: p.width}
	if p.wide {
		s.width = 0
	}
	return s
}

func (s *sheet) add(cells ...any) { s.rows = append(s.rows, cells) }

const (
	gap = 3 // blanks between two columns
	// leastLast is the width below which a last column is no longer readable: another one is left out before.
	leastLast = 30
)

// flush prints the rows that were added since the last time. The widths stay as they were then.
func (s *sheet) flush() {
	if len(s.rows) == 0 {
		return
	}
	first := s.widths == nil
	if first {
		s.fit()
	}
	last := len(s.columns) - 1
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", strings.Repeat(" ", gap)
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	configs := make([]table.ColumnConfig, len(s.columns))
	header := make(table.Row, len(s.columns))
	for i, c := range s.columns {
		header[i] = c.name
		configs[i] = table.ColumnConfig{Number: i + 1, Hidden: s.hidden[i], WidthMin: s.widths[i]}
		if s.width > 0 {
			configs[i].WidthMax, configs[i].WidthMaxEnforcer = s.widths[i], snip
		}
	}
	configs[last].WidthMin, configs[last].WidthMax, configs[last].WidthMaxEnforcer = 0, 0, nil
	if s.width > 0 {
		configs[last].WidthMax, configs[last].WidthMaxEnforcer = max(s.room(), leastLast/2), text.WrapSoft
	}
	t.SetColumnConfigs(configs)
	if first {
		t.AppendHeader(header)
	}
	t.AppendRows(s.rows)
	s.rows = nil
	for line := range strings.Lines(t.Render()) {
		tell(s.out, "%s\n", strings.TrimRight(line, " \n"))
	}
}

func snip(cell string, width int) string { return text.Snip(cell, width, "…") }

// fit sets the widths of the columns to what the rows need, and leaves columns out until the last one is readable.
func (s *sheet) fit() {
	s.widths, s.hidden = make([]int, len(s.columns)), make([]bool, len(s.columns))
	for i, c := range s.columns {
		s.widths[i] = max(c.atLeast, text.StringWidthWithoutEscSequences(c.name))
	}
	for _, row := range s.rows {
		for i, cell := range row {
			s.widths[i] = max(s.widths[i], text.LongestLineLen(cell.(string)))
		}
	}
	last := len(s.columns) - 1
	for i := range last {
		if s.width > 0 { // one long name must not take the others' room
			s.widths[i] = min(s.widths[i], max(s.columns[i].atLeast, s.width/3))
		}
	}
	for i := last; i >= 0 && s.width > 0 && s.room() < min(s.widths[last], leastLast); i-- {
		s.hidden[i] = s.columns[i].wide
	}
}

// room is what the terminal has left for the last column.
func (s *sheet) room() int {
	left := s.width
	for i, w := range s.widths[:len(s.columns)-1] {
		if !s.hidden[i] {
			left -= w + gap
		}
	}
	return left
}
