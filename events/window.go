package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Limits of a single record. AWS's own are lower: an SQS message has at most 1 MiB, an answer of LookupEvents 50 records of
// 256 KB, which are read one by one.
const (
	maxRecord = 8 << 20
	maxDepth  = 256
)

// window is the part of a stream that is held in memory: it finds where JSON values end, without decoding them, so that a value
// of any size can be passed over and a broken one can be left behind.
type window struct {
	r   io.Reader
	buf []byte
	// pos is the next byte to be read; bytes from keep on stay in memory, at most maxRecord of them.
	pos, keep int
	// base is the offset of buf[0] in the stream.
	base int64
	// cut is set once bytes that should have been kept were given up.
	cut bool
	// lines is the number of line feeds before buf[counted].
	lines, counted int
	// before is the byte before buf[0].
	before byte
	// err is what ended the reader.
	err error
	// stack holds the open containers of the value being passed over.
	stack [maxDepth]byte
}

// windowSize is the size of a read.
const windowSize = 64 << 10

// syntaxError says where a stream is not JSON.
type syntaxError struct {
	offset int64
	why    string
	// line is that of the offset, 0 if it is not known.
	line int
	// isDeep is set if it is, perhaps, but has too many levels.
	isDeep bool
}

func (e *syntaxError) Error() string {
	if e.line == 0 {
		return fmt.Sprintf("not JSON: byte %d: %s", e.offset, e.why)
	}
	return fmt.Sprintf("not JSON: line %d, byte %d: %s", e.line, e.offset, e.why)
}

func (w *window) broken(why string) error { return &syntaxError{offset: w.offset(), why: why} }

func (w *window) tooDeep() error {
	return &syntaxError{offset: w.offset(), why: fmt.Sprintf("more than %d levels", maxDepth), isDeep: true}
}

// offset is that of the next byte.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// keepFrom gives up what stands before the offset, which may have been given up before.
func (w *window) keepFrom(offset int64) { w.keep = int(max(offset, w.base) - w.base) }

// between returns what is kept between two offsets. It is valid until the next read.
func (w *window) between(begin, end int64) []byte { return w.buf[begin-w.base : end-w.base] }

// line is the number of the line of an offset in memory.
func (w *window) line(offset int64) int {
	lineFeed := []byte{'\n'}
	at := int(max(offset, w.base) - w.base)
	if at >= w.counted {
		w.lines += bytes.Count(w.buf[w.counted:at], lineFeed)
	} else {
		w.lines -= bytes.Count(w.buf[at:w.counted], lineFeed)
	}
	w.counted = at
	return w.lines + 1
}

// previous is the byte before pos; a stream begins as a line does.
func (w *window) previous() byte {
	switch {
	case w.pos > 0:
		return w.buf[w.pos-1]
	case w.base > 0:
		return w.before
	}
	return '\n'
}

// rewind makes the offset the next one to be read, or what is left of the stream from there.
func (w *window) rewind(offset int64) { w.pos = max(w.keep, int(max(offset, w.base)-w.base)) }

// more reads on, and reports whether there is a byte at pos.
func (w *window) more() bool {
	for w.pos >= len(w.buf) {
		if w.err != nil {
			return false
		}
		w.fill()
	}
	return true
}

func (w *window) fill() {
	if w.pos-w.keep > maxRecord {
		w.keep, w.cut = w.pos, true
	}
	if w.keep > 0 {
		w.line(w.base + int64(w.keep))
		w.counted -= w.keep
		w.before = w.buf[w.keep-1]
		w.base += int64(w.keep)
		w.pos -= w.keep
		w.buf = w.buf[:copy(w.buf, w.buf[w.keep:])]
		w.keep = 0
	}
	if cap(w.buf)-len(w.buf) < windowSize/2 {
		grown := make([]byte, len(w.buf), 2*cap(w.buf)+windowSize)
		copy(grown, w.buf)
		w.buf = grown
	}
	const patience = 100
	for range patience {
		n, err := w.r.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		w.err = err
		if n > 0 || err != nil {
			return
		}
	}
	w.err = io.ErrNoProgress
}

