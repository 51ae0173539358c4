package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// pasting makes streams at random, of records with ids of their own.
type pasting struct {
	tb     testing.TB
	r      *rand.Rand
	record string
	// ids are those of the records so far.
	ids []string
}

func newPasting(tb testing.TB, seed uint64) *pasting {
	first, _ := twoRecords(tb)
	return &pasting{tb: tb, r: rand.New(rand.NewPCG(seed, 9)), record: first}
}

func (p *pasting) one() string {
	id := fmt.Sprintf("id-%d", len(p.ids))
	p.ids = append(p.ids, id)
	record := strings.Replace(p.record, "0a1b2c3d-0000-4000-8000-000000000001", id, 1)
	switch p.r.IntN(4) {
	case 0:
		return `{"version":"0","id":"e","detail-type":"AWS API Call via CloudTrail","source":"aws.kms","account":"111122223333","time":"2026-03-04T05:06:07Z","region":"us-east-1","resources":[],"detail":` + record + `}`
	case 1:
		return strings.Replace(record, `"eventVersion":"1.11",`, "", 1)
	}
	return record
}

// document is a record, or several, in up to so many wrappers.
func (p *pasting) document(wrappers, messages int) string {
	if wrappers == 0 || p.r.IntN(5) == 0 {
		return p.one()
	}
	list := func(item func() string) string {
		items := make([]string, 1+p.r.IntN(3))
		for i := range items {
			items[i] = item()
		}
		return strings.Join(items, ",")
	}
	inner := func() string { return p.document(wrappers-1, messages) }
	text := func() string {
		if messages == 0 {
			return quoted(p.tb, p.one())
		}
		document := p.document(wrappers-1, messages-1)
		if p.r.IntN(4) == 0 {
			document += "\n" + p.document(wrappers-1, messages-1)
		}
		return quoted(p.tb, document)
	}
	if messages == 0 {
		switch p.r.IntN(5) {
		case 0:
			return `[` + list(inner) + `]`
		case 1:
			return `{"Records":[` + list(inner) + `]}`
		case 2:
			return `{"events":[` + list(inner) + `],"nextToken":"x"}`
		case 3:
			return `{"requestContext":{"condition":"RetriesExhausted"},"requestPayload":` + inner() + `,"responsePayload":{"errorMessage":"x"}}`
		}
		return p.one()
	}
	switch p.r.IntN(13) {
	case 0:
		return `[` + list(inner) + `]`
	case 1:
		return `{"Records":[` + list(inner) + `]}`
	case 2:
		return `{"messageId":"m","body":` + text() + `,"attributes":{"SentTimestamp":"1"},"eventSource":"aws:sqs"}`
	case 3:
		return `{"Messages":[` + list(func() string { return `{"MessageId":"m","Body":` + text() + `}` }) + `]}`
	case 4:
		return `{"Type":"Notification","MessageId":"m","Subject":"s","Message":` + text() + `}`
	case 5:
		return `{"Records":[` + list(func() string { return `{"EventSource":"aws:sns","Sns":{"Message":` + text() + `}}` }) + `]}`
	case 6:
		return `{"Events":[` + list(func() string { return `{"EventId":"e","EventName":"DisableKey","CloudTrailEvent":` + text() + `}` }) + `],"NextToken":"x"}`
	case 7:
		return `[` + list(text) + `]`
	case 8:
		return `[["DisableKey",null,` + text() + `],["x",` + text() + `]]`
	case 9:
		return `{"events":[` + list(func() string { return `{"logStreamName":"s","timestamp":1,"message":` + text() + `}` }) + `],"searchedLogStreams":[]}`
	case 10:
		return `{"messageType":"DATA_MESSAGE","logEvents":[` + list(func() string { return `{"id":"1","message":` + text() + `}` }) + `]}`
	case 11:
		return `{"requestContext":{"condition":"RetriesExhausted"},"requestPayload":` + inner() + `,"responsePayload":{"errorMessage":"x"}}`
	}
	return `[` + list(func() string { return `{"name":"DisableKey","record":` + text() + `}` }) + `]`
}

