package events

import (
	"bytes"
	"encoding/binary"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// byteOrderMark is how UTF-8 writes U+FEFF, which Windows puts before text.
const byteOrderMark = "\ufeff"

// newWindow reads UTF-8, and UTF-16 as PowerShell redirects it, with or without a byte order mark.
func newWindow(r io.Reader) *window {
	w := &window{r: r}
	for len(w.buf) < 2 && w.err == nil {
		w.fill()
	}
	var order binary.ByteOrder
	switch head := w.buf; {
	case len(head) < 2:
	case head[0] == 0xff && head[1] == 0xfe, isASCII(head[0]) && head[1] == 0:
		order = binary.LittleEndian
	case head[0] == 0xfe && head[1] == 0xff, head[0] == 0 && isASCII(head[1]):
		order = binary.BigEndian
	}
	if order == nil {
		return w
	}
	if w.err != nil {
		r = errReader{w.err}
	}
	return &window{r: &utf16Reader{r: io.MultiReader(bytes.NewReader(w.buf), r), order: order}}
}

func isASCII(c byte) bool { return c > 0 && c < utf8.RuneSelf }

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// utf16Reader turns UTF-16 into UTF-8.
type utf16Reader struct {
	r     io.Reader
	order binary.ByteOrder
	// out is what was decoded and not yet read.
	out []byte
	// rest is the beginning of a character.
	rest []byte
	err  error
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 && u.err == nil {
		u.decode()
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	if n > 0 {
		return n, nil
	}
	return 0, u.err
}

// decode reads a piece. What ends within a character is kept for the next one.
func (u *utf16Reader) decode() {
	in := make([]byte, len(u.rest), windowSize)
	copy(in, u.rest)
	n, err := u.r.Read(in[len(in):cap(in)])
	in = in[:len(in)+n]
	out := make([]byte, 0, 2*len(in))
	for len(in) >= 2 {
		unit, size := rune(u.order.Uint16(in)), 2
		if utf16.IsSurrogate(unit) {
			if len(in) < 4 && err == nil {
				break
			}
			pair := utf8.RuneError
			if len(in) >= 4 {
				pair = utf16.DecodeRune(unit, rune(u.order.Uint16(in[2:])))
			}
			if unit = pair; pair != utf8.RuneError {
				size = 4
			}
		}
		out = utf8.AppendRune(out, unit)
		in = in[size:]
	}
	if err != nil && len(in) > 0 {
		out, in = utf8.AppendRune(out, utf8.RuneError), nil
	}
	u.out, u.rest, u.err = out, in, err
}
