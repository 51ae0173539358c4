package events

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/keyturn/keyturn/internal/cmek"
)

// A column is an object with one text or nothing, under a name of a record; each name stands once, and the columns together are no larger
// than a record.
func TestColumnsOfARow(t *testing.T) {
	for _, row := range []struct {
		columns string // separated by blanks
		want    string // a letter each: y for a column, n for something else
	}{
		{`{"eventName":"x"}`, "y"}, {`{"EVENTNAME":"x"}`, "y"}, {`{"eventName":null}`, "y"}, {`{"eventName":7}`, "n"}, {`{"eventName":{}}`, "n"}, {`{"other":"x"}`, "n"}, {`{"eventName":"x","eventID":"y"}`, "n"}, {`{}`, "n"}, {`7`, "n"},
		{`{"eventName":"x"} {"other":"x"}`, "yy"}, {`{"eventName":"x"} {"eventName":"y"}`, "yn"}, {`{"eventName":"x"} {"Message":"y"}`, "yn"}, {`{"CloudTrailEvent":"x"}`, "n"}, {`{"eventName":"x"} {"other":7}`, "yn"},
	} {
		l, got := new(list), ""
		for _, column := range strings.Fields(row.columns) {
			got += map[bool]string{true: "y", false: "n"}[l.takesColumn([]byte(column), Record{})]
		}
		if got != row.want {
			t.Errorf("of %s columns are %q, want %q", row.columns, got, row.want)
		}
	}
	one := `{"eventID":"x"}`
	for size, want := range map[int]bool{maxRecord - len(one): true, maxRecord - len(one) + 1: false, maxRecord: false} {
		l := &list{table: table{columns: make([]byte, size), names: map[string]bool{"eventName": true}}}
		if got := l.takesColumn([]byte(one), Record{}); got != want {
			t.Errorf("a column after %d bytes is one: %t, want %t", size, got, want)
		}
	}
	if (*list)(nil).takesColumn([]byte(one), Record{}) {
		t.Error("an object in no list is a column")
	}
}

// The first row of Athena names the columns; one that lacks what makes a record is a row of values without names.
func TestAthenaRow_header(t *testing.T) {
	row := func(values ...string) string {
		var data []string
		for _, v := range values {
			data = append(data, `{"VarCharValue":"`+v+`"}`)
		}
		return `{"Data":[` + strings.Join(data, ",") + `]}`
	}
	for header, isHeader := range map[string]bool{"eventname,eventsource": true, "EventSource,x,EventName": true, "eventname,x": false, "eventsource,x": false, "x,y": false} {
		got := ""
		for _, err := range DecodeStream(strings.NewReader(row(strings.Split(header, ",")...) + "\n")) {
			got += fmt.Sprint(err)
		}
		if strings.Contains(got, "without the row before it") == isHeader {
			t.Errorf("a row of %s is a header: %t; got %q", header, !isHeader, got)
		}
	}
}

// What begins like a structure is one in the fields that have structures only, and the names in them are those of a record.
func TestRowRecord_structures(t *testing.T) {
	for row, want := range map[string]string{
		`{"eventname":"x","errormessage":"{not a structure"}`: `{"errorMessage":"{not a structure","eventName":"x"}`, `{"eventname":"x","errormessage":"[1"}`: `{"errorMessage":"[1","eventName":"x"}`,
		`{"eventname":"x","requestparameters":"{keyid=k}"}`: `{"eventName":"x","requestParameters":{"keyid":"k"}}`, `{"eventname":"x","requestparameters":"[a, b]"}`: `{"eventName":"x","requestParameters":["a","b"]}`,
		`{"eventname":"x","requestparameters":"text"}`: "error", `{"eventname":"x","requestparameters":"{keyid"}`: "error", `{"eventname":"x","requestparameters":"null"}`: `{"eventName":"x"}`,
		`{"eventname":"x","resources":"[{accountid=1, type=AWS::KMS::Key}]"}`: `{"eventName":"x","resources":[{"accountId":"1","type":"AWS::KMS::Key"}]}`,
		`{"eventname":"x","addendum":"{originaleventid=1, reason=r}"}`:        `{"addendum":{"originalEventID":"1","reason":"r"},"eventName":"x"}`,
		`{"eventname":"x","useridentity":"{accountid=1}"}`:                    `{"eventName":"x","userIdentity":{"accountId":"1"}}`,
		`{"eventname":"x","responseelements":"{accountid=1}"}`:                `{"eventName":"x","responseElements":{"accountid":"1"}}`,
	} {
		got, err := rowRecord([]byte(row))
		if text := string(got); (err != nil) != (want == "error") || err == nil && text != want {
			t.Errorf("the row %s is %s, error %v; want %s", row, text, err, want)
		}
	}
}

