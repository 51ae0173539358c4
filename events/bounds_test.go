package events

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// gigabyte is a stream that is never in memory: the pieces between a beginning and an end, and the most memory that was in use
// while it was read.
type gigabyte struct {
	io.Reader
	read, sampled int
	most          uint64
}

func newGigabyte(begin, piece, end string, size int) *gigabyte {
	if len(piece) < 32<<10 {
		piece = strings.Repeat(piece, 32<<10/len(piece)+1)
	}
	pieces := []io.Reader{strings.NewReader(begin)}
	for range size/len(piece) + 1 {
		pieces = append(pieces, strings.NewReader(piece))
	}
	return &gigabyte{Reader: io.MultiReader(append(pieces, strings.NewReader(end))...)}
}

func (g *gigabyte) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	if g.read += n; g.read-g.sampled > 16<<20 || err != nil {
		g.sampled = g.read
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		g.most = max(g.most, m.HeapAlloc)
	}
	return n, err
}

func TestMemoryIsBoundedHoweverLargeTheInput(t *testing.T) {
	a, b := twoRecords(t)
	const all = 1 << 30
	for _, tc := range []struct {
		name, begin, piece, end string
		size                    int
		want                    []string
	}{
		{"a string in a record", a + "\n" + `{"eventVersion":"1.11","userAgent":"`, "a", `"}` + "\n" + b, all,
			[]string{disabled, "line 2: larger than 8 MiB", enabled}},
		{"a string in an item of a log file", `{"Records":[` + a + `,{"eventVersion":"1.11","userAgent":"`, "a", `"},` + b + `]}`, all / 8,
			[]string{disabled, "line 1: larger than 8 MiB", enabled}},
		{"a string that never ends", a + "\n" + `{"eventVersion":"`, "a", "", all / 8, []string{disabled, "line 2: not JSON"}},
		{"a string that ends in a line feed", a + "\n" + `{"eventVersion":"`, "a", "\n" + b, all / 8, []string{disabled, "line 2: not JSON", enabled}},
		{"a name", `{"`, "a", `":1}` + "\n" + b, all / 8, []string{"line 1: larger than 8 MiB", enabled}},
		{"a string alone", `"`, "a", `"` + "\n" + b, all / 8, []string{"line 1: not JSON: a line of text", enabled}},
		{"a text that holds a record", `"{`, "a", `"` + "\n" + b, all / 8, []string{"line 1: larger than 8 MiB", enabled}},
		{"a number", `[`, "1", `]` + "\n" + b, all / 8, []string{"line 1: not JSON", enabled}},
		{"a line of text", "", "a", "\n" + b, all / 8, []string{"line 1: not JSON: a line of text", enabled}},
		{"lines of text", "", "a\n", b, all / 256, []string{"line 1: not JSON", enabled}},
		{"blanks", "", " \n", b, all / 8, []string{enabled}},
		{"blanks in a record", `{"a":`, " \n", `1}` + "\n" + b, all / 8, []string{"line 1: larger than 8 MiB", enabled}},
		{"a member that is a list", `{"a":[`, "1,", `1]}` + "\n" + b, all / 8, []string{"line 1: larger than 8 MiB", enabled}},
		{"a broken list", `{"a":[`, "1,", `x]}` + "\n" + b, all / 8, []string{"line 1: larger than 8 MiB", enabled}},
		{"lists within one another", "", "[", "\n" + b, all / 64, []string{"line 1: not JSON", enabled}},
		{"many lists of records", `{`, `"Records":[],`, `"a":1}` + "\n" + b, all / 64, []string{"line 1: larger than 8 MiB", enabled}},
	} {
		began := time.Now()
		if testing.Short() { // as in mutation testing: an eighth, and more than a record may have
			tc.size = max(tc.size/8, min(tc.size, 9<<20))
		}
		stream := newGigabyte(tc.begin, tc.piece, tc.end, tc.size)
		var got []string
		for r, err := range DecodeStream(stream) {
			switch {
			case err != nil:
				got = append(got, outcome(r, err))
			default:
				got = append(got, string(r.Event.Change))
			}
		}
		same := func(got, want string) bool {
			return got == want || strings.HasPrefix(want, "line ") && strings.HasPrefix(got, want)
		}
		if !slices.EqualFunc(got, tc.want, same) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
		const most = 100 << 20
		if stream.most > most {
			t.Errorf("%s: %d MB of memory were in use, want at most %d", tc.name, stream.most>>20, most>>20)
		}
		t.Logf("%-40s %4d MB read, %3d MB in memory, %v", tc.name, stream.read>>20, stream.most>>20, time.Since(began).Round(time.Millisecond))
	}
}

func TestARecordOfTheGreatestSizeIsRead(t *testing.T) {
	a, _ := twoRecords(t)
	for _, tc := range []struct {
		padding int
		want    string
	}{{maxRecord - 2000, disabled}, {maxRecord, "line 1: larger than 8 MiB"}} {
		record := strings.Replace(a, `"aws-cli"`, `"`+strings.Repeat("a", tc.padding)+`"`, 1)
		wantOutcomes(t, "a record of that size", record, tc.want)
	}
}

func TestALogFileOfAnyLengthIsReadRecordByRecord(t *testing.T) {
	a, _ := twoRecords(t)
	stream := newGigabyte(`{"Records":[`, a+",", a+`]}`, 64<<20)
	n := 0
	for r, err := range DecodeStream(stream) {
		if err != nil || r.Event == nil {
			t.Fatalf("record %s: %v", r.Pointer, err)
		}
		n++
	}
	if want := (64 << 20) / len(a) / 2; n < want {
		t.Errorf("%d records were read, want more than %d", n, want)
	}
	if stream.most > 50<<20 {
		t.Errorf("%d MB of memory were in use, want at most 50", stream.most>>20)
	}
}

// Each of these makes a reader that begins again after an error read the same bytes many times.
func TestBrokenInputIsReadInLinearTime(t *testing.T) {
	for _, piece := range []string{
		"{", "[", `{"a":`, `{"a":[1,` + "\n", "[1,\n", `{"a":{` + "\n", `"{`, `"{\"`, "x {", `{"body":"{`, `[{"a":1},`, "{\"a\":[\n{},\n", ",", "}", "\\\"{",
	} {
		began := time.Now()
		for range DecodeStream(bytes.NewReader([]byte(strings.Repeat(piece, 1<<20/len(piece))))) {
			continue
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("1 MB of %q took %v", piece, took)
		} else if took > time.Second {
			t.Logf("1 MB of %q took %v", piece, took)
		}
	}
}