// line is a document in a line, or an indented one.
func (p *pasting) line() string {
	document := p.document(3, 3)
	if p.r.IntN(4) == 0 {
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(document), "", "  "); err != nil {
			p.tb.Fatal(err)
		}
		document = b.String()
	}
	return document
}

// garbage is a line that holds no record, and cannot be understood.
func (p *pasting) garbage() string {
	whole := newPasting(p.tb, p.r.Uint64()).document(2, 2)
	lines := []string{
		"Downloading…", "An error occurred (ThrottlingException)", "[INFO] done", `"done" it is`, "{", "[", `{"eventVersion":"1.11","eventSou`,
		`{"a":[1,`, `{"a":{"b":1}`, `["{\"a\":`, "null", "7", `{"severity":"NOTICE"}`, `{"eventSource":"kms.amazonaws.com","eventName":`, "\x00\xff", `"`,
		whole[:1+p.r.IntN(20)], `{"eventVersion":"9.0","eventSource":"kms.amazonaws.com","eventName":"DisableKey"}`,
	}
	return lines[p.r.IntN(len(lines))]
}

func TestEveryRecordComesOutOnceWhateverStandsBetween(t *testing.T) {
	for seed := range uint64(800) {
		p := newPasting(t, seed)
		var stream strings.Builder
		isGarbage := map[int]bool{}
		at, opens := 1, false
		for range 1 + p.r.IntN(6) {
			var line string
			if p.r.IntN(3) == 0 && !opens {
				line = p.garbage()
				isGarbage[at] = true
				// A list that begins here takes what comes next for an item of its own.
				opens = strings.HasSuffix(line, "[") || strings.HasSuffix(line, ",")
			} else {
				opens = false
				line = p.line()
			}
			stream.WriteString(line + "\n")
			at += 1 + strings.Count(line, "\n")
		}
		seen := map[string]int{}
		named := map[int]bool{}
		for r, err := range DecodeStream(strings.NewReader(stream.String())) {
			switch {
			case r.Event != nil:
				seen[r.Event.ID]++
			case err != nil:
				named[r.Line] = true
				var lines int
				if n, _ := fmt.Sscanf(err.Error(), "not JSON: %d lines of text", &lines); n == 1 {
					for i := range lines {
						named[r.Line+i] = true
					}
				}
			}
		}
		for _, id := range p.ids {
			if seen[id] != 1 {
				t.Fatalf("seed %d: record %s came out %d times in\n%s", seed, id, seen[id], &stream)
			}
		}
		if len(seen) != len(p.ids) {
			t.Fatalf("seed %d: %d records came out of %d:\n%s", seed, len(seen), len(p.ids), &stream)
		}
		if !maps.Equal(named, isGarbage) {
			t.Fatalf("seed %d: the lines that are named are %v, want %v:\n%s", seed, named, isGarbage, &stream)
		}
	}
}

func TestNothingIsDroppedSilentlyFromWhatIsDamaged(t *testing.T) {
	for seed := range uint64(1200) {
		p := newPasting(t, seed)
		whole := p.line() + "\n" + p.line() + "\n" + p.line() + "\n"
		from := p.r.IntN(len(whole))
		to := min(len(whole), from+1+p.r.IntN(60))
		damaged := whole[:from] + []string{"", "x", `"`, "{", "]", "\n"}[p.r.IntN(6)] + whole[to:]
		seen, errs := map[string]int{}, 0
		for r, err := range DecodeStream(strings.NewReader(damaged)) {
			switch {
			case err != nil:
				errs++
			case r.Event != nil:
				seen[r.Event.ID]++
			default: // no record is for somebody else: its source was damaged
				errs++
			}
		}
		came := 0
		for id, times := range seen {
			if came += times; times > 1 && slices.Contains(p.ids, id) {
				t.Fatalf("seed %d: record %s came out %d times in\n%s", seed, id, times, damaged)
			}
		}
		// What joins two records leaves one that is right, with names that stand in it twice.
		joins := strings.Contains(whole[from:to], "}") && strings.Contains(whole[from:to], "{")
		if came < len(p.ids) && errs == 0 && !joins {
			t.Fatalf("seed %d: %d of %d records came out, and nothing is reported:\n%s", seed, came, len(p.ids), damaged)
		}
	}
}
