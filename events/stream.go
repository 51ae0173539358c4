package events

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Record is one notice of a stream. A notice that makes two events is two records, at one place.
type Record struct {
	// Offset is where the record begins, in bytes from the start of the stream (as UTF-8), and Line is the line of that byte,
	// the first being 1. Pointer (RFC 6901) leads to the record from the top of its JSON document: "/Records/3", or "" if it is
	// the whole document. A record in the text of a message has the offset and the line of the message, and its pointer goes
	// on within that text: "/Records/0/body".
	Offset  int64
	Line    int
	Pointer string
	// Source tells which notice it is, as [Row.String] writes it, also for notices that are not for us; "" if it cannot be
	// told.
	Source string
	// Event is nil if the record is not for us, or shows the beginning of an operation, whose end is in another record. Why says why a record of a kind that is for us has no event; "" if it is of no such kind.
	Event *cmek.Event
	Why   string
}

// DecodeStream reads records in whatever people keep them in: EventBridge events, bare CloudTrail records and what Google Cloud sends
// ([Decode]), alone, in arrays, one a line, or one after the other; what AWS wraps around them (unwrap.go), in any nesting; rows of
// CloudTrail Lake and Athena (rows.go); in UTF-8 or UTF-16. One record is held in memory at a time, and none that is larger than 8 MiB, so
// the size of the stream does not matter.
//
// The records come in the order of the stream. An error tells that the record it comes with cannot be understood, as for
// [Decode]. After bytes that are no JSON, reading goes on with the next object or the next line: what is broken hides nothing
// but itself. After an error of the reader nothing follows.
func DecodeStream(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := stream{w: newWindow(r), yield: yield}
		_ = s.read() // it was reported, or nobody wants more
	}
}

// errStopped means that nobody wants more records.
var errStopped = errors.New("stopped")

// stream walks through JSON documents. Its methods return a *syntaxError if the stream is broken where the window stands, and
// any other error only when there is nothing more to read.
type stream struct {
	w     *window
	yield func(Record, error) bool
	// within is the place of the record that this is a part of; nil for a stream of its own. messages is the number of texts
	// around it, parts that of records.
	within          *Record
	messages, parts int
	// quiet passes over what is no record: it is set where none need be. hidden is what that hid although it is broken, doubt what
	// it hid that need be none.
	quiet         bool
	hidden, doubt func() error
	// found counts the records that are of a known shape, whether they are for us or not.
	found int
	// reported counts errors.
	reported int
	// from is where the part of the stream begins that nothing was made of yet; current is the value that was begun there, if
	// isBegun.
	from    int64
	current Record
	isBegun bool
	// open is the innermost container around what is broken between two values.
	open Record
	// level is the number of containers around the value.
	level int
	// isTorn is true once something broken was left.
	isTorn bool
	// inMember is true within the list of a member of something broken.
	inMember bool
	// header are the names of the columns that rows of Athena have.
	header []string
	prose  prose
}

// read reads documents. After one that is broken it looks for objects in what is left of it, until a line begins anew.
func (s *stream) read() error {
	for left := false; ; {
		var err error
		if left {
			left, err = s.remains()
		} else {
			left, err = s.document()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return s.endProse()
		case errors.Is(err, errStopped):
			return err
		default: // of the reader
			place := s.place("", s.w.offset())
			if err := s.endProse(); err != nil {
				return err
			}
			return s.emit(place, err)
		}
	}
}

// document reads a document at the top. It reports whether it is broken, or text.
func (s *stream) document() (left bool, err error) {
	c, err := s.begin()
	if err != nil {
		return false, err
	}
	if c != '{' && c != '[' && !s.w.has(`"{`) && !s.aloneInLine() {
		s.beginProse()
		return true, nil
	}
	if err := s.endProse(); err != nil {
		return false, err
	}
	err = s.value("", nil)
	s.level = 0
	if broken, ok := errors.AsType[*syntaxError](err); ok {
		return true, s.broken(broken)
	}
	s.commit()
	return false, err
}

// begin passes over what may stand between documents; commas, too, which remain when a record is cut out of a list, and the end of the list
// that something broken was in.
func (s *stream) begin() (byte, error) {
	for {
		s.commit()
		c, err := s.w.next()
		switch {
		case err != nil && errors.Is(s.w.err, io.EOF):
			return 0, io.EOF
		case err != nil:
			return 0, err
		case c == ',', s.isTorn && (c == ']' || c == '}'):
			s.w.pos++
		case c == byteOrderMark[0] && s.w.has(byteOrderMark):
			s.w.pos += len(byteOrderMark)
		default:
			return c, nil
		}
	}
}

