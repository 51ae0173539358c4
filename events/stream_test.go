package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// wrapped is an event in everything that DecodeStream takes, by the pointer that leads to it there.
func wrapped(tb testing.TB, event string) map[string]string {
	tb.Helper()
	quote := func(s string) string { return quoted(tb, s) }
	var bare struct{ Detail json.RawMessage }
	if err := json.Unmarshal([]byte(event), &bare); err != nil {
		tb.Fatal(err)
	}
	record := string(bare.Detail)
	notification := `{"Type":"Notification","MessageId":"63a3f6b6","TopicArn":"arn:aws:sns:us-west-2:111122223333:t","Message":` + quote(event) + `}`
	return map[string]string{
		"":                        event,
		"/0":                      `[` + record + `]`,
		"/Records/0":              `{"Records":[` + record + `]}`,
		"/Message":                notification,
		"/body":                   `{"messageId":"m0","body":` + quote(event) + `,"eventSource":"aws:sqs"}`,
		"/Records/0/body":         `{"Records":[{"messageId":"m0","body":` + quote(event) + `,"eventSource":"aws:sqs"}]}`,
		"/Records/0/body/Message": `{"Records":[{"messageId":"m0","body":` + quote(notification) + `,"eventSource":"aws:sqs"}]}`,
		"/Records/0/Sns/Message":  `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","Sns":` + notification + `}]}`,
		"/Messages/0/Body":        `{"Messages":[{"MessageId":"m0","ReceiptHandle":"h","Body":` + quote(event) + `}]}`,
		"/Events/0/CloudTrailEvent": `{"Events":[{"EventId":"e","EventName":"DisableKey","ReadOnly":"false","EventTime":1772439267.0,
			"EventSource":"kms.amazonaws.com","Username":"Alice","Resources":[],"CloudTrailEvent":` + quote(record) + `}]}`,
		"/0/body/Records/0": `[{"body":` + quote(`{"Records":[`+record+`]}`) + `}]`,
	}
}

func TestAnEventIsFoundInWhateverPeopleKeepIt(t *testing.T) {
	event := read(t, "testdata/cloudtrail-disablekey.json")
	want := decodeOne(t, string(event))
	for pointer, stream := range wrapped(t, string(event)) {
		records, errs := collect(DecodeStream(strings.NewReader(stream)))
		if len(records) != 1 || errs[0] != nil {
			t.Errorf("%q: got records %v and errors %v, want one event", pointer, records, errs)
			continue
		}
		if got := records[0]; got.Event == nil || !reflect.DeepEqual(*got.Event, want) || got.Source != want.Source || got.Pointer != pointer {
			t.Errorf("%q: got %s at %q: %+v, want %+v", pointer, got.Source, got.Pointer, got.Event, want)
		}
	}
}

func TestABareRecordMeansWhatItsEventBridgeEventMeans(t *testing.T) {
	for _, file := range samples(t, "testdata/cloudtrail-*.json") {
		var event struct{ Detail json.RawMessage }
		if err := json.Unmarshal(read(t, file), &event); err != nil {
			t.Fatal(err)
		}
		want := mustDecode(t, file)
		records, errs := collect(DecodeStream(bytes.NewReader(event.Detail)))
		var got []cmek.Event
		for i, r := range records {
			if errs[i] == nil && r.Event != nil {
				got = append(got, *r.Event)
			}
		}
		if len(records) != len(want) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: without its envelope it is %+v (%v), want %+v", filepath.Base(file), records, errs, want)
		}
	}
}

func TestRecordsThatAreNotForUsAreNamedAndHaveNoEvent(t *testing.T) {
	for _, tc := range [][2]string{
		{"mixed/s3-getobject", "aws.s3/AWS API Call via CloudTrail/GetObject"},
		{"mixed/kms-listaliases", "aws.kms/AWS API Call via CloudTrail/ListAliases"},
		{"foreign-ec2-state-change", "aws.ec2/EC2 Instance State-change Notification"},
	} {
		records, errs := collect(DecodeStream(bytes.NewReader(read(t, "testdata/"+tc[0]+".json"))))
		if len(records) != 1 || errs[0] != nil || records[0].Event != nil || records[0].Source != tc[1] {
			t.Errorf("%s: got %+v (%v), want %s without an event", tc[0], records, errs, tc[1])
		}
	}
}

