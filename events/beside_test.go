package events

import (
	"testing"

	"github.com/go-json-experiment/json"
)

// What stands beside a record is reported if it could be one: hidden behind a record nothing may be lost. Items of a list that somebody
// chose beside a record are no records.
func TestWhatStandsBesideARecord(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	const noEvent, number, cut, text = "line 1: not an event: neither", "line 1: not an event: got a number", "line 1: not JSON", "line 1: not JSON: a line of text"
	for stream, want := range map[string][]string{
		`[` + quoted(t, good) + `, 7]`: {disabled}, `["{\"a\":1}", 7]`: {noEvent, number}, `["{\"a\":", 7]`: {cut, number}, `["text", 7]`: {"line 1: not an event: got a string", number},
		`{"x":` + quoted(t, good) + `}`: {disabled}, `{"x":` + quoted(t, good+`{"a":1}`) + `}`: {disabled, noEvent}, `{"x":` + quoted(t, good+`{"a":1}7`) + `}`: {disabled, noEvent}, `{"x":` + quoted(t, good+`{"a":1}{"b":`) + `}`: {disabled, cut},
		`{"x":` + quoted(t, `{"a":1}`) + `}`:  {noEvent},
		`text ` + quoted(t, good) + ` more`:   {disabled},
		`text x\` + quoted(t, good) + ` more`: {cut, text},
		`text "k":[` + good + `, 7`:           {disabled, text}, `text "k":[{"a":1},` + good: {disabled, text}, `text [` + good + `, 7`: {disabled},
	} {
		wantOutcomes(t, stream[:min(len(stream), 40)], stream, want...)
	}
}

// Lists of records are read item by item, and what is around such lists member by member.
func TestHoldsRecords(t *testing.T) {
	for name, want := range map[string]string{"Records": "[", "Events": "[", "logEvents": "[", "Rows": "[", "ResultSet": "[{", "requestPayload": "[{", "detail": "", "records": "", "": ""} {
		got := ""
		for _, c := range []byte(`[{"7`) {
			if holdsRecords(name, c) {
				got += string(c)
			}
		}
		if got != want {
			t.Errorf("%q holds records if its value begins with one of %q, want %q", name, got, want)
		}
	}
}

// A row of a table has the names that Athena gives to columns, or texts where a record has objects.
func TestIsRow(t *testing.T) {
	for text, want := range map[string]bool{
		`{"eventsource":"s","eventname":"n"}`: true, `{"eventsource":"s"}`: false, `{"eventname":"n"}`: false, `{"eventSource":"s","eventname":"n"}`: false, `{"eventSource":"s","eventsource":"s","eventname":"n"}`: false, `{"eventSource":"s","eventName":"n"}`: false, `{}`: false,
		`{"eventSource":"s","userIdentity":"{}"}`: true, `{"eventSource":"s","requestParameters":"{}"}`: true, `{"eventSource":"s","responseElements":"{}"}`: true, `{"eventSource":"s","additionalEventData":"{}"}`: true, `{"eventSource":"s","resources":"[]"}`: true,
		`{"eventSource":"s","serviceEventDetails":"{}"}`: true, `{"eventSource":"s","userIdentity":{},"requestParameters":{},"resources":[]}`: false,
	} {
		var i item
		if err := json.Unmarshal([]byte(text), &i, tolerant); err != nil || i.isRow() != want {
			t.Errorf("%s is a row: %t (%v), want %t", text, i.isRow(), err, want)
		}
	}
}