// remains looks for the next record in what is left of something broken, or in text. It reports whether there is more of it.
func (s *stream) remains() (left bool, err error) {
	isMember, isFresh, err := s.seek()
	if err != nil {
		return false, err
	}
	if isFresh {
		s.endLine()
		return false, nil
	}
	if s.prose.open {
		if err := s.reportProse(); err != nil {
			return false, err
		}
	}
	outer := s.quiet
	s.quiet = outer || isMember || s.prose.open
	before, doubt := s.found, s.doubt
	err = s.value("", nil)
	hidden := s.hidden
	s.quiet, s.level, s.doubt = outer, 0, doubt
	if !outer {
		s.hidden = nil
	}
	broken, ok := errors.AsType[*syntaxError](err)
	switch {
	case !ok:
		s.commit()
		if err == nil && !outer && hidden != nil && s.found > before {
			err = hidden()
		}
		return true, err
	case !s.isBegun, !isMember && s.beginsRecord():
		return true, s.broken(broken)
	}
	s.prose.marked = true
	s.back(broken)
	return true, nil
}

// back goes back to where the broken value begins, past its first character. Of one that is too deep nothing is read again: its
// parts would be, too, each of them as often as it has levels.
func (s *stream) back(err *syntaxError) {
	if err.isDeep {
		s.from = s.w.offset()
	}
	s.w.rewind(s.from)
	s.w.cut = false
}

// seek moves on to the next object, or string that holds one, or to a line that begins anew: not with a blank, and not with
// what ends a list or an object. isMember is true for the value of an object's member, and for the items of such a value.
func (s *stream) seek() (isMember, isFresh bool, err error) {
	for last := byte(0); ; s.w.pos++ {
		if s.w.pos-s.w.keep > windowSize {
			s.commit()
		}
		if !s.w.more() {
			if errors.Is(s.w.err, io.EOF) {
				return false, false, io.EOF
			}
			return false, false, s.w.ended()
		}
		c, previous := s.w.buf[s.w.pos], s.w.previous()
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case ']':
			s.inMember = false
		case '}', ',':
		default:
			switch {
			case previous == '\n':
				s.inMember = false
				return false, true, nil
			case c == '{', c == '"' && previous != '\\' && s.w.has(`"{`):
				s.commit()
				return s.inMember || last == ':', false, nil
			case c == '"':
				s.prose.marked = true
			case c == '[' && last == ':':
				s.inMember = true
			}
		}
		last = c
	}
}

// recordNames are the first names of records as AWS writes them.
var recordNames = []string{`"eventVersion"`, `"version"`, `"messageId"`, `"MessageId"`, `"EventId"`, `"Type"`, `"EventSource"`, `"logStreamName"`, `"insertId"`, `"logName"`}

// beginsRecord reports whether the broken object is likely a record of its own, and no part of another one.
func (s *stream) beginsRecord() bool {
	at := int(s.from - 1 - s.w.base)
	if at < 0 || at >= s.w.pos {
		return false
	}
	head := strings.TrimLeft(string(s.w.buf[at:min(at+64, len(s.w.buf))]), "\"{ \r\n\t\\")
	for _, name := range recordNames {
		if strings.HasPrefix(head, name[1:len(name)-1]) {
			return true
		}
	}
	return false
}

// broken reports what is no JSON, and goes back to where the broken value begins.
func (s *stream) broken(err *syntaxError) error {
	place := s.current
	if !s.isBegun {
		place = s.open
	}
	s.isTorn = true
	err.line = s.w.line(err.offset)
	var reason error = err
	if s.w.cut {
		reason = fmt.Errorf("%w, and larger than %d MiB", err, maxRecord>>20)
	}
	s.back(err)
	return s.unknown(place, reason)
}

// commit is called when something was made of all that was read.
func (s *stream) commit() {
	s.from = s.w.offset()
	s.w.keepFrom(s.from)
	s.isBegun = false
}

// start is called when a value begins.
func (s *stream) start(pointer string) Record {
	begin := s.w.offset()
	s.w.keepFrom(begin)
	s.w.cut = false
	s.current = s.place(pointer, begin)
	s.from, s.isBegun = begin+1, true
	return s.current
}

// place is that of a value that begins at the offset.
func (s *stream) place(pointer string, offset int64) Record {
	if s.within != nil {
		return Record{Offset: s.within.Offset, Line: s.within.Line, Pointer: s.within.Pointer + pointer}
	}
	return Record{Offset: offset, Line: s.w.line(offset), Pointer: pointer}
}