// Structures are read to the depth that JSON may have, and a name of at most 127 characters ends the value before it.
func TestStructure_bounds(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat("{a=", depth) + "x" + strings.Repeat("}", depth) }
	name := func(n int) string { return "{a=b, " + strings.Repeat("n", n) + "=c}" }
	for _, row := range []struct {
		what, text string
		is         bool
		members    int
	}{
		{"a value that is missing", "{a=", false, 0}, {"one of nothing", "{a=}", true, 1}, {"an empty one", "{}", true, 0}, {"no end", "{a=b", false, 0}, {"the wrong end", "{a=b]", false, 0}, {"more after the end", "{a=b} x", false, 0},
		{"256 levels", nested(maxDepth), true, 1}, {"257 levels", nested(maxDepth + 1), false, 0}, {"2,000 levels", nested(2_000), false, 0},
		{"a name of 127 characters", name(127), true, 2}, {"a name of 128 characters", name(128), true, 1}, {"a name that is none", "{a=b, c d=e}", true, 1},
	} {
		value, ok := structure(row.text)
		var members map[string]any
		if ok {
			_ = json.Unmarshal(value, &members)
		}
		if ok != row.is || len(members) != row.members {
			t.Errorf("%s: %t with %d members, want %t with %d", row.what, ok, len(members), row.is, row.members)
		}
	}
}

// A value of JSON alone in its line is named as what it is, one beside something else as text.
func TestAValueAloneInItsLine(t *testing.T) {
	const number, text = "not an event: got a number, want an object", "not JSON: a line of text"
	for stream, want := range map[string]string{
		"7": number, "7 ": number, "7 \n": number, "7 \t\r,\n": number, "7 x\n": text, "7,x\n": text, "7 8\n": text, "7x\n": text, `"a"` + "\n": "not an event: got a string, want an object", `"a" b` + "\n": text, "truex\n": text,
		"7" + strings.Repeat(" ", windowSize-1) + "\n": number, "7" + strings.Repeat(" ", windowSize) + "\n": text, "7" + strings.Repeat(" ", windowSize+1): text,
	} {
		var got []string
		for _, err := range DecodeStream(strings.NewReader(stream)) {
			got = append(got, fmt.Sprint(err))
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%.20q (%d bytes) is %q, want %q", stream, len(stream), got, want)
		}
	}
}

// Of the keys that a record lists, the other one is a key by its ARN, whatever stands before it.
func TestOtherKey(t *testing.T) {
	const first, second = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"), cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab")
	for listed, want := range map[string]cmek.KeyURI{
		string(first): "", string(first + "," + second): second, string("garbled," + second): second, string(",," + first + "," + second): second, "arn:aws:kms:us-east-1:111122223333:alias/x," + string(second): second,
		"ffffffff-12ab-34cd-56ef-1234567890ab": "", "arn:aws:kms:us-east-1:111122223333:alias/x": "", "": "",
	} {
		r := &record{}
		for arn := range strings.SplitSeq(listed, ",") {
			r.Resources = append(r.Resources, resource{ARN: arn})
		}
		if got := otherKey(r, first); got != want {
			t.Errorf("of %s the other key is %q, want %q", listed, got, want)
		}
	}
	const alias = "arn:aws:kms:us-east-1:111122223333:alias/"
	for length, ok := range map[int]bool{100: true, 512: true, 513: false, 1000: false} {
		if _, err := keyARN(cmek.KeyURI(alias+strings.Repeat("a", length-len(alias))), nil); (err == nil) != ok {
			t.Errorf("an ARN of %d characters is one of a key: %t, want %t", length, !ok, ok)
		}
	}
}
