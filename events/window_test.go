package events

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A number or a word ends where no character of one stands; what begins with none is no value.
func TestWindow_scalars(t *testing.T) {
	for text, want := range map[string]int{
		"0": 1, "-1": 2, "+1": 2, "1.5": 3, "-1.5e+10": 8, "1E-7": 4, "true": 4, "azAZ09": 6, "1,2": 1, "1 2": 1, "1]": 1, "a_b": 1, "a{": 1, "a[": 1, "a`": 1, "a@": 1, "1/2": 1, "1:2": 1,
		"": 0, ",": 0, "]": 0, "/": 0, ":": 0, "_": 0,
	} {
		w := newPart([]byte(text))
		if err := w.scalar(); int(w.offset()) != want || (err != nil) != (want == 0) {
			t.Errorf("the first %d bytes of %q are a value (%v), want %d", w.offset(), text, err, want)
		}
	}
}

// The text is found over the bounds of reads, and not beyond the end.
func TestWindow_has(t *testing.T) {
	for stream, want := range map[string]bool{"null": true, "nullx": true, "nul": false, "": false, "xnull": false} {
		w := newWindow(iotest.OneByteReader(strings.NewReader(stream)))
		if got := w.has("null"); got != want {
			t.Errorf("%q begins with it: %t, want %t", stream, got, want)
		}
	}
}

// Where the reader fails, that is the error, and no value is said to be broken.
func TestWindow_errorOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	for _, begin := range []string{"", "[", `{"a":`, `{"a`, `{"a":"b`, "[1", `"\`} {
		w := newWindow(io.MultiReader(strings.NewReader(begin), iotest.ErrReader(broken)))
		if err := w.value(); !errors.Is(err, broken) {
			t.Errorf("after %q the error is %v", begin, err)
		}
	}
}

// The byte before the next one is known at the beginning of the stream, and where that byte has left the memory.
func TestWindow_previous(t *testing.T) {
	text := "\n" + strings.Repeat("abc", windowSize)
	w := newWindow(strings.NewReader(text))
	for at, want := 0, byte('\n'); w.more(); at++ {
		if got := w.previous(); got != want {
			t.Fatalf("before byte %d is %q, want %q", at, got, want)
		}
		want = text[at]
		w.pos++
		w.keepFrom(w.offset())
	}
	if w.base == 0 {
		t.Error("nothing has left the memory")
	}
}