// ended is the error of a value that the stream ends in.
func (w *window) ended() error {
	if w.err != nil && !errors.Is(w.err, io.EOF) {
		return fmt.Errorf("read: %w", w.err)
	}
	return &syntaxError{offset: w.offset(), why: "it ends too early"}
}

// next passes over white space, and returns the next byte without reading it.
func (w *window) next() (byte, error) {
	for {
		for ; w.pos < len(w.buf); w.pos++ {
			switch c := w.buf[w.pos]; c {
			case ' ', '\t', '\r', '\n':
			default:
				return c, nil
			}
		}
		if !w.more() {
			return 0, w.ended()
		}
	}
}

// expect reads the byte, and white space before it.
func (w *window) expect(c byte, why string) error {
	switch got, err := w.next(); {
	case err != nil:
		return err
	case got != c:
		return w.broken(why)
	}
	w.pos++
	return nil
}

// value passes over the value that begins at pos. Whether its strings and numbers are right is left to who decodes it.
func (w *window) value() error {
	depth := 0
	for {
		c, err := w.next()
		if err != nil {
			return err
		}
		opened := false
		switch c {
		case '"':
			err = w.text()
		case '{', '[':
			if depth == maxDepth {
				return w.tooDeep()
			}
			w.stack[depth] = c
			depth++
			w.pos++
			opened = true
		default:
			err = w.scalar()
		}
		if err != nil {
			return err
		}
		if depth, err = w.close(depth, opened); err != nil || depth == 0 {
			return err
		}
	}
}

// close passes over what may stand after a value, or after a container was opened, until the next value begins.
func (w *window) close(depth int, opened bool) (int, error) {
	for depth > 0 {
		c, err := w.next()
		if err != nil {
			return depth, err
		}
		inObject := w.stack[depth-1] == '{'
		switch {
		case c == '}' && inObject, c == ']' && !inObject:
			w.pos++
			depth--
			opened = false
			continue
		case opened:
		case c == ',':
			w.pos++
		case inObject:
			return depth, w.broken("want a comma or the end of the object")
		default:
			return depth, w.broken("want a comma or the end of the array")
		}
		if inObject {
			return depth, w.name()
		}
		return depth, nil
	}
	return 0, nil
}

// name passes over the name of a member and its colon.
func (w *window) name() error {
	switch c, err := w.next(); {
	case err != nil:
		return err
	case c != '"':
		return w.broken("want the name of a member")
	}
	if err := w.text(); err != nil {
		return err
	}
	return w.expect(':', "want a colon")
}

// text passes over the string that begins at pos.
func (w *window) text() error {
	w.pos++
	for {
		for w.pos < len(w.buf) {
			switch c := w.buf[w.pos]; {
			case c == '"':
				w.pos++
				return nil
			case c < ' ':
				return w.broken("a control character in a string")
			case c == '\\':
				if w.pos++; !w.more() {
					return w.ended()
				}
				if w.buf[w.pos] < ' ' {
					return w.broken("a control character in a string")
				}
			}
			w.pos++
		}
		if !w.more() {
			return w.ended()
		}
	}
}

// scalar passes over a number, true, false or null. There is a byte at pos, or the stream has ended.
func (w *window) scalar() error {
	begin := w.offset()
	for w.more() && (w.buf[w.pos] == '-' || w.buf[w.pos] == '+' || w.buf[w.pos] == '.' || isAlphanumeric(w.buf[w.pos])) {
		w.pos++
	}
	if w.offset() == begin {
		return w.broken("want a value")
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// has reports whether the text comes next.
func (w *window) has(text string) bool {
	for w.pos+len(text) > len(w.buf) && w.err == nil {
		w.fill()
	}
	return bytes.HasPrefix(w.buf[w.pos:], []byte(text))
}

// newPart is a window on what is in memory.
func newPart(content []byte) *window { return &window{buf: content, err: io.EOF} }