// value reads any value. l is the list that it is an item of, or nil.
func (s *stream) value(pointer string, l *list) error {
	c, err := s.w.next()
	switch {
	case err != nil:
		return err
	case c == '{' || c == '[':
		if s.level == maxDepth {
			return s.w.tooDeep()
		}
		s.level++
		if c == '{' {
			err = s.object(pointer, l)
		} else {
			err = s.list(pointer)
		}
		s.level--
		return err
	case c == '"':
		return s.text(pointer, l)
	}
	place := s.start(pointer)
	begin := s.w.offset()
	if err := s.w.scalar(); err != nil {
		return err
	}
	if s.w.cut {
		return s.w.broken("want a value")
	}
	raw := jsontext.Value(s.w.between(begin, s.w.offset()))
	if !raw.IsValid(tolerant) {
		return s.w.broken("want a value")
	}
	return l.plain(s, place, fmt.Errorf("not an event: got %s, want an object", jsonKind(raw.Kind())))
}

// list reads the items of an array one by one.
func (s *stream) list(pointer string) error {
	place := s.start(pointer)
	s.w.pos++
	s.commit()
	var l list
	for i := 0; ; i++ {
		s.open = place
		c, err := s.w.next()
		switch {
		case err != nil:
		case c == ']':
			s.w.pos++
			s.commit()
			return l.end(s)
		case i > 0 && c != ',':
			err = s.w.broken("want a comma or the end of the array")
		case i > 0:
			s.w.pos++
		}
		if err == nil {
			err = s.value(pointer+"/"+strconv.Itoa(i), &l)
		}
		switch {
		case errors.Is(err, errStopped):
			return err
		case err != nil:
			return cmp.Or(l.end(s), err)
		}
		s.commit()
	}
}

// object reads an object: a record, or what wraps lists of them, which may be longer than memory.
func (s *stream) object(pointer string, l *list) error {
	place := s.start(pointer)
	begin := s.w.offset()
	s.w.pos++
	var rest []byte // what is before the last of the lists, without them
	wraps, isCut := false, false
	for opened := true; ; opened = false {
		c, err := s.w.next()
		if err == nil && c == '}' {
			s.w.pos++
			break
		}
		if err == nil && !opened {
			err = s.w.expect(',', "want a comma or the end of the object")
		}
		if err == nil {
			_, err = s.w.next()
		}
		if err != nil {
			return err
		}
		at := s.w.offset()
		if err := s.w.name(); err != nil {
			return err
		}
		end := s.w.offset()
		if c, err = s.w.next(); err != nil {
			return err
		}
		var name []byte
		if (c == '[' || c == '{') && !s.w.cut {
			name = memberName(s.w.between(at, end))
		}
		if !holdsRecords(string(name), c) {
			if err := s.w.value(); err != nil {
				return err
			}
			continue
		}
		wraps = true
		if isCut = isCut || len(rest) > maxRecord; !isCut {
			rest = append(append(rest, s.w.between(begin, end)...), "null"...)
		}
		if err := s.value(pointer+"/"+string(name), nil); err != nil {
			return err
		}
		s.commit()
		begin = s.from
		s.w.cut, s.open = false, place
	}
	if isCut || s.tooLarge(begin) {
		return s.emit(place, errTooLarge)
	}
	raw := s.w.between(begin, s.w.offset())
	if wraps {
		raw = append(rest, raw...)
	}
	return s.record(raw, place, l, wraps)
}

// memberName is the name that the raw text of a name and its colon begins with, unless it is written with escapes.
func memberName(raw []byte) []byte {
	name, _, _ := bytes.Cut(raw[1:], []byte{'"'})
	return name
}

// text reads the documents in a string.
func (s *stream) text(pointer string, l *list) error {
	place := s.start(pointer)
	begin := s.w.offset()
	if err := s.w.text(); err != nil {
		return err
	}
	if s.tooLarge(begin) {
		return s.emit(place, errTooLarge)
	}
	content, err := unquoted(s.w.between(begin, s.w.offset()))
	if err != nil {
		return s.unknown(place, explain(err))
	}
	if !mayHoldRecords(content) {
		return l.plain(s, place, errors.New("not an event: got a string, want an object"))
	}
	before := s.found
	if err := s.part(content, place, true, s.quiet); err != nil {
		return err
	}
	if l != nil && s.found > before {
		l.holdTexts()
	}
	return nil
}

var errTooLarge = fmt.Errorf("larger than %d MiB", maxRecord>>20)

// tooLarge reports whether what was read since the offset has more than a record may have.
func (s *stream) tooLarge(begin int64) bool { return s.w.cut || s.w.offset()-begin > maxRecord }

func (s *stream) emit(r Record, err error) error {
	if err != nil {
		s.reported++
	}
	if !s.yield(r, err) {
		return errStopped
	}
	return nil
}

// unknown reports what is not known to be a record, unless none need be here.
func (s *stream) unknown(place Record, err error) error {
	if !s.quiet {
		return s.emit(place, err)
	}
	report := func() error { return s.emit(place, err) }
	if _, ok := errors.AsType[*syntaxError](err); ok && s.hidden == nil {
		s.hidden = report
	} else if s.doubt == nil {
		s.doubt = report
	}
	return nil
}
