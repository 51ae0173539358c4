package terminal

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column is a column of a sheet.
type Column struct {
	Name string
	// AtLeast is the width that it has from the first row on, where rows are printed as they come.
	AtLeast int
	// Wide: it is left out where the terminal is too narrow.
	Wide bool
}

// Sheet is a table without borders, for people and for awk, that fits a terminal: what is too wide for it is wrapped within the last
// column, and columns that a reader can do without are left out. Into a pipe, and with -o wide, it is as wide as it needs to be.
type Sheet struct {
	out     io.Writer
	columns []Column
	// width is the terminal's; 0 is no limit.
	width int

	rows   []table.Row
	widths []int // of the columns, once the first row is printed
	hidden []bool
}

// NewSheet is an empty sheet for the output.
func (t *Terminal) NewSheet(columns ...Column) *Sheet {
	s := &Sheet{out: t.Out, columns: columns, width: t.Width}
	if t.wide {
		s.width = 0
	}
	return s
}

// Add adds a row of strings, one for each column.
func (s *Sheet) Add(cells ...any) { s.rows = append(s.rows, cells) }

const (
	gap = 3 // blanks between two columns
	// leastLast is the width below which a last column is no longer readable: another one is left out before.
	leastLast = 30
)

// Flush prints the rows that were added since the last time. The widths stay as they were then.
func (s *Sheet) Flush() {
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
		header[i] = c.Name
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
		Tell(s.out, "%s\n", strings.TrimRight(line, " \n"))
	}
}

func snip(cell string, width int) string { return text.Snip(cell, width, "…") }

// fit sets the widths of the columns to what the rows need, and leaves columns out until the last one is readable.
func (s *Sheet) fit() {
	s.widths, s.hidden = make([]int, len(s.columns)), make([]bool, len(s.columns))
	for i, c := range s.columns {
		s.widths[i] = max(c.AtLeast, text.StringWidthWithoutEscSequences(c.Name))
	}
	for _, row := range s.rows {
		for i, cell := range row {
			s.widths[i] = max(s.widths[i], text.LongestLineLen(cell.(string)))
		}
	}
	last := len(s.columns) - 1
	for i := range last {
		if s.width > 0 { // one long name must not take the others' room
			s.widths[i] = min(s.widths[i], max(s.columns[i].AtLeast, s.width/3))
		}
	}
	for i := last; i >= 0 && s.width > 0 && s.room() < min(s.widths[last], leastLast); i-- {
		s.hidden[i] = s.columns[i].Wide
	}
}

// room is what the terminal has left for the last column.
func (s *Sheet) room() int {
	left := s.width
	for i, w := range s.widths[:len(s.columns)-1] {
		if !s.hidden[i] {
			left -= w + gap
		}
	}
	return left
}
