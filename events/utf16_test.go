package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// The first two bytes show UTF-16: a byte order mark, or a character of ASCII beside a zero.
func TestUTF16_isShownByTwoBytes(t *testing.T) {
	for begin, want := range map[string]bool{
		"\xff\xfe": true, "\xfe\xff": true, "{\x00": true, "\x00{": true, "\x7f\x00": true, "\x00\x7f": true, "\x01\x00": true,
		"\xff\x00": false, "\xffx": false, "x\xfe": false, "\xfe\x00": false, "\xfex": false, "x\xff": false, "\x00\x00": false, "\x80\x00": false, "\x00\x80": false, "\x00\xff": false, "\xff": false, "x": false, "": false, "{\"": false,
	} {
		w := newWindow(strings.NewReader(begin))
		if _, got := w.r.(*utf16Reader); got != want {
			t.Errorf("%q begins UTF-16: %t, want %t", begin, got, want)
		}
	}
}

// However the bytes come, a text is the same; half a character is shown as one that is none, and an error of the reader is passed on.
func TestUTF16_text(t *testing.T) {
	const high, low = 0xd83d, 0xde00
	for _, row := range []struct {
		units []uint16
		more  string // what is no whole unit
		want  string
	}{
		{utf16.Encode([]rune("aü€😀b")), "", "aü€😀b"}, {[]uint16{high, low}, "", "😀"}, {nil, "", ""}, {utf16.Encode([]rune("\ufffd")), "", "\ufffd"},
		{[]uint16{'x', high}, "", "x\ufffd"}, {[]uint16{high, 'x'}, "", "\ufffdx"}, {[]uint16{low, 'x'}, "", "\ufffdx"}, {[]uint16{high, high, low}, "", "\ufffd😀"},
		{[]uint16{'x'}, "y", "x\ufffd"}, {nil, "y", "\ufffd"},
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			encoded := make([]byte, 2*len(row.units))
			for i, unit := range row.units {
				order.PutUint16(encoded[2*i:], unit)
			}
			encoded = slices.Concat(encoded, []byte(row.more))
			for name, r := range map[string]io.Reader{"at once": bytes.NewReader(encoded), "byte by byte": iotest.OneByteReader(bytes.NewReader(encoded)), "with its end": iotest.DataErrReader(bytes.NewReader(encoded))} {
				if got, err := io.ReadAll(&utf16Reader{r: r, order: order}); err != nil || string(got) != row.want {
					t.Errorf("%x %q, %s, is %q, %v; want %q", row.units, row.more, name, got, err, row.want)
				}
			}
		}
	}
	pairs := make([]byte, 4*windowSize)
	for i := 0; i < len(pairs); i += 4 {
		binary.LittleEndian.PutUint16(pairs[i:], high)
		binary.LittleEndian.PutUint16(pairs[i+2:], low)
	}
	if got, err := io.ReadAll(&utf16Reader{r: bytes.NewReader(pairs), order: binary.LittleEndian}); err != nil || string(got) != strings.Repeat("😀", windowSize) {
		t.Errorf("%d characters of two units are %d bytes, %v", windowSize, len(got), err)
	}
	broken := errors.New("broken")
	if _, err := io.ReadAll(&utf16Reader{r: iotest.ErrReader(broken), order: binary.LittleEndian}); !errors.Is(err, broken) {
		t.Errorf("the reader's error became %v", err)
	}
}

// pauses is a reader that reads nothing some times before each piece.
type pauses struct {
	r    io.Reader
	n, i int
}

func (p *pauses) Read(b []byte) (int, error) {
	if p.i++; p.i%(p.n+1) != 0 {
		return 0, nil
	}
	return p.r.Read(b)
}

// A reader may have nothing for a while, and not for ever.
func TestAReaderWithoutProgress(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	for n, want := range map[int]bool{1: true, 50: true, 99: true, 100: false, 1_000: false} {
		records, errs := collect(DecodeStream(&pauses{r: strings.NewReader(good), n: n}))
		if got := len(records) == 1 && errs[0] == nil; got != want || !want && !errors.Is(errs[len(errs)-1], io.ErrNoProgress) {
			t.Errorf("after %d reads of nothing the record is read: %t, want %t; %v", n, got, want, errs)
		}
	}
}

func TestSyntaxError_saysWhere(t *testing.T) {
	for err, want := range map[*syntaxError]string{{offset: 7, why: "x"}: "not JSON: byte 7: x", {offset: 7, why: "x", line: 2}: "not JSON: line 2, byte 7: x"} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
