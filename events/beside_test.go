package events

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// What stands beside a record is reported if it could be one: hidden behind a record nothing may be lost. Items of a list that somebody
// chose beside a record are no records.
func TestWhatStandsBesideARecord(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	_, record, _ := strings.Cut(strings.TrimSuffix(good, "}"), `"detail":`)
	const noEvent, number, cut, text = "line 1: not an event: neither", "line 1: not an event: got a number", "line 1: not JSON", "line 1: not JSON: a line of text"
	for stream, want := range map[string][]string{
		`[` + quoted(t, good) + `, 7]`: {disabled}, `["{\"a\":1}", 7]`: {noEvent, number}, `["{\"a\":", 7]`: {cut, number}, `["text", 7]`: {"line 1: not an event: got a string", number},
		`{"x":` + quoted(t, good) + `}`: {disabled}, `{"x":` + quoted(t, good+`{"a":1}`) + `}`: {disabled, noEvent}, `{"x":` + quoted(t, good+`{"a":1}7`) + `}`: {disabled, noEvent}, `{"x":` + quoted(t, good+`{"a":1}{"b":`) + `}`: {disabled, cut},
		`{"x":` + quoted(t, `{"a":1}`) + `}`: {noEvent},
		`{"x":"{\"a\":"}`:                    {noEvent}, `{"source":"x",` + record[1:]: {disabled},
		// A broken record is named, unless it is a member of what is broken.
		`text {"version":[1,`: {cut, text}, `text [{"version":[1,`: {cut, text}, `text "k": {"version":[1,`: {text}, `text "k":[{"version":[1,`: {text},
		// What is named beside what is cut counts as a record.
		`{"x":{"ProductArn":"a"},"y":"{\"a\":"}`: {"line 1: not an API record", cut}, `{"x":{"eventType":"AwsCloudTrailInsight"},"y":"{\"a\":"}`: {"line 1: not an API record", cut},
		`{"x":{"eventname":"n","eventsource":"s","userIdentity":"zzz"},"y":"{\"a\":"}`: {"line 1: userIdentity of a row", cut}, `{"x":{"source":"my.app","detail-type":"order","detail":"text"},"y":"{\"a\":"}`: {"", cut},
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

// What looks like a record and reports no call is named by its service, and only by all of what shows it.
func TestFindings(t *testing.T) {
	for text, want := range map[string]string{
		`{"ProductArn":"x"}`: securityHubFinding, `{"Arn":"arn:aws:guardduty:us-east-1:111122223333:detector/d/finding/f"}`: guardDutyFinding, `{"arn":"arn:aws:guardduty:us-east-1:111122223333:detector/d/finding/f"}`: guardDutyFinding,
		`{"Arn":"arn:aws:guardduty:us-east-1:111122223333:detector/d"}`: "", `{"Arn":"arn:aws:inspector2:us-east-1:111122223333:finding/f/finding/f"}`: "",
		`{"class_uid":2004,"finding_info":{}}`: ocsfFinding, `{"class_uid":0,"finding_info":{}}`: "", `{"finding_info":{}}`: "", `{"class_uid":2004,"finding_info":"x"}`: "", `{"class_uid":2004}`: "", `{"ProductArn":7}`: "", `{}`: "",
	} {
		if got := finding([]byte(text)); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		`{"eventType":"AwsCloudTrailInsight"}`: true, `{"source":"aws.cloudtrail","detail-type":"AWS Insight via CloudTrail"}`: true, `{"source":"aws.cloudtrail","detail-type":"AWS API Call via CloudTrail"}`: false,
		`{"source":"aws.kms","detail-type":"AWS Insight via CloudTrail"}`: false, `{"source":"aws.guardduty","detail-type":"GuardDuty Finding"}`: true, `{"source":"aws.guardduty","detail-type":"other"}`: false, `{"source":"aws.kms","detail-type":"GuardDuty Finding"}`: false, `{}`: false,
	} {
		var i item
		if err := json.Unmarshal([]byte(text), &i, tolerant); err != nil || (i.otherThanRecord() != "") != want {
			t.Errorf("%s is other than a record: %q (%v), want %t", text, i.otherThanRecord(), err, want)
		}
	}
	for text, want := range map[string]bool{
		`{"EventName":"x","EventId":"1"}`: true, `{"EventName":"x","EventSource":"s"}`: true, `{"EventName":"x","Username":"u"}`: true, `{"EventName":"x"}`: false, `{"EventId":"1"}`: false, `{"EventName":"x","Username":"u","EventId":7}`: false, `{`: false,
	} {
		if got := isLookedUp([]byte(text)); got != want {
			t.Errorf("%s is an entry of LookupEvents: %t, want %t", text, got, want)
		}
	}
}

// Four messages and sixteen objects may be around a record, and 256 levels make it up with what is around.
func TestWhatIsAroundARecordIsBounded(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	const tooMany = "line 1: more than 4 messages or 16 objects within one another"
	around := func(n int, wrap func(string) string) string {
		text := good
		for range n {
			text = wrap(text)
		}
		return text
	}
	message := func(text string) string { return `{"Message":` + quoted(t, text) + `}` }
	object := func(text string) string { return `{"x":` + text + `}` }
	for _, row := range []struct {
		name, stream, want string
	}{
		{"4 messages", around(deepest, message), disabled}, {"5 messages", around(deepest+1, message), tooMany}, {"16 objects", around(mostParts, object), disabled}, {"17 objects", around(mostParts+1, object), tooMany},
	} {
		wantOutcomes(t, row.name, row.stream, row.want)
	}
	lists := func(n int) string { return strings.Repeat("[", n) + good + strings.Repeat("]", n) }
	wantOutcomes(t, "255 lists", lists(maxDepth-1), disabled)
	wantOutcomes(t, "256 lists", lists(maxDepth), "line 1: not JSON: line 1, byte 256: more than 256 levels", disabled)
}

// A hundred items that are no objects are kept until a record shows that somebody chose them beside it.
func TestPlainItemsBesideARecord(t *testing.T) {
	good := string(compact(t, read(t, "testdata/cloudtrail-disablekey.json")))
	for n, want := range map[int]int{1: 1, 100: 1, 101: 102, 150: 102} {
		if got := outcomes("[" + strings.Repeat("7,", n) + quoted(t, good) + "]"); len(got) != want {
			t.Errorf("%d numbers before a record have %d outcomes, want %d", n, len(got), want)
		}
	}
}