func TestARecordThatCannotBeUnderstoodDoesNotHideTheNext(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	alien := strings.Replace(good, `"eventVersion":"1.02"`, `"eventVersion":"9.0"`, 1)
	for name, bad := range map[string]string{
		"a record of an unknown version": alien,
		"an object that is no event":     `{"severity":"NOTICE"}`,
		"an empty object":                `{}`,
		"null":                           `null`,
		"a number":                       `7`,
		"a message that is no JSON":      `{"body":"rotate, please"}`,
		"a message that ends too early":  `{"body":"{\"source\":"}`,
		"a field of the wrong type":      `{"source":7}`,
	} {
		for shape, stream := range map[string]string{
			"NDJSON":   good + "\n" + bad + "\n" + good + "\n",
			"array":    `[` + good + `,` + bad + `,` + good + `]`,
			"log file": `{"Records":[` + good + `,` + bad + `,` + good + `]}`,
		} {
			records, errs := collect(DecodeStream(strings.NewReader(stream)))
			if len(records) != 3 || errs[0] != nil || errs[1] == nil || errs[2] != nil {
				t.Errorf("%s in %s: errors are %v, want one, of the second record", name, shape, errs)
				continue
			}
			if records[1].Event != nil || records[2].Event == nil {
				t.Errorf("%s in %s: events are %v and %v, want none and one", name, shape, records[1].Event, records[2].Event)
			}
		}
	}
}

func TestWhatIsBrokenHidesNothingButItself(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	var envelope struct{ Detail json.RawMessage }
	if err := json.Unmarshal([]byte(good), &envelope); err != nil {
		t.Fatal(err)
	}
	record := string(envelope.Detail)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(`{"Records":[`+record+`,`+record+`,`+record+`]}`), "", "  "); err != nil {
		t.Fatal(err)
	}
	// The second of three lacks the end of a string and what follows it in the line.
	second := strings.LastIndex(pretty.String()[:strings.LastIndex(pretty.String(), `"DisableKey"`)-1], `"DisableKey"`)
	half := good[:len(good)/2]
	for _, tc := range []struct {
		name, stream string
		events       int
		lines        []int // of what is not understood
	}{
		{"a truncated end", good + "\n" + half, 1, []int{2}},
		{"a broken line", good + "\n" + half + "\n" + good + "\n" + good, 3, []int{2}},
		{"two broken lines", half + "\n" + half + "\n" + good, 1, []int{1, 2}},
		{"a broken line that is no record", good + "\n{\"a\":[1,\n" + good, 2, []int{2}},
		{"a missing brace, around a record that is whole", good[:len(good)-1] + "\n" + good, 2, []int{1}},
		{"a brace too many", good + "}\n" + good, 2, []int{1}},
		{"a text line first", "Downloading the trail…\n" + good, 1, []int{1}},
		{"text lines between", good + "\nrotate,\nplease\n" + good, 2, []int{2}},
		{"text around", "2026-03-04T05:06:07.000000+00:00 stream " + good + "\nEVENTS\t" + good + "\tASIA\n", 2, nil},
		{"a text that begins as JSON does", "[INFO] done\n" + good + "\n\"done\" it is\n" + good, 2, []int{1, 3}},
		{"a message of the log between", "{\"a\":1}\nnull\n" + good, 1, []int{1, 2}},
		{"a broken item of a log file", `{"Records":[` + record + `,{"eventVersion":"1.11","eventSou,` + record + `,` + record + `]}`, 3, []int{1}},
		{"two broken items of a log file", `{"Records":[` + record[:90] + `,` + record[:90] + `,` + record + `]}`, 1, []int{1, 1}},
		{"an item of a log file without its end", `{"Records":[` + record[:len(record)-1] + `,` + record + `,` + record + `]}`, 2, []int{1}},
		{"a broken item of an indented log file", pretty.String()[:second+8] + pretty.String()[second+12:], 2, []int{1 + strings.Count(pretty.String()[:strings.Index(pretty.String()[len(pretty.String())/3:], "{\n      \"eventVersion\"")+len(pretty.String())/3], "\n")}},
		{"a truncated log file", `{"Records":[` + record + `,` + record[:100], 1, []int{1}},
		{"records cut out of a list", record + ",\n" + record + ",\n", 2, nil},
		{"the rest of a log file", record[50:] + "," + record + "]}\n", 1, []int{1}},
		{"a broken message beside a record, in a line of text", `text {"x":` + good + `,"Message":"{\"eventVersion\":"}`, 1, []int{1}},
		{"a broken message beside none, in a line of text", good + "\n" + `text {"x":{},"Message":"{\"eventVersion\":"}`, 1, []int{2}},
		{"a message of nothing beside a record, in a line of text", `text {"x":` + good + `,"Message":"{}"}`, 1, nil},
		{"broken texts of messages", `{"Records":[{"body":"{\"a"},{"body":` + quoted(t, record+half) + `}]}`, 1, []int{1, 1}},
	} {
		records, errs := collect(DecodeStream(strings.NewReader(tc.stream)))
		events, lines := 0, []int(nil)
		for i, r := range records {
			switch {
			case errs[i] != nil:
				lines = append(lines, r.Line)
			case r.Event != nil:
				events++
			}
		}
		if events != tc.events || !slices.Equal(lines, tc.lines) {
			t.Errorf("%s: got %d events and errors in the lines %v, want %d and %v: %v", tc.name, events, lines, tc.events, tc.lines, errs)
		}
	}
	for _, empty := range []string{"", " \n\n", "[]", `{"Records":[]}`, byteOrderMark} {
		if records, errs := collect(DecodeStream(strings.NewReader(empty))); len(records) != 0 {
			t.Errorf("%q has records %v (%v), want none", empty, records, errs)
		}
	}
}

