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
)

// wrapped is an event in everything that DecodeStream takes, by the pointer that leads to it there.
func wrapped(tb testing.TB, event string) map[string]string {
	tb.Helper()
	quote := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			tb.Fatal(err)
		}
		return string(text)
	}
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
		want := decodeOne(t, string(read(t, file)))
		records, errs := collect(DecodeStream(bytes.NewReader(event.Detail)))
		if len(records) != 1 || errs[0] != nil || records[0].Event == nil || !reflect.DeepEqual(*records[0].Event, want) {
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

func TestAfterBrokenJSONNothingFollows(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	for name, stream := range map[string]string{
		"truncated": good + "\n" + good[:len(good)/2],
		"text":      good + "\nrotate, please\n" + good,
		"log file":  `{"Records":[` + good + `,` + good[:100],
	} {
		records, errs := collect(DecodeStream(strings.NewReader(stream)))
		if len(records) != 2 || errs[0] != nil || records[0].Event == nil || errs[1] == nil {
			t.Errorf("%s: got %d records with errors %v, want an event and then an error", name, len(records), errs)
		}
	}
	for _, empty := range []string{"", " \n\n", "[]", `{"Records":[]}`} {
		if records, errs := collect(DecodeStream(strings.NewReader(empty))); len(records) != 0 {
			t.Errorf("%q has records %v (%v), want none", empty, records, errs)
		}
	}
}

func TestTheErrorOfTheReaderIsPassedOn(t *testing.T) {
	unplugged := errors.New("unplugged")
	_, errs := collect(DecodeStream(io.MultiReader(strings.NewReader(`{"Records":[`), iotest.ErrReader(unplugged))))
	if len(errs) != 1 || !errors.Is(errs[0], unplugged) {
		t.Errorf("errors are %v, want %v", errs, unplugged)
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
