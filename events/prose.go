package events

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// prose is text between documents. Lines of it are reported together; a line is not if it holds records beside plain words,
// as those that "aws logs tail" prints.
type prose struct {
	// lines in a row that are to be reported, the first of them at the place.
	lines int
	place Record
	// The line that is being read: open, where it begins, what had been found before it, and whether it holds more than words.
	open   bool
	begin  Record
	found  int
	marked bool
}

func (s *stream) beginProse() {
	s.prose.open, s.prose.begin, s.prose.found, s.prose.marked = true, s.place("", s.w.offset()), s.found, false
	// The character that it begins with may be one that a line cannot begin with.
	s.w.pos++
	s.commit()
}

// endLine is called at the end of a line, be it text or not.
func (s *stream) endLine() {
	p := &s.prose
	if p.open && (p.marked || s.found == p.found) {
		if p.lines == 0 {
			p.place = p.begin
		}
		p.lines++
	}
	p.open = false
}

// endProse reports the text that ends here.
func (s *stream) endProse() error {
	s.endLine()
	return s.reportProse()
}

// reportProse reports the lines before this one.
func (s *stream) reportProse() error {
	lines := s.prose.lines
	s.prose.lines = 0
	switch lines {
	case 0:
		return nil
	case 1:
		return s.unknown(s.prose.place, errors.New("not JSON: a line of text"))
	}
	return s.unknown(s.prose.place, fmt.Errorf("not JSON: %d lines of text", lines))
}

// aloneInLine reports whether the next value is a string, a number or a word of JSON with nothing beside it in its line.
func (s *stream) aloneInLine() bool {
	begin := s.w.offset()
	defer s.w.rewind(begin)
	s.w.cut = false
	if s.w.value() != nil || s.w.cut || !jsontext.Value(s.w.between(begin, s.w.offset())).IsValid(tolerant) {
		return false
	}
	for end := s.w.offset(); s.w.more() && s.w.offset()-end < windowSize; s.w.pos++ {
		switch s.w.buf[s.w.pos] {
		case ' ', '\t', '\r', ',':
		case '\n':
			return true
		default:
			return false
		}
	}
	return s.w.err != nil
}