// quoted is a text as a JSON string.
func quoted(tb testing.TB, text string) string {
	tb.Helper()
	raw, err := json.Marshal(text)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

func TestTheErrorOfTheReaderIsPassedOn(t *testing.T) {
	unplugged := errors.New("unplugged")
	_, errs := collect(DecodeStream(io.MultiReader(strings.NewReader(`{"Records":[`), iotest.ErrReader(unplugged))))
	if len(errs) != 1 || !errors.Is(errs[0], unplugged) {
		t.Errorf("errors are %v, want %v", errs, unplugged)
	}
	_, errs = collect(DecodeStream(io.MultiReader(strings.NewReader(`a line of text`+"\n"+`["a", 7, {"a":`), iotest.ErrReader(unplugged))))
	if len(errs) != 4 || !errors.Is(errs[3], unplugged) {
		t.Errorf("errors are %v, want the text, two items of the list, and %v", errs, unplugged)
	}
}

func TestTheOffsetIsWhereTheRecordBegins(t *testing.T) {
	good := string(read(t, "testdata/cloudtrail-disablekey.json"))
	streams := slices.Collect(maps.Values(wrapped(t, good)))
	streams = append(streams, good+"\n\n "+good, ` {"Records": [ `+good+` , `+good+` ] }`, `[`+good+`,null , 7]`)
	for _, stream := range streams {
		records, _ := collect(DecodeStream(strings.NewReader(stream)))
		for _, r := range records {
			value, err := jsontext.NewDecoder(strings.NewReader(stream[r.Offset:])).ReadValue()
			if err != nil || value.Kind() != jsontext.KindBeginObject && r.Event != nil {
				t.Errorf("at offset %d of %.40q… stands %.40q… (%v), want the record", r.Offset, stream, stream[r.Offset:], err)
			}
		}
	}
}

func TestMessagesWithinMessagesEndSomewhere(t *testing.T) {
	text := string(read(t, "testdata/cloudtrail-disablekey.json"))
	for range deepest + 1 {
		quoted, err := json.Marshal(map[string]string{"body": text})
		if err != nil {
			t.Fatal(err)
		}
		text = string(quoted)
	}
	if records, errs := collect(DecodeStream(strings.NewReader(text))); len(errs) != 1 || errs[0] == nil {
		t.Errorf("got %v with errors %v, want one error", records, errs)
	}
}

func TestWhoStopsReadingGetsNoMore(t *testing.T) {
	for _, stream := range wrapped(t, string(read(t, "testdata/cloudtrail-disablekey.json"))) {
		for range DecodeStream(strings.NewReader(stream + stream)) {
			break // The runtime panics if the iterator goes on.
		}
	}
}

func collect(stream iter.Seq2[Record, error]) (records []Record, errs []error) {
	for r, err := range stream {
		records, errs = append(records, r), append(errs, err)
	}
	return records, errs
}
